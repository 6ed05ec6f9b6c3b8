"""What stands whatever becomes of the rules, of replies taken out, and of trees that had ended."""

from __future__ import annotations

import io
import json
import random
from dataclasses import replace

import pytest
from core_people import SMALL, reply_all, review_all, until_growing, until_ranking
from test_patience import rank_all

from core.collection import Collection
from core.config import ACTIVE_RANKINGS, CollectionConfig
from core.interchange import import_trees
from core.pools import DEFAULT
from core.rules import collections
from core.rulings import judge_message
from core.sweeper import sweep_once
from core.tree_export import Choice, export_trees

HATE = {"spam": 0.0, "hate_speech": 1.0}


@pytest.fixture
def config() -> CollectionConfig:
    return SMALL


@pytest.fixture
async def people(person) -> list:
    return [await person(f"p{number}") for number in range(8)]


async def seen(collection: Collection, tree_id: str) -> list[tuple]:
    """What a tree's messages are: verdict, whether in, rank."""
    return [(each.id, each.state, each.deleted, each.rank) for each in await collection.messages_of(tree_id)]


async def change_rules(collection: Collection, admin, **config) -> None:
    version = (await collections(collection.database, fresh=True))[DEFAULT].version
    await collection.update_collection(admin, DEFAULT, version, config=config)
    await sweep_once(collection.database, collection.config)


@pytest.mark.parametrize("finished", [False, True])
async def test_what_was_decided_stays_decided_when_a_limit_or_the_mode_changes(
    collection, people, person, finished
) -> None:
    admin = await person("admin", "admin")
    tree_id = await until_ranking(collection, people)
    if finished:
        await rank_all(collection, people)
    before = (await collection.tree(tree_id)).state, await seen(collection, tree_id)
    assert before[0] == ("ready_for_export" if finished else "ranking")
    await collection.limit_tree(admin, tree_id, {"num_reviews_reply": 5, "num_reviews_prompt": 5})
    for mode in ("weighted", "parity"):
        await change_rules(collection, admin, mode=mode)
        await collection.react(people[0], tree_id, "+1")  # the tree is settled anew, by the rules of now
        assert ((await collection.tree(tree_id)).state, await seen(collection, tree_id)) == before
    report = await export_trees(collection.database, io.BytesIO(), Choice(accepted_only=True))
    assert report.as_dict()["messages"] == len(before[1])


async def test_weighted_rules_undo_no_verdict_of_parity_mode(collection, people, person) -> None:
    """In parity mode hate is accepted, as in Open-Assistant; what weighted rules would have said comes too late."""
    tree_id = await until_growing(collection, people)
    for _ in range(6):
        await reply_all(collection, people)
        for kind in ("label_assistant_reply", "label_prompter_reply"):
            await review_all(collection, people, kind, HATE)
    before = await seen(collection, tree_id)
    assert {state for _, state, _, _ in before} == {"accepted"}
    await change_rules(collection, await person("admin", "admin"), mode="weighted")
    assert await seen(collection, tree_id) == before
    assert (await collection.tree(tree_id)).state == "ranking"


@pytest.mark.parametrize("mode", ["parity", "weighted"])
@pytest.mark.parametrize("ended", [False, True])
async def test_a_reply_that_comes_back_is_reviewed_and_ranked(database, people, person, mode, ended) -> None:
    collection = Collection(database, replace(SMALL, mode=mode), random.Random(7))
    moderator = await person("mod", "moderator")
    tree_id = await until_growing(collection, people)
    task = await collection.request_task(people[1], "assistant_reply", ["en"])
    late = (await collection.submit_reply(people[1], task.id, "A reply taken out before anybody looked.")).result_id
    await collection.delete_message(moderator, late, "a mistake")
    for _ in range(10):
        await reply_all(collection, people[2:5])
        for kind in ("label_assistant_reply", "label_prompter_reply"):
            await review_all(collection, people, kind)
    if ended:
        await rank_all(collection, people[5:7])
    assert (await collection.tree(tree_id)).state == ("ready_for_export" if ended else "ranking")
    await collection.restore_message(moderator, late, "sorry")
    assert (await collection.tree(tree_id)).state == "ranking"
    assert await review_all(collection, people, "label_assistant_reply") == 2
    assert (await collection.message(late)).state == "accepted"
    newcomers = [await person(f"new{number}") for number in range(2)]
    assert await rank_all(collection, newcomers) == 2, "who ranked the others is not asked again"
    assert (await collection.tree(tree_id)).state == "ready_for_export"
    ranks = {each.id: each.rank for each in await collection.messages_of(tree_id) if each.depth == 1}
    assert sorted(ranks.values()) == list(range(len(ranks)))
    assert late in ranks


