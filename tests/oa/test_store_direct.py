"""The short way through the embedded store answers what the long way answers, and leaves what it leaves."""

from __future__ import annotations

import copy
import itertools
import logging
from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from neosqlite._sqlite import sqlite3 as engine
from nx_27017.handler import NeoSQLiteHandler
from nx_27017.wire_protocol import OP_MSG

from oa import document_server, store_direct
from oa.document_server import Server, parse
from oa.store_pipelines import Pipelines
from oa.store_texts import Unlike

pytestmark = pytest.mark.skipif(
    engine.sqlite_version_info >= store_direct.BINARY_FORM, reason="this SQLite keeps documents in another form"
)
SEQUENCES = ("documents", "updates", "deletes", "ops", "nsInfo")
MAJORITY = {"w": "majority"}


def command(**arguments: Any) -> dict[str, Any]:
    """A command as the front reads it, its lists beside it."""
    body = {"$db": "admin" if "bulkWrite" in arguments else "test"}
    body = {name: value for name, value in arguments.items() if name not in SEQUENCES} | body
    sections = [("body", body)] + [("payload", {name: arguments[name]}) for name in SEQUENCES if name in arguments]
    return {"request_id": 1, "sections": [(kind, bson.decode(bson.encode(sent))) for kind, sent in sections]}


def bulk(*ops: dict[str, Any], names: tuple[str, ...] = ("one", "two")) -> dict[str, Any]:
    """A `bulkWrite` over collections of the database."""
    return command(bulkWrite=1, ops=list(ops), nsInfo=[{"ns": f"test.{name}"} for name in names], errorsOnly=False)


class Twins:
    """Two stores that get the same commands: one answers the short way where it can, the other never."""

    def __init__(self) -> None:
        self.short, self.long = (Server(NeoSQLiteHandler(data_dir="memory")) for _ in range(2))
        self.long.direct = None

    def both(self, message: dict[str, Any]) -> dict[str, Any]:
        """The answer, which has to be one."""
        short, long = (bson.decode(each.answer(copy.deepcopy(message), None)[21:]) for each in (self.short, self.long))
        assert short == long, message
        return short

    def short_way(self, message: dict[str, Any]) -> dict[str, Any] | None:
        """The answer of the short way, if it has one, which has to be the long way's too."""
        direct = self.short.direct
        assert direct is not None
        answer = direct.answer(copy.deepcopy(message))
        if answer is None:
            self.both(message)
            return None
        short = bson.decode(bson.encode(answer))
        assert short == bson.decode(self.long.answer(copy.deepcopy(message), None)[21:]), message
        return short

    def check_contents(self, names: tuple[str, ...] = ("one", "two", "three")) -> None:
        """Both hold the same documents, in the same order, fields included."""
        for name in names:
            whole = command(find=name, filter={}, batchSize=10_000)
            short, long = (
                str(bson.decode(each.answer(copy.deepcopy(whole), None)[21:])) for each in (self.short, self.long)
            )
            assert short == long


@pytest.fixture
def twins() -> Twins:
    """Two stores with a few documents."""
    made = Twins()
    filled = [
        {"_id": "a", "state": "open", "rev": 1, "at": datetime(2026, 5, 1, 12, 30, tzinfo=UTC), "labels": {"spam": 1}},
        {"_id": "b", "state": "done", "rev": 2, "applied": ["x", "y"], "key": "k|2"},
        {"_id": "c", "rev": 2, "nothing": None, "text": 'Grüße, "Ω"', "list": [1, 2.5, {"a": True}], "key": "k|1"},
    ]
    assert made.both(command(insert="one", documents=filled))["n"] == 3
    assert made.both(command(insert="two", documents=[{"_id": "d", "key": "k|3", "excluded": ["u"]}]))["n"] == 1
    return made


