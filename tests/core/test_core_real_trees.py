"""The rules against real trees: what volunteers' reviews and rankings gave, `advance` leaves as it was."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.advance import advance
from core.config import CollectionConfig
from core.consensus import ranked_pairs
from core.opinions import Reaction, reaction_id
from core.records import EMOJIS, TREE_STATES, Message, Tree
from core.treeform import as_imported

SAMPLES = Path(__file__).resolve().parents[2] / "samples" / "trees.jsonl"
SETS = ("oasst1-en-validation", "oasst2-multilingual-551")


def lines(folder: Path) -> list[dict]:
    with gzip.open(folder / "trees.jsonl.gz", "rt") as file:
        return [json.loads(line) for line in file]


def walk(node: dict, tree_id: str, ancestors: tuple[str, ...] = ()) -> Iterator[Message]:
    verdict = {True: "accepted", False: "refused", None: "pending"}[node.get("review_result")]
    yield as_imported(
        Message(
            id=node["message_id"], tree_id=tree_id, parent_id=ancestors[-1] if ancestors else None, role=node["role"],
            lang=node["lang"], text=node["text"], ancestors=ancestors, depth=len(ancestors), state=verdict,
            author_id=node.get("user_id"), deleted=node.get("deleted") or False, rank=node.get("rank"),
            review_count=node.get("review_count") or 0, emojis=node.get("emojis") or {},
            labels=node.get("labels") or {},
        )
    )  # fmt: skip
    for reply in node.get("replies") or []:
        yield from walk(reply, tree_id, (*ancestors, node["message_id"]))


@pytest.mark.parametrize("name", SETS)
def test_a_finished_tree_stays_as_it_is(shared_data, name) -> None:
    finished = 0
    for line in lines(shared_data / name):
        tree = Tree(id=line["message_tree_id"], state=line["tree_state"], lang=line["prompt"]["lang"])
        assert tree.state in TREE_STATES
        if tree.state not in ("ready_for_export", "aborted_low_grade", "halted_by_moderator", "prompt_lottery_waiting"):
            continue
        messages = list(walk(line["prompt"], tree.id))
        assert {code for message in messages for code in message.emojis} <= set(EMOJIS)
        following = advance(tree, messages, [], [], CollectionConfig())
        if any(message.deleted and message.parent_id is None for message in messages):
            continue  # a waiting tree whose prompt was deleted: here it is halted, there it kept waiting
        assert (following.state, following.work) == (tree.state, ())
        for before, after in zip(messages, following.messages, strict=True):
            # What lies under a deleted message is deleted here; there some of it was kept.
            assert after == before or (after.deleted and not before.deleted)
        finished += 1
    assert finished > 150


@pytest.mark.parametrize("name", SETS)
def test_real_ranks_are_permutations_that_consensus_reproduces_from_unanimous_rankings(shared_data, name) -> None:
    """The published sets hold ranks and no single rankings; three people who agree with them must give them back."""
    groups = 0
    for line in lines(shared_data / name):
        messages = list(walk(line["prompt"], line["message_tree_id"]))
        for parent in messages:
            ranked = [each for each in messages if each.parent_id == parent.id and each.rank is not None]
            order = [each.id for each in sorted(ranked, key=lambda each: each.rank)]
            if len(order) > 1:
                assert ranked_pairs([order, order, order]) == order
                groups += 1
    assert groups > 200


@pytest.mark.parametrize("name", SETS)
def test_an_emoji_on_a_finished_tree_changes_that_count_alone(shared_data, name) -> None:
    for line in lines(shared_data / name)[:40]:
        tree = Tree(id=line["message_tree_id"], state="ready_for_export", lang=line["prompt"]["lang"])
        messages = list(walk(line["prompt"], tree.id))
        if messages[0].deleted:
            continue
        identity = reaction_id(tree.id, "ann", "clap")
        clap = Reaction(id=identity, tree_id=tree.id, message_id=tree.id, user_id="ann", emoji="clap")
        plain = advance(tree, messages, [], [], CollectionConfig()).messages
        clapped = advance(tree, messages, [], [], CollectionConfig(), [clap]).messages
        assert clapped[1:] == plain[1:]
        assert clapped[0].emojis == {**plain[0].emojis, "clap": plain[0].emojis.get("clap", 0) + 1}


def test_the_sample_trees_have_the_ranks_that_their_rankings_give() -> None:
    groups = 0
    for line in SAMPLES.read_text().splitlines():
        pending = [json.loads(line)["prompt"]]
        while pending:
            node = pending.pop()
            replies = node.get("replies") or []
            pending += replies
            votes = [event["ranked_message_ids"] for event in (node.get("events") or {}).get("ranking", [])]
            if votes:
                order = ranked_pairs(votes)
                ranks = {reply["message_id"]: reply["rank"] for reply in replies if reply["message_id"] in order}
                assert order == sorted(ranks, key=lambda each: ranks[each])
                groups += 1
    assert groups > 50
