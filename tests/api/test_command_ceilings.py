"""Ceilings of commands for the documented operations that no page's own test runs, and that there is one for each."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from command_counting import CEILINGS, counting
from graphql import OperationDefinitionNode, parse
from running_api import Caller, serving
from training_operations import TRAINING

ROOT = Path(__file__).parents[2]
PAGES = {
    "rebuild-the-site": ROOT / "docs" / "api" / "rebuild-the-site.md",
    "moderation": ROOT / "docs" / "moderation.md",
}


def named(page: Path) -> dict[str, str]:
    """The operations of a page by name."""
    texts = re.findall(r"```graphql\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    found = {}
    for text in texts:
        for each in parse(text).definitions:
            if isinstance(each, OperationDefinitionNode):
                found[each.name.value if each.name else text] = text
    return found


def in_json(page: Path) -> list[str]:
    """The operations that a page shows as bodies of requests."""
    return [json.loads(each) for each in re.findall(r'"query":\s*("(?:[^"\\]|\\.)*")', page.read_text("utf-8"))]


def roots(text: str) -> set[str]:
    """The root fields that a document asks for."""
    operations = (each for each in parse(text).definitions if isinstance(each, OperationDefinitionNode))
    return {field.name.value for each in operations for field in each.selection_set.selections}


OTHERS = {
    name: text
    for page in ("abuse", "collections", "consensus")
    for name, text in named(ROOT / "docs" / f"{page}.md").items()
    if name != "StopFlood"  # which is the queue's `moderate`
}
OTHERS |= {
    "CreateClient": next(each for each in in_json(ROOT / "docs" / "api" / "sign-in.md") if "createClient" in each),
    "Jobs": next(each for each in in_json(ROOT / "docs" / "api" / "sign-in.md") if "jobs(" in each),
    "Trees": "{ trees(first: 20) { nodes { id messages(first: 20) { nodes { text author { displayName } } } } } }",
}


@pytest.fixture
def api(settings):
    own = replace(settings, mongodb_database=f"test_ceilings_{uuid.uuid4().hex[:12]}")
    with counting() as counts, serving(own) as url:
        yield Caller(url), counts


def test_what_the_other_pages_show_keeps_to_its_ceilings(api):
    anyone, counts = api
    admin, ada = anyone.sign_in("root", "ADMIN"), anyone.sign_in("ada")
    for number in range(3):
        task = ada.do("requestTask", "task { id }", langs=["en"], kind="INITIAL_PROMPT")["task"]["id"]
        text = f"Why is the sky blue in the morning, and red in the evening? ({number})"
        message = ada.do("submitPrompt", "message { id }", taskId=task, text=text)["message"]["id"]

    def run(name, **variables):
        answer = counts.ask(name, admin, OTHERS[name], variables)
        assert "errors" not in answer, (name, answer["errors"])
        payload = next(iter(answer["data"].values()))
        assert not (isinstance(payload, dict) and payload.get("userErrors")), (name, payload)
        return payload

    assert run("Collections")
    made = run("CreateCollection", input={"key": "poems", "name": "Poems", "langs": ["fi"]})["collection"]
    changed = {"collectionId": made["id"], "version": made["version"], "config": {"goal_tree_size": 9}}
    run("UpdateCollection", input=changed)
    run("AgreementOverTime", id=made["id"])
    run("Flood", first=5, hours=1, people=2)
    run("Alike", messageId=message)
    assert len(run("Trees")["nodes"]) == 3
    run("CreateClient")
    run("Jobs")
    counts.check("others")


def test_every_documented_root_field_has_a_ceiling():
    counted = set().union(*(roots(text) for text in [*OTHERS.values(), *TRAINING.values()]))
    assert set(TRAINING) == set(CEILINGS["training"])
    for page, path in PAGES.items():
        assert set(named(path)) == set(CEILINGS[page])
        counted |= set().union(*(roots(text) for text in named(path).values()))
    documented = set()
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        if "node_modules" in path.parts:
            continue
        for text in [*named(path).values(), *in_json(path)]:
            documented |= roots(text)
    for path in (ROOT / "docs" / "api" / "examples").rglob("*.graphql"):
        if "node_modules" in path.parts:
            continue
        documented |= roots(path.read_text("utf-8"))
    assert documented <= counted
