"""The documents say what the code does: every setting, every command, every file that they name."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import jsonschema
import pytest

from api.settings import Settings
from oa import reference
from oa.main import ENTRIES, load

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("core", "graphql_schema", "api", "jobs", "serving", "oa")
PAGES = sorted(
    page
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "samples" / "README.md"]
    if "node_modules" not in page.parts
)
SETTING = re.compile(r"\bOA_[A-Z0-9_]*[A-Z0-9]\b")
TESTS_ONLY = {"OA_TERRAFORM_PLUGIN_DIR", "OA_MACHINE_STEPS"}


def settings_of_the_code() -> set[str]:
    sources = (path.read_text() for room in ROOMS for path in (ROOT / room).rglob("*.py"))
    # `OA_S3_` in a call of startswith is a prefix, not a setting.
    return {name for source in sources for name in SETTING.findall(source.replace('"OA_S3_"', ""))}


def test_every_setting_has_a_row_and_every_row_a_setting() -> None:
    rows = set(re.findall(r"^\| `(OA_[A-Z0-9_]+)` \|", (ROOT / "docs" / "operator.md").read_text(), re.MULTILINE))
    assert settings_of_the_code() - rows == set()
    assert rows - settings_of_the_code() == TESTS_ONLY


def test_the_page_of_commands_is_what_the_commands_say() -> None:
    assert reference.PAGE.read_text() == reference.page(), "run `make docs`"


def test_the_schema_of_a_job_is_the_one_that_is_checked() -> None:
    assert reference.SCHEMA.read_text() == reference.spec_schema(), "run `make docs`"
    for path in (ROOT / "jobs" / "configs").glob("*.json"):
        jsonschema.validate(json.loads(path.read_text()), json.loads(reference.SCHEMA.read_text()))


def test_the_settings_of_collections_are_those_that_there_are() -> None:
    written = reference.COLLECTIONS.read_text()
    assert written == reference.collections_page(written), "run `make docs`"


def test_the_limits_that_operators_set_are_those_of_the_settings() -> None:
    assert reference.LIMITS.read_text() == reference.limits_page(reference.LIMITS.read_text()), "run `make docs`"
    sorts = ("_bytes", "_cost", "_limits", "_seconds", "_per_caller", "_per_address")
    named = {each.name for each in dataclasses.fields(Settings) if each.name.endswith(sorts)}
    limiting_nobody = {"sweep_seconds", "score_seconds", "drain_notice_seconds"}
    assert named - limiting_nobody == set(reference.LIMITING)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_commands_and_targets_that_a_page_names_exist(path: Path) -> None:
    text = path.read_text()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    quoted = [line for block in re.findall(r"```[a-z]*\n(.*?)```|`([^`\n]+)`", text, re.DOTALL) for line in block]
    for line in "\n".join(quoted).splitlines():
        if found := re.match(r"\$? ?oa ([a-z]+)(?: ([a-z-]+))?", line):
            assert_command(found[1], found[2], path)
        for target in re.findall(r"(?:^|&& )make ([a-z-]+)", line):
            assert target in targets, f"{path.name}: make {target}"


def assert_command(name: str, child: str | None, path: Path) -> None:
    assert name in ENTRIES, f"{path.name}: oa {name}"
    children = getattr(load(name), "commands", {})
    if children and child:
        assert child in children, f"{path.name}: oa {name} {child}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_between_pages_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", path.read_text())
    assert [link for link in links if not (path.parent / link).exists()] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_to_a_section_name_one_that_is_there(path: Path) -> None:
    for name, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#([^)\s]+)\)", path.read_text()):
        page = path.parent / name if name else path
        heads = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
        anchors = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
        assert anchor in anchors, f"{path.name}: {name}#{anchor}"


def test_every_make_target_is_declared_and_described() -> None:
    text = (ROOT / "Makefile").read_text()
    phony = set(re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)[1].split())
    for target in ("demo", "test", "lint", "up", "docs", "bench", "localstack", "clean"):
        assert target in phony
        assert re.search(rf"^#   make {target}\b", text, re.MULTILINE)
