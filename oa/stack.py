"""Which parts make the stack of one machine, at which addresses.

Knows each room's start command, its preferred port and the extra that it needs. Addresses given by the environment are
used instead of parts of our own. Everything listens on loopback only. Does not know how parts are kept running.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from core.errors import BadInput, OaError
from oa.embedded import HOST, check_port, document_store_command, free_port, object_store_command
from oa.health import accepts, answers, once
from oa.supervisor import Part

PREFERRED = {"documents": 27017, "objects": 9000, "api": 8000, "serving": 8100, "worker": 8265}
"""Port of each part when it is free and no other is asked for. The worker's is its Ray dashboard."""

NEEDS = {
    "documents": ("embedded", ("nx_27017", "neosqlite")),
    "objects": ("embedded", ("localbucket",)),
    "api": ("api", ("strawberry", "starlette", "uvicorn", "joserfc")),
    "serving": ("serving", ("onnxruntime", "tokenizers", "starlette", "uvicorn")),
    "worker": ("jobs", ("ray", "aiohttp_cors", "torch", "transformers")),
}
"""The extra of each part, and the packages that tell whether it is installed."""


@dataclass(frozen=True)
class Plan:
    """What to run: the parts, the environment of all of them, and what was given instead of started."""

    parts: list[Part]
    environment: dict[str, str]
    given: dict[str, str] = field(default_factory=dict)


def plan(
    var: Path, environ: Mapping[str, str], ports: Mapping[str, int | None], names: frozenset[str] = frozenset(PREFERRED)
) -> Plan:
    """Choose parts, ports and environment.

    Args:
        var: folder of local state.
        environ: the caller's environment; its `OA_MONGODB_URI`, `OA_S3_ENDPOINT` and `OA_RAY_ADDRESS` win.
        ports: port asked for, by part; None or absent: the preferred one if free, else any.
        names: parts wanted.

    Raises:
        BadInput: a name is none of `PREFERRED`.
        OaError: `PORT_IN_USE`, for a port that was asked for.
    """
    if unknown := sorted(names - set(PREFERRED)):
        raise BadInput(f"there is no part {unknown[0]!r}; the parts are {', '.join(PREFERRED)}")
    given = _given(environ)
    chosen = {name: choose_port(ports.get(name), PREFERRED[name]) for name in PREFERRED if name in names - set(given)}
    environment = _environment(var, environ, chosen)
    parts = [part for name, part in _parts(var, environment, chosen).items() if name in chosen]
    return Plan([_with_needs(part, given) for part in parts], environment, given)


def choose_port(asked: int | None, preferred: int) -> int:
    """The port asked for (`PORT_IN_USE` if taken); without one the preferred if it is free, else a free one."""
    if asked is not None:
        check_port(asked)
        return asked
    try:
        check_port(preferred)
    except OaError:
        return free_port()
    return preferred


def missing(name: str) -> str:
    """Why the part `name` cannot run on this machine, with the command that helps; empty if it can."""
    extra, packages = NEEDS[name]
    absent = [package for package in packages if find_spec(package) is None]
    if not absent:
        return ""
    return f"{', '.join(absent)} not installed; get it with: pip install -c constraints.txt -e '.[{extra}]'"


def _given(environ: Mapping[str, str]) -> dict[str, str]:
    names = {"documents": "OA_MONGODB_URI", "objects": "OA_S3_ENDPOINT"}
    return {part: environ[name] for part, name in names.items() if environ.get(name)}


