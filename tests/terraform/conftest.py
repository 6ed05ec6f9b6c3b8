"""Terraform with the AWS provider, if both are on this machine, and an emulator to apply to."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from infrastructure import Emulator, mirror

from oa import embedded


@pytest.fixture(scope="session")
def plugins() -> Path:
    """The provider's mirror; skips where Terraform or the provider is absent."""
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not on this machine")
    found = mirror()
    if found is None:
        pytest.skip("no mirror of Terraform's AWS provider; name one in OA_TERRAFORM_PLUGIN_DIR")
    return found


@pytest.fixture(scope="session")
def emulator() -> Iterator[Emulator]:
    """Something that plays S3 and IAM: what `OA_S3_ENDPOINT` names (LocalStack), or a moto server."""
    if endpoint := os.environ.get("OA_S3_ENDPOINT"):
        yield Emulator(endpoint)
        return
    port = embedded.free_port()
    script = str(Path(sys.executable).with_name("moto_server"))
    process = embedded.start([script, "--host", embedded.HOST, "--port", str(port)])
    embedded.wait_for_port(port, process, seconds=60)
    yield Emulator(f"http://{embedded.HOST}:{port}", knows_object_size=False)
    process.terminate()
    process.wait(20)
