"""Tasks: handing one out, showing it, skipping it, keeping a draft, letting it expire.

Knows users' tasks and the work behind them; `core.answers` takes what people submit.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from core import work as queue
from core.collection_records import CollectionRecord
from core.config import CollectionConfig, check_kind
from core.database import Database, Document
from core.errors import BadInput, NothingToDo, TaskGone, TooMany
from core.facts import mark
from core.ids import new_id
from core.opinions import Reaction, reaction_id
from core.pages import many
from core.patience import lapse
from core.pools import DEFAULT, pool_of
from core.records import Message, Task, User, holder_key, milliseconds, now, text_hash
from core.retention import ENDED
from core.rules import find, rules
from core.settle import settle, settle_prompts
from core.trust import pending_limit
from core.work_records import Work
from core.writes import Change, Gone, New, Write, together

SKIP_EMOJI = {"label": "_skip_labeling", "rank": "_skip_ranking"}
REASON_LIMIT = 512
"""Characters kept of a reason to skip."""


async def request(
    database: Database, config: CollectionConfig, user: User, kind: str, langs: Sequence[str], chance: random.Random,
    collection: str = DEFAULT,
) -> tuple[Task, dict[str, Message]]:  # fmt: skip
    """Hand the user a task of `kind` (or, for `random`, of a kind drawn by weight) in one of `langs`.

    Returns:
        the task, and the messages that it shows, by id.

    Raises:
        BadInput: the kind is unknown, or none of the languages is collected.
        NotFound: there is no such collection.
        NothingToDo: no such work is open for this user.
        TooMany: the user holds too many tasks.
    """
    asked = await find(database, collection)
    config, pools = rules(config, asked), pools_of(asked, langs)
    kinds = _kinds(check_kind(kind), config, chance)
    if handed := await _hand_out(database, config, user, kinds, pools, chance):
        return handed
    what, other = ("nothing", "") if kind == "random" else (f"no task of kind {kind}", "kind or ")
    message = f"{what} is open for you now in {', '.join(langs)}; ask for another {other}language, or come back later"
    raise NothingToDo(message, retry_after=10.0)


def pools_of(collection: CollectionRecord, langs: Sequence[str]) -> list[str]:
    """The pools of the languages asked for that the collection takes."""
    if not collection.open:
        raise NothingToDo(f"the collection {collection.name!r} is closed", retry_after=600.0)
    taken = [lang for lang in langs if not collection.langs or lang in collection.langs]
    if not taken:
        there = ", ".join(collection.langs)
        message = f"the collection {collection.name!r} takes none of {', '.join(langs)}; it takes {there}"
        raise BadInput(message, path=("langs",))
    return [pool_of(collection.id, lang) for lang in taken]


def _kinds(kind: str, config: CollectionConfig, chance: random.Random) -> list[str]:
    """The kinds to try in turn; for `random`, groups drawn by weight without putting back."""
    if kind != "random":
        return [kind]
    weights, order = config.kind_weights(), []
    while weights:
        group = chance.choices(list(weights), [max(weight, 1e-12) for weight in weights.values()])[0]
        order += chance.sample(group, len(group))
        del weights[group]
    return order


def _check_pending(config: CollectionConfig, user: User, in_hand: Sequence[Document]) -> None:
    since = now() - timedelta(seconds=config.recent_tasks_seconds)
    recent = [task for task in map(Task.from_document, in_hand) if task.created_at > since]
    if len(recent) >= pending_limit(user, config, now()):
        free_at = min(task.created_at for task in recent) + timedelta(seconds=config.recent_tasks_seconds)
        wait = max(1.0, (free_at - now()).total_seconds())
        raise TooMany(f"you hold {len(recent)} open tasks; submit or skip one first", retry_after=wait)


async def open_of(database: Database, user: User) -> list[Task]:
    """The user's open tasks, oldest first."""
    found = database["tasks"].find({"holder": holder_key(user.id, "open")})
    tasks = [Task.from_document(document) async for document in found]
    return sorted(tasks, key=lambda task: (task.created_at, task.id))


