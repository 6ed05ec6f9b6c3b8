"""The walls between rooms, as docs/architecture.md draws them: who may import what, read from the code itself."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

HEAVY = {"torch", "ray", "onnxruntime", "onnxruntime_genai", "transformers", "trl", "peft", "datasets"}
ROOMS = {"core", "graphql_schema", "api", "jobs", "serving", "oa"}

FORBIDDEN: dict[str, set[str]] = {
    "core": (ROOMS - {"core"}) | HEAVY | {"starlette", "strawberry", "uvicorn", "httpx"},
    "graphql_schema": {"api", "jobs", "serving", "oa", "pymongo"} | HEAVY,
    "api": {"jobs", "serving", "oa"} | HEAVY,
    "jobs": {"api", "graphql_schema", "serving", "oa", "pymongo", "bson"},
    "serving": {
        "api",
        "graphql_schema",
        "jobs",
        "oa",
        "pymongo",
        "bson",
        "torch",
        "ray",
        "transformers",
        "trl",
        "peft",
    },
}
"""For each room the packages that no file of it names in an import, not even inside a function."""

DOCUMENTED = {
    "core": ["Starlette", "Strawberry", "torch", "ray", "onnxruntime"],
    "graphql_schema": ["api", "jobs", "serving", "pymongo"],
    "api": ["jobs", "serving", "torch", "ray", "onnxruntime"],
    "jobs": ["api", "graphql_schema", "pymongo"],
    "serving": ["api", "graphql_schema", "jobs", "pymongo", "torch"],
}


def imports(source: str) -> Iterator[tuple[str, int]]:
    """Every top-level package that `source` imports, with its line: at the top, inside functions, by name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module.partition(".")[0], node.lineno
        elif isinstance(node, ast.Call) and _called(node.func) in ("import_module", "__import__"):
            names = [name.value for name in node.args[:1] if isinstance(name, ast.Constant)]
            yield from ((name.partition(".")[0], node.lineno) for name in names if isinstance(name, str))


def _called(function: ast.expr) -> str:
    return getattr(function, "attr", getattr(function, "id", ""))


def files(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


@pytest.mark.parametrize("room", FORBIDDEN)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line} imports {package}"
        for path in files(room)
        for package, line in imports(path.read_text())
        if package in FORBIDDEN[room]
    ]
    assert files(room), f"{room}/ holds no Python file"
    assert not found, "\n".join(found)


@pytest.mark.parametrize("room", DOCUMENTED)
def test_the_walls_are_those_of_the_document(room: str) -> None:
    lines = (ROOT / "docs" / "architecture.md").read_text().splitlines()
    row = next(line for line in lines if line.startswith(f"| `{room}/`"))
    never = row.split("|")[3]
    for name in DOCUMENTED[room]:
        assert name in never, f"docs/architecture.md no longer says that {room}/ never imports {name}"
        assert name.lower() in FORBIDDEN[room]


def test_the_reader_of_imports_sees_all_of_them() -> None:
    source = (
        "import a.b as x\nfrom c.d import e\nfrom . import k\ndef f():\n    import g, h\n    x.import_module('i.j')"
    )
    assert [name for name, _ in imports(source)] == ["a", "c", "g", "h", "i"]


LIGHT = {
    "core": {"pymongo", "boto3", "pyarrow"} | HEAVY,
    "core.records": {"pymongo", "boto3", "pyarrow"} | HEAVY,
    "api": HEAVY | {"pymongo", "boto3"},
    "api.app": HEAVY,
    "serving": HEAVY,
    "oa.main": HEAVY | {"pymongo", "boto3", "starlette", "strawberry", "pyarrow"},
}


@pytest.mark.parametrize("module", LIGHT)
def test_a_fresh_import_brings_nothing_heavy(module: str) -> None:
    script = f"import sys, {module}; print(*sorted(set(sys.modules) & {LIGHT[module]!r}))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == []
