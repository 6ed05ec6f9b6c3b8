"""Making a tree what `core.advance` says it should be.

Read, advance, write; every write is guarded by the `rev` or `version` that was read before the facts, and a lost guard
starts over. Where a fact came, the end is a write of the tree, so of two at once the later loses its guard and reads
the facts of both: they end in what the latest facts give. A crash anywhere leaves the tree dirty, or answered the task
that was being worked in, and the next call (the sweeper's, if no other) finishes. No locks, no transactions.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection, Sequence
from dataclasses import replace

from core import agreement_over_time, learning
from core import work as queue
from core.advance import ENDED, advance
from core.attention import notices
from core.backlog import after_end
from core.config import CollectionConfig
from core.credits import add_up, due_of
from core.database import Database, count_range
from core.facts import Facts, load, mark
from core.gold import settle_gold
from core.journal import record
from core.lessons import Lesson, Said, lessons
from core.lottery import missing_prompts
from core.moderation_queue import enqueue
from core.patience import last_answers, waiting
from core.pools import collection_of, lang_of
from core.records import GOLD, TREE_STATES, Message, Tree, milliseconds, now
from core.rules import rules_of
from core.transition import Opening, Transition
from core.voices import Voices
from core.work_records import Work
from core.writes import Change, Write, together

ATTEMPTS = 100
"""Lost guards after which a tree is left to the sweeper."""
REPLIES = ("assistant_reply", "prompter_reply")
COUNTED_MOST = 1000
"""Trees of one state and language counted at once, however high the ceiling is."""


async def settle(
    database: Database, config: CollectionConfig, tree_id: str, *, marking: bool = False,
    later: list[Write] | None = None, known: Collection[str] = (), at_hand: Facts | None = None,
    first: Sequence[Write] = (),
) -> Facts | None:  # fmt: skip
    """Bring the tree, its messages and its open work up to date.

    Args:
        marking: a fact has come or gone and has not been told by `core.facts.mark`.
        later: where given, a fact has come out of a task that stays answered until this has ended. So nothing is lost
            without a mark, and it is enough to go on as if there were one. It takes writes that the caller makes before
            the task is done, mostly by the same command. Where the last of them is not done, the tree has changed
            before these were stored, and must be settled again.
        known: users who are known to have an account.
        at_hand: all that is stored of the tree, where that is known without a read, and all that `first` stores.
        first: writes of what has come, made before all others and mostly by the same command.

    Returns:
        the tree and its messages as they are then, and what else was known of it; None where there is no such tree, or
        so much is going on that the sweeper must do it.
    """
    if marking:
        await mark(database, tree_id)
    for attempt in range(ATTEMPTS):
        facts, at_hand = at_hand or await load(database, tree_id), None
        if facts is None:
            await database["work"].delete_many({"tree_id": tree_id})  # opened while the tree was erased
            await database["tree_credits"].delete_one({"_id": tree_id})
            return None
        if later is not None:
            facts = replace(facts, tree=replace(facts.tree, dirty=True))
        rules = await rules_of(database, config, facts.tree.collection)
        if facts.tree.origin == GOLD:
            await together(database, first)
            tree = await settle_gold(database, rules, facts, known)
            settled = replace(facts, tree=tree) if tree else None
        else:
            settled = await _attempt(database, rules, facts, known, first, later)
        if settled is not None:
            return settled
        first = ()
        await asyncio.sleep(random.random() * 0.002 * min(attempt, 10))  # noqa: S311 - spreads the contenders
    await mark(database, tree_id)
    return None


async def _attempt(
    database: Database, config: CollectionConfig, facts: Facts, known: Collection[str], first: Sequence[Write],
    later: list[Write] | None,
) -> Facts | None:  # fmt: skip
    """One round; None when a guard was lost.

    Args:
        first: writes made before the others.
        later: where given, the tree may be written clean by the command that writes the rest, though a guard of that
            may be lost and the process end before the next round, or before the credits are stored: somebody repeats
            all this for a reason of their own.
    """
    tree = facts.tree
    voices = await learning.voices(database, _heard(facts)) if config.weighted else {}
    following = advance(tree, facts.messages, facts.reviews, facts.rankings, config, facts.reactions, voices)
    await _tell_moderators(database, config, facts, following)
    messages, message_writes = _message_writes(facts.messages, following.messages)
    changes = [*first, *message_writes]
    if following.state != tree.state:
        if not all(await together(database, changes)):
            return None
        changes = []
        ranked_in = config.mode if following.state == "ready_for_export" else tree.ranked_in
        following_tree = replace(tree, state=following.state, ranked_in=ranked_in, dirty=True)
        moved, write = _tree_write(tree, following_tree)
        if not all(await together(database, [write])):
            return None
        told = {"from": tree.state, "to": moved.state}
        await record(database, "tree_state", tree.id, told, key=str(moved.version), lang=tree.lang)
        if moved.state in ENDED:
            await after_end(database, config, moved)
        tree = moved
    # Work opens only after the state that wants it is stored under the version that the facts were read at.
    changes += await _work_writes(database, config, tree, following, facts)
    due = due_of(config, replace(facts, messages=following.messages))
    ended = tree.state == "ready_for_export" and tree.dirty
    taught = _taught(config, facts, following, voices)
    clean, clean_write = _tree_write(tree, replace(tree, dirty=False))
    settled = replace(facts, tree=clean if tree.dirty else tree, messages=messages)
    at_once = later is not None and tree.dirty and not (ended or taught)
    changes += [clean_write] if at_once else []
    done, credited = await add_up(database, config, facts, due, known, before=changes)
    kept: list[Write] = [*credited]
    if not all(done):
        await together(database, kept)
        return None
    if later is not None and at_once:
        later += [*kept, _as_it_was(clean)] if kept else []
        return settled
    if ended:
        await agreement_over_time.note(database, tree, following.messages, facts.rankings)
    if taught and not await learning.learn(database, tree.id, *taught):
        return None
    if not tree.dirty:
        await together(database, kept)
        return settled
    return settled if (await together(database, [*kept, clean_write]))[-1] else None


def _heard(facts: Facts) -> set[str]:
    """Users whose weight may decide something now: reviewers of undecided messages, rankers of what is not ranked."""
    undecided = {message.id for message in facts.messages if message.judgement is None and message.state == "pending"}
    heard = {review.user_id for review in facts.reviews if review.message_id in undecided}
    weighed = {key for message in facts.messages for key in (message.consensus or {}).get("weights", {})}
    heard |= {ranking.user_id for ranking in facts.rankings if ranking.id not in weighed}
    return {user for user in heard if user is not None}


def _taught(
    config: CollectionConfig, facts: Facts, following: Transition, voices: Voices
) -> tuple[dict[str, tuple[tuple[str, ...], Said]], dict[str, Lesson]] | None:
    """What people's voices are to learn from what was decided, and what they learned of this tree before; None where
    there is nothing to learn."""
    if not config.weighted:
        return None
    known = {lesson.id: lesson for lesson in facts.lessons}
    fresh = lessons(following.messages, facts.reviews, facts.rankings, config.review_policy, voices, known)
    unfinished = any(lesson.following is not None for lesson in facts.lessons)
    return (fresh, known) if fresh or unfinished else None


async def _tell_moderators(database: Database, config: CollectionConfig, facts: Facts, following: Transition) -> None:
    """Before the change itself: what a crash then leaves undone is still worth a look."""
    for notice in notices(facts.tree, facts.messages, following.messages, following.state, config.critical_labels):
        await enqueue(database, notice.subject, notice.reason, notice.priority, notice.evidence)
        if notice.acted:
            identity = notice.subject.partition(":")[2]
            key = f"{facts.tree.version}"
            told = {"tree": facts.tree.id, **notice.evidence}
            await record(database, notice.reason, identity, told, key=key, lang=facts.tree.lang)


def _message_writes(
    before: tuple[Message, ...], after: tuple[Message, ...]
) -> tuple[tuple[Message, ...], list[Write]]:  # fmt: skip
    """The messages as they are stored by the writes."""
    stored = tuple(
        old if new is old or new == old else replace(new, rev=old.rev + 1)
        for old, new in zip(before, after, strict=True)
    )
    return stored, [
        Change("messages", {"_id": old.id, "rev": old.rev}, {"$set": new.changes_from(old)})
        for old, new in zip(before, stored, strict=True)
        if new is not old
    ]


def _tree_write(before: Tree, after: Tree) -> tuple[Tree, Write]:
    """The tree as it is stored by the write."""
    after = replace(after, version=before.version + 1)
    guard = {"_id": before.id, "version": before.version}
    return after, Change("trees", guard, {"$set": after.changes_from(before)})


def _as_it_was(tree: Tree) -> Write:
    """What changes nothing, and is done only if the tree is still as given."""
    return Change("trees", {"_id": tree.id, "version": tree.version}, {"$setOnInsert": {"dirty": True}})


def _finished(facts: Facts) -> set[str]:
    """Ids of tasks whose answers are among the facts."""
    return {each.id for each in (*facts.messages, *facts.reviews, *facts.rankings)}


async def _work_writes(
    database: Database, config: CollectionConfig, tree: Tree, following: Transition, facts: Facts
) -> list[Write]:
    """What makes the tree's open work what `following` wants."""
    held = facts.work
    holding = await _holding(database, held, _finished(facts))
    answers, moment = last_answers(facts.rankings, facts.reviews), milliseconds(now())
    existing = {work.id: work for work in held}
    places = _reply_places(following, held, holding)
    chance = random.Random()  # noqa: S311 - only spreads work over its key range
    changes: list[tuple[Work | None, Work | None]] = []
    for opening in following.work:
        work = existing.pop(f"{opening.kind}:{opening.target_id}", None)
        blank = work or queue.opened(opening, tree.id, chance, tree.collection)
        bound = places[opening.target_id] if opening.kind in REPLIES else None
        wanted = queue.adjusted(blank, opening, holding, bound)
        changes.append((work, waiting(wanted, answers, moment, config)))
    changes += [(work, None) for work in existing.values()]
    return queue.writes(changes)


