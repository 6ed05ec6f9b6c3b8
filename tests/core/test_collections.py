"""Several collections side by side, and rules that change while all runs."""

from __future__ import annotations

import pytest
from core_people import GOOD, SMALL, review_all, until_growing, write_prompt
from faults import Crashed, crash_after

from core import rules
from core.collection_records import CollectionRecord
from core.errors import BadInput, Conflict, Forbidden, NotFound, NothingToDo
from core.pools import DEFAULT, collection_of, lang_of, pool_of
from core.records import Tree
from core.sweeper import sweep_once


@pytest.fixture
async def admin(person):
    return await person("the admin", "admin")


@pytest.fixture
async def people(person):
    return [await person(f"person {number}") for number in range(5)]


@pytest.mark.parametrize(("collection", "lang"), [(DEFAULT, "en"), ("code", "pt-BR")])
def test_a_pool_names_its_collection_and_language(collection, lang) -> None:
    pool = pool_of(collection, lang)
    assert (collection_of(pool), lang_of(pool)) == (collection, lang)


async def test_two_collections_keep_their_work_apart(collection, admin, people) -> None:
    await collection.create_collection(admin, "code", "Code", ["en", "de"], {"num_reviews_initial_prompt": 1})
    here = await write_prompt(collection, people[0], "What is rain?")
    task = await collection.request_task(people[0], "initial_prompt", ["en"], "code")
    there = (await collection.submit_prompt(people[0], task.id, "What is a list?", "en")).result_id
    assert ((await collection.tree(here)).collection, (await collection.tree(there)).collection) == (DEFAULT, "code")

    task = await collection.request_task(people[1], "label_initial_prompt", ["en"], "code")
    assert task.target_id == there
    await collection.submit_review(people[1], task.id, GOOD)  # one is enough there
    assert (await collection.message(there)).state == "accepted"
    assert (await collection.message(here)).state == "pending"
    assert (await collection.available(people[2], ["en"], "code"))["label_initial_prompt"] == 0
    assert (await collection.available(people[2], ["en"]))["label_initial_prompt"] == 1

    await sweep_once(collection.database, collection.config)
    assert (await collection.tree(there)).state == "growing"
    reply = await collection.request_task(people[2], "assistant_reply", ["en"], "code")
    assert reply.tree_id == there
    with pytest.raises(NothingToDo):
        await collection.request_task(people[2], "assistant_reply", ["en"])


async def test_languages_and_closed_collections(collection, admin, people) -> None:
    made = await collection.create_collection(admin, "code", "Code", ["de"], {})
    assert set((await collection.available(people[0], ["en"], "code")).values()) == {0}
    assert (await collection.available(people[0], ["de", "en"], "code"))["initial_prompt"] == 100
    with pytest.raises(BadInput, match="takes none of en; it takes de"):
        await collection.request_task(people[0], "initial_prompt", ["en"], "code")
    with pytest.raises(NotFound, match="no collection 'cod'"):
        await collection.request_task(people[0], "initial_prompt", ["en"], "cod")
    await collection.update_collection(admin, "code", made.version, is_open=False)
    with pytest.raises(NothingToDo, match="closed"):
        await collection.request_task(people[0], "initial_prompt", ["de"], "code")
    assert set((await collection.available(people[0], ["de"], "code")).values()) == {0}


async def test_a_change_of_rules_moves_trees_that_wait(collection, admin, people) -> None:
    """A prompt with one review of two waits; with one wanted it is decided as soon as the sweeper comes by."""
    prompt = await write_prompt(collection, people[0])
    task = await collection.request_task(people[1], "label_initial_prompt", ["en"])
    await collection.submit_review(people[1], task.id, GOOD)
    assert (await collection.message(prompt)).state == "pending"
    await collection.update_collection(
        admin, DEFAULT, 0, config={"mode": "weighted", "reviews_least": 1, "reviews_quorum": 0.5}
    )
    await sweep_once(collection.database, collection.config)
    assert (await collection.message(prompt)).state == "accepted"
    journal = [each async for each in collection.database["events"].find({"kind": "update_collection"})]
    assert [each["details"]["before"]["config"] for each in journal] == [{}]
    assert journal[0]["details"]["after"]["config"]["mode"] == "weighted"
    assert journal[0]["by"] == admin.id


async def test_a_change_is_followed_up_after_a_crash_between_its_writes(collection, admin, people) -> None:
    """The rules change by one write; whenever the process ends after it, the sweeper does the rest, once."""
    prompt = await write_prompt(collection, people[0])
    task = await collection.request_task(people[1], "label_initial_prompt", ["en"])
    await collection.submit_review(people[1], task.id, GOOD)
    with crash_after(1), pytest.raises(Crashed):
        await collection.update_collection(
            admin, DEFAULT, 0, config={"mode": "weighted", "reviews_least": 1, "reviews_quorum": 0.5}
        )
    await rules.collections(collection.database, fresh=True)
    swept = await sweep_once(collection.database, collection.config)
    assert (swept.changed, swept.failures) == (1, [])
    await sweep_once(collection.database, collection.config)
    assert (await collection.message(prompt)).state == "accepted"
    assert len([each async for each in collection.database["events"].find({"kind": "update_collection"})]) == 1


