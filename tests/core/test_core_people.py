"""Accounts, leaderboards, pages."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from core_people import give, until_growing, write_prompt
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core import leaderboard as leaderboard_module
from core import score_marks
from core.accounts import touching
from core.errors import BadInput, Forbidden, NotFound
from core.leaderboard import BoardPage, board_page, first_places, leaderboard, neighbours, standing
from core.records import Message, Tree, User
from core.score_documents import placed
from core.scoring import FRAMES, POINTS, Credit, score
from core.writes import together

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


async def test_an_account_is_made_once(accounts) -> None:
    made = await asyncio.gather(*(accounts.ensure_user("test", "ann", " Ann ") for _ in range(8)))
    assert len({user.id for user in made}) == 1
    assert (made[0].display_name, made[0].roles) == ("Ann", ("contributor",))
    assert (await accounts.ensure_user("other", "ann", "Ann")).id != made[0].id
    again = await accounts.ensure_user("test", "ann", "Anna", ["admin"])
    assert (again.display_name, again.roles) == ("Ann", ("contributor",))
    assert await accounts.get(again.id) == again
    assert list(await accounts.get_many([again.id, "nobody"])) == [again.id]


@pytest.mark.parametrize(
    "wrong", [("", "s", "n"), ("t", " ", "n"), ("t", "s", ""), ("t", "s", "x" * 257), ("a:b", "s", "n")]
)
async def test_wrong_names_are_refused(accounts, wrong) -> None:
    with pytest.raises(BadInput):
        await accounts.ensure_user(*wrong)


async def test_roles_are_set_by_name(accounts) -> None:
    ann = await accounts.ensure_user("test", "ann", "Ann")
    changed = await accounts.set_roles(ann.id, ["admin", "contributor", "admin"], by="root")
    assert changed.roles == ("contributor", "admin")
    for roles in (["king"], []):
        with pytest.raises(BadInput):
            await accounts.set_roles(ann.id, roles)
    with pytest.raises(NotFound):
        await accounts.set_roles("nobody", ["admin"])
    (act,) = [each async for each in accounts.database["events"].find({"subject": ann.id})]
    assert (act["kind"], act["by"], act["details"]) == ("set_roles", "root", {"roles": ["contributor", "admin"]})


async def test_a_disabled_account_stays_out(accounts) -> None:
    ann = await accounts.ensure_user("test", "ann", "Ann")
    assert (await accounts.set_enabled(ann.id, False)).enabled is False
    with pytest.raises(Forbidden):
        await accounts.ensure_user("test", "ann", "Ann")
    await accounts.set_enabled(ann.id, True)
    assert (await accounts.ensure_user("test", "ann", "Ann")).enabled is True


async def test_accounts_are_paged_in_order(accounts) -> None:
    made = [await accounts.ensure_user("test", f"p{number}", "P") for number in range(5)]
    seen, after = [], None
    while page := await accounts.page(after, 2):
        seen += [user.id for _, user in page]
        after = page[-1][0]
    assert sorted(seen) == sorted(user.id for user in made)


async def acted(accounts, user, moment) -> User:
    assert all(await together(accounts.database, touching(user, moment)))
    return await accounts.get(user.id)


async def test_activity_makes_a_streak(accounts) -> None:
    ann = await accounts.ensure_user("test", "ann", "Ann")
    for days in (0, 1, 2):
        ann = await acted(accounts, ann, NOON + timedelta(days=days))
    user = await accounts.get(ann.id)
    assert (user.streak_days, user.streak_started_at, user.last_activity_at) == (2, NOON, NOON + timedelta(days=2))
    assert touching(user, NOON) == []
    assert (await accounts.get(ann.id)).last_activity_at == NOON + timedelta(days=2)


# Leaderboards.


async def act(database, user, what: str, times: int, at: datetime = NOON) -> None:
    for number in range(times):
        identity = f"{what}|{user.id}|{number}|{at:%d}"
        await give(database, Credit(identity, user.id, what, at))


async def test_the_board_is_in_order_and_by_frame(database, person) -> None:
    ann, bob, cid, dan = [await person(name) for name in ("ann", "bob", "cid", "dan")]
    await act(database, ann, "labels", 3)
    await act(database, bob, "ranked_1", 1)
    await act(database, cid, "labels", 1)
    await act(database, ann, "ranked_1", 2, NOON - timedelta(days=3))
    today = await leaderboard(database, "day", 10, moment=NOON)
    assert [(each.user.display_name, each.rank, each.points) for each in today] == [
        ("bob", 1, 9), ("ann", 2, 6), ("cid", 3, 2),
    ]  # fmt: skip
    total = await leaderboard(database, "total", 2, moment=NOON)
    assert [(each.user.display_name, each.points, each.level) for each in total] == [("ann", 24, 5), ("bob", 9, 3)]
    assert await leaderboard(database, "day", 10, moment=NOON + timedelta(days=1)) == []
    own = await standing(database, cid, "day", moment=NOON)
    assert (own.rank, own.points, own.counts) == (3, 2, {"labels": 1})
    none = await standing(database, dan, "day", moment=NOON)
    assert (none.rank, none.points, none.level) == (None, 0, 1)
    assert await first_places(database, [ann.id, bob.id, dan.id], NOON) == {ann.id: 2, bob.id: 1}
    with pytest.raises(BadInput):
        await leaderboard(database, "year", 10)


async def test_marks_give_the_same_places_as_counting(database, person, monkeypatch) -> None:
    monkeypatch.setattr(score_marks, "STEP", 3)
    monkeypatch.setattr(score_marks, "PAGE", 4)
    people = [await person(f"p{number:02d}") for number in range(14)]
    for number, user in enumerate(people):
        counts = {"rankings": 2 * (number // 2)}
        await database["scores"].insert_one({"_id": user.id, **placed(user.id, "day", "2026-11-22", counts)})
    counted = [await standing(database, user, "day", moment=NOON) for user in people]
    assert sorted(each.rank for each in counted) == list(range(1, 15))
    assert await score_marks.renew(database, NOON) == 4
    monkeypatch.setattr(leaderboard_module, "RANK_CAP", 4)
    assert [await standing(database, user, "day", moment=NOON) for user in people] == counted, "by marks alone"
    assert await score_marks.renew(database, NOON + timedelta(days=1)) == 0
    assert await database["score_marks"].count_documents({}) == 0
    assert await score_marks.renew_if_due(database)
    assert not await score_marks.renew_if_due(database)


async def test_a_board_is_paged_to_its_end_with_the_ranks_that_people_are_told(
    database, accounts, person, monkeypatch
) -> None:
    monkeypatch.setattr(score_marks, "STEP", 3)
    monkeypatch.setattr(leaderboard_module, "SPARE", 2)
    people = [await person(f"p{number:02d}") for number in range(17)]
    for number, user in enumerate(people):
        await database["scores"].insert_one(
            {"_id": user.id, **placed(user.id, "day", "2026-11-22", {"rankings": 2 * (number // 3)})}
        )
    hidden = [*people[2:8], people[16]]
    for user in hidden:
        await accounts.set_enabled(user.id, False)
    told = [await standing(database, user, "day", moment=NOON) for user in people if user not in hidden]
    expected = sorted(told, key=lambda each: each.rank)
    for marked in (False, True):
        if marked:  # from here on a count alone does not do
            await score_marks.renew(database, NOON)
            monkeypatch.setattr(leaderboard_module, "RANK_CAP", 5)
        for size in (1, 3, 4, 100):
            found, after, more = [], None, True
            while more:
                page = await board_page(database, "day", after, size, moment=NOON)
                assert len(page.places) == min(size, len(expected) - len(found))
                found += [place for _, place in page.places]
                after, more = page.places[-1][0], page.has_next
            assert found == expected
    await database["score_marks"].delete_many({})
    monkeypatch.setattr(leaderboard_module, "RANK_CAP", 2)
    keys = [key for key, _ in (await board_page(database, "day", None, 100, moment=NOON)).places]
    assert {each.rank for _, each in (await board_page(database, "day", keys[5], 5, moment=NOON)).places} == {None}


async def test_places_are_of_one_board(database, person) -> None:
    ann = await person("ann")
    await act(database, ann, "labels", 1)
    ((key, _),) = (await board_page(database, "day", None, 5, moment=NOON)).places
    assert (await board_page(database, "day", key, 5, moment=NOON)) == BoardPage((), has_next=False)
    for frame, moment in (("day", NOON + timedelta(days=1)), ("total", NOON), ("week", NOON)):
        with pytest.raises(BadInput, match=f"no place on the board of this {frame}"):
            await board_page(database, frame, key, 5, moment=moment)


@pytest.mark.parametrize(("place", "size", "shown"), [
    (1, 5, (1, 5)), (7, 5, (5, 9)), (14, 5, (10, 14)), (3, 1, (3, 3)), (8, 100, (1, 14)), (13, 4, (11, 14)),
])  # fmt: skip
async def test_neighbours_are_those_next_to_one(database, person, place, size, shown) -> None:
    for number in range(1, 15):
        user = await person(f"p{number:02d}")
        counts = {"rankings": 100 - number}
        await database["scores"].insert_one({"_id": user.id, **placed(user.id, "total", "all", counts)})
    row = await neighbours(database, await person(f"p{place:02d}"), "total", size)
    assert [each.rank for each in row] == list(range(shown[0], shown[1] + 1))
    assert [each.user.display_name for each in row] == [f"p{each.rank:02d}" for each in row]
    assert await neighbours(database, await person("nobody"), "total", size) == []


async def test_who_is_not_shown_keeps_the_place_so_that_all_ranks_agree(database, accounts, person) -> None:
    ann, bob, cid, dan = [await person(name) for name in ("ann", "bob", "cid", "dan")]
    for number, user in enumerate((ann, bob, cid, dan)):
        await act(database, user, "labels", 4 - number)
    for gone in (ann, cid):
        await accounts.set_enabled(gone.id, False)
    shown = [(bob.id, 2), (dan.id, 4)]
    assert [(each.user.id, each.rank) for each in await leaderboard(database, "total")] == shown
    for user, rank in ((bob, 2), (dan, 4)):
        assert (await standing(database, user, "total")).rank == rank
        assert [(each.user.id, each.rank) for each in await neighbours(database, user, "total", 5)] == shown


async def test_a_credit_counts_once_however_often_and_at_once(database, person) -> None:
    ann = await person("ann")
    credits = [Credit(f"labels|{n}", ann.id, "labels", NOON) for n in range(6)]
    await asyncio.gather(*(give(database, credit) for credit in credits * 3))
    document = await database["scores"].find_one({"_id": ann.id})
    assert all(document[frame]["counts"] == {"labels": 6} for frame in FRAMES)
    assert (await standing(database, ann, "total")).points == 12


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(sorted(POINTS)), min_size=1, max_size=8))
def test_points_are_those_of_the_counts(acts) -> None:
    counts = {what: acts.count(what) for what in acts}
    assert score(counts) <= sum(POINTS[what] for what in acts) + 1e-9
    assert score(counts) >= sum(int(POINTS[what]) for what in acts)


async def test_deleting_a_message_takes_its_points_back(collection, person) -> None:
    people = [await person(name) for name in ("ann", "bob", "cid")]
    tree_id = await until_growing(collection, people)
    scores = collection.database["scores"]
    assert (await scores.find_one({"_id": people[0].id}))["total"]["counts"] == {"prompts": 1}
    await collection.delete_message(await person("mod", "moderator"), tree_id)
    assert (await scores.find_one({"_id": people[0].id}))["total"]["counts"] == {"prompts": 0, "removed": 1}


# Pages.


async def test_pages_hold_everything_once_in_order_whatever_comes_meanwhile(database, collection) -> None:
    for number in range(25):
        lang = "en" if number % 5 else "de"
        made_at = NOON + timedelta(seconds=number // 3)
        tree = Tree(id=f"t{number:02d}", state="growing" if number % 2 else "ranking", lang=lang, created_at=made_at)
        await database["trees"].insert_one(tree.to_document())
        message = Message(
            id=f"t{number:02d}", tree_id=tree.id, parent_id=None, role="prompter", lang=lang, text="x",
            created_at=made_at, author_id=f"a{number % 2}", deleted=number == 7,
        )  # fmt: skip
        await database["messages"].insert_one(message.to_document())

    async def read(read_page, **filters) -> list[str]:
        seen, after = [], None
        while True:
            page = await read_page(after=after, first=4, **filters)
            seen += [each.id for each in page.items]
            if not page.has_next:
                return seen
            after = page.key(page.items[-1])

    names = [f"t{number:02d}" for number in range(25)]
    assert await read(collection.trees_page) == names
    assert await read(collection.trees_page, lang="de") == names[::5]
    assert await read(collection.trees_page, state="growing") == names[1::2]
    assert await read(collection.trees_page, state="ranking", lang="de") == names[::10]
    assert await read(collection.messages_page) == [name for name in names if name != "t07"]
    assert await read(collection.messages_page, include_deleted=True) == names
    assert await read(collection.messages_page, lang="de") == names[::5]
    assert await read(collection.messages_page, author_id="a0", lang="de") == names[::10]
    assert await read(collection.trees_page, lang="fr") == []
    assert await read(collection.trees_page, newest_first=True) == names[::-1]
    assert await read(collection.messages_page, lang="de", newest_first=True) == names[20::-5]


async def test_wrong_pages_are_refused(collection) -> None:
    for first in (0, -1, 1001):
        with pytest.raises(BadInput):
            await collection.trees_page(first=first)
    with pytest.raises(BadInput, match="withering"):
        await collection.trees_page(state="withering")


async def test_what_is_not_there_is_not_found(collection, person) -> None:
    for attempt in (
        collection.tree("x"), collection.message("x"), collection.messages_of("x"), collection.thread("x"),
    ):  # fmt: skip
        with pytest.raises(NotFound, match="'x'"):
            await attempt
    tree_id = await write_prompt(collection, await person("ann"))
    assert list(await collection.trees([tree_id, "x"])) == [tree_id]
    assert list(await collection.messages(["x"])) == []
    assert [each.id for each in await collection.thread(tree_id)] == [tree_id]
