"""The board of troublemakers: by share, kept as verdicts come and go, and nothing that earns or loses points."""

from __future__ import annotations

from core_people import BAD, GOOD, review_all, write_prompt
from hypothesis import given
from hypothesis import strategies as st

from core.leaderboard import leaderboard
from core.scoring import FEW, POINTS, TROUBLE, score, trouble_share
from core.trollboard import trollboard

COUNTS = st.dictionaries(st.sampled_from([*POINTS, *TROUBLE]), st.integers(0, 50))


@given(COUNTS)
def test_trouble_earns_nothing_and_a_share_grows_with_it_alone(counts) -> None:
    share = trouble_share(counts)
    assert 0 <= share < 1
    assert score(counts) == score({what: count for what, count in counts.items() if what in POINTS})
    assert trouble_share(counts | {"refused": counts.get("refused", 0) + 1}) > share
    assert trouble_share(counts | {"prompts": counts.get("prompts", 0) + 1}) <= share


async def test_refused_and_removed_messages_are_on_it_and_restored_ones_are_not(collection, person) -> None:
    ann, bob, cid, dan = [await person(name) for name in ("ann", "bob", "cid", "dan")]
    mod = await person("mod", "moderator")
    database, judges = collection.database, [cid, dan]
    bad = await write_prompt(collection, ann, "Buy my watches!")
    await review_all(collection, judges, "label_initial_prompt", BAD)
    good = await write_prompt(collection, ann, "Why is the sky blue?")
    fine = await write_prompt(collection, bob, "Why is grass green?")
    await review_all(collection, judges, "label_initial_prompt", GOOD)
    (only,) = await trollboard(database, "total")
    assert (only.user.id, only.accepted, only.refused, only.spam, only.removed) == (ann.id, 1, 1, 1, 0)
    assert only.share == 1 / (2 + FEW)

    await collection.delete_message(mod, fine, "advertising")
    await collection.delete_message(mod, good, "advertising")
    first, second = await trollboard(database, "month")
    assert (first.user.id, first.accepted, first.refused, first.removed) == (ann.id, 0, 1, 1)
    assert (second.user.id, second.accepted, second.removed) == (bob.id, 0, 1)
    assert [each.user.id for each in await trollboard(database, "day", 1)] == [ann.id]

    await collection.restore_message(mod, fine)
    (only,) = await trollboard(database, "total")
    assert only.user.id == ann.id
    assert (await collection.message(bad)).state == "refused"
    assert {each.user.id for each in await leaderboard(database, "total")} >= {bob.id, cid.id, dan.id}


async def test_who_has_only_trouble_is_on_no_leaderboard(collection, person) -> None:
    ann, bob, cid = [await person(name) for name in ("ann", "bob", "cid")]
    await write_prompt(collection, ann, "Buy my watches!")
    await review_all(collection, [bob, cid], "label_initial_prompt", BAD)
    assert [each.user.id for each in await trollboard(collection.database, "week")] == [ann.id]
    assert ann.id not in {each.user.id for each in await leaderboard(collection.database, "week")}
