"""One's own work: what came of it, appeals, editing and taking back; and what moderators do about people."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations, product

import pytest
from core_people import BAD, GOOD, review_all, until_growing, until_ranking, write_prompt
from hypothesis import given
from hypothesis import strategies as st
from test_abuse_rules import SPAM

from core import appeals
from core.config import CollectionConfig
from core.departures import depart
from core.errands import run_once
from core.errors import BadInput, Conflict, Forbidden, NotFound, NothingToDo, TaskGone
from core.journal import events_page
from core.moderators import Moderators
from core.opinions import Review
from core.people import People
from core.people_records import agreement, decision_of
from core.rank_correlation import kendall_tau
from core.records import Message
from core.review_agreement import by_answers, by_rules, review_agreed
from core.rulings import judge_message, restore_message
from core.scoring import streak_now
from core.sweeper import sweep_once


@pytest.fixture
def moderators(collection) -> Moderators:
    return Moderators(collection.database, collection.config)


@pytest.fixture
def people(collection) -> People:
    return People(collection.database, collection.config)


async def refused_prompt(collection, person) -> str:
    ann, bob, cid = [await person(name) for name in ("ann", "bob", "cid")]
    tree_id = await write_prompt(collection, ann)
    await review_all(collection, [bob, cid], "label_initial_prompt", BAD)
    return tree_id


# Rules.


def strict(order) -> tuple[tuple[str, ...], ...]:
    """An order without ties."""
    return tuple((each,) for each in order)


@given(st.permutations("abcdef"), st.permutations("abcdef"))
def test_tau_is_one_for_the_same_order_and_changes_sign_when_reversed(mine, other) -> None:
    ranks = {each: place for place, each in enumerate(other)}
    assert kendall_tau(strict(other), ranks) == 1
    tau = kendall_tau(strict(mine), ranks)
    assert kendall_tau(strict(mine[::-1]), ranks) == pytest.approx(-tau)
    assert -1 <= tau <= 1


def test_tau_is_over_what_both_have() -> None:
    assert kendall_tau(strict("axb"), {"a": 0, "b": 1, "c": 2}) == 1
    assert kendall_tau(strict("a"), {"a": 0}) is None


def test_who_says_equal_is_neither_right_nor_wrong_about_it() -> None:
    ranks = {"a": 0, "b": 1, "c": 2}
    assert kendall_tau(["ab"], ranks) is None
    assert kendall_tau(["ba", "c"], ranks) == pytest.approx(2 / math.sqrt(6))  # Kendall (1945): (P - Q) / root of 2 * 3
    assert kendall_tau(["c", "ba"], ranks) == pytest.approx(-2 / math.sqrt(6))
    by_lot = frozenset([frozenset("ab")])
    assert kendall_tau(strict("bac"), ranks, by_lot) == pytest.approx(2 / math.sqrt(6))
    assert kendall_tau(["ba", "c"], ranks, by_lot) == 1
    assert kendall_tau(strict("ba"), ranks, by_lot) is None


@given(st.permutations("abcde"), st.lists(st.integers(0, 2), min_size=5, max_size=5))
def test_tau_with_ties_is_the_textbooks(mine, theirs) -> None:
    """(P - Q) / sqrt((n - t)(n - u)): n pairs, t and u of them tied in the one and in the other."""
    groups, ranks = [mine[:2], mine[2:3], mine[3:]], dict(zip("abcde", theirs, strict=True))
    above = [pair for upper, lower in combinations(groups, 2) for pair in product(upper, lower)]
    right = sum(ranks[better] < ranks[worse] for better, worse in above)
    wrong = sum(ranks[better] > ranks[worse] for better, worse in above)
    tied = sum(count * (count - 1) // 2 for count in Counter(theirs).values())
    found = kendall_tau(groups, ranks)
    if tied == 10:
        assert found is None
    else:
        assert found == pytest.approx((right - wrong) / math.sqrt((10 - 2) * (10 - tied)))


@pytest.mark.parametrize(
    ("labels", "verdict", "agreed"),
    [(GOOD, "accepted", True), (BAD, "accepted", False), (BAD, "refused", True), (GOOD, "refused", False),
     ({"spam": 0.0, "lang_mismatch": 1.0}, "refused", True), (BAD, "pending", None)],
)  # fmt: skip
def test_a_review_agrees_with_the_verdict_that_it_spoke_for(labels, verdict, agreed) -> None:
    assert review_agreed(labels, verdict, None) is agreed
    assert review_agreed(labels, verdict, CollectionConfig().review_policy.critical) is agreed


HATE, REFUSED = {"spam": 0.0, "hate_speech": 1.0}, Message(
    id="m", tree_id="m", parent_id=None, role="prompter", lang="en", text="x", state="refused"
)  # fmt: skip


def said(labels) -> Review:
    return Review(id="r", tree_id="m", message_id="m", labels=labels, user_id="ann")


def test_reviews_are_judged_by_the_labels_that_decided() -> None:
    weighed = replace(REFUSED, judgement={"state": "refused"})
    ruled = replace(REFUSED, ruling={"verdict": "refused"})
    weighted, parity = by_rules(CollectionConfig()), by_rules(CollectionConfig(mode="parity"))
    assert weighted(said(HATE), weighed)
    assert weighted(said(HATE), ruled)
    assert parity(said(HATE), weighed)  # what was decided by weight stays so, whatever the mode becomes
    assert not parity(said(HATE), ruled)
    assert not weighted(said(HATE), REFUSED)
    spam_alone = by_rules(CollectionConfig(critical_labels=("spam",)))
    assert spam_alone(said(HATE), replace(weighed, state="accepted"))
    assert weighted(said(HATE), replace(weighed, state="pending")) is None


@pytest.mark.parametrize(
    ("known", "labels", "right"),
    [({"hate_speech": True}, HATE, True), ({"hate_speech": True}, BAD, False), ({"spam": False}, GOOD, True),
     ({"spam": False, "hate_speech": True}, BAD | {"hate_speech": 1.0}, False), ({"pii": False}, GOOD, True)],
)  # fmt: skip
def test_gold_is_known_label_by_label(known, labels, right) -> None:
    assert by_answers(known)(said(labels), REFUSED) is right


def test_agreement_is_summed_by_month() -> None:
    october, november = datetime(2026, 10, 5, tzinfo=UTC), datetime(2026, 11, 5, tzinfo=UTC)
    found = agreement(
        [(october, True), (november, False), (november, None)], [(november, 0.5), (november, 1.0), (october, None)]
    )
    assert [(each.month, each.reviews, each.agreed, each.rankings, each.tau) for each in found] == [
        ("all", 2, 1, 2, 0.75), ("2026-11", 1, 0, 2, 0.75), ("2026-10", 1, 1, 0, None),
    ]  # fmt: skip


def test_only_decisions_about_the_message_itself_can_be_appealed() -> None:
    message = Message(id="m", tree_id="m", parent_id=None, role="prompter", lang="en", text="x")
    for removed in ("parent", "author", "account", None):
        gone = Message.from_document(message.to_document() | {"deleted": True, "removed": removed})
        assert decision_of(gone) is None
    assert decision_of(message) is None
    assert decision_of(Message.from_document(message.to_document() | {"state": "refused"})) == "refused-0"


# Contributions and feedback.


async def test_authors_see_why_they_were_refused(collection, people, person) -> None:
    tree_id = await refused_prompt(collection, person)
    ann = await person("ann")
    second = await write_prompt(collection, ann, "Another prompt?")
    (newest,), more = await people.contributions(ann, None, 1)
    assert (newest.message.id, more) == (second, True)
    (older,), more = await people.contributions(ann, f"{newest.message.to_document()['by_time']}", 5)
    assert (older.message.id, older.message.state, older.appeal, more) == (tree_id, "refused", None, False)
    assert older.message.labels["spam"] == {"value": 1.0, "count": 2}
    assert await people.contributions(await person("bob"), None, 5) == ([], False)


async def test_rankings_are_held_against_the_consensus(collection, people, person) -> None:
    users = [await person(name) for name in ("ann", "bob", "cid", "dan", "eve", "fay")]
    await until_ranking(collection, users[:4])
    ranked = {}
    for number, user in enumerate(users[2:]):
        while True:
            try:
                task = await collection.request_task(user, "rank_assistant_replies", ["en"])
            except NothingToDo:
                break
            order = sorted(task.served, reverse=number == 3)
            await collection.submit_ranking(user, task.id, order)
            ranked[user.id] = order
    assert len(ranked) == 2
    for user in users:
        if user.id in ranked:
            (found,), _ = await people.ranking_feedback(user, None, 5)
            assert found.mine == strict(ranked[user.id])
            expected = 1.0 if found.mine == strict(found.consensus) else -1.0
            assert found.tau == expected
            overall = (await people.agreement(user))[0]
            assert (overall.rankings, overall.tau) == (1, expected)
    reviewer = (await people.agreement(users[1]))[0]
    assert reviewer.agreed == reviewer.reviews > 0


# Appeals.


@pytest.mark.parametrize("decided_first", [False, True])
async def test_what_hangs_under_a_message_taken_back_cannot_be_put_back(
    collection, moderators, people, person, monkeypatch, decided_first
) -> None:
    """An appeal for it can only be rejected; one upheld just before the author left holds no sweep up."""
    ann, bob = await person("ann"), await person("bob")
    mod = await person("mod", "moderator")
    await until_growing(collection, [ann, bob, await person("cid"), await person("dan")])
    task = await collection.request_task(bob, "assistant_reply", ["en"])
    reply = (await collection.submit_reply(bob, task.id, "A reply that is taken out.")).result_id
    await collection.delete_message(mod, reply, "off topic")
    other = await person("other", "moderator")
    made = await people.appeal(bob, reply, "It is on topic.")
    if decided_first:
        with monkeypatch.context() as crash:
            crash.setattr(appeals, "apply", _dies)
            with pytest.raises(Died):
                await moderators.decide_appeal(other, made.id, True, "So it is.")
    await depart(collection.database, ann, withdraw=True)
    await run_once(collection.database, collection.config, None)
    if decided_first:
        assert (await sweep_once(collection.database, collection.config)).appeals == 1
        assert (await sweep_once(collection.database, collection.config)).appeals == 0
    else:
        with pytest.raises(Conflict, match="took it back"):
            await moderators.decide_appeal(other, made.id, True, "So it is.")
        assert (await moderators.decide_appeal(other, made.id, False, "It cannot be.")).state == "rejected"
    assert (await collection.message(reply)).deleted


class Died(Exception):
    """A process that ended."""


async def _dies(*_: object) -> None:
    raise Died


async def test_an_appeal_that_is_upheld_accepts_the_message(collection, moderators, people, person) -> None:
    tree_id = await refused_prompt(collection, person)
    ann, bob, mod = await person("ann"), await person("bob"), await person("mod", "moderator")
    with pytest.raises(NotFound):
        await people.appeal(bob, tree_id, "not mine")
    made = await people.appeal(ann, tree_id, " It is no spam. ")
    assert await people.appeal(ann, tree_id, "It is no spam.") == made, "the same again is the same"
    with pytest.raises(Conflict, match="appealed against this decision already"):
        await people.appeal(ann, tree_id, "Again!")
    (item,), _ = await moderators.queue_page(mod, None, "appeal", None, 5)
    assert (item.evidence[0]["reason"], item.appeal_id) == ("It is no spam.", made.id)
    told, done = await moderators.moderate(mod, [f"item:{item.id}", f"message:{tree_id}"], "dismiss", "no")
    assert "decide it by decideAppeal" in str(told.error)
    assert done.error is None
    assert [each.id for each in (await moderators.queue_page(mod, None, "appeal", None, 5))[0]] == [item.id]
    with pytest.raises(BadInput):
        await moderators.decide_appeal(mod, made.id, True, " ")
    with pytest.raises(Forbidden):
        await moderators.decide_appeal(ann, made.id, True, "I am right")
    decided = await moderators.decide_appeal(mod, made.id, True, "Indeed it is not.")
    assert (decided.state, decided.answer, decided.applied) == ("upheld", "Indeed it is not.", True)
    assert await moderators.decide_appeal(mod, made.id, True, "Indeed it is not.") == decided
    assert (await collection.tree(tree_id)).state == "prompt_lottery_waiting"
    with pytest.raises(Conflict, match="upheld already"):
        await moderators.decide_appeal(mod, made.id, False, "No.")
    assert (await moderators.item(item.id)).state == "done"
    with pytest.raises(Conflict, match="nothing was decided"):
        await people.appeal(ann, tree_id, "But why?")


async def test_nobody_judges_their_own_decision(collection, moderators, people, person) -> None:
    ann, mod, other = await person("ann"), await person("mod", "moderator"), await person("other", "moderator")
    tree_id = await write_prompt(collection, ann)
    await collection.delete_message(mod, tree_id, "advertising")
    made = await people.appeal(ann, tree_id, "It is a question.")
    with pytest.raises(Forbidden, match="your own decision"):
        await moderators.decide_appeal(mod, made.id, False, "No.")
    assert (await moderators.decide_appeal(other, made.id, False, "It is not.")).state == "rejected"
    assert (await collection.message(tree_id)).deleted
    (mine,), _ = await people.contributions(ann, None, 5)
    assert (mine.appeal.state, mine.appeal.answer) == ("rejected", "It is not.")


async def test_a_crash_between_decision_and_effect_heals(collection, moderators, people, person, monkeypatch) -> None:
    ann, mod, other = await person("ann"), await person("mod", "moderator"), await person("other", "moderator")
    tree_id = await write_prompt(collection, ann)
    await collection.delete_message(mod, tree_id)
    made = await people.appeal(ann, tree_id, "It is a question.")

    async def crash(*_args) -> None:
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(appeals, "apply", crash)
        with pytest.raises(ConnectionError):
            await moderators.decide_appeal(other, made.id, True, "Yes.")
    assert (await collection.message(tree_id)).deleted
    assert (await sweep_once(collection.database, collection.config)).appeals == 1
    assert not (await collection.message(tree_id)).deleted
    assert (await people.appeal_of(made.id)).applied
    assert (await sweep_once(collection.database, collection.config)).appeals == 0


async def test_an_appeal_that_cannot_be_applied_holds_up_nothing_else(
    collection, moderators, people, person, monkeypatch
) -> None:
    ann, bob, cid = [await person(name) for name in ("ann", "bob", "cid")]
    mod, other = [await person(name, "moderator") for name in ("mod", "other")]
    tree_id = await write_prompt(collection, ann)
    await collection.delete_message(mod, tree_id)
    made = await people.appeal(ann, tree_id, "It is a question.")

    async def crash(*_args) -> None:
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(appeals, "apply", crash)
        with pytest.raises(ConnectionError):
            await moderators.decide_appeal(other, made.id, True, "Yes.")
    await collection.database["users"].delete_one({"_id": other.id})
    waiting = await write_prompt(collection, bob, "Why is the sea salty?")
    await review_all(collection, [ann, cid], "label_initial_prompt", GOOD)
    assert (await collection.tree(waiting)).state == "prompt_lottery_waiting"

    swept = await sweep_once(collection.database, collection.config)
    assert [each.partition(":")[0] for each in swept.failures] == ["appeals"]
    assert swept.won == 1
    assert (await collection.tree(waiting)).state == "growing"


# Editing and taking back.


async def test_an_edit_keeps_the_old_text_and_ends_reviews_under_way(collection, people, person) -> None:
    ann, bob = await person("ann"), await person("bob")
    tree_id = await write_prompt(collection, ann, "Why is the sky bleu?")
    task = await collection.request_task(bob, "label_initial_prompt", ["en"])
    edited = await people.edit(ann, tree_id, " Why is the sky blue? ")
    assert (edited.text, edited.revision) == ("Why is the sky blue?", 1)
    assert edited.edited_at is not None
    assert await people.edit(ann, tree_id, "Why is the sky blue?") == edited
    assert [each.text for each in await people.revisions(tree_id)] == ["Why is the sky bleu?", "Why is the sky blue?"]
    with pytest.raises(TaskGone, match="was changed or closed meanwhile"):
        await collection.submit_review(bob, task.id, GOOD)
    again = await collection.request_task(bob, "label_initial_prompt", ["en"])
    (_, shown) = (again, (await collection.shown(again))[0][-1])
    assert shown.text == "Why is the sky blue?"
    await collection.submit_review(bob, again.id, GOOD)
    for attempt in (people.edit(ann, tree_id, "Why?"), people.withdraw(ann, tree_id)):
        with pytest.raises(Conflict, match="reviewed"):
            await attempt


async def test_an_edit_is_checked_as_a_submission_is(collection, people, person) -> None:
    ann, bob = await person("ann"), await person("bob")
    first = await write_prompt(collection, ann, "One prompt?")
    second = await write_prompt(collection, ann, "Another prompt?")
    with pytest.raises(Conflict) as same:
        await people.edit(ann, second, "One prompt?")
    assert same.value.code == "DUPLICATE_TEXT"
    for text in ("", "x" * 2001, "a\x00b"):
        with pytest.raises(BadInput):
            await people.edit(ann, first, text)
    with pytest.raises(NotFound):
        await people.edit(bob, first, "Mine now")
    assert (await collection.message(first)).text == "One prompt?"


async def test_an_edit_that_is_suspicious_is_reviewed_more(collection, people, person) -> None:
    ann = await person("ann")
    tree_id = await write_prompt(collection, ann)
    assert (await collection.message(tree_id)).extra_reviews == 0
    assert (await people.edit(ann, tree_id, SPAM)).extra_reviews == collection.config.suspicious_reviews == 1
    checks = collection.database["text_checks"]
    assert (await checks.find_one({"_id": tree_id}))["scores"]["spam"] > 0.5
    assert (await people.edit(ann, tree_id, "What makes bread rise?")).extra_reviews == 1, "it was suspicious once"
    assert await checks.find_one({"_id": tree_id}) is None


async def test_moderators_decide_nothing_for_themselves(collection, moderators, people, person) -> None:
    mod, other = await person("mod", "moderator"), await person("other", "moderator")
    tree_id = await write_prompt(collection, mod)
    with pytest.raises(Forbidden, match="your own"):
        await judge_message(collection.database, collection.config, mod, tree_id, "accepted", "mine")
    await judge_message(collection.database, collection.config, other, tree_id, "refused", "spam")
    appeal = await people.appeal(mod, tree_id, "It is not.")
    with pytest.raises(Forbidden, match="your own"):
        await moderators.decide_appeal(mod, appeal.id, True, "it is mine")
    await collection.delete_message(other, tree_id, "spam")
    with pytest.raises(Forbidden, match="your own"):
        await restore_message(collection.database, collection.config, mod, tree_id, "mine")
    assert (await collection.message(tree_id)).deleted


async def test_taking_back_gives_the_place_to_others(collection, people, person) -> None:
    ann, bob, cid = [await person(name) for name in ("ann", "bob", "cid")]
    mod = await person("mod", "moderator")
    tree_id = await until_growing(collection, [ann, bob, cid])
    places = {each["_id"]: each["free"] async for each in collection.database["work"].find({"tree_id": tree_id})}
    task = await collection.request_task(bob, "assistant_reply", ["en"])
    reply = (await collection.submit_reply(bob, task.id, "An answer")).result_id
    for _ in range(2):
        assert (await people.withdraw(bob, reply)).removed == "author"
    assert places == {
        each["_id"]: each["free"] async for each in collection.database["work"].find({"tree_id": tree_id})
    }
    with pytest.raises(Conflict, match="taken back by its author"):
        await collection.restore_message(mod, reply)
    events, _ = await events_page(collection.database, subject=reply, kind="withdraw_message")
    assert [each.by for each in events] == [bob.id]


# People.


async def test_a_ban_gives_back_tasks_and_halts_waiting_prompts(collection, moderators, accounts, person) -> None:
    ann, bob, mod = await person("ann"), await person("bob"), await person("mod", "moderator")
    tree_id = await write_prompt(collection, ann)
    other = await write_prompt(collection, bob)
    task = await collection.request_task(ann, "label_initial_prompt", ["en"])
    with pytest.raises(BadInput):
        await moderators.set_enabled(mod, ann.id, False, "")
    banned = await moderators.set_enabled(mod, ann.id, False, "floods us")
    assert (banned.enabled, banned.disabled_reason) == (False, "floods us")
    assert (await collection.tree(tree_id)).state == "halted_by_moderator"
    assert (await collection.tree(other)).state == "initial_prompt_review"
    with pytest.raises(TaskGone):
        await collection.submit_review(ann, task.id, GOOD)
    lifted = await moderators.set_enabled(mod, ann.id, True, "")
    assert (lifted.enabled, lifted.disabled_reason) == (True, None)
    acts, _ = await events_page(collection.database, subject=ann.id, kind="set_enabled")
    assert [each.details["enabled"] for each in acts] == [True, False]
    for who, whom in ((ann, bob), (mod, mod), (mod, await person("admin", "admin"))):
        with pytest.raises(Forbidden):
            await moderators.set_enabled(who, whom.id, False, "because")


async def test_admins_set_roles_and_languages_and_moderators_note(moderators, person) -> None:
    admin, mod, ann = await person("root", "admin"), await person("mod", "moderator"), await person("ann")
    assert (await moderators.set_roles(admin, ann.id, ["moderator", "contributor"])).roles == (
        "contributor",
        "moderator",
    )
    assert (await moderators.set_languages(admin, ann.id, ["pt-BR", "de", "de"])).moderates == ("de", "pt-BR")
    assert (await moderators.set_notes(mod, ann.id, "writes well")).notes == "writes well"
    with pytest.raises(BadInput):
        await moderators.set_languages(admin, ann.id, ["German"])
    for attempt in (
        moderators.set_roles(mod, ann.id, ["admin"]), moderators.set_roles(admin, admin.id, ["contributor"]),
        moderators.set_languages(mod, ann.id, []), moderators.set_notes(await person("bob"), ann.id, "x"),
    ):  # fmt: skip
        with pytest.raises(Forbidden):
            await attempt
    with pytest.raises(NotFound):
        await moderators.set_roles(admin, "nobody", ["admin"])


def test_a_streak_is_over_when_nothing_was_done_for_a_day_and_a_half() -> None:
    noon = datetime(2026, 11, 22, 12, tzinfo=UTC)
    assert streak_now(5, noon, noon + timedelta(hours=36)) == 5
    assert streak_now(5, noon, noon + timedelta(hours=37)) == 0
    assert streak_now(0, None, noon) == 0