def node(name: str, role: str, parent: str | None = None, rank: int | None = None, replies=()) -> dict:
    return {
        "message_id": name, "parent_id": parent, "text": f"The text of {name}.", "role": role, "lang": "en",
        "review_count": 3, "review_result": True, "deleted": False, "rank": rank, "synthetic": False,
        "replies": list(replies),
    }  # fmt: skip


def imported(root: str, *ranks: int | None, **values) -> bytes:
    replies = [node(f"{root}-{place}", "assistant", root, rank) for place, rank in enumerate(ranks)]
    return json.dumps({"message_tree_id": root, "prompt": node(root, "prompter", replies=replies), **values}).encode()


@pytest.mark.parametrize("mode", ["parity", "weighted"])
async def test_gaps_in_ranks_that_came_with_an_import_are_closed(database, person, mode) -> None:
    collection = Collection(database, CollectionConfig(mode=mode), random.Random(7))
    moderator = await person("mod", "moderator")
    await import_trees(database, [imported("r", 1, 0, 3, 2, tree_state="ready_for_export")])

    async def ranks() -> list[int | None]:
        return [(await collection.message(f"r-{place}")).rank for place in range(4)]

    await collection.react(moderator, "r", "+1")
    assert await ranks() == [1, 0, 3, 2]
    await collection.delete_message(moderator, "r-0", "bad")
    assert await ranks() == [None, 0, 2, 1]
    await collection.delete_message(moderator, "r-3", "bad")
    assert await ranks() == [None, 0, 1, None]
    await collection.restore_message(moderator, "r-0", "good")
    await collection.restore_message(moderator, "r-3", "good")
    assert await ranks() == [1, 0, 3, 2]
    await judge_message(database, collection.config, moderator, "r-1", "refused", "bad")
    assert await ranks() == [0, None, 2, 1]


async def test_the_usual_configuration_brings_the_backlog_in(database, person) -> None:
    """With nothing but defaults, trees of an import and of rated chats come to be ranked."""
    collection = Collection(database, CollectionConfig(), random.Random(7))
    await import_trees(database, [imported(f"r{number}", None, None, None) for number in range(ACTIVE_RANKINGS + 2)])
    assert (await sweep_once(database, collection.config)).activated == ACTIVE_RANKINGS
    assert (await sweep_once(database, collection.config)).activated == 0
    task = await collection.request_task(await person("ann"), "random", ["en"])
    assert task.kind == "rank_assistant_replies"
    await collection.submit_ranking(await person("ann"), task.id, list(task.served))
    assert await rank_all(collection, [await person(f"p{number}") for number in range(3)]) == 8
    await sweep_once(database, collection.config)
    states = [(await collection.tree(f"r{number}")).state for number in range(ACTIVE_RANKINGS + 2)]
    assert states == [*["ready_for_export"] * ACTIVE_RANKINGS, *["ranking"] * 2]


async def test_open_assistant_s_backlog_waits_for_the_end_of_others(database) -> None:
    collection = Collection(database, CollectionConfig(mode="parity"), random.Random(7))
    await import_trees(database, [imported("r", None, None)])
    assert (await sweep_once(database, collection.config)).activated == 0
    assert replace(collection.config, min_active_rankings_per_lang=2).active_rankings == 2
