"""Places of work: never more given out than there are, whoever asks and whenever."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import replace

import pytest
from core_people import GOOD, until_growing, until_ranking, write_prompt
from faults import Crashed, crash_after
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import core.tasks
from core import work as queue
from core.collection import Collection
from core.config import CollectionConfig
from core.errors import BadInput, NothingToDo, TooMany
from core.records import TASK_KINDS, deadline_key
from core.sweeper import sweep_once
from core.transition import Opening
from core.work_records import Work
from core.writes import together


class Places(RuleBasedStateMachine):
    """One piece of work whose changes come in any order: places taken, answered, let go, wanted more or fewer."""

    @initialize(wanted=st.integers(1, 4))
    def open(self, wanted: int) -> None:
        self.wanted, self.answered, self.made = wanted, 0, 0
        self.holding: set[str] = set()
        opening = Opening(kind="label_initial_prompt", target_id="m", lang="en", places=wanted, excluded=frozenset())
        self.work = queue.adjusted(queue.opened(opening, "m", random.Random(1)), opening, (), None)

    def opening(self) -> Opening:
        places = max(0, self.wanted - self.answered)
        return Opening(kind="label_initial_prompt", target_id="m", lang="en", places=places, excluded=frozenset())

    @precondition(lambda self: self.work.free > 0)
    @rule()
    def take(self) -> None:
        self.made += 1
        task, user = f"task{self.made}", f"user{self.made}"
        self.work = queue.take(self.work, task, user, 1000 + self.made)
        self.holding.add(task)
        assert user in self.work.excluded

    @precondition(lambda self: self.holding)
    @rule(data=st.data(), answered=st.booleans())
    def leave(self, data, answered: bool) -> None:
        self.holding.discard(data.draw(st.sampled_from(sorted(self.holding))))
        self.answered += answered
        self.work = queue.adjusted(self.work, self.opening(), self.holding, None)

    @rule(change=st.integers(-2, 2))
    def want(self, change: int) -> None:
        self.wanted = max(0, self.wanted + change)
        self.work = queue.adjusted(self.work, self.opening(), self.holding, None)

    @invariant()
    def no_more_than_wanted(self) -> None:
        assert self.work.free >= 0
        assert set(self.work.holds) == self.holding
        if self.work.free:
            assert self.answered + len(self.holding) + self.work.free == self.wanted
        assert set(self.work.excluded) == {hold["user"] for hold in self.work.holds.values()}
        assert (self.work.keys()["key"] is None) == (self.work.free == 0)
        assert self.work.keys()["check_at"] == min((h["until"] for h in self.work.holds.values()), default=10**15)


Places.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestPlaces = Places.TestCase


def test_the_tree_s_budget_bounds_the_free_places() -> None:
    opening = Opening(kind="assistant_reply", target_id="m", lang="en", places=3, excluded=frozenset({"ann"}))
    blank = queue.opened(opening, "t", random.Random(1))
    assert [queue.adjusted(blank, opening, (), budget).free for budget in (None, 5, 2, 0, -1)] == [3, 3, 2, 0, 0]
    assert queue.adjusted(blank, opening, (), None).excluded == ("ann",)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(0, 2)), max_size=6), st.integers(-2, 12))
def test_the_places_of_a_tree_are_shared_out_whole_and_no_further(parents, budget) -> None:
    openings = [
        Opening(
            kind="assistant_reply", target_id=f"m{number}", lang="en", places=places,
            excluded=frozenset(f"u{each}" for each in range(kept_out)),
        )
        for number, (places, kept_out, _) in enumerate(parents)
    ]  # fmt: skip
    held = {f"m{number}": held for number, (_, _, held) in enumerate(parents)}
    given_out = queue.shares(openings, held, budget)
    wanted = {each.target_id: max(0, each.places - held[each.target_id]) for each in openings}
    assert all(given_out[target] <= wanted[target] for target in wanted)
    assert sum(given_out.values()) == min(max(0, budget), sum(wanted.values()))
    if budget == 1 and any(wanted.values()):  # the only place goes to where fewest are kept out
        (target,) = [target for target, places in given_out.items() if places]
        least = min(len(each.excluded) for each in openings if wanted[each.target_id])
        assert len(next(each for each in openings if each.target_id == target).excluded) == least


async def open_many(database, count: int, places: int, kind: str = "label_initial_prompt") -> None:
    chance = random.Random(5)
    for number in range(count):
        opening = Opening(kind=kind, target_id=f"m{number}", lang="en", places=places, excluded=frozenset())
        assert await queue.insert(database, queue.adjusted(queue.opened(opening, "t", chance), opening, (), None))


async def claimed(database, kinds, pools, user, task_id, config, chance) -> Work | None:
    """The work of which the user got a place, as it was before."""
    got: list[Work] = []

    async def hold(work: Work) -> bool:
        (held,) = await together(database, [queue.taking(work, task_id, user, 10**13)])
        got.extend([work] if held else [])
        return held

    assert await queue.claim(database, kinds, pools, user, hold, config, chance) == bool(got)
    return got[0] if got else None


async def test_sixteen_people_take_every_place_once(database) -> None:
    await open_many(database, count=10, places=8)
    config = CollectionConfig()

    async def worker(name: str) -> list[str]:
        taken, chance = [], random.Random(name)
        while True:
            task_id = f"{name}-{len(taken)}"
            work = await claimed(database, ["label_initial_prompt"], ["en"], name, task_id, config, chance)
            if work is None:
                return taken
            taken.append(work.id)

    taken = await asyncio.gather(*(worker(f"user{number}") for number in range(16)))
    assert Counter(work for each in taken for work in each) == {f"label_initial_prompt:m{n}": 8 for n in range(10)}
    assert all(len(each) == len(set(each)) for each in taken)
    assert await database["work"].count_documents({"key": {"$gte": ""}}) == 0


async def test_excluded_people_get_other_work_or_none(database) -> None:
    await open_many(database, count=30, places=1)
    config, chance = CollectionConfig(), random.Random(2)
    await database["work"].update_many({"target_id": {"$nin": ["m17"]}}, {"$set": {"excluded": ["ann"]}})
    assert await queue.available(database, "label_initial_prompt", ["en"], "ann") == 1
    assert await queue.available(database, "label_initial_prompt", ["en"], "bob") == 30
    taken = await claimed(database, ["label_initial_prompt"], ["en"], "ann", "t1", config, chance)
    assert taken is not None
    assert taken.target_id == "m17"
    assert await claimed(database, ["label_initial_prompt"], ["en"], "ann", "t2", config, chance) is None
    assert await claimed(database, ["label_initial_prompt"], ["de"], "bob", "t3", config, chance) is None


async def test_a_write_on_stale_work_is_refused(database) -> None:
    await open_many(database, count=1, places=2)
    document = await database["work"].find_one({"target_id": "m0"})
    work = Work.from_document(document)
    assert await queue.write(database, work, queue.take(work, "t1", "ann", 5))
    assert not await queue.write(database, work, queue.take(work, "t2", "bob", 5))
    stale = queue.writes([(work, None), (work, queue.take(work, "t2", "bob", 5)), (None, work)])
    assert await together(database, stale) == (False, False, False)
    assert not await queue.insert(database, work)


# Through the collection.


def outrun(monkeypatch, meanwhile) -> None:
    """Let `meanwhile` happen once, right after the next hand-out has read what its task shows."""
    real, left = core.tasks._shown, [meanwhile]

    async def shown(*arguments):
        found = await real(*arguments)
        if left:
            await left.pop()()
        return found

    monkeypatch.setattr(core.tasks, "_shown", shown)


async def test_who_is_outrun_gets_another_place_and_leaves_no_task(collection, person, monkeypatch) -> None:
    ann, bob, cid = [await person(name) for name in ("ann", "bob", "cid")]
    tree_id = await write_prompt(collection, ann)
    outrun(monkeypatch, lambda: collection.request_task(cid, "label_initial_prompt", ["en"]))
    task = await collection.request_task(bob, "label_initial_prompt", ["en"])
    tasks = [each["_id"] async for each in collection.database["tasks"].find({"target_id": tree_id})]
    (work,) = [each async for each in collection.database["work"].find({"tree_id": tree_id})]
    assert set(tasks) == set(work["holds"]) > {task.id}
    assert (len(tasks), work["free"]) == (2, 0)
    assert await collection.open_tasks(bob) == [task]


async def test_a_task_without_a_place_ends_with_its_time(collection, person, monkeypatch) -> None:
    """The process ended before who was outrun could delete it."""
    ann, bob, cid = [await person(name) for name in ("ann", "bob", "cid")]
    tree_id = await write_prompt(collection, ann)
    outrun(monkeypatch, lambda: collection.request_task(cid, "label_initial_prompt", ["en"]))
    with crash_after(4), pytest.raises(Crashed):  # each takes a place and makes a task
        await collection.request_task(bob, "label_initial_prompt", ["en"])
    (task,) = await collection.open_tasks(bob)
    work = await collection.database["work"].find_one({"tree_id": tree_id})
    assert task.id not in work["holds"]
    passed = {"$set": {"deadline": deadline_key("open", task.created_at)}}
    await collection.database["tasks"].update_one({"_id": task.id}, passed)
    await sweep_once(collection.database, collection.config)
    assert await collection.open_tasks(bob) == []
    assert (await collection.get_task(bob, task.id)).state == "expired"
    assert (await collection.request_task(bob, "label_initial_prompt", ["en"])).target_id == tree_id


async def test_many_reviewers_at_once_give_no_review_too_many(collection, person) -> None:
    authors = [await person(f"author{number}") for number in range(2)]
    reviewers = [await person(f"reviewer{number}") for number in range(12)]
    trees = [await write_prompt(collection, author, f"Question {author.id}") for author in authors]

    async def work(user) -> int:
        done = 0
        while True:
            try:
                task = await collection.request_task(user, "label_initial_prompt", ["en"])
            except NothingToDo:
                return done
            await collection.submit_review(user, task.id, GOOD)
            done += 1

    wanted = collection.config.num_reviews_initial_prompt
    assert sum(await asyncio.gather(*map(work, reviewers))) == wanted * len(trees)
    await sweep_once(collection.database, collection.config)
    for tree_id in trees:
        message = await collection.message(tree_id)
        assert (message.review_count, message.state) == (wanted, "accepted")
        assert (await collection.tree(tree_id)).state == "growing"


async def test_many_writers_at_once_do_not_overfill_a_tree(collection, person) -> None:
    people = [await person(f"writer{number}") for number in range(12)]
    tree_id = await until_growing(collection, people)

    async def write(user) -> int:
        try:
            task = await collection.request_task(user, "assistant_reply", ["en"])
        except NothingToDo:
            return 0
        await collection.submit_reply(user, task.id, f"An answer by {user.display_name}.")
        return 1

    assert sum(await asyncio.gather(*map(write, people))) == collection.config.max_children_count
    await sweep_once(collection.database, collection.config)
    replies = [each for each in await collection.messages_of(tree_id) if each.depth == 1]
    assert len(replies) == collection.config.max_children_count


async def test_nobody_reviews_their_own_or_anything_twice(collection, person) -> None:
    ann, bob = await person("ann"), await person("bob")
    await write_prompt(collection, ann)
    with pytest.raises(NothingToDo):
        await collection.request_task(ann, "label_initial_prompt", ["en"])
    task = await collection.request_task(bob, "label_initial_prompt", ["en"])
    with pytest.raises(NothingToDo):
        await collection.request_task(bob, "label_initial_prompt", ["en"])
    await collection.submit_review(bob, task.id, GOOD)
    with pytest.raises(NothingToDo):
        await collection.request_task(bob, "label_initial_prompt", ["en"])


async def test_nobody_ranks_a_set_with_their_own_reply(collection, person) -> None:
    people = [await person(name) for name in ("ann", "bob", "cid", "dan", "eve", "fay")]
    tree_id = await until_ranking(collection, people)
    authors = {each.author_id for each in await collection.messages_of(tree_id) if each.depth == 1}
    for user in people:
        if user.id in authors:
            with pytest.raises(NothingToDo):
                await collection.request_task(user, "rank_assistant_replies", ["en"])


async def test_a_task_kind_left_to_chance_follows_the_weights(collection, person) -> None:
    ann, bob = await person("ann"), await person("bob")
    for number in range(3):
        await write_prompt(collection, ann, f"Question {number}")
    # Reviews outweigh prompts five hundred to one; when they are used up, prompts are what is left.
    kinds = [(await collection.request_task(bob, "random", ["en"])).kind for _ in range(5)]
    assert kinds == ["label_initial_prompt"] * 3 + ["initial_prompt"] * 2


async def test_the_served_order_differs_and_is_recorded(collection, person) -> None:
    people = [await person(f"p{number}") for number in range(10)]
    await until_ranking(collection, people)
    orders = set()
    for user in people:
        for _ in range(6):
            try:
                task = await collection.request_task(user, "rank_assistant_replies", ["en"])
            except NothingToDo:
                break
            thread, replies = await collection.shown(task)
            assert tuple(reply.id for reply in replies) == task.served
            assert [message.id for message in thread] == list(task.thread)
            assert all(each.author_id is None and not each.synthetic and not each.emojis for each in replies)
            orders.add(task.served)
            await collection.database["tasks"].update_one({"_id": task.id}, {"$set": {"state": "expired"}})
            await collection.database["trees"].update_one({"_id": task.tree_id}, {"$set": {"dirty": True}})
            await collection.settle(task.tree_id)
    assert len(orders) == 2


async def test_a_person_holds_a_limited_number_of_tasks(database, config, person) -> None:
    few = Collection(database, replace(config, max_pending_tasks=2, new_account_share=1.0), random.Random(1))
    ann = await person("ann")
    first = await few.request_task(ann, "initial_prompt", ["en"])
    await few.request_task(ann, "initial_prompt", ["en"])
    with pytest.raises(TooMany) as error:
        await few.request_task(ann, "initial_prompt", ["en"])
    assert 0 < error.value.retry_after <= 300
    await few.skip_task(ann, first.id)
    assert (await few.request_task(ann, "initial_prompt", ["en"])).state == "open"


async def test_bad_requests_are_refused(collection, person) -> None:
    ann = await person("ann")
    with pytest.raises(BadInput) as error:
        await collection.request_task(ann, "rate_summary", ["en"])
    assert error.value.code == "UNKNOWN_TASK_KIND"
    for langs in ([], ["english language"], ["en_US"]):
        with pytest.raises(BadInput):
            await collection.request_task(ann, "initial_prompt", langs)
    with pytest.raises(NothingToDo) as nothing:
        await collection.request_task(ann, "assistant_reply", ["en", "de"])
    assert nothing.value.code == "NOTHING_TO_DO"


async def test_a_disabled_language_takes_no_prompts(database, config, person) -> None:
    closed = Collection(database, replace(config, init_prompt_disabled_langs=("en",)), random.Random(1))
    ann = await person("ann")
    with pytest.raises(NothingToDo):
        await closed.request_task(ann, "initial_prompt", ["en"])
    assert (await closed.request_task(ann, "initial_prompt", ["de"])).lang == "de"


async def test_prompts_stop_when_a_language_has_enough(database, config, person) -> None:
    full = Collection(
        database, replace(config, max_active_trees=1, max_initial_prompt_review=1, max_prompt_lottery_waiting=2),
        random.Random(1),
    )  # fmt: skip
    people = [await person(f"p{number}") for number in range(4)]
    tasks = [await full.request_task(user, "initial_prompt", ["en"]) for user in people[:2]]
    with pytest.raises(NothingToDo):
        await full.request_task(people[2], "initial_prompt", ["en"])
    await full.skip_task(people[0], tasks[0].id)
    await full.request_task(people[3], "initial_prompt", ["en"])
    with pytest.raises(NothingToDo):
        await full.request_task(people[2], "initial_prompt", ["en"])


async def test_what_is_available_is_what_can_be_had(collection, person) -> None:
    ann, bob = await person("ann"), await person("bob")
    before = await collection.available(ann, ["en", "de"])
    assert before == dict.fromkeys(TASK_KINDS, 0) | {"initial_prompt": 100}
    assert await collection.database["work"].count_documents({}) == 0
    await write_prompt(collection, ann)
    await write_prompt(collection, ann, "Another?")
    assert (await collection.available(ann, ["en"]))["label_initial_prompt"] == 0
    assert (await collection.available(bob, ["en"]))["label_initial_prompt"] == 2
    assert (await collection.available(bob, ["de"]))["label_initial_prompt"] == 0
    few = Collection(collection.database, replace(collection.config, max_prompt_lottery_waiting=3), random.Random(1))
    assert (await few.available(bob, ["fr"]))["initial_prompt"] == 3


async def test_work_that_went_bad_unseen_is_not_handed_out(collection, person) -> None:
    """A deletion whose process ended before it could close the work."""
    ann, bob = await person("ann"), await person("bob")
    tree_id = await write_prompt(collection, ann)
    await collection.database["messages"].update_one({"_id": tree_id}, {"$set": {"deleted": True}, "$inc": {"rev": 1}})
    with pytest.raises(NothingToDo):
        await collection.request_task(bob, "label_initial_prompt", ["en"])
    assert (await collection.tree(tree_id)).state == "halted_by_moderator"
    assert await collection.database["work"].count_documents({"tree_id": tree_id}) == 0


async def test_a_task_whose_work_was_closed_ends_when_its_time_is_up(database, config, person) -> None:
    hasty = Collection(database, replace(config, lease_label_seconds=0), random.Random(1))
    ann, bob, mod = await person("ann"), await person("bob"), await person("mod", "moderator")
    tree_id = await write_prompt(hasty, ann)
    task = await hasty.request_task(bob, "label_initial_prompt", ["en"])
    await hasty.delete_message(mod, tree_id)
    assert await database["work"].count_documents({"tree_id": tree_id}) == 0
    assert (await hasty.get_task(bob, task.id)).state == "open"
    await sweep_once(database, hasty.config)
    assert (await hasty.get_task(bob, task.id)).state == "expired"


async def test_everybody_who_is_first_at_once_gets_a_prompt_to_write(collection, person) -> None:
    """Nobody is told that there is nothing because somebody else was opening the work at that moment."""
    people = [await person(f"first {number}") for number in range(8)]
    for lang in ("en", "de", "fr"):
        tasks = await asyncio.gather(*(collection.request_task(user, "initial_prompt", [lang]) for user in people))
        assert len({task.id for task in tasks}) == len(people)
