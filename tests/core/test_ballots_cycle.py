"""What a ballot may say, and what follows: ties, some replies alone, all wrong, cannot judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import pytest
from core_people import SMALL, credits_in, review_all, until_ranking, write_prompt

from core.attention import notices
from core.ballots import Ballot
from core.collection import Collection
from core.errors import BadInput, Conflict, NothingToDo
from core.opinions import Ranking
from core.people import People
from core.records import Message, Task, Tree, User, now
from core.scoring import credits_of
from core.snapshot_filters import Filters
from core.snapshot_rows import rows_of
from core.tree_credits import fact_of
from core.treeform import export_tree
from core.weighted_consensus import consensus

WEIGHTED = replace(SMALL, mode="weighted", max_tree_depth=1, max_children_count=3, num_required_rankings=3)

MADE = now()


@pytest.fixture
def config():
    return WEIGHTED


@pytest.fixture
async def users(person) -> list[User]:
    return [await person(f"person {number}") for number in range(8)]


async def rank_tasks(collection: Collection, users: Sequence[User], tree_id: str) -> list[tuple[User, Task]]:
    """A task to rank the replies to the prompt for each of those who may."""
    found = []
    for user in users:
        try:
            found.append((user, await collection.request_task(user, "rank_assistant_replies", ["en"])))
        except NothingToDo:
            continue
    assert {task.target_id for _, task in found} == {tree_id}
    return found


async def earned(collection: Collection, tree_id: str) -> list[tuple[str, str]]:
    """(who, what) of all credits for rankings, sorted."""
    return [each for each in await credits_in(collection.database, tree_id) if each[1].startswith("rank")]


# Ballots through the store.


async def test_some_replies_alone_may_be_ranked_and_the_others_are_not_judged(collection, users) -> None:
    tree_id = await until_ranking(collection, users)
    tasks = await rank_tasks(collection, users, tree_id)
    best, second, unseen = sorted(tasks[0][1].served)
    for wrong, number in (([best], "names 1"), ([best, best], "number 2"), ([best, "x"], "number 2"), ([], "names 0")):
        with pytest.raises(BadInput, match=number) as error:
            await collection.submit_ranking(tasks[0][0], tasks[0][1].id, wrong)
        assert (error.value.code, error.value.path) == ("BAD_RANKING", ("ranking",))
    for user, task in tasks:
        await collection.submit_ranking(user, task.id, [best, second])
        again = await collection.submit_ranking(user, task.id, [best, second])
        assert again.state == "done"
    messages = {each.id: each for each in await collection.messages_of(tree_id)}
    assert (await collection.tree(tree_id)).state == "ready_for_export"
    assert [messages[each].rank for each in (best, second, unseen)] == [0, 1, None]
    assert {(winner, loser) for winner, loser, _ in messages[tree_id].consensus["margins"]} == {(best, second)}
    (row,) = rows_of("preference", await collection.tree(tree_id), messages.values(), "train", Filters())
    assert (row["chosen_id"], row["rejected_id"], row["margin"]) == (best, second, 1.0)
    assert {what for _, what in await earned(collection, tree_id)} == {
        "rankings", "rankings_good", "ranked_1", "ranked_2"
    }  # fmt: skip


async def test_a_reply_that_few_judged_has_the_place_that_they_gave_it(collection, users) -> None:
    tree_id = await until_ranking(collection, users)
    tasks = await rank_tasks(collection, users, tree_id)
    one, two, late = sorted(tasks[0][1].served)
    orders = [[one, two], [one, two], [late, one]]
    for (user, task), order in zip(tasks, orders, strict=True):
        await collection.submit_ranking(user, task.id, order)
    ranks = {each.id: each.rank for each in await collection.messages_of(tree_id)}
    assert ranks == {tree_id: None, late: 0, one: 1, two: 2}


@pytest.mark.parametrize("tiers", [(), (2,)])
async def test_what_was_taken_is_answered_the_same_when_the_rules_no_longer_take_it(collection, users, tiers) -> None:
    tree_id = await until_ranking(collection, users)
    (user, task), *_ = await rank_tasks(collection, users, tree_id)
    done = await collection.submit_ranking(user, task.id, task.served[:2], tiers=tiers)
    strict = Collection(collection.database, replace(WEIGHTED, mode="parity"))
    assert await strict.submit_ranking(user, task.id, task.served[:2], tiers=tiers) == done
    with pytest.raises(Conflict):
        await strict.submit_ranking(user, task.id, task.served[1:], tiers=tiers)


async def test_those_who_cannot_judge_leave_it_to_others(collection, users) -> None:
    tree_id = await until_ranking(collection, users)
    tasks = await rank_tasks(collection, users, tree_id)
    (user, task), *others = tasks
    for _ in range(2):
        assert (await collection.cannot_judge(user, task.id)).state == "skipped"
    with pytest.raises(NothingToDo):
        await collection.request_task(user, "rank_assistant_replies", ["en"])
    for other, theirs in others:
        await collection.submit_ranking(other, theirs.id, theirs.served)
    assert (await collection.tree(tree_id)).state == "ranking"  # one ranking is still wanted
    ((last, final),) = await rank_tasks(collection, users, tree_id)
    await collection.submit_ranking(last, final.id, final.served)
    assert (await collection.tree(tree_id)).state == "ready_for_export"
    assert user.id not in {who for who, what in await earned(collection, tree_id) if what.startswith("rankings")}


async def test_replies_that_most_call_wrong_are_marked_and_not_learned_from(collection, users) -> None:
    tree_id = await until_ranking(collection, users)
    tasks = await rank_tasks(collection, users, tree_id)
    order = sorted(tasks[0][1].served)
    said = [(order, True), ([], True), (order[::-1], False)]
    for (user, task), (ranking, wrong) in zip(tasks, said, strict=True):
        await collection.submit_ranking(user, task.id, ranking, not_rankable=wrong)
    tree, messages = await collection.tree(tree_id), await collection.messages_of(tree_id)
    assert tree.state == "ready_for_export"
    root = next(each for each in messages if each.id == tree_id)
    assert root.replies_wrong
    assert root.consensus["all_wrong"] == pytest.approx(2 / 3)
    assert root.consensus["order"] == order[::-1]  # who says that all are wrong has no say in the order
    for kind in ("sft", "preference"):
        assert rows_of(kind, tree, messages, "train", Filters()) == []
        assert rows_of(kind, tree, messages, "train", Filters(all_wrong=True))
    agreed = sorted((user.id, "rankings") for user, _ in tasks[:2])
    assert [each for each in await earned(collection, tree_id) if each[1].startswith("rankings")] == agreed
    rankings = [Ranking.from_document(each) async for each in collection.database["rankings"].find()]
    events = export_tree(tree, messages, rankings)["prompt"]["events"]["ranking"]
    assert sorted((each["not_rankable"], each["ranked_message_ids"]) for each in events) == sorted(
        (wrong, ranking) for ranking, wrong in said
    )


async def test_equal_is_no_mistake_and_no_preference(collection, users) -> None:
    tree_id = await until_ranking(collection, users)
    tasks = await rank_tasks(collection, users, tree_id)
    for user, task in tasks:
        await collection.submit_ranking(user, task.id, task.served, tiers=[3])
    messages = await collection.messages_of(tree_id)
    assert rows_of("preference", await collection.tree(tree_id), messages, "train", Filters()) == []
    authors = {each.author_id for each in messages if each.parent_id == tree_id}
    found = await earned(collection, tree_id)
    assert [each for each in found if each[1].startswith("ranked")] == sorted(
        (author, "ranked_1") for author in authors for _ in tasks
    )
    assert [each for each in found if each[1].startswith("rankings")] == sorted(
        (user.id, "rankings") for user, _ in tasks
    )
    people = People(collection.database, collection.config)
    (feedback,), _ = await people.ranking_feedback(tasks[0][0], None, 5)
    assert (feedback.mine, feedback.tau) == ((tasks[0][1].served,), None)


async def test_who_sees_hate_that_all_see_is_right(collection, users) -> None:
    prompt = await write_prompt(collection, users[0])
    done = await review_all(collection, users[1:], "label_initial_prompt", {"spam": 0.0, "hate_speech": 1.0})
    assert (await collection.message(prompt)).state == "refused"
    credits = await credits_in(collection.database, prompt)
    assert [what for who, what in credits if who != users[0].id] == ["labels"] * done
    people = People(collection.database, collection.config)
    overall = (await people.agreement(users[1]))[0]
    assert (overall.reviews, overall.agreed) == (1, 1)


# Rules.


def test_a_split_over_any_label_that_refuses_is_for_moderators() -> None:
    tree = Tree(id="m", lang="en", state="growing")
    before = Message(id="m", tree_id="m", parent_id=None, role="prompter", lang="en", text="x")

    def told(labels: dict[str, tuple[float, int]], critical: Sequence[str] = ("spam", "hate_speech")) -> list[Any]:
        means = {name: {"value": value, "count": count} for name, (value, count) in labels.items()}
        after = replace(before, state="accepted", labels=means)
        return [each.evidence for each in notices(tree, [before], [after], "growing", critical)]

    assert told({"spam": (0.0, 4), "hate_speech": (0.5, 4)}) == [{"verdict": "accepted", "hate_speech": 0.5}]
    assert told({"spam": (0.2, 5), "hate_speech": (0.8, 5)}) == [
        {"verdict": "accepted", "spam": 0.2, "hate_speech": 0.8}
    ]
    for labels in ({"spam": (0.1, 10)}, {"hate_speech": (0.5, 1)}, {"pii": (0.5, 4)}, {"quality": (0.5, 4)}):
        assert told(labels) == []


def test_equal_replies_share_the_higher_place() -> None:
    tree = [Message(id=each, tree_id="p", parent_id=None if each == "p" else "p", lang="en", text="x", role="assistant",
                    state="accepted", author_id=f"author of {each}") for each in "pabcd"]  # fmt: skip
    ranking = Ranking(id="k", tree_id="p", parent_id="p", ranking=tuple("abcd"), tiers=(2, 1, 1), user_id="u")
    found = {credit.id: credit.user_id for credit in credits_of(tree, [], [ranking], lambda *_: None)}
    placed = {identity: who for identity, who in found.items() if identity.startswith("ranked")}
    assert placed == {"ranked_1|k": "author of a", "ranked_1|k~1": "author of b", "ranked_3|k": "author of c"}
    assert {fact_of(f"0|{who}|{identity}") for identity, who in placed.items()} == {"k"}


# Pairs to learn from.


def weighed(*ballots: Ballot, wrong: float = 0.0) -> list[Message]:
    """A prompt with three replies, ranked by the consensus of these."""
    found = consensus(ballots, "root", "abc")
    kept = {
        "margins": [[*pair, by] for pair, by in found.margins.items() if by > 0], "rankings": found.rankings,
        "steps": [asdict(step) for step in found.steps], "alpha": 0.5, "heard": float(len(ballots)), "all_wrong": wrong,
    }  # fmt: skip
    about = {"tree_id": "root", "lang": "en", "state": "accepted", "created_at": MADE}
    root = Message(id="root", parent_id=None, role="prompter", text="?", consensus=kept, **about)
    places = {each: place for place, each in enumerate(found.order)}
    replies = [Message(id=each, parent_id="root", role="assistant", text=f"text of {each}", rank=places.get(each),
                       ancestors=("root",), depth=1, **about) for each in "abc"]  # fmt: skip
    return [root, *replies]


def of_tree(kind: str, messages: list[Message], **filters: Any) -> list[dict[str, Any]]:
    return rows_of(kind, Tree(id="root", lang="en", state="ready_for_export"), messages, "train", Filters(**filters))


def test_level_replies_are_no_pair_and_margins_are_those_of_the_consensus() -> None:
    assert of_tree("preference", weighed(Ballot((("a", "b", "c"),)), Ballot((("a", "b", "c"),)))) == []
    said = [Ballot((("a",), ("b", "c"))), Ballot((("a",), ("b",), ("c",))), Ballot((("a",), ("c",), ("b",)))]
    found = {(row["chosen_id"], row["rejected_id"]): row for row in of_tree("preference", weighed(*said))}
    assert {pair: row["margin"] for pair, row in found.items()} == {("a", "b"): 1.0, ("a", "c"): 1.0}
    assert {(row["weight"], row["rankings"], row["alpha"]) for row in found.values()} == {(0.5, 3, 0.5)}
    sure = [row["confidence"] for row in found.values() if row["confidence"] is not None]
    assert len(sure) == 1  # of neighbours alone
    assert 0.9 < sure[0] < 1
    some = of_tree("preference", weighed(*said, Ballot((("b",), ("a",)))))  # c was not judged in the last one
    assert {(row["chosen_id"], row["rejected_id"]): row["margin"] for row in some} == {
        ("a", "b"): 0.5, ("a", "c"): 0.75
    }  # fmt: skip


def test_a_pair_that_a_cycle_puts_the_other_way_round_than_most_is_none() -> None:
    cycle = weighed(*(Ballot.strict(each) for each in ("abc", "abc", "bca", "bca", "cab")))
    pairs = {(row["chosen_id"], row["rejected_id"]): row["margin"] for row in of_tree("preference", cycle)}
    order = sorted((each for each in cycle if each.rank is not None), key=lambda each: each.rank)
    assert [each.id for each in order] == ["b", "c", "a"]
    assert pairs == {("b", "c"): pytest.approx(0.6), ("c", "a"): pytest.approx(0.2)}


def test_replies_that_most_call_wrong_are_learned_from_only_when_asked() -> None:
    right, wrong = (weighed(Ballot.strict("abc"), wrong=part) for part in (0.5, 0.6))
    for kind in ("sft", "preference"):
        assert of_tree(kind, wrong) == []
        assert len(of_tree(kind, wrong, all_wrong=True)) == len(of_tree(kind, right)) > 0
    for kind in ("prompts", "trees"):
        assert of_tree(kind, wrong) == of_tree(kind, right) != []
