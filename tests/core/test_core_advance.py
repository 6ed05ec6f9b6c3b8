"""The tree's state machine over random histories, and worked examples of each transition."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tree_histories import ORDER, History, small

from core.advance import advance
from core.config import MODES, CollectionConfig
from core.opinions import Ranking, Reaction, Review, reaction_id
from core.records import Message, Tree

SEEDS = st.integers(0, 2**32)
STEPS = 150


def history(seed: int, spam: float = 0.2) -> History:
    chance = random.Random(seed)
    return History(small(chance), chance, spam)


@settings(max_examples=150, deadline=None)
@given(SEEDS)
def test_every_step_of_every_history_keeps_the_rules(seed) -> None:
    told = history(seed)
    for _ in range(STEPS):
        following = told.transition()
        known = {message.id: message for message in following.messages}
        # Again changes nothing; another order of the facts gives the same.
        assert following == told.transition()
        other = told.shuffled()
        assert (other.state, other.reply_budget) == (following.state, following.reply_budget)
        assert {message.id: message for message in other.messages} == known
        assert Counter(map(_as_set, other.work)) == Counter(map(_as_set, following.work))
        for opening in following.work:
            _check_opening(told, known, opening)
        if not told.step(trouble=0.1):
            break
    _check_counts(told)
    _check_ranks(told)


def _as_set(opening) -> tuple:
    return (
        opening.kind,
        opening.target_id,
        opening.places,
        opening.excluded,
        frozenset(opening.served),
        opening.priority,
    )


def _check_opening(told: History, known: dict[str, Message], opening) -> None:
    target = known[opening.target_id]
    above = [known[each] for each in target.ancestors]
    assert opening.places > 0
    assert all(message.usable for message in above)
    assert not target.deleted
    if opening.kind.startswith("label_"):
        assert target.state == "pending"
        assert target.author_id in opening.excluded
    else:
        assert target.usable
    assert all(known[reply].usable for reply in opening.served)
    assert len(opening.served) != 1
    assert {known[reply].author_id for reply in opening.served} <= opening.excluded
    if opening.kind.startswith("label_"):
        assert {each.user_id for each in told.reviews if each.message_id == target.id} <= opening.excluded
    if opening.kind.startswith("rank_"):
        assert {each.user_id for each in told.rankings if each.parent_id == target.id} <= opening.excluded


def _check_counts(told: History) -> None:
    """No more reviews, rankings or replies than were asked for: each step took one place of open work."""
    tree, config = told.tree, told.config
    reviews = Counter(review.message_id for review in told.reviews)
    for message in told.messages:
        wanted = tree.num_reviews_prompt if message.parent_id is None else tree.num_reviews_reply
        wanted = config.reviews_most if config.weighted else wanted
        assert reviews[message.id] == message.review_count <= wanted
    assert all(count <= tree.num_rankings for count in Counter(each.parent_id for each in told.rankings).values())
    for parent in told.messages:
        children = [each for each in told.messages if each.parent_id == parent.id]
        standing = [each for each in children if not each.deleted and each.state != "refused"]
        assert len(standing) <= (tree.max_children if parent.role == "prompter" else config.num_prompter_replies)
        assert all(child.deleted for child in children if parent.deleted)
    alive = [each for each in told.messages if not each.deleted and each.state != "refused"]
    assert len(alive) <= max(1, tree.goal_size)


def _check_ranks(told: History, whole: bool = True) -> None:
    """Ranks are a permutation of the accepted siblings, wherever they were ranked together.

    Args:
        whole: all rankings wanted came.
    """
    if told.tree.state != "ready_for_export":
        assert all(message.rank is None for message in told.messages) or "ready_for_export" in told.states
        return
    for parent in {ranking.parent_id for ranking in told.rankings}:
        children = [each for each in told.messages if each.parent_id == parent]
        ranked = sorted(each.rank for each in children if each.rank is not None)
        assert ranked == list(range(len(ranked)))
        assert all(each.rank is None for each in children if not each.usable)
        assert not whole or {each.id for each in children if each.rank is not None} == _compared(told, parent, children)


def _compared(told: History, parent: str, children: list[Message]) -> set[str]:
    """Replies that somebody put before or beside another; by weight, who says that all are wrong compares none."""
    usable = {each.id for each in children if each.usable}
    mute = told.config.weighted
    votes = [each for each in told.rankings if each.parent_id == parent and not (mute and each.not_rankable)]
    kept = [usable & set(each.ranking) for each in votes]
    return set().union(*(each for each in kept if len(each) > 1))


@settings(max_examples=150, deadline=None)
@given(SEEDS)
def test_a_tree_ends_while_people_are_willing(seed) -> None:
    told = history(seed, spam=0.1)
    for _ in range(1000):
        if not told.step() and not told.lapse():
            break
    # Left without work, it has ended; or it waits to be reviewed or answered, by people other than those there are.
    assert told.ended or told.transition().work
    reviewed = {each.message_id for each in told.reviews} if told.config.weighted else set()
    for opening in told.transition().work:
        assert not told.willing(opening)
        assert not opening.kind.startswith("rank_")
        assert not (opening.kind.startswith("label_") and opening.target_id in reviewed)
    _check_counts(told)
    _check_ranks(told, whole=not told.tree.enough)


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.sampled_from(MODES), st.integers(1, 5), st.integers(1, 5))
def test_what_was_decided_stays_so_under_other_rules(seed, mode, reviews, rankings) -> None:
    told = history(seed)
    for _ in range(STEPS):
        if not told.step(trouble=0.05):
            break
        known = {message.id: (message.state, message.rank) for message in told.messages}
        ended = told.ended
        told.config = replace(told.config, mode=mode)
        told.tree = replace(
            told.tree, num_reviews_prompt=reviews, num_reviews_reply=reviews, num_rankings=rankings
        )  # fmt: skip
        told.settle()
        for message in told.messages:
            state, rank = known[message.id]
            assert state in ("pending", message.state)
            assert not ended or rank == message.rank


@settings(max_examples=100, deadline=None)
@given(SEEDS)
def test_states_only_go_forward(seed) -> None:
    told = history(seed)
    for _ in range(STEPS):
        if not told.step(trouble=0.05):
            break
    path = [ORDER.index(state) for state in told.states if state in ORDER]
    assert path == sorted(path)
    ends = [state for state in told.states if state in ("aborted_low_grade", "halted_by_moderator")]
    assert len(set(ends)) <= 1
    assert not ends or told.states[-1] == ends[0]


@settings(max_examples=150, deadline=None)
@given(SEEDS, st.integers(0, STEPS))
def test_the_same_facts_in_another_order_of_arrival_end_the_same(seed, steps) -> None:
    """In both modes, over whole trees, from any point of their way."""
    told = history(seed)
    for _ in range(steps):
        if not told.step():
            break
    told.go_on()
    other = told.replayed(random.Random(seed))
    assert other.tree.state == told.tree.state
    assert {each.id: each for each in other.messages} == {each.id: each for each in told.messages}
    work = Counter(map(_as_set, told.transition().work))
    assert Counter(map(_as_set, other.transition().work)) == work


# Worked examples.


def tree(state: str, **values) -> Tree:
    return Tree(id="root", state=state, lang="en", **({"goal_size": 3, "max_depth": 2, "max_children": 2} | values))


def message(identity: str, parent: Message | None = None, **values) -> Message:
    ancestors = () if parent is None else (*parent.ancestors, parent.id)
    role = "prompter" if len(ancestors) % 2 == 0 else "assistant"
    fields = {"state": "accepted", "author_id": f"author of {identity}"} | values
    return Message(
        id=identity, tree_id="root", parent_id=parent.id if parent else None, role=role, lang="en", text=identity,
        ancestors=ancestors, depth=len(ancestors), **fields,
    )  # fmt: skip


ROOT = message("root")
CONFIG = CollectionConfig(mode="parity")


def reviews(message_id: str, *spam: float) -> list[Review]:
    return [
        Review(
            id=f"{message_id}{index}",
            tree_id="root",
            message_id=message_id,
            labels={"spam": value},
            user_id=f"r{index}",
        )
        for index, value in enumerate(spam)
    ]


def reactions(message_id: str, emoji: str, count: int) -> list[Reaction]:
    return [
        Reaction(
            id=reaction_id(message_id, f"u{n}", emoji),
            tree_id="root",
            message_id=message_id,
            user_id=f"u{n}",
            emoji=emoji,
        )
        for n in range(count)
    ]


@pytest.mark.parametrize(
    ("spam", "state", "verdict"),
    [((0, 0), "initial_prompt_review", "pending"), ((0, 1, 0), "prompt_lottery_waiting", "accepted"),
     ((1, 1, 0), "aborted_low_grade", "refused")],
)  # fmt: skip
def test_a_prompt_waits_for_the_lottery_or_ends(spam, state, verdict) -> None:
    root = replace(ROOT, state="pending")
    following = advance(tree("initial_prompt_review"), [root], reviews("root", *spam), [], CONFIG)
    assert (following.state, following.messages[0].state) == (state, verdict)
    assert following.messages[0].review_count == len(spam)


def test_a_parent_whose_only_replies_were_refused_is_extended_again() -> None:
    refused = message("a", ROOT, state="refused")
    deleted = message("b", ROOT, deleted=True)
    following = advance(tree("growing"), [ROOT, refused, deleted], [], [], CONFIG)
    (work,) = following.work
    assert (work.kind, work.target_id, work.places) == ("assistant_reply", "root", 2)
    assert work.excluded == {"author of a"}


def test_a_tree_that_can_grow_no_further_goes_on() -> None:
    only = [ROOT, message("a", ROOT), message("b", ROOT)]
    assert advance(tree("growing", goal_size=12, max_depth=1), only, [], [], CONFIG).state == "ranking"
    pending = [*only[:2], message("b", ROOT, state="pending")]
    assert advance(tree("growing", goal_size=12, max_depth=1), pending, [], [], CONFIG).state == "growing"


def test_a_tree_goes_on_growing_where_it_can() -> None:
    full_above = [ROOT, message("a", ROOT)]
    following = advance(tree("growing", goal_size=4, max_children=1), full_above, [], [], CONFIG)
    assert (following.state, [work.target_id for work in following.work]) == ("growing", ["a"])


def test_a_tree_with_nothing_to_rank_completes() -> None:
    chain = [ROOT, message("a", ROOT)]
    assert advance(tree("ranking"), chain, [], [], CONFIG).state == "ready_for_export"
    assert advance(tree("growing", goal_size=2), chain, [], [], CONFIG).state == "ready_for_export"


def test_the_work_shrinks_with_the_tree_s_goal() -> None:
    waiting = message("a", ROOT, state="pending")
    following = advance(tree("growing", goal_size=2), [ROOT, waiting], [], [], CONFIG)
    assert [work.kind for work in following.work] == ["label_assistant_reply"]
    assert (following.state, following.reply_budget) == ("growing", 0)


def test_lonely_parents_come_first() -> None:
    one = [ROOT, message("a", ROOT)]
    work = {each.target_id: each.priority for each in advance(tree("growing"), one, [], [], CONFIG).work}
    assert work == {"root": "0", "a": "1"}


@pytest.mark.parametrize(("count", "state"), [(3, "growing"), (4, "aborted_low_grade")])
def test_red_flags_on_the_root_end_the_tree(count, state) -> None:
    assert advance(tree("growing"), [ROOT], [], [], CONFIG, reactions("root", "red_flag", count)).state == state
    quiet = CollectionConfig(auto_mod_enabled=False)
    assert advance(tree("growing"), [ROOT], [], [], quiet, reactions("root", "red_flag", count)).state == "growing"


def test_red_flags_on_a_reply_take_it_out_with_what_follows() -> None:
    first = message("a", ROOT)
    second = message("b", first)
    following = advance(tree("growing"), [ROOT, first, second], [], [], CONFIG, reactions("a", "red_flag", 4))
    assert [each.deleted for each in following.messages] == [False, True, True]
    assert following.messages[1].emojis == {"red_flag": 4}


@pytest.mark.parametrize(("count", "state"), [(24, "growing"), (25, "halted_by_moderator")])
def test_too_many_skips_halt_the_tree(count, state) -> None:
    assert advance(tree("growing"), [ROOT], [], [], CONFIG, reactions("root", "_skip_reply", count)).state == state


@pytest.mark.parametrize(
    "state", ["initial_prompt_review", "prompt_lottery_waiting", "growing", "ranking", "backlog_ranking"]
)
def test_a_deleted_root_halts_the_tree(state) -> None:
    following = advance(tree(state), [replace(ROOT, deleted=True), message("a", ROOT)], [], [], CONFIG)
    assert (following.state, following.work) == ("halted_by_moderator", ())
    assert all(each.deleted for each in following.messages)


def ranked(*orders: str, served: str = "abc") -> list[Ranking]:
    return [
        Ranking(
            id=f"k{n}", tree_id="root", parent_id="root", ranking=tuple(order), served=tuple(served), user_id=f"u{n}"
        )
        for n, order in enumerate(orders)
    ]


SIBLINGS = [ROOT, *(message(name, ROOT) for name in "abc")]


def test_siblings_take_their_ranks_when_all_rankings_are_in() -> None:
    early = advance(tree("ranking"), SIBLINGS, [], ranked("cab", "cba"), CONFIG)
    assert early.state == "ranking"
    assert [each.rank for each in early.messages] == [None] * 4
    (work,) = early.work
    assert (work.places, work.served) == (1, ("a", "b", "c"))
    assert {"u0", "u1", "author of a"} <= work.excluded
    done = advance(tree("ranking"), SIBLINGS, [], ranked("cab", "cba", "acb"), CONFIG)
    assert (done.state, done.work) == ("ready_for_export", ())
    assert {each.id: each.rank for each in done.messages} == {"root": None, "a": 1, "b": 2, "c": 0}
    assert [each.ranking_count for each in done.messages] == [0, 3, 3, 3]


def test_not_rankable_counts_as_done_and_has_no_say() -> None:
    nothing = Ranking(id="n", tree_id="root", parent_id="root", ranking=(), served=("a", "b", "c"), not_rankable=True)
    done = advance(tree("ranking"), SIBLINGS, [], [*ranked("cab", "cba"), nothing], CONFIG)
    assert done.state == "ready_for_export"
    assert done.messages[3].rank == 0
    none = [replace(nothing, id=f"n{n}") for n in range(3)]
    silent = advance(tree("ranking"), SIBLINGS, [], none, CONFIG)
    assert (silent.state, [each.rank for each in silent.messages]) == ("ready_for_export", [None] * 4)


def test_deleting_a_ranked_reply_closes_the_gap() -> None:
    messages = [replace(each, deleted=each.id == "c") for each in SIBLINGS]
    following = advance(tree("ready_for_export"), messages, [], ranked("cab", "cba", "acb"), CONFIG)
    assert {each.id: each.rank for each in following.messages} == {"root": None, "a": 0, "b": 1, "c": None}


def test_imported_ranks_counts_and_verdicts_are_kept() -> None:
    base = {"review_count": 3, "ranking_count": 3, "emojis": {"+1": 4}, "labels": {"spam": {"value": 0.5, "count": 2}}}
    brought = [replace(each, base=base, rank=place) for place, each in enumerate(SIBLINGS)]
    more = reactions("a", "+1", 2)
    following = advance(tree("ready_for_export"), brought, reviews("a", 1.0, 1.0), [], CONFIG, more)
    a, b = following.messages[1], following.messages[2]
    assert (a.state, a.rank, a.review_count, a.ranking_count, a.emojis) == ("accepted", 1, 5, 3, {"+1": 6})
    assert a.labels == {"spam": {"value": 0.75, "count": 4}}
    assert (b.review_count, b.labels, b.emojis) == (3, base["labels"], base["emojis"])


def test_prompters_replies_are_ranked_only_when_asked() -> None:
    first = message("a", ROOT)
    messages = [ROOT, first, message("b", first), message("c", first)]
    assert advance(tree("ranking"), messages, [], [], CONFIG).state == "ready_for_export"
    both = CollectionConfig(rank_prompter_replies=True)
    (work,) = advance(tree("ranking"), messages, [], [], both).work
    assert (work.kind, work.target_id) == ("rank_prompter_replies", "a")


def test_a_pending_reply_under_a_refused_one_is_neither_reviewed_nor_waited_for() -> None:
    refused = message("a", ROOT, state="refused", base={})
    below = message("b", refused, state="pending", base={})
    following = advance(tree("growing", goal_size=1), [ROOT, refused, below], [], [], CONFIG)
    assert (following.state, following.work) == ("ready_for_export", ())