async def _hand_out(
    database: Database, config: CollectionConfig, user: User, kinds: Sequence[str], pools: Sequence[str],
    chance: random.Random,
) -> tuple[Task, dict[str, Message]] | None:  # fmt: skip
    """A task in the user's hands and the messages that it shows; None where there is no work for them.

    The place and the task are taken by one command. Who finds the place gone takes the task back; a crash between
    leaves a task that holds no place, and that ends with its time.
    """
    task_id, created = new_id(), now()
    handed: tuple[Task, dict[str, Message]] | None = None

    async def hold(work: Work) -> bool:
        nonlocal handed, task_id
        shown = await _shown(database, work)
        if shown is None:
            await _settle_for(database, config, work.tree_id, work.pool)
            return False
        task = _task(task_id, user, work, created, config, chance)
        place = queue.taking(work, task_id, user.id, milliseconds(task.expires_at))
        held, _ = await together(database, [place, New("tasks", task.to_document())])
        if held:
            handed = task, shown
        elif not all(await together(database, [Gone("tasks", {"_id": task_id, "state": "open"})])):
            task_id = new_id()  # its person saw it among theirs, and was quick to answer or skip it
        return held

    async def claim(kinds: Sequence[str]) -> bool:
        return await queue.claim(
            database, kinds, pools, user.id, hold, config, chance, gold_rate(config, user),
            lambda in_hand: _check_pending(config, user, in_hand),
        )  # fmt: skip

    if not await claim(kinds) and "initial_prompt" in kinds and await _open_prompts(database, config, pools):
        await claim(["initial_prompt"])
    return handed


def _task(
    task_id: str, user: User, work: Work, created: datetime, config: CollectionConfig, chance: random.Random
) -> Task:  # fmt: skip
    """The task of who holds a place of `work`."""
    return Task(
        id=task_id, kind=work.kind, user_id=user.id, lang=work.lang, collection=work.collection, work_id=work.id,
        tree_id=work.tree_id, target_id=work.target_id, created_at=created, thread=work.thread,
        expires_at=created + timedelta(seconds=config.lease_seconds(work.kind)),
        served=tuple(chance.sample(work.served, len(work.served))),
    )  # fmt: skip


def gold_rate(config: CollectionConfig, user: User) -> float:
    """Part of a person's reviews and rankings whose answer is known; more of those who are new."""
    proven = user.has_role("trusted", "moderator", "admin")
    return config.gold_rate if proven else config.gold_rate_new


async def _open_prompts(database: Database, config: CollectionConfig, pools: Sequence[str]) -> bool:
    """Open the work for new prompts in those of `pools` in which none was ever asked for.

    Returns:
        whether it is worth looking again: some was opened, here or by somebody else since one looked.
    """
    wanted = {f"initial_prompt:{pool}": pool for pool in pools}
    query = {"_id": {"$in": list(wanted)}}
    free = {document["_id"]: document["free"] async for document in database["work"].find(query, {"free": 1})}
    missing = wanted.keys() - free.keys()
    for identity in missing:
        await settle_prompts(database, config, wanted[identity])
    return bool(missing) or any(places > 0 for places in free.values())


async def _shown(database: Database, work: Work) -> dict[str, Message] | None:
    """The messages that the task shows, by id; None when some was deleted or refused meanwhile."""
    if work.target_id is None:
        return {}
    identities = {*work.thread, *work.served}
    shown = await many(database, "messages", Message, sorted(identities))
    under_review = work.target_id if work.kind.startswith("label_") else None
    fit = shown.keys() == identities != set() and all(
        each.usable or (each.id == under_review and not each.deleted) for each in shown.values()
    )
    return shown if fit else None


async def mine(database: Database, user: User, task_id: str) -> Task:
    """The user's task of that id, whatever its state; raises `TaskGone` when it is not the user's."""
    document = await database["tasks"].find_one({"_id": task_id})
    if document is None or document["user_id"] != user.id:
        raise TaskGone(f"there is no task {task_id!r} of yours")
    return Task.from_document(document)


async def skip(database: Database, config: CollectionConfig, user: User, task_id: str, reason: str | None) -> Task:
    """Give the task back; the user is not asked the same again. Skipping twice changes nothing.

    Raises:
        TaskGone: it is not the user's, or was submitted or has expired.
    """
    task = await mine(database, user, task_id)
    if task.state == "open":
        await _note_skip(database, task)
        kept = reason[:REASON_LIMIT] if reason else None
        await move(database, task, "skipped", skip_reason=kept)
        task = await mine(database, user, task_id)
    if task.state != "skipped":
        raise TaskGone(f"task {task_id} is {task.state} and can no longer be skipped")
    await _settle_for(database, config, task.tree_id, pool_of(task.collection, task.lang))
    return task


