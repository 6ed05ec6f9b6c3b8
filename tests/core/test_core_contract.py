"""What collection asks of a document store, on the embedded server or `OA_MONGODB_URI`, and on a second one.

Collection uses nothing on which the two disagree, so it runs on MongoDB itself too.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Iterator

import oracle
import pytest
from core_people import SMALL, until_ranking
from pymongo import DeleteOne, InsertOne, UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError

from core.accounts import Accounts
from core.collection import Collection
from core.database import DUPLICATE, connect, migrate
from core.errors import NothingToDo
from core.records import Message, Tree, now
from oa import embedded


@pytest.fixture(scope="session")
def second_uri() -> Iterator[str]:
    """The address of the second server."""
    port = embedded.free_port()
    try:
        process = embedded.start(oracle.command(port))
    except oracle.NoOracle as error:
        pytest.skip(str(error))
    embedded.wait_for_port(port, process)
    yield f"mongodb://127.0.0.1:{port}"
    process.terminate()
    process.wait(10)


@pytest.fixture(params=["first", "second"])
async def store(request) -> AsyncIterator:
    """An empty, migrated database on each of the two."""
    uri = request.getfixturevalue("mongodb_uri" if request.param == "first" else "second_uri")
    client = connect(uri)
    database = client[f"contract_{uuid.uuid4().hex[:12]}"]
    await migrate(database)
    yield database
    await client.drop_database(database.name)
    await client.close()


async def found(cursor) -> list:
    return [document["_id"] async for document in cursor]


async def test_migrations_are_applied_once(store) -> None:
    assert await migrate(store) == []
    assert await store["migrations"].count_documents({}) >= 1


async def test_a_guarded_update_says_whether_it_matched(store) -> None:
    await store["x"].insert_one({"_id": "a", "rev": 1, "flag": False, "list": ["p"], "inner": {"k": 1}, "none": None})
    changes = {"rev": 2, "flag": True, "list": [], "inner": {"n": {"user": "u"}}, "none": "now", "fresh": 0.5}
    assert (await store["x"].update_one({"_id": "a", "rev": 1}, {"$set": changes})).matched_count == 1
    assert (await store["x"].update_one({"_id": "a", "rev": 1}, {"$set": changes})).matched_count == 0
    assert await store["x"].find_one({"_id": "a"}) == {"_id": "a"} | changes


async def test_a_guarded_upsert_makes_changes_or_collides(store) -> None:
    async def upsert(below: int, value: int) -> str:
        guard = {"_id": "a", "at": {"$lt": below}}
        try:
            result = await store["x"].update_one(guard, {"$set": {"at": value}}, upsert=True)
        except DuplicateKeyError:
            return "collided"
        return "made" if result.upserted_id is not None else "changed"

    assert sorted(await asyncio.gather(*(upsert(5, 7) for _ in range(5)))) == ["collided"] * 4 + ["made"]
    assert [await upsert(7, 8), await upsert(8, 9)] == ["collided", "changed"]
    assert await store["x"].find_one({"_id": "a"}) == {"_id": "a", "at": 9}


async def test_of_racing_guarded_updates_one_wins(store) -> None:
    await store["x"].insert_one({"_id": "a", "rev": 0})
    for rev in range(5):
        racing = [
            store["x"].update_one({"_id": "a", "rev": rev}, {"$set": {"rev": rev + 1, "by": n}}) for n in range(10)
        ]
        assert sum(result.matched_count for result in await asyncio.gather(*racing)) == 1


async def test_of_racing_inserts_one_wins(store) -> None:
    racing = [store["x"].insert_one({"_id": "a", "by": n}) for n in range(10)]
    results = await asyncio.gather(*racing, return_exceptions=True)
    assert sum(isinstance(result, DuplicateKeyError) for result in results) == 9
    await store["users"].insert_one({"_id": "u1", "identity": "test:ann"})
    with pytest.raises(DuplicateKeyError):
        await store["users"].insert_one({"_id": "u2", "identity": "test:ann"})


async def test_a_guarded_delete_says_whether_it_matched(store) -> None:
    await store["x"].insert_one({"_id": "a", "rev": 1})
    assert (await store["x"].delete_one({"_id": "a", "rev": 0})).deleted_count == 0
    assert (await store["x"].delete_one({"_id": "a", "rev": 1})).deleted_count == 1


async def test_a_range_of_keys_is_read_in_order_and_leaves_nulls_out(store) -> None:
    keys = ["a|en|5|3", "a|en|5|1", None, "a|de|5|2", "a|en|5|2", "b|en|5|0"]
    for number, key in enumerate(keys):
        await store["work"].insert_one({"_id": str(number), "key": key, "excluded": ["ann"] if number == 4 else []})
    span = {"key": {"$gte": "a|en|", "$lt": "a|en}"}}
    assert await found(store["work"].find(span).sort("key")) == ["1", "4", "0"]
    assert await found(store["work"].find(span | {"excluded": {"$nin": ["ann"]}}).sort("key").limit(1)) == ["1"]
    assert await found(store["work"].find(span | {"excluded": {"$nin": ["ann"]}}).sort("key")) == ["1", "0"]
    assert await store["work"].count_documents(span, limit=2) == 2
    assert await found(store["work"].find({"key": {"$gte": "a|en|5|2", "$lt": "a|en}"}}).sort("key")) == ["4", "0"]


async def test_null_and_false_are_found(store) -> None:
    await store["trees"].insert_one({"_id": "a", "dirty": False})
    await store["trees"].insert_one({"_id": "b", "dirty": True})
    await store["trees"].update_one({"_id": "a"}, {"$set": {"dirty": True}, "$inc": {"version": 1}})
    await store["trees"].update_one({"_id": "b"}, {"$set": {"dirty": False}})
    assert await found(store["trees"].find({"dirty": True})) == ["a"]
    await store["work"].insert_one({"_id": "w", "tree_id": None})
    assert await found(store["work"].find({"tree_id": None})) == ["w"]


async def test_counts_and_bounded_lists_grow_in_place(store) -> None:
    await store["scores"].insert_one({"_id": "s", "counts": {"labels": 1}, "applied": ["c0"]})
    for number in range(1, 5):
        update = {
            "$inc": {"counts.labels": 1, "counts.prompts": 2, "changes": 1},
            "$push": {"applied": {"$each": [f"c{number}"], "$slice": -3}},
        }
        guard = {"_id": "s", "applied": {"$nin": [f"c{number}"]}}
        assert (await store["scores"].update_one(guard, update)).matched_count == 1
        assert (await store["scores"].update_one(guard, update)).matched_count == 0
    document = await store["scores"].find_one({"_id": "s"})
    assert document["counts"] == {"labels": 5, "prompts": 8}
    assert (document["applied"], document["changes"]) == (["c2", "c3", "c4"], 4)
    assert await store["scores"].find_one({"_id": "s", "applied": {"$in": ["c4"]}}, {"_id": 1}) == {"_id": "s"}


async def test_several_ranges_and_collections_are_read_by_one_command(store) -> None:
    for number, key in enumerate(["a|5|2", "a|5|1", "b|5|1", "b|5|3", "b|5|2", None]):
        await store["work"].insert_one({"_id": str(number), "key": key, "excluded": ["ann"] if number == 1 else []})
    await store["reviews"].insert_many([{"_id": "r", "tree_id": "t"}, {"_id": "s", "tree_id": "u"}])

    def part(start: str, end: str) -> list[dict]:
        query = {"key": {"$gte": start, "$lt": end}, "excluded": {"$nin": ["ann"]}}
        return [{"$match": query}, {"$sort": {"key": 1}}, {"$limit": 2}]

    others = [
        {"$unionWith": {"coll": "work", "pipeline": part("b|5|", "b|5}")}},
        {"$unionWith": {"coll": "reviews", "pipeline": [{"$match": {"tree_id": "t"}}]}},
    ]
    found = await store["work"].aggregate([*part("a|5|", "a|5}"), *others])
    assert sorted([document["_id"] async for document in found]) == ["0", "2", "4", "r"]


async def test_many_guarded_writes_by_one_command_say_how_many_matched(store) -> None:
    await store["x"].insert_many([{"_id": name, "rev": 1, "holds": {"t": {"until": 5}}} for name in "abc"])
    writes = [
        UpdateOne({"_id": "a", "rev": 1}, {"$set": {"rev": 2}}),
        UpdateOne({"_id": "b", "rev": 0}, {"$set": {"rev": 9}}),
        DeleteOne({"_id": "c", "rev": 1}),
        DeleteOne({"_id": "a", "rev": 7}),
        InsertOne({"_id": "d", "rev": 0}),
    ]
    done = await store["x"].bulk_write(writes, ordered=False)
    assert (done.matched_count, done.deleted_count, done.inserted_count) == (1, 1, 1)
    assert {each["_id"]: each["rev"] async for each in store["x"].find()} == {"a": 2, "b": 1, "d": 0}
    with pytest.raises(BulkWriteError) as error:
        await store["x"].bulk_write([InsertOne({"_id": "d"}), InsertOne({"_id": "e", "rev": 3})], ordered=False)
    assert [each["code"] for each in error.value.details["writeErrors"]] == [DUPLICATE]
    assert await store["x"].count_documents({"_id": "e"}) == 1


async def test_a_document_is_replaced_by_who_read_it_last_and_found_by_its_new_keys(store) -> None:
    first = {"_id": "ann", "changes": 1, "applied": ["a"], "day": {"counts": {"labels": 1}}, "board_day": "d|9"}
    await store["scores"].insert_many([first, first | {"_id": "bob", "board_day": "d|5", "board_total": "t|5"}])
    after = {"_id": "ann", "changes": 2, "day": {"counts": {}}, "board_day": "d|3", "trust_due": 1}
    many = [store["scores"].replace_one({"_id": "ann", "changes": 1}, after | {"by": turn}) for turn in range(5)]
    assert sorted([done.matched_count for done in await asyncio.gather(*many)]) == [0, 0, 0, 0, 1]
    document = await store["scores"].find_one({"_id": "ann"})
    assert document == after | {"by": document["by"]}
    for query in ({"board_day": {"$gt": "d|", "$lt": "d}"}}, {"_id": {"$in": ["bob", "ann"]}}):
        assert await found(store["scores"].find(query).sort("board_day")) == ["ann", "bob"]
    assert await found(store["scores"].find({"trust_due": {"$lte": 1}}).sort("trust_due")) == ["ann"]
    assert await found(store["scores"].find({"board_total": {"$gt": "t|", "$lt": "t}"}}).sort("board_total")) == ["bob"]
    gone = await store["scores"].replace_one({"_id": "cid", "changes": 1}, {"_id": "cid", "changes": 2})
    assert gone.matched_count == 0


async def test_texts_are_put_into_a_list_and_taken_out_of_it(store) -> None:
    await store["tree_credits"].insert_one({"_id": "t", "taken": []})
    for texts in (["1|a|x", "1|a|y"], ["1|a|y", "2|b|z"]):
        await store["tree_credits"].update_one({"_id": "t"}, {"$push": {"taken": {"$each": texts}}})
    assert (await store["tree_credits"].find_one({"_id": "t"}))["taken"] == ["1|a|x", "1|a|y", "1|a|y", "2|b|z"]
    await store["tree_credits"].update_one({"_id": "t"}, {"$addToSet": {"taken": {"$each": ["1|a|y", "3|c|u"]}}})
    await store["tree_credits"].update_one({"_id": "t"}, {"$pull": {"taken": {"$in": ["1|a|y", "2|b|z", "no"]}}})
    assert (await store["tree_credits"].find_one({"_id": "t"}))["taken"] == ["1|a|x", "3|c|u"]


async def test_a_part_of_a_document_is_taken_out_once(store) -> None:
    await store["x"].insert_one({"_id": "w", "rev": 1, "holds": {"t-1": {"until": 5}, "t-2": {"until": 6}}})
    for matched in (1, 0):
        guard = {"_id": "w", "holds.t-1": {"$exists": True}}
        done = await store["x"].update_one(guard, {"$unset": {"holds.t-1": ""}, "$inc": {"rev": 1}})
        assert done.matched_count == matched
    assert await store["x"].find_one({"_id": "w"}) == {"_id": "w", "rev": 2, "holds": {"t-2": {"until": 6}}}


async def test_set_on_insert_sets_once(store) -> None:
    for by in ("ann", "bob"):
        await store["events"].update_one({"_id": "e"}, {"$setOnInsert": {"by": by, "at": now()}}, upsert=True)
    assert (await store["events"].find_one({"_id": "e"}))["by"] == "ann"


async def test_records_come_back_from_inserts_and_updates(store) -> None:
    tree = Tree(id="t", state="growing", lang="en", won_lottery_at=now(), dirty=True, source={"kept": {"a": [1, None]}})
    message = Message(
        id="t", tree_id="t", parent_id=None, role="prompter", lang="en", text="Ünï🙂\x00",
        labels={"spam": {"value": 0.1, "count": 3}}, emojis={"+1": 2, "_skip_reply": 1},
    )  # fmt: skip
    for record, name in ((tree, "trees"), (message, "messages")):
        document = record.to_document()
        await store[name].insert_one(document)
        assert type(record).from_document(await store[name].find_one({"_id": "t"})) == record
        del document["_id"]
        await store[name].update_one({"_id": "t"}, {"$set": document})
        assert type(record).from_document(await store[name].find_one({"_id": "t"})) == record


async def test_a_whole_tree_is_collected(store) -> None:
    collection, accounts = Collection(store, SMALL, random.Random(7)), Accounts(store)
    people = [await accounts.ensure_user("test", name, name) for name in ("ann", "bob", "cid", "dan", "eve", "fay")]
    tree_id = await until_ranking(collection, people)
    for user in people:
        try:
            task = await collection.request_task(user, "rank_assistant_replies", ["en"])
        except NothingToDo:
            continue
        await collection.submit_ranking(user, task.id, sorted(task.served))
    assert (await collection.tree(tree_id)).state == "ready_for_export"
    assert sorted(each.rank for each in await collection.messages_of(tree_id) if each.depth == 1) == [0, 1]