def _reply_places(following: Transition, held: Sequence[Work], holding: set[str]) -> dict[str, int]:
    """Parent id -> reply places that may be free under it: what the whole tree wants, less what people hold."""
    in_hand = {work.target_id or "": len(holding & work.holds.keys()) for work in held if work.kind in REPLIES}
    openings = [opening for opening in following.work if opening.kind in REPLIES]
    return queue.shares(openings, in_hand, following.reply_budget - sum(in_hand.values()))


async def _holding(database: Database, held: Sequence[Work], finished: Collection[str]) -> set[str]:
    """Ids of tasks whose holds stand: open or answered, and not yet among the facts.

    A task not found is just being handed out, and one that is done has its answer stored since the facts were read:
    both stand until their time is up.
    """
    holds = {task_id: hold for work in held for task_id, hold in work.holds.items() if task_id not in finished}
    if not holds:
        return set()
    query = {"_id": {"$in": list(holds)}}
    states = {task["_id"]: task["state"] async for task in database["tasks"].find(query, {"state": 1})}
    moment = milliseconds(now())

    def stands(task_id: str) -> bool:
        state = states.get(task_id, "missing")
        return state in ("open", "answered") or (state in ("missing", "done") and holds[task_id]["until"] > moment)

    return {task_id for task_id in holds if stands(task_id)}