async def give_back(database: Database, config: CollectionConfig, task: Task) -> None:
    """Let others have the place of a task that has ended."""
    await _settle_for(database, config, task.tree_id, pool_of(task.collection, task.lang))


async def _settle_for(database: Database, config: CollectionConfig, tree_id: str | None, pool: str) -> None:
    if tree_id is None:
        await settle_prompts(database, config, pool)
    else:
        await settle(database, config, tree_id, marking=True)


async def _note_skip(database: Database, task: Task) -> None:
    """Store the system emoji that keeps this work from this user; before the skip itself, lest a crash lose it."""
    if task.tree_id is None or task.target_id is None:
        return
    await mark(database, task.tree_id)
    emoji = SKIP_EMOJI.get(task.kind.split("_", maxsplit=1)[0], "_skip_reply")
    identity = reaction_id(task.target_id, task.user_id, emoji)
    reaction = Reaction(id=identity, tree_id=task.tree_id, message_id=task.target_id, user_id=task.user_id, emoji=emoji)
    document = reaction.to_document()
    del document["_id"]
    await database["reactions"].update_one({"_id": identity}, {"$setOnInsert": document}, upsert=True)


async def move(database: Database, task: Task, state: str, **changes: object) -> bool:
    """Change the task's state by one write, if it is still as given; False otherwise."""
    return all(await together(database, [moving(task, state, **changes)]))


def moving(task: Task, state: str, **changes: object) -> Write:
    """What changes the task's state, if it is still as given."""
    following = ended(replace(task, state=state, **changes))  # type: ignore[arg-type]
    made = following.changes_from(task)
    if state in ENDED and state != "expired":
        made["draft"] = None  # one may have been saved since the task was read
    return Change("tasks", {"_id": task.id, "state": task.state}, {"$set": made})


def ended(task: Task) -> Task:
    """`task` without the words that nobody needs there once it has ended; who comes too late finds the draft."""
    if task.state not in ENDED:
        return task
    return replace(task, draft=task.draft if task.state == "expired" else None, answer=kept_answer(task.answer))


def kept_answer(answer: dict[str, Any] | None) -> dict[str, Any] | None:
    """What is kept of an answer with the task, to know it again: of a text, which is a message now, its hash."""
    return answer if answer is None or "text" not in answer else {"text_hash": text_hash(answer["text"])}


async def answered(database: Database, task: Task, answer: dict[str, Any], moment: datetime) -> Task:
    """Decide the open task's answer, if nobody decided it yet; the task as it is then."""
    following = replace(task, state="answered", answer=answer, answered_at=moment)
    guard = {"_id": task.id, "state": "open"}
    result = await database["tasks"].update_one(guard, {"$set": following.changes_from(task)})
    if result.matched_count:
        return following
    stored = await database["tasks"].find_one({"_id": task.id})
    return Task.from_document(stored) if stored else task


async def save_draft(database: Database, user: User, task_id: str, text: str, limit: int) -> Task:
    """Keep a text for a task still open, to go on with on another device; raises `TaskGone` when it is not."""
    guard = {"_id": task_id, "user_id": user.id, "state": "open"}
    result = await database["tasks"].update_one(guard, {"$set": {"draft": text[: 4 * limit]}})
    if result.matched_count == 0:
        raise TaskGone(f"task {task_id!r} is not open in your hands")
    return await mine(database, user, task_id)


async def expire(database: Database, config: CollectionConfig, work: Work) -> None:
    """End the open tasks on `work` whose time is up, and give their places to others; or wait for nobody any more."""
    moment = milliseconds(now())
    overdue = [task_id for task_id, hold in work.holds.items() if hold["until"] <= moment]
    async for document in database["tasks"].find({"_id": {"$in": overdue}}):
        task = Task.from_document(document)
        if task.state == "open":
            await move(database, task, "expired")
    await lapse(database, config, work, moment)
    await _settle_for(database, config, work.tree_id, work.pool)