SHORT = {
    "find": command(find="one", filter={"_id": "a"}, limit=1, singleBatch=True),
    "find nothing": command(find="one", filter={"_id": "zz"}),
    "find 24 letters": command(find="one", filter={"_id": "g" * 24}),
    "find several": command(find="one", filter={"_id": {"$in": ["c", "a", "zz"]}}),
    "insert": command(
        insert="one", documents=[{"_id": "n", "at": datetime(2026, 1, 1), "deep": {"at": datetime(2026, 1, 2)}}]
    ),
    "set": command(
        update="one",
        updates=[
            {"q": {"_id": "a", "state": "open"}, "u": {"$set": {"state": "x", "new": [1, {"b": False}], "yes": True}}}
        ],
        writeConcern=MAJORITY,
    ),
    "set a date": command(
        update="one", updates=[{"q": {"_id": "a"}, "u": {"$set": {"at": datetime(2026, 2, 2, 1, 1, 1)}}}]
    ),
    "guard not met": command(update="one", updates=[{"q": {"_id": "a", "rev": 7}, "u": {"$set": {"rev": 8}}}]),
    "nothing changed": command(update="one", updates=[{"q": {"_id": "a"}, "u": {"$set": {"rev": 1}}}]),
    "a list and a count": command(
        update="one",
        updates=[
            {
                "q": {"_id": "b", "rev": 2, "applied": {"$nin": ["z"]}},
                "u": {
                    "$set": {"counts.z": 3},
                    "$inc": {"rev": 1, "times": 2},
                    "$push": {"applied": {"$each": ["z"], "$slice": -2}},
                },
            }
        ],
    ),
    "already applied": command(
        update="one", updates=[{"q": {"_id": "b", "applied": {"$nin": ["y"]}}, "u": {"$inc": {"rev": 1}}}]
    ),
    "a whole document": command(
        update="one", updates=[{"q": {"_id": "a", "rev": 1}, "u": {"x": datetime(2026, 4, 4), "yes": True}}]
    ),
    "unset": command(
        update="one",
        updates=[{"q": {"_id": "a", "labels.spam": {"$exists": True}}, "u": {"$unset": {"labels.spam": ""}}}],
    ),
    "upsert": command(
        update="one",
        updates=[{"q": {"_id": "u"}, "u": {"$setOnInsert": {"at": datetime(2026, 3, 3), "is": True}}, "upsert": True}],
    ),
    "upsert of what is there": command(
        update="one", updates=[{"q": {"_id": "a"}, "u": {"$setOnInsert": {"rev": 9}}, "upsert": True}]
    ),
    "delete": command(delete="one", deletes=[{"q": {"_id": "b", "rev": 2}, "limit": 1}]),
    "bulkWrite": bulk(
        {"insert": 0, "document": {"_id": "n"}},
        {"update": 0, "filter": {"_id": "a", "rev": 1}, "updateMods": {"$set": {"rev": 2}}, "multi": False},
        {"update": 0, "filter": {"_id": "a", "rev": 1}, "updateMods": {"$set": {"rev": 3}}, "multi": False},
        {"update": 1, "filter": {"_id": "v"}, "updateMods": {"$set": {"rev": 3}}, "multi": False, "upsert": True},
        {"delete": 1, "filter": {"_id": "d"}, "multi": False},
    ),
    "aggregate": command(
        aggregate="one",
        cursor={},
        pipeline=[
            {"$match": {"key": {"$gte": "k|", "$lt": "k}"}, "excluded": {"$nin": ["u"]}}},
            {"$sort": {"key": 1}},
            {"$limit": 3},
            {"$unionWith": {"coll": "two", "pipeline": [{"$match": {"_id": "d"}}]}},
            {"$unionWith": {"coll": "one", "pipeline": [{"$match": {"rev": 2}}, {"$project": {"rev": 1}}]}},
        ],
    ),
}


@pytest.mark.parametrize("name", SHORT)
def test_what_a_cycle_asks_goes_the_short_way(twins: Twins, name: str) -> None:
    assert twins.short_way(SHORT[name]) is not None
    twins.check_contents()


