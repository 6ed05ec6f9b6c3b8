"""Scores in one document a person, credits in one a tree: frames that move on, each once; and as they were at first."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from core_people import SMALL, credits_in, give
from hypothesis import given
from hypothesis import strategies as st

from core import credits as crediting
from core.credits import add_up, turns
from core.database import migrate
from core.facts import Facts
from core.leaderboard import leaderboard, standing
from core.records import Tree
from core.score_documents import REMEMBERED, blank, board, held, troll, with_credits
from core.scoring import FRAMES, POINTS, TROUBLE, Credit, bucket, score, trouble_share
from core.tree_credits import first_turn, id_of, line_of, storing, user_of
from core.trollboard import trollboard
from core.writes import Change, together

FACTS = Facts(tree=Tree(id="t", lang="en", state="growing"), messages=())
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def credit(number: int, what: str, days: int = 0, amount: int = 1, user_id: str = "ann") -> Credit:
    at = NOON + timedelta(days=days)
    return Credit(f"{what}|{number}", user_id, what, at, amount)


CREDITS = st.lists(
    st.tuples(st.sampled_from([*POINTS, *TROUBLE]), st.integers(-40, 3), st.sampled_from([1, 1, 1, -1])), max_size=12
).map(lambda drawn: [credit(number, *each) for number, each in enumerate(drawn)])


@given(CREDITS.flatmap(lambda drawn: st.tuples(st.just(drawn), st.permutations(drawn))), st.data())
def test_each_frame_holds_exactly_what_falls_in_it_whatever_comes_when(orders, data) -> None:
    drawn, order = orders
    document = blank("ann")
    while order:
        size = data.draw(st.integers(1, len(order)))
        document = with_credits(document, [*order[:size], *drawn[: data.draw(st.integers(0, 3))]])
        order = order[size:]
    for frame in FRAMES if drawn else ():
        latest = max(bucket(frame, each.at) for each in drawn)
        counts: Counter[str] = Counter()
        for each in drawn:
            counts[each.what] += each.amount if bucket(frame, each.at) == latest else 0
        of_frame = held(document, frame, latest)
        assert +Counter(of_frame["counts"]) == +counts
        assert of_frame["points"] == score(of_frame["counts"])
        assert (board(frame) in document) == any(what in POINTS for what in of_frame["counts"])
        assert (troll(frame) in document) == (trouble_share(counts) > 0)
        assert held(document, frame, "another") is None
    assert with_credits(document, drawn) is document, "again"


def test_what_one_settling_brings_is_remembered_however_much_it_is() -> None:
    many = [credit(number, "labels") for number in range(REMEMBERED + 50)]
    document = with_credits(blank("ann"), many)
    assert with_credits(document, many) is document
    document = with_credits(document, [credit(number, "rankings") for number in range(REMEMBERED)])
    assert len(document["applied"]) == REMEMBERED


async def test_who_changes_between_read_and_write_loses_nothing(database, person, monkeypatch) -> None:
    """Each of two who add at once reads before either writes."""
    ann = await person("ann")
    read, both = crediting._read, asyncio.Barrier(2)
    met = 0

    async def together_at_first(*arguments: Any) -> Any:
        nonlocal met
        found = await read(*arguments)
        if met < 2:
            met += 1
            await both.wait()
        return found

    monkeypatch.setattr(crediting, "_read", together_at_first)
    for round_ in range(2):  # the first makes the document, the second changes it
        met = 0
        one, two = (credit(2 * round_ + number, "labels", user_id=ann.id) for number in range(2))
        await asyncio.gather(give(database, one), give(database, one, two))
        assert (await standing(database, ann, "day", moment=NOON)).counts == {"labels": 2 + 2 * round_}


async def test_what_is_written_before_is_told_and_stops_no_credit(database, person) -> None:
    ann = await person("ann")
    await database["trees"].insert_one({"_id": "t", "version": 1})
    before = [Change("trees", {"_id": "t", "version": version}, {"$inc": {"version": 1}}) for version in (1, 1, 2)]
    due = [credit(1, "labels", user_id=ann.id), credit(2, "labels", user_id="nobody")]
    done, stored = await add_up(database, SMALL, FACTS, due, before=before)
    assert done == (True, False, True)
    await together(database, [*stored, *stored])
    assert await credits_in(database, "t") == [(ann.id, "labels")], "who has no account gains nothing"
    assert await add_up(database, SMALL, FACTS, [], before=before[:1]) == ((False,), [])
    assert [each["_id"] async for each in database["scores"].find()] == [ann.id]
    await database["scores"].delete_many({})
    await give(database, credit(1, "labels", amount=-1, user_id=ann.id))
    assert await database["scores"].find_one({}) is None, "nothing is taken from who has nothing"


ACTS = st.sets(st.sampled_from(["labels|r", "ranked_1|k", "ranked_1|k~1", "prompts|m"]))


@given(st.lists(ACTS, max_size=6))
def test_what_counts_of_the_stored_turns_is_what_was_wanted_last(wishes) -> None:
    lines: list[str] = []
    for wished in wishes:
        wanted = [Credit(act, "ann", act.partition("|")[0], NOON) for act in sorted(wished)]
        due = turns(wanted, lines)
        assert len({each.id for each in due}) == len(due)
        lines += [line_of(each) for each in due] * 2
        counts = Counter()
        for identity, line in {id_of(line): line for line in lines}.items():
            first = first_turn(line)
            assert (first.user_id, first.at, user_of(line)) == ("ann", NOON, "ann")
            counts[first.id] += -1 if identity.count("|") == 2 and int(identity.rpartition("|")[2]) % 2 else 1
        assert {act for act, count in counts.items() if count} == wished
        assert set(counts.values()) <= {0, 1}
        assert turns(wanted, lines) == []


def test_a_turn_whose_forerunner_is_gone_is_taken_back_once() -> None:
    """As after a purge, which removes lines while others are being noted."""
    wanted = [Credit("removed|m", "ann", "removed", NOON)]
    assert turns([], ["0|ann|removed|m|1"]) == []
    assert [each.id for each in turns(wanted, ["0|ann|removed|m|1"])] == ["removed|m|2"]
    assert [each.id for each in turns([], ["0|ann|removed|m|2"])] == ["removed|m|3"]


@pytest.mark.parametrize("broken_off", [False, True])
async def test_credits_that_were_kept_one_by_one_are_put_with_their_tree(database, broken_off: bool) -> None:
    kept = [
        {"_id": identity, "user_id": "ann", "tree_id": tree_id, "what": "labels", "at": at, "applied": True}
        for identity, tree_id, at in (
            ("labels|r", "t", NOON), ("labels|r|1", "t", "2026-11-22 12:00:00"), ("labels|s", "u", NOON)
        )
    ]  # fmt: skip
    await database["credits"].insert_many([*kept, kept[0] | {"_id": "labels|never", "applied": False}])
    await database["migrations"].delete_one({"_id": "credits with their tree"})
    if broken_off:
        await together(database, [*storing("t", [Credit("labels|r", "ann", "labels", NOON)], first=True)])
        await database["credits"].delete_one({"_id": "labels|r"})
    assert await migrate(database) == ["credits with their tree"]
    assert "credits" not in await database.list_collection_names()
    lines = {each["_id"]: sorted(map(id_of, each["taken"])) async for each in database["tree_credits"].find()}
    assert lines == {"t": ["labels|r", "labels|r|1"], "u": ["labels|s"]}
    assert turns([Credit("labels|r", "ann", "labels", NOON)], [f"0|ann|{each}" for each in lines["t"]])[0].amount == 1


def as_at_first(user_id: str, frame: str, name: str, counts: dict[str, int], **more: Any) -> dict[str, Any]:
    key, points = f"{frame}|{name}", score(counts)
    place = {"board": f"{key}|{10**9 - points:010d}|{user_id}"}
    return {"_id": f"{key}|{user_id}", "key": key, "user_id": user_id, "counts": counts, "changes": 3, "points": points,
            "applied": [], **place, **more}  # fmt: skip


@pytest.mark.parametrize("broken_off", [False, True])
async def test_scores_that_were_kept_by_frame_are_joined(database, person, broken_off: bool) -> None:
    ann, bob, cid = [await person(name) for name in ("ann", "bob", "cid")]
    await database["scores"].insert_many([
        as_at_first(ann.id, "day", "2026-11-20", {"labels": 9}),
        as_at_first(ann.id, "day", "2026-11-22", {"labels": 1}),
        as_at_first(ann.id, "week", "2026-W47", {"labels": 10}),
        as_at_first(ann.id, "month", "2026-11", {"labels": 10, "refused": 5}, troll="..."),
        as_at_first(ann.id, "total", "all", {"labels": 30}, applied=["labels|1"], trust_due=7),
        as_at_first(bob.id, "day", "2026-11-21", {"labels": 2}),
        as_at_first(bob.id, "total", "all", {"labels": 2}, trust_due=None),
    ])  # fmt: skip
    for name in ("board", "user_id", "troll"):
        await database["scores"].create_index(name)
    await database["migrations"].delete_one({"_id": "one score document a person"})
    if broken_off:
        taken = with_credits(blank(bob.id), [credit(5, "labels", -1, user_id=bob.id), credit(6, "labels", -1)])
        await database["scores"].insert_one(taken)
    assert await migrate(database) == ["one score document a person"]
    indexes = await database["scores"].index_information()
    fields = {field for index in indexes.values() for field, _ in index["key"]}
    assert fields == {"_id", "trust_due", *map(board, FRAMES), *map(troll, FRAMES)}

    assert sorted([each["_id"] async for each in database["scores"].find()]) == sorted([ann.id, bob.id])
    (first,) = await leaderboard(database, "day", moment=NOON)
    assert (first.user.id, first.points, first.total, first.counts) == (ann.id, 2, 60, {"labels": 1})
    assert [(each.user.id, each.points) for each in await leaderboard(database, "total")] == [(ann.id, 60), (bob.id, 4)]
    (worst,) = await trollboard(database, "month", moment=NOON)
    assert (worst.user.id, worst.refused) == (ann.id, 5)
    document = await database["scores"].find_one({"_id": ann.id})
    assert document["trust_due"] == 7
    again = [credit(number, "labels", user_id=ann.id) for number in (1, 2)]
    await give(database, *again, credit(3, "labels", user_id=bob.id), credit(4, "labels", user_id=cid.id))
    totals = {each.user.id: each.counts["labels"] for each in await leaderboard(database, "total")}
    assert totals == {ann.id: 31, bob.id: 3, cid.id: 1}
