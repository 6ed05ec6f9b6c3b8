"""What a serving node is told, from the environment, and what the machine lets it have.

Knows names, defaults and ranges of the settings; `docs/serving.md` lists them.
"""

from __future__ import annotations

import ipaddress
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from core.errors import BadInput, Unavailable
from serving.options import EngineOptions

CGROUP_CPU = Path("/sys/fs/cgroup/cpu.max")


@dataclass(frozen=True)
class ServingSettings:
    """One node.

    Attributes:
        models: names to serve.
        key: bearer key that callers must show; None: anybody who can reach the node, hence loopback only.
        cache: local folder of model versions.
        engine: of each model.
        poll_seconds: between two looks at what is promoted.
        deadline_seconds: the longest that one answer may take, waiting included.
        max_tokens: of a reply whose request names no limit.
        max_body: bytes of a request.
        drain_seconds: after SIGTERM, how long replies under way may go on.
    """

    models: tuple[str, ...] = ("assistant",)
    key: str | None = None
    cache: Path = Path("var/models")
    engine: EngineOptions = field(default_factory=EngineOptions)
    poll_seconds: float = 5.0
    deadline_seconds: float = 300.0
    max_tokens: int = 512
    max_body: int = 1 << 20
    drain_seconds: float = 30.0


def settings_from(environ: Mapping[str, str] = os.environ, *, threads: int | None = None) -> ServingSettings:
    """The settings that the environment names.

    Args:
        environ: where to read.
        threads: for computing; None: `OA_SERVE_THREADS`, else the cores that are really free.

    Raises:
        BadInput: a value is of the wrong form; names the variable.
    """
    models = tuple(name.strip() for name in environ.get("OA_SERVE_MODELS", "assistant").split(",") if name.strip())
    if not models:
        raise BadInput("OA_SERVE_MODELS names no model; give one or more names, separated by commas")
    engine = EngineOptions(
        threads=threads or number(environ, "OA_SERVE_THREADS", free_cores(), 1, 1024),
        slots=number(environ, "OA_SERVE_SLOTS", 16, 1, 1024),
        queue=number(environ, "OA_SERVE_QUEUE", 64, 0, 100_000),
        kv_bytes=number(environ, "OA_SERVE_KV_MB", 1024, 1, 1 << 22) << 20,
        prefix_bytes=number(environ, "OA_SERVE_PREFIX_MB", 256, 0, 1 << 22) << 20,
        context=number(environ, "OA_SERVE_CONTEXT", 0, 0, 1 << 24) or None,
        device=device(environ.get("OA_SERVE_DEVICE") or "cpu"),
    )
    return ServingSettings(
        models=models,
        key=environ.get("OA_SERVING_KEY") or None,
        cache=Path(environ.get("OA_VAR", "var")) / "models",
        engine=engine,
        poll_seconds=number(environ, "OA_SERVE_POLL_MS", 5000, 50, 3_600_000) / 1000,
        deadline_seconds=float(number(environ, "OA_SERVE_DEADLINE", 300, 1, 86_400)),
        max_tokens=number(environ, "OA_SERVE_MAX_TOKENS", 512, 1, 1 << 24),
        drain_seconds=float(number(environ, "OA_SERVE_DRAIN", 30, 0, 3600)),
    )


def device(name: str) -> str:
    """The name of a device that an engine can use."""
    if name not in ("cpu", "cuda"):
        raise BadInput(f"OA_SERVE_DEVICE is {name!r}; it must be cpu or cuda")
    return name


def number(environ: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    """A whole number from the environment, or the default."""
    text = environ.get(name, "")
    if not text:
        return default
    if not text.isdecimal() or not least <= int(text) <= most:
        raise BadInput(f"{name} is {text!r}; it must be a whole number from {least} to {most}")
    return int(text)


def free_cores(cgroup: Path = CGROUP_CPU) -> int:
    """Cores that this process may really use: its affinity, cut by its container's CPU quota (cgroup v2)."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = cgroup.read_text().split()
    except (OSError, ValueError):
        return allowed
    return allowed if quota == "max" else max(1, min(allowed, math.ceil(int(quota) / int(period))))


def check_host(host: str, key: str | None) -> None:
    """Threat: an open port without a key lets anybody use the model.

    Raises:
        BadInput: `host` is not loopback and there is no key.
    """
    if key is None and not is_loopback(host):
        raise BadInput(f"to listen on {host}, which others can reach, set OA_SERVING_KEY; or listen on 127.0.0.1")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_onnxruntime(installed: frozenset[str] | None = None) -> None:
    """Both onnxruntime packages write the same folder, and the one installed last breaks the other.

    Args:
        installed: names of installed packages; None: those of this environment.

    Raises:
        Unavailable: both are installed, or neither.
    """
    names = ("onnxruntime", "onnxruntime-gpu")
    found = [name for name in names if (has(name) if installed is None else name in installed)]
    if len(found) != 1:
        raise Unavailable(
            f"{' and '.join(found) or 'neither onnxruntime package'} installed; a serving node needs exactly one of "
            f"{' and '.join(names)}: make a fresh environment with one of the extras `serving`, `serving-gpu`"
        )


def has(package: str) -> bool:
    """Whether a package of that name is installed."""
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True