LONG = {
    "a text that may be a date": command(find="one", filter={"_id": "2026-05-01"}),
    "an ObjectId's text": command(find="one", filter={"_id": "a" * 24}),
    "an ObjectId": command(find="one", filter={"_id": bson.ObjectId("5" * 24)}),
    "a range": command(find="one", filter={"_id": {"$gt": "a"}}),
    "a collection of the store": command(find="sqlite_master", filter={"_id": "a"}),
    "a file's collection": command(find="x_files", filter={"_id": "a"}),
    "a collection that is not": command(find="none", filter={"_id": "a"}),
    "a sorted answer": command(find="one", filter={"_id": "a"}, sort={"rev": 1}),
    "bytes": command(insert="one", documents=[{"_id": "n", "raw": b"x"}]),
    "no number": command(insert="one", documents=[{"_id": "n", "raw": float("nan")}]),
    "an id that is there": command(insert="one", documents=[{"_id": "n"}, {"_id": "a"}, {"_id": "m"}]),
    "an id that is there, out of order": command(insert="one", documents=[{"_id": "a"}, {"_id": "m"}], ordered=False),
    "another concern": command(insert="one", documents=[{"_id": "n"}], writeConcern={"w": 1}),
    "a long fraction": command(update="one", updates=[{"q": {"_id": "a"}, "u": {"$set": {"x": 0.1 + 0.2}}}]),
    "many documents": command(update="one", updates=[{"q": {"_id": "a"}, "u": {"$set": {"x": 1}}, "multi": True}]),
    "a whole document of another id": command(update="one", updates=[{"q": {"_id": "a"}, "u": {"_id": "z", "x": 1}}]),
    "a whole document that is not there": command(
        update="one", updates=[{"q": {"_id": "zz"}, "u": {"_id": "zz", "x": 1}, "upsert": True}]
    ),
    "a text to a number": command(update="one", updates=[{"q": {"_id": "a"}, "u": {"$inc": {"state": 1}}}]),
    "a list of everything": command(update="one", updates=[{"q": {"_id": "c"}, "u": {"$push": {"list": 1}}}]),
    "a path through a text": command(update="one", updates=[{"q": {"_id": "a"}, "u": {"$set": {"state.x": 1}}}]),
    "part of what is sent": bulk(
        {"insert": 0, "document": {"_id": "n"}},
        {"insert": 0, "document": {"_id": "a"}},
        {"insert": 1, "document": {"_id": "x"}},
    ),
    "two databases": command(
        bulkWrite=1, ops=[{"insert": 0, "document": {"_id": "n"}}], nsInfo=[{"ns": "test.one"}, {"ns": "other.one"}]
    ),
    "a stage": command(aggregate="one", cursor={}, pipeline=[{"$group": {"_id": "$rev", "n": {"$sum": 1}}}]),
    "several batches": command(aggregate="one", cursor={"batchSize": 1}, pipeline=[{"$match": {"rev": {"$gte": 0}}}]),
}


