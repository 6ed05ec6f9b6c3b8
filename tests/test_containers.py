"""The compose file and the Dockerfiles, as far as they can be checked without Docker."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
COMPOSE = ROOT / "localstack-compose.yml"
DOCKERFILES = sorted((ROOT / "docker").glob("*.Dockerfile"))


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    return yaml.safe_load(COMPOSE.read_text())["services"]


def test_the_compose_file_follows_the_compose_specification() -> None:
    script = str(Path(sys.executable).with_name("check-jsonschema"))
    command = [script, "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("profile", ["ci", "dev", "gpu"])
def test_a_profile_is_the_whole_stack(services: dict[str, Any], profile: str) -> None:
    names = {name.removesuffix("-gpu") for name, service in services.items() if profile in service["profiles"]}
    assert names == {"mongo", "localstack", "bucket", "api", "worker", "serving"}


def test_what_a_service_waits_for_is_there_and_says_when_it_is_ready(services: dict[str, Any]) -> None:
    for name, service in services.items():
        for need, how in service.get("depends_on", {}).items():
            assert set(service["profiles"]) <= set(services[need]["profiles"]), f"{name} needs {need}"
            assert how["condition"] == "service_completed_successfully" or "healthcheck" in services[need]


def test_images_are_pinned_and_dockerfiles_exist(services: dict[str, Any]) -> None:
    for service in services.values():
        if "image" in service:
            assert re.search(r":\d+\.\d+\.\d+$", service["image"]), service["image"]
        else:
            assert (ROOT / service["build"]["dockerfile"]).is_file()


def test_localstack_is_the_same_version_everywhere(services: dict[str, Any]) -> None:
    version = services["localstack"]["image"].partition(":")[2]
    assert f"localstack-core[runtime]=={version}" in (ROOT / "Makefile").read_text()


def test_the_serving_node_on_a_gpu_computes_there(services: dict[str, Any]) -> None:
    assert services["serving-gpu"]["environment"]["OA_SERVE_DEVICE"] == "${OA_SERVE_DEVICE:-cuda}"
    assert services["serving-gpu"]["build"]["args"] == {"EXTRAS": "serving-gpu"}
    assert services["serving-gpu"]["environment"].items() >= services["serving"]["environment"].items()


def test_no_secret_is_written_down(services: dict[str, Any]) -> None:
    for service in services.values():
        for name, value in service.get("environment", {}).items():
            if re.search(r"KEY|SECRET|TOKEN|PASSWORD", name):
                assert str(value).startswith("${"), f"{name} must come from the environment"


def test_every_setting_of_the_example_is_used() -> None:
    names = re.findall(r"^(?:# )?([A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert "COMPOSE_FILE" in names
    text = COMPOSE.read_text()
    assert [name for name in names if name != "COMPOSE_FILE" and f"${{{name}" not in text] == []


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_an_image_installs_a_known_extra_and_runs_as_nobody_special(path: Path) -> None:
    import tomllib

    text = path.read_text()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert re.search(r"^ARG EXTRAS=(\S+)", text, re.MULTILINE)[1] in extras
    assert "USER oa" in text
    assert "--constraint constraints.txt" in text
    assert all(re.search(r":\d", image) for image in re.findall(r"^FROM (\S+)", text, re.MULTILINE))


def test_the_image_of_ray_pods_has_what_their_health_checks_call() -> None:
    """KubeRay's probes run wget in the pod: https://github.com/ray-project/kuberay/issues/2063."""
    assert re.search(r"apt-get install .*\bwget\b", (ROOT / "docker" / "jobs.Dockerfile").read_text())


def test_health_checks_call_only_what_an_image_has(services: dict[str, Any]) -> None:
    """Our images have Python and no curl; the others bring what is named here."""
    brought = {"mongo": "mongosh", "localstack": "curl"}
    for name, service in services.items():
        if "healthcheck" in service:
            assert service["healthcheck"]["test"][1] == brought.get(name, "python"), name
