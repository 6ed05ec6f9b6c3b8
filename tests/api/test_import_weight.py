"""Importing the API brings in no training, no inference and no driver, and stays small."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "ray", "onnxruntime", "transformers", "pyarrow", "numpy", "boto3", "pymongo", "datasets", "httpx")
LIMIT_MB = 150
PROBE = """
import json, sys
import {module}
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
loaded = sorted({{name.partition(".")[0] for name in sys.modules}})
print(json.dumps({{"loaded": loaded, "mb": int(status["VmHWM"].split()[0]) / 1024}}))
"""


@pytest.mark.parametrize("module", ["api", "api.app", "graphql_schema.schema"])
def test_importing_is_light(module):
    run = subprocess.run(
        [sys.executable, "-c", PROBE.format(module=module)], capture_output=True, text=True, check=True
    )
    found = json.loads(run.stdout)
    assert set(found["loaded"]).isdisjoint(HEAVY), sorted(set(found["loaded"]) & set(HEAVY))
    assert found["mb"] < LIMIT_MB