@pytest.mark.parametrize("name", LONG)
def test_what_is_not_surely_alike_goes_the_long_way_and_leaves_nothing_before(twins: Twins, name: str) -> None:
    before = twins.both(command(find="one", filter={}))
    assert twins.short.direct is not None
    assert twins.short.direct.answer(copy.deepcopy(LONG[name])) is None
    assert bson.decode(twins.short.answer(command(find="one", filter={}), None)[21:]) == before
    if name != "several batches":  # cursors of two servers have two numbers
        twins.both(LONG[name])
    twins.check_contents()


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.sampled_from([0.5, 3.0, 1e20, 0.1 + 0.2, 1e-7])
    | st.datetimes(datetime(2000, 1, 1), datetime(2040, 1, 1)).map(lambda at: at.replace(microsecond=0))
    | st.sampled_from(["", "x", "2026-05-01", "01/02/2026", "$state", "a" * 24, "Ω\U0001f600", "nul\0", '{"a": 1}']),
    lambda each: st.lists(each, max_size=2) | st.dictionaries(st.sampled_from(["a", "$date", "b-c"]), each, max_size=2),
    max_leaves=4,
)  # fmt: skip
SMALL = st.integers(0, 3) | st.sampled_from(["x", "y", "k|1", None, True, 1.0, "2026-05-01"])
IDS = st.sampled_from(["a", "b", "c", "d", "2026-05-01", "a" * 24, "g" * 24, 7])
PATHS = st.sampled_from(["state", "rev", "counts", "counts.a", "counts.a.b", "counts.1", "list", "at", "deep.x"])
TEXTS = st.lists(st.sampled_from(["x", "y", "z"]), max_size=3)
DOCUMENTS = st.builds(
    lambda identity, fields, lists: {"_id": identity, **fields, **lists},
    IDS,
    st.dictionaries(st.sampled_from(["state", "rev", "counts", "at", "deep", "key"]), VALUES | SMALL, max_size=4),
    st.dictionaries(st.sampled_from(["list", "excluded"]), TEXTS | VALUES, max_size=2),
)
GUARDS = st.dictionaries(
    st.sampled_from(["state", "rev", "counts", "at"]), SMALL | VALUES, max_size=1
) | st.sampled_from(
    [
        {"list": {"$nin": ["x"]}},
        {"list": {"$nin": ["x", 1]}},
        {"counts.a": {"$exists": True}},
        {"rev": {"$gte": 1}},
        {"list": "x"},
    ]
)
FILTERS = st.builds(lambda identity, guards: {"_id": identity, **guards}, IDS, GUARDS)
PUSHED = SMALL | st.builds(
    lambda each, last: {"$each": each, **last}, TEXTS, st.sampled_from([{}, {"$slice": -2}, {"$slice": 1}])
)
UPDATES = st.builds(
    lambda made: {operator: fields for operator, fields in made.items() if fields},
    st.fixed_dictionaries(
        {},
        optional={
            "$set": st.dictionaries(PATHS, SMALL | VALUES, min_size=1, max_size=3),
            "$inc": st.dictionaries(PATHS, st.sampled_from([1, -2, 0.5]), min_size=1, max_size=1),
            "$push": st.dictionaries(PATHS, PUSHED, min_size=1, max_size=1),
            "$unset": st.dictionaries(PATHS, st.just(""), min_size=1, max_size=2),
            "$setOnInsert": st.dictionaries(st.sampled_from(["key", "at"]), VALUES, min_size=1, max_size=1),
        },
    ),
).filter(bool)
NAMES = st.sampled_from(["one", "two"])
RANGES = st.sampled_from(
    [
        [{"$match": {"key": {"$gte": "k|", "$lt": "k}"}}}, {"$sort": {"key": 1}}, {"$limit": 3}],
        [{"$match": {"key": "k|1", "rev": 1}}],
        [{"$match": {"_id": "a"}}, {"$project": {"rev": 1}}],
        [{"$match": {"_id": {"$in": ["a", "c"]}, "excluded": {"$nin": ["x"]}}}],
        [{"$match": {"rev": {"$gte": 1}, "state": None}}, {"$sort": {"rev": -1}}],
        [{"$match": {"$or": [{"rev": 1}, {"state": "x"}]}}],
    ]
)
PIPELINES = st.builds(
    lambda first, others: first + [{"$unionWith": {"coll": name, "pipeline": stages}} for name, stages in others],
    RANGES,
    st.lists(st.tuples(NAMES, RANGES), max_size=2),
)
OPS = (
    st.builds(lambda n, document: {"insert": n, "document": document}, st.integers(0, 1), DOCUMENTS)
    | st.builds(
        lambda n, asked, mods, more: {"update": n, "filter": asked, "updateMods": mods, "multi": False, **more},
        st.integers(0, 1), FILTERS, UPDATES | DOCUMENTS, st.sampled_from([{}, {"upsert": True}]),
    )
    | st.builds(lambda n, asked: {"delete": n, "filter": asked, "multi": False}, st.integers(0, 1), FILTERS)
)  # fmt: skip
CHANGES = st.builds(
    lambda asked, update, more: {"q": asked, "u": update, **more},
    FILTERS,
    UPDATES | DOCUMENTS,
    st.sampled_from([{}, {"upsert": True}, {"multi": True}]),
)
COMMANDS = st.one_of(
    st.builds(
        lambda name, rows: command(insert=name, documents=rows), NAMES, st.lists(DOCUMENTS, min_size=1, max_size=3)
    ),
    st.builds(lambda name, rows: command(update=name, updates=rows), NAMES, st.lists(CHANGES, min_size=1, max_size=3)),
    st.builds(lambda name, asked: command(delete=name, deletes=[{"q": asked, "limit": 1}]), NAMES, FILTERS),
    st.builds(
        lambda name, one, limit: command(find=name, filter={"_id": one}, limit=limit), NAMES, IDS, st.integers(0, 1)
    ),
    st.builds(lambda name, some: command(find=name, filter={"_id": {"$in": some}}), NAMES, st.lists(IDS, max_size=3)),
    st.builds(lambda name, stages: command(aggregate=name, pipeline=stages, cursor={}), NAMES, PIPELINES),
    st.builds(lambda ops: bulk(*ops), st.lists(OPS, min_size=1, max_size=4)),
    st.sampled_from(
        [
            command(drop="one"),
            command(drop="two"),
            command(create="one"),
            command(createIndexes="one", indexes=[{"key": {"rev": 1}, "name": "rev_1"}]),
            command(createIndexes="one", indexes=[{"key": {"state": "text"}, "name": "state_text"}]),
            command(createIndexes="two", indexes=[{"key": {"at": 1}, "name": "at_1", "expireAfterSeconds": 0}]),
            command(dropIndexes="one", index="rev_1"),
            command(dropIndexes="two", index="at_1"),
            command(renameCollection="test.two", to="test.three"),
        ]
    ),
)


