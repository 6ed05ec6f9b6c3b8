"""Connecting to Ray: a cluster of one's own on loopback, or one that exists.

Knows Ray's environment variables, its limits on paths and its token. A cluster of one's own lives in child processes
that the kernel kills with this one (Ray sets that on Linux), so the calling thread must be the process's main one.
Threat: a Ray port runs any code that is sent to it, so the cluster binds loopback and wants a token.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import secrets
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import OaError, Unavailable

_SOCKET_LIMIT = 107
"""Bytes of an AF_UNIX path on Linux, less its end mark."""
_SOCKET_TAIL = len("/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store.12345")
_OBJECT_MEMORY = 128 << 20
"""Bytes of Ray's object store: ranks exchange small messages only; data goes by the object store and torch."""


@dataclass(frozen=True)
class Cluster:
    """A connected Ray cluster.

    Attributes:
        own: whether it is this process's own.
        cores: processors that it has.
        gpus: GPUs that it has.
        dashboard: URL of its dashboard; empty when it has none.
    """

    own: bool
    cores: float
    gpus: float
    dashboard: str


def connect(address: str | None, var: Path, dashboard_port: int | None = None) -> Cluster:
    """Connect this process to Ray, starting a local cluster when no address is given.

    Args:
        address: of an existing cluster (`host:port` or `auto`); None for one's own.
        var: folder of local state.
        dashboard_port: where the dashboard of one's own cluster listens on loopback; None for no dashboard.

    Raises:
        Unavailable: Ray did not start, or does not answer at `address`.
    """
    _prepare_environment(var, own=address is None)
    import ray

    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "WARNING", "configure_logging": False}
    if address is None:
        options |= _local_options(var, dashboard_port)
    try:
        found = ray.init(address=address or "local", **options)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError, OSError) as error:
        raise Unavailable(f"Ray at {address or 'this machine'} does not answer: {error}") from error
    there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    url = found.dashboard_url or ""
    return Cluster(address is None, there.get("CPU", 0), there.get("GPU", 0), f"http://{url}" if url else "")


def temp_folder(var: Path) -> Path:
    """Where Ray keeps its sockets and logs: under `var`, or where that is too long for a socket's path, a short place.

    Raises:
        OaError: (code `FORBIDDEN`) the short place belongs to somebody else.
    """
    wanted = var.absolute() / "ray"
    if len(os.fsencode(wanted)) + _SOCKET_TAIL <= _SOCKET_LIMIT:
        wanted.mkdir(parents=True, exist_ok=True, mode=0o700)
        return wanted
    digest = hashlib.sha256(os.fsencode(wanted)).hexdigest()[:8]
    short = Path(tempfile.gettempdir()) / f"oa-ray-{digest}"
    short.mkdir(mode=0o700, exist_ok=True)
    # Threat: in a folder that all may write to, another user made it first and reads what Ray puts there.
    if short.lstat().st_uid != os.getuid() or short.is_symlink():
        raise OaError(f"{short} belongs to another user; set OA_VAR to a shorter path", code="FORBIDDEN")
    return short


def auth_token(var: Path) -> Path:
    """The file with the token of one's own cluster, made on first use; readable by this user alone."""
    path = var.absolute() / "ray-token"
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
    return path


def _prepare_environment(var: Path, *, own: bool) -> None:
    """Ray reads these when it is imported, and its children inherit them."""
    defaults = {
        "RAY_TRAIN_V2_ENABLED": "1",
        "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",  # it floods the logs with dill's output
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "TOKENIZERS_PARALLELISM": "false",
    }
    if own:
        defaults |= {
            "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # nobody reclaims this machine; saves a process
            "RAY_TRAIN_METRICS_ENABLED": "0",
            # Spinning threads cost a machine that does other work too a factor of 3 (256x576x1536 products).
            "OMP_WAIT_POLICY": "PASSIVE",
            "RAY_gcs_rpc_server_reconnect_timeout_s": "5",  # a dead head does not come back
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(auth_token(var)),
        }
        os.environ.pop("RAY_ADDRESS", None)
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def _local_options(var: Path, dashboard_port: int | None) -> dict[str, Any]:
    temp = temp_folder(var)
    _sweep(temp)
    options: dict[str, Any] = {
        "num_cpus": cores(),
        "object_store_memory": _OBJECT_MEMORY,
        "_temp_dir": str(temp),
        "include_dashboard": dashboard_port is not None and importlib.util.find_spec("aiohttp_cors") is not None,
    }
    if options["include_dashboard"]:
        options |= {"dashboard_host": "127.0.0.1", "dashboard_port": dashboard_port}
    return options


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _sweep(temp: Path) -> None:
    """Remove what earlier clusters of processes that are gone left behind; a session's name ends in its process id."""
    for session in temp.glob("session_*_*"):
        pid = session.name.rpartition("_")[2]
        if session.is_symlink() or not pid.isdigit() or _is_alive(int(pid)):
            continue
        shutil.rmtree(session, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
