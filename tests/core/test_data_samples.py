"""The samples are what their README says: built from the source, valid, ranked by the consensus of their rankings."""

from __future__ import annotations

import importlib.util
import json
from collections import Counter
from types import ModuleType

import pytest
from data_forms import SAMPLES, Node, nodes, read

from core.consensus import ranked_pairs
from core.records import now
from core.treeform import parse_tree


@pytest.fixture(scope="module")
def trees() -> dict[str, Node]:
    return read(SAMPLES / "trees.jsonl")


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    import sys

    specification = importlib.util.spec_from_file_location("samples_build", SAMPLES / "build.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["samples_build"] = module
    specification.loader.exec_module(module)
    return module


def groups(trees: dict[str, Node]) -> list[Node]:
    return [node for tree in trees.values() for node in nodes(tree) if node["role"] == "prompter"]


def test_the_build_gives_the_file(builder: ModuleType) -> None:
    assert builder.lines() == (SAMPLES / "trees.jsonl").read_text("utf-8")


def test_every_tree_is_valid_and_of_the_samples(trees: dict[str, Node]) -> None:
    for tree in trees.values():
        parsed = parse_tree(tree, origin=None, imported_at=now())
        assert parsed.tree.origin == "open-assistant-samples"
        assert all(each.usable and each.review_count == 3 for each in parsed.messages)
        assert len(parsed.rankings) == 3 * sum(each.role == "prompter" for each in parsed.messages)


def test_the_readme_counts_right(trees: dict[str, Node]) -> None:
    readme = (SAMPLES / "README.md").read_text("utf-8")
    messages = sum(1 for tree in trees.values() for _ in nodes(tree))
    assert f"{len(trees)} trees, {messages} messages, {len(groups(trees))} ranked groups" in readme
    langs = Counter(tree["prompt"]["lang"] for tree in trees.values())
    names = {"en": "English", "de": "German", "es": "Spanish", "fr": "French", "pt-BR": "Portuguese", "ru": "Russian"}
    names |= {"zh": "Chinese", "ja": "Japanese"}
    assert set(names) == set(langs)
    flat = readme.replace("\n", " ").replace(" trees)", ")")
    assert all(f"{names[lang]} ({count})" in flat for lang, count in langs.items())


def test_ranks_are_the_consensus_of_the_rankings(trees: dict[str, Node]) -> None:
    disagreements = 0
    for node in groups(trees):
        rankings = [event["ranked_message_ids"] for event in node["events"]["ranking"]]
        assert ranked_pairs(rankings) == [reply["message_id"] for reply in node["replies"]]
        assert [reply["rank"] for reply in node["replies"]] == list(range(len(node["replies"])))
        disagreements += len({tuple(each) for each in rankings}) > 1
    assert disagreements > 20


def test_nobody_ranks_or_answers_himself(trees: dict[str, Node]) -> None:
    for tree in trees.values():
        for node in nodes(tree):
            authors = [node["user_id"], *(reply["user_id"] for reply in node["replies"])]
            assert len(set(authors)) == len(authors)
            rankers = [event["user_id"] for event in node.get("events", {}).get("ranking", [])]
            assert len(set(rankers)) == len(rankers)
            assert not set(rankers) & set(authors)


def test_texts_are_distinct_and_short_and_length_does_not_tell_the_best(trees: dict[str, Node]) -> None:
    texts = [node["text"] for tree in trees.values() for node in nodes(tree)]
    assert len(set(texts)) == len(texts)
    assert all(len(text) < 600 for text in texts)
    longest_is_best = [
        max(node["replies"], key=lambda reply: len(reply["text"]))["rank"] == 0 for node in groups(trees)
    ]
    assert 0.3 < sum(longest_is_best) / len(longest_is_best) < 0.7


def test_contributors_have_prompts_in_several_languages_with_three_replies_each(trees: dict[str, Node]) -> None:
    prompts = json.loads((SAMPLES / "contributors.json").read_text("utf-8"))["prompts"]
    known = {node["text"] for tree in trees.values() for node in nodes(tree)}
    assert len(prompts) == 6
    assert len({prompt["lang"] for prompt in prompts}) >= 2
    for prompt in prompts:
        assert [reply["quality"] for reply in prompt["replies"]] == ["best", "fair", "poor"]
        assert not known & {prompt["text"], *(reply["text"] for reply in prompt["replies"])}


@pytest.mark.parametrize(
    "text", ["@ a\nwhat is this", "@ a\nA: a reply before any prompt", "@ a\n> p\nA dull: no such flaw"]
)
def test_a_line_of_no_known_form_is_refused_by_number(builder: ModuleType, text: str) -> None:
    with pytest.raises(ValueError, match="source of en, line"):
        list(builder.parse("en", text))