async def settle_prompts(database: Database, config: CollectionConfig, pool: str) -> Work | None:
    """Bring the work for new prompts in one pool up to date, and return it; None when it changes too fast."""
    identity, collection, lang = f"initial_prompt:{pool}", collection_of(pool), lang_of(pool)
    config = await rules_of(database, config, collection)
    opening = Opening(kind="initial_prompt", target_id=pool, lang=lang, places=0, excluded=frozenset())
    for _ in range(ATTEMPTS):
        document = await database["work"].find_one({"_id": identity})
        work = Work.from_document(document) if document else None
        # Which holds ended is read before the trees are counted: a tree counted besides its hold is one place too few.
        trees = [] if work is None else await _trees_among(database, list(work.holds))
        holding = await _holding(database, [work] if work else [], trees)
        places = missing_prompts(await _counts(database, config, pool), lang, config)
        blank = replace(queue.opened(opening, "", random.Random(), collection), tree_id=None, target_id=None)  # noqa: S311
        wanted = queue.adjusted(work or blank, replace(opening, places=places), holding, None)
        wanted = replace(wanted, excluded=())  # people may hold several prompts
        if await (queue.write(database, work, wanted) if work else queue.insert(database, wanted)):
            return wanted
    return None


async def open_prompts(database: Database, config: CollectionConfig, pool: str) -> int:
    """New prompts that a pool can take now; a read, which opens nothing."""
    if work := await database["work"].find_one({"_id": f"initial_prompt:{pool}"}):
        return int(work["free"])
    config = await rules_of(database, config, collection_of(pool))
    return missing_prompts(await _counts(database, config, pool), lang_of(pool), config)


async def _counts(database: Database, config: CollectionConfig, pool: str) -> dict[str, int]:
    """Trees of the pool by state, each counted as far as its ceiling, or `COUNTED_MOST`."""
    ceilings = {
        "growing": config.max_active_trees,
        "initial_prompt_review": config.max_initial_prompt_review,
        "prompt_lottery_waiting": config.max_prompt_lottery_waiting,
    }
    return {
        state: await count_trees(database, state, pool, min(int(ceiling), COUNTED_MOST)) if ceiling >= 1 else 0
        for state, ceiling in ceilings.items()
    }


async def _trees_among(database: Database, identities: list[str]) -> list[str]:
    query = {"_id": {"$in": identities}}
    return [tree["_id"] async for tree in database["trees"].find(query, {"_id": 1})]


async def count_trees(database: Database, state: str, pool: str, cap: int) -> int:
    """Trees of one state and pool, counted up to `cap`."""
    if state not in TREE_STATES:
        raise ValueError(f"unknown tree state {state!r}")
    return await count_range(database, "trees", "by_state_lang", f"{state}|{pool}|", f"{state}|{pool}}}", cap)