@given(st.lists(COMMANDS, min_size=4, max_size=14))
@settings(max_examples=60)
def test_both_ways_answer_the_same_whatever_comes_between(commands: list[dict[str, Any]]) -> None:
    """Collections and indexes are made, dropped and renamed between."""
    twins = Twins()
    twins.both(
        command(insert="one", documents=[{"_id": "a", "rev": 1, "list": ["x"], "key": "k|1", "counts": {"a": 1}}])
    )
    for each in commands:
        twins.both(each)
    twins.check_contents()


TAME = st.sampled_from(
    ["x", "y", 0, 1, None, 2.5, True, datetime(2026, 5, 1, 1, 2, 3), {"a": [1, True]}, [], ["x"], {}]
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "state": st.sampled_from(["x", "y", None, 2]),
        "rev": st.integers(0, 2),
        "counts": st.fixed_dictionaries({}, optional={"a": st.integers(0, 2), "b-c": st.just({"d": 1})}),
        "list": TEXTS,
        "at": st.just({"$date": 1}) | st.just(datetime(2026, 5, 1)),
    },
)
TAME_UPDATES = st.builds(
    lambda made: made,
    st.fixed_dictionaries(
        {},
        optional={
            "$set": st.dictionaries(
                st.sampled_from(["state", "new", "counts.b-c", "deep.x", "at", "list"]), TAME, min_size=1
            ),
            "$inc": st.dictionaries(
                st.sampled_from(["rev", "counts.a", "times"]), st.integers(-2, 2), min_size=1, max_size=2
            ),
            "$push": st.dictionaries(st.sampled_from(["list", "others", "deep.y"]), PUSHED, min_size=1, max_size=1),
            "$unset": st.dictionaries(st.sampled_from(["at", "counts.b-c.d", "none.x"]), st.just(""), min_size=1),
            "$setOnInsert": st.just({"key": "k"}),
        },
    ),
).filter(bool)
TAME_GUARDS = st.fixed_dictionaries(
    {}, optional={"rev": st.integers(0, 2), "state": st.sampled_from(["x", None]), "list": st.just({"$nin": ["z"]})}
)


def test_documents_change_alike_and_most_of_them_the_short_way(twins: Twins) -> None:
    number, short = itertools.count(), 0

    @given(FIELDS, TAME_GUARDS, TAME_UPDATES, st.booleans())
    @settings(max_examples=150)
    def change(fields: dict[str, Any], guards: dict[str, Any], update: dict[str, Any], upsert: bool) -> None:
        nonlocal short
        identity = f"n{next(number)}"
        twins.both(command(insert="three", documents=[{"_id": identity, **fields}]))
        one = {"q": {"_id": identity, **guards}, "u": update, "upsert": upsert}
        short += twins.short_way(command(update="three", updates=[one])) is not None
        twins.both(command(find="three", filter={"_id": identity}))

    change()
    assert short > next(number) / 3
    twins.check_contents()