def _environment(var: Path, environ: Mapping[str, str], ports: Mapping[str, int]) -> dict[str, str]:
    """What every part, and every command beside them, finds in its environment."""
    made = {"OA_MODE": "embedded", "OA_VAR": str(var), "OA_S3_BUCKET": "open-assistant"}
    addresses = {
        "documents": ("OA_MONGODB_URI", "mongodb"),
        "objects": ("OA_S3_ENDPOINT", "http"),
        "api": ("OA_API_URL", "http"),
        "serving": ("OA_SERVING_URLS", "http"),
    }
    for part, (name, scheme) in addresses.items():
        if part in ports:
            made[name] = f"{scheme}://{HOST}:{ports[part]}"
    if "api" in ports:
        made["OA_PUBLIC_URL"] = made["OA_API_URL"]
    if (var / "graphiql").is_dir():  # `make graphiql` was run
        made["OA_GRAPHIQL"] = str(var / "graphiql")
    given = {name: value for name, value in environ.items() if name.startswith("OA_") and value}
    return {**made, **given, "OA_VAR": str(var)}


def _parts(var: Path, environment: Mapping[str, str], ports: Mapping[str, int]) -> dict[str, Part]:
    """The parts that `ports` name, each with everything that it would need on a bare machine."""
    makers: dict[str, Callable[[int], Part]] = {
        "documents": lambda port: _documents(var, port),
        "objects": lambda port: _objects(var, port, environment),
        "api": _api,
        "serving": _serving,
        "worker": lambda port: _worker(port, environment),
    }
    return {name: makers[name](port) for name, port in ports.items()}


def _documents(var: Path, port: int) -> Part:
    command = document_store_command(var / "mongo", port)
    return Part("documents", command, accepts(port), f"mongodb://{HOST}:{port}")


def _objects(var: Path, port: int, environment: Mapping[str, str]) -> Part:
    command = object_store_command(var / "objects", port)
    make = partial(ensure_bucket, environment)
    return Part("objects", command, accepts(port), f"http://{HOST}:{port}", prepare=make)


def _api(port: int) -> Part:
    command = [sys.executable, "-m", "api.server", "--host", HOST, "--port", str(port), "--grace", "15"]
    address = f"http://{HOST}:{port}/graphql"
    return Part("api", command, answers(port, "/healthz"), address, needs=("documents", "objects"))


def _serving(port: int) -> Part:
    command = [sys.executable, "-m", "oa", "serve", "--host", HOST, "--port", str(port)]
    return Part("serving", command, answers(port, "/healthz"), f"http://{HOST}:{port}/v1", needs=("objects",))


def _worker(port: int, environment: Mapping[str, str]) -> Part:
    command = [sys.executable, "-m", "oa", "jobs", "worker"]
    if environment.get("OA_RAY_ADDRESS"):
        return Part("worker", command, address=environment["OA_RAY_ADDRESS"], needs=("objects",))
    # Once: the worker itself looks after its Ray, and a job must not end because a dashboard did.
    ray_is_up = once(answers(port, "/api/gcs_healthz"))
    command += ["--dashboard-port", str(port)]
    return Part("worker", command, ray_is_up, f"http://{HOST}:{port}", needs=("objects",))


def check_settings(what: Plan) -> None:
    """Read the settings of every part that will run, so that a wrong one is named before anything starts.

    Raises:
        BadInput: a setting is wrong; says which, and the right form.
    """
    names = {part.name for part in what.parts if not part.missing}
    if "api" in names:
        from api.settings import from_env
        from core.database import check_uri

        check_uri(from_env(what.environment).mongodb_uri)
    if "serving" in names:
        from serving.settings import settings_from

        settings_from(what.environment)
    if "worker" in names:
        from jobs.driver import Setup

        Setup.from_env(what.environment)


def _with_needs(part: Part, given: Mapping[str, str]) -> Part:
    """`part` without needs that the environment already meets, and with the reason if its extra is absent."""
    needs = tuple(need for need in part.needs if need not in given)
    return replace(part, needs=needs, missing=missing(part.name))


def ensure_bucket(environment: Mapping[str, str]) -> None:
    """Make the bucket that the environment names, if it is not there."""
    from core.objects import ObjectStore  # here, because boto3 takes 0.2 s and `oa status` needs none of it

    ObjectStore.from_env(environment).ensure_bucket()