async def test_another_process_sees_a_change(collection, admin, people, database, monkeypatch) -> None:
    """What a process knows is read again when it is old; here at once."""
    assert (await rules.rules_of(database, SMALL)).goal_tree_size == SMALL.goal_tree_size
    document = CollectionRecord(id=DEFAULT, name="Default", changes={"goal_tree_size": 9}, version=1).to_document()
    await database["collections"].insert_one(document)  # as another process would
    monkeypatch.setattr(rules, "FRESH_SECONDS", 0.0)
    assert (await rules.rules_of(database, SMALL)).goal_tree_size == 9


async def test_who_changes_what_another_changed_is_told(collection, admin) -> None:
    await collection.update_collection(admin, DEFAULT, 0, config={"max_text_length": 10})
    with pytest.raises(Conflict, match="has version 1, not 0"):
        await collection.update_collection(admin, DEFAULT, 0, config={"max_text_length": 20})
    changed = await collection.update_collection(admin, DEFAULT, 1, config={"max_text_length": None}, name="Ours")
    assert (changed.changes, changed.name, changed.version) == ({}, "Ours", 2)
    with pytest.raises(Conflict, match="already"):
        await collection.create_collection(admin, DEFAULT, "Another", [], {})


async def test_a_language_that_is_closed_to_prompts_may_be_spelled_as_people_do(collection, admin, people) -> None:
    changed = await collection.update_collection(admin, DEFAULT, 0, config={"init_prompt_disabled_langs": ["PT-br"]})
    assert changed.changes == {"init_prompt_disabled_langs": ["pt-BR"]}
    assert (await collection.available(people[0], ["pt-br"]))["initial_prompt"] == 0
    with pytest.raises(NothingToDo):
        await collection.request_task(people[0], "initial_prompt", ["pt-br"])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"colour": 1}, "no setting 'colour'"),
        ({"goal_tree_size": "many"}, "must be a whole number"),
        ({"goal_tree_size": True}, "is true; it must be a whole number"),
        ({"goal_tree_size": 0}, "must be from 1 to 1000"),
        ({"accept_from": 0.2}, "from 0.5 to below 1"),
        ({"mode": "best"}, "one of: weighted, parity"),
        ({"critical_labels": ["spam", "boring"]}, "'boring' is none"),
        ({"reviews_least": 9}, "from 1 to reviews_most, 5"),
        ({"lease_rank_seconds": 0}, "must be 1 or more"),
        ({"init_prompt_disabled_langs": ["klingon"]}, "no language tag"),
        ({"accept_from": 5}, "from 0.5 to below 1"),
        ({"auto_mod_red_flags": 0}, "must be from 1"),
        ({"critical_labels": []}, "names none"),
        ({"weight_rank": 1e308}, "from 0 to 1000000000"),
        ({"weight_rank": float("inf")}, "weight_rank is inf"),
        ({"weight_rank": float("nan")}, "weight_rank is nan"),
        ({"new_account_seconds": 1e15}, "from 0 to 315360000"),
        ({"reviews_most": 10**9}, "from 0 to 100"),
        ({"num_required_rankings": 10**6}, "from 1 to 20"),
    ],
)
async def test_a_wrong_setting_is_named_and_nothing_changes(collection, admin, changes, says) -> None:
    with pytest.raises(BadInput, match=says) as caught:
        await collection.update_collection(admin, DEFAULT, 0, config=changes)
    assert tuple(caught.value.path) == ("config", *changes)
    assert (await collection.collections())[0].version == 0


async def test_only_admins_may(collection, person) -> None:
    moderator = await person("a moderator", "moderator")
    for attempt in (
        collection.create_collection(moderator, "code", "Code", [], {}),
        collection.update_collection(moderator, DEFAULT, 0, name="Mine"),
        collection.limit_tree(moderator, "no tree", {"goal_size": 3}),
    ):
        with pytest.raises(Forbidden):
            await attempt


async def test_limits_of_one_tree(collection, admin, people) -> None:
    """A tree that grows is done when its goal becomes what it has; a limit out of range is refused."""
    tree_id = await until_growing(collection, people)
    with pytest.raises(BadInput, match="goal_size is 0; it must be from 1 to 1000"):
        await collection.limit_tree(admin, tree_id, {"goal_size": 0})
    tree = await collection.limit_tree(admin, tree_id, {"goal_size": 1})
    assert isinstance(tree, Tree)
    assert (tree.goal_size, tree.state) == (1, "ready_for_export")
    assert await review_all(collection, people, "label_assistant_reply") == 0