def test_documents_that_expired_are_gone_when_they_are_read(twins: Twins) -> None:
    rows = [{"_id": "old", "at": datetime(2020, 1, 1)}, {"_id": "new", "at": datetime(2999, 1, 1)}]
    twins.both(command(insert="expiring", documents=rows))
    twins.both(command(createIndexes="expiring", indexes=[{"key": {"at": 1}, "name": "at_1", "expireAfterSeconds": 0}]))
    read = twins.both(command(find="expiring", filter={"_id": {"$in": ["old", "new"]}}))
    assert [each["_id"] for each in read["cursor"]["firstBatch"]] == ["new"]
    twins.both(command(insert="expiring", documents=rows[:1]))
    counted = command(aggregate="expiring", cursor={}, pipeline=[{"$match": {"_id": "old"}}])
    assert twins.both(counted)["cursor"]["firstBatch"] == []
    twins.check_contents(("expiring",))


def test_an_answer_in_the_midst_of_a_transaction_of_somebody_is_the_long_ways(twins: Twins) -> None:
    direct = twins.short.direct
    assert direct is not None
    twins.short.handler.get_database("test").db.execute("BEGIN")
    assert direct.answer(SHORT["bulkWrite"]) is None
    assert direct.answer(SHORT["insert"]) is None


def test_with_other_packages_nothing_goes_the_short_way(monkeypatch, caplog) -> None:
    monkeypatch.setattr(store_direct, "WRITTEN_FOR", {"neosqlite": "0.0.1", "nx-27017": "0.8.0"})
    with caplog.at_level(logging.WARNING):
        server = Server(NeoSQLiteHandler(data_dir="memory"))
    assert server.direct is None
    assert "0.0.1" in caplog.text
    assert bson.decode(server.answer(SHORT["insert"], None)[21:])["n"] == 1


def test_a_form_is_translated_once_and_its_values_are_the_pipelines(twins: Twins, monkeypatch) -> None:
    database = twins.short.handler.get_database("test")
    pipelines = Pipelines()
    translate = database["one"].query_engine.sql_tier_aggregator.build_pipeline_sql

    def stages(text: str, number: int, most: int) -> list[dict[str, Any]]:
        condition = {"key": {"$gte": text, "$lt": "z"}, "rev": number, "excluded": {"$nin": [text, "v"]}}
        return [
            {"$match": condition},
            {"$limit": most},
            {"$unionWith": {"coll": "two", "pipeline": [{"$match": {"_id": text}}]}},
        ]

    for text, number, most in itertools.product(["k|1", "k|2"], [1, 2**40], [1, 2]):
        asked = stages(text, number, most)
        assert pipelines.query(database, "one", asked) == translate(asked)
    assert len(pipelines._known) == 2  # one for each limit
    for odd in (
        [{"$match": {"a": 0.5}}],
        [{"$match": {"a": "$b"}}],
        [{"$match": {"a": "2026-05-01"}}],
        [],
        [{"$out": "x"}],
    ):
        with pytest.raises(Unlike):
            pipelines.query(database, "one", odd)


@given(
    st.dictionaries(st.sampled_from(["insert", "$db", "a"]), VALUES, min_size=1),
    st.dictionaries(st.sampled_from(["documents", "updates"]), st.lists(DOCUMENTS, max_size=3)),
    st.integers(1, 2**31 - 1),
)
def test_messages_are_parsed_as_the_package_parses_them(body, sequences, number) -> None:
    sections = b"\0" + bson.encode(body)
    for name, documents in sequences.items():
        content = name.encode() + b"\0" + b"".join(map(bson.encode, documents))
        sections += b"\1" + (4 + len(content)).to_bytes(4, "little") + content
    message = document_server.HEADER_AND_FLAGS.pack(20 + len(sections), number, 0, 2013, 0) + sections
    assert parse(message) == OP_MSG.parse(message)
    for end in (21, len(message) - 1):
        with pytest.raises((ValueError, bson.InvalidBSON, document_server.struct.error)):
            parse(message[:end])
