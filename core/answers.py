"""Taking what people submit: decided once, by one write to the task, then applied by steps that may be repeated.

A task goes open -> answered (its answer stored with it) -> done (everything that follows is stored). A crash between
leaves it answered; the same submission again, or the sweeper, applies it. The message, review or ranking that an answer
makes has the task's id, so it is made once.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, NamedTuple

from core import screening, tasks
from core import work as queue
from core.accounts import touching
from core.config import CollectionConfig
from core.database import Database
from core.errors import BadInput, Conflict, TaskGone
from core.facts import Facts, joined, load, of_tree
from core.labels import check_labels
from core.opinions import Ranking, Review
from core.purge import erase
from core.records import Message, Task, Tree, User, now, text_hash
from core.rules import rules_of
from core.settle import settle
from core.similar_texts import rows_of
from core.surroundings import Surroundings, look_around
from core.text_rows import words_row
from core.texts import check_lang, check_text
from core.writes import New, Write, together

RANK_KINDS = ("rank_assistant_replies", "rank_prompter_replies")
CLOSED = ("aborted_low_grade", "halted_by_moderator")


class Answered(NamedTuple):
    """A task as it is after its answer, and the message that this made, where that is known without a read."""

    task: Task
    message: Message | None = None


async def submit_prompt(
    database: Database, config: CollectionConfig, user: User, task_id: str, text: str, lang: str | None = None
) -> Answered:
    """The answer to an `initial_prompt` task: the root of a new tree. `lang`, where given, must be the task's."""
    task = await _mine(database, user, task_id, ("initial_prompt",))
    if lang is not None and check_lang(lang) != task.lang:
        raise BadInput(f"the task is for {task.lang!r}, not {lang!r}; request one in {lang!r}", path=("lang",))
    config = await rules_of(database, config, task.collection)
    text, around = await _check_text(database, config, user, task, text)
    return await _decide(database, config, user, task, {"text": text}, around)


async def submit_reply(database: Database, config: CollectionConfig, user: User, task_id: str, text: str) -> Answered:
    """The answer to a `prompter_reply` or `assistant_reply` task: a message under the target."""
    task = await _mine(database, user, task_id, ("prompter_reply", "assistant_reply"))
    config = await rules_of(database, config, task.collection)
    text, around = await _check_text(database, config, user, task, text)
    if around is not None and (around.facts is None or around.facts.tree.state in CLOSED):
        raise TaskGone("the conversation was closed by a moderator or refused; ask for another task")
    return await _decide(database, config, user, task, {"text": text}, around)


async def submit_review(
    database: Database, config: CollectionConfig, user: User, task_id: str, labels: Mapping[str, float]
) -> Task:
    """The answer to a `label_*` task: the labels answered, each in [0, 1]."""
    kinds = ("label_initial_prompt", "label_prompter_reply", "label_assistant_reply")
    task = await _mine(database, user, task_id, kinds)
    return (await _decide(database, config, user, task, {"labels": check_labels(task.kind, labels)})).task


async def submit_ranking(
    database: Database, config: CollectionConfig, user: User, task_id: str, ranking: Sequence[str],
    not_rankable: bool = False, tiers: Sequence[int] = (),
) -> Task:  # fmt: skip
    """The answer to a `rank_*` task: the served replies, best first.

    Args:
        ranking: all of the replies served; in weighted mode two or more of them, the others being not judged; may be
            empty when `not_rankable`.
        not_rankable: all replies are factually wrong, whatever their order. It counts as a ranking done.
        tiers: sizes of the groups of equally good replies in `ranking`, in its order; none where all differ.

    Raises:
        BadInput: code `BAD_RANKING` when `ranking` is no such order, the sizes do not add up to it, or there are ties
            in a collection that takes none.
    """
    task = await _mine(database, user, task_id, RANK_KINDS)
    config = await rules_of(database, config, task.collection)
    order = list(ranking)
    # What was taken once is answered the same, though the rules have changed since.
    if task.state == "open" and not (not_rankable and not order):
        _check_order(config, order, task.served)
    answer: dict[str, Any] = {"ranking": order, "not_rankable": not_rankable}
    if any(size != 1 for size in tiers):
        answer["tiers"] = _check_tiers(config, order, tiers) if task.state == "open" else list(tiers)
    return (await _decide(database, config, user, task, answer)).task


async def cannot_judge(database: Database, config: CollectionConfig, user: User, task_id: str) -> Task:
    """The answer to a `rank_*` task of who cannot judge the replies: no vote and no points, but somebody else's turn.

    The task is skipped, so it is not asked of this person again.
    """
    await _mine(database, user, task_id, RANK_KINDS)
    return await tasks.skip(database, config, user, task_id, "cannot judge")


def _check_order(config: CollectionConfig, order: Sequence[str], served: Sequence[str]) -> None:
    for place, each in enumerate(order, start=1):
        if each not in served or each in order[: place - 1]:
            what = "was named before" if each in served else "was not served"
            message = f"number {place} of the ranking {what}; name replies that were served, each once"
            raise BadInput(message, code="BAD_RANKING", path=("ranking",))
    least = min(2, len(served)) if config.weighted else len(served)
    if len(order) < least:
        right = "two or more of" if config.weighted else "each of"
        message = f"the ranking names {len(order)} replies; it must name {right} the {len(served)} served"
        raise BadInput(message, code="BAD_RANKING", path=("ranking",))


def _check_tiers(config: CollectionConfig, order: Sequence[str], tiers: Sequence[int]) -> list[int]:
    if not config.weighted:
        message = "this collection takes no ties (it runs in parity mode); put every reply into a group of its own"
        raise BadInput(message, code="BAD_RANKING", path=("ranking",))
    if min(tiers) < 1 or sum(tiers) != len(order):
        message = f"the groups hold {sum(tiers)} replies; none may be empty, and together they hold all {len(order)}"
        raise BadInput(message, code="BAD_RANKING", path=("ranking",))
    return list(tiers)


async def _mine(database: Database, user: User, task_id: str, kinds: tuple[str, ...]) -> Task:
    task = await tasks.mine(database, user, task_id)
    if task.kind not in kinds:
        raise BadInput(f"task {task_id} is of kind {task.kind}; this answers {' or '.join(kinds)}", path=("task_id",))
    return task


async def _check_text(
    database: Database, config: CollectionConfig, user: User, task: Task, text: str
) -> tuple[str, Surroundings | None]:
    """The text as it may be stored, and what is around it; None for a task that is not open any more."""
    if task.state != "open":
        return check_text(text, config.max_text_length), None
    about = Message(
        id=task.id, tree_id=task.tree_id or task.id, parent_id=task.target_id, role="", lang=task.lang, text=text,
        author_id=user.id,
    )  # fmt: skip
    return await checked_text(database, config, about)


async def checked_text(
    database: Database, config: CollectionConfig, message: Message
) -> tuple[str, Surroundings]:  # fmt: skip
    """The text of `message`, a new one or one that its author edits, as it may be stored, and what is around it.

    Raises:
        BadInput: it is empty, too long, or no clean text.
        BadInput: a score of it is over a limit of the collection's.
        Conflict: code `DUPLICATE_TEXT`: the user sent the same a short while ago, or one too like it is there.
    """
    text = check_text(message.text, config.max_text_length)
    since = now() - timedelta(seconds=config.duplicate_window_seconds)
    of_tree = message.tree_id if message.parent_id is not None else None  # a new prompt has no tree yet
    around = await look_around(database, text, message.parent_id, of_tree, message.author_id)
    for other in around.same:
        if other.created_at > since and other.id != message.id:
            raise Conflict(
                "you sent the same text a short while ago; write another", code="DUPLICATE_TEXT", path=("text",)
            )
    if min(config.refuse_score_above, config.refuse_alike_above) < 1:
        screening.check_limits(await screening.look(config, replace(message, text=text), around.rows), config)
    return text, around


async def _decide(
    database: Database, config: CollectionConfig, user: User, task: Task, answer: dict[str, Any],
    around: Surroundings | None = None,
) -> Answered:  # fmt: skip
    """Store the answer with the task, once, and apply it.

    Args:
        around: of a text, where it was read a moment ago.

    Raises:
        Conflict: the task was answered otherwise.
        TaskGone: it was skipped or expired.
    """
    if task.state == "open":
        task = await tasks.answered(database, task, answer, now())
    if task.state not in ("answered", "done"):
        early = task.state == "expired" and task.expires_at > now()
        why = ", since what it is about was changed or closed meanwhile" if early else ""
        raise TaskGone(f"task {task.id} is {task.state}{why}; ask for another")
    if task.answer not in (answer, tasks.kept_answer(answer)):
        raise Conflict(f"task {task.id} was already submitted with another answer")
    return await apply(database, config, task, user, around) if task.state == "answered" else Answered(task)


async def apply(
    database: Database, config: CollectionConfig, task: Task, user: User | None = None,
    around: Surroundings | None = None,
) -> Answered:  # fmt: skip
    """Store everything that follows from an answered task, which is done then; may be repeated.

    Args:
        user: whose task it is, where that was read a moment ago.
        around: of its text, likewise.
    """
    if "text" in (task.answer or {}):
        rules = await rules_of(database, config, task.collection)
        facts, first = await _apply_text(database, rules, task, around)
    else:
        facts, first = await _apply_opinion(database, task)
    tree_id = task.tree_id or task.id
    later: list[Write] = []
    settled = await settle(database, config, tree_id, later=later, known=(task.user_id,), at_hand=facts, first=first)
    if task.target_id is not None and "text" in (task.answer or {}):
        await _check_not_cut_off(database, config, task, settled)
    if user is None:
        document = await database["users"].find_one({"_id": task.user_id})
        user = User.from_document(document) if document else None
    touched = touching(user, task.answered_at or task.created_at) if user else []
    done = await together(database, [*later, *touched, tasks.moving(task, "done")])
    if later and not done[len(later) - 1]:
        await settle(database, config, tree_id, marking=True)
    message = next((each for each in (settled.messages if settled else ()) if each.id == task.result_id), None)
    return Answered(tasks.ended(replace(task, state="done")), message)


async def _check_not_cut_off(
    database: Database, config: CollectionConfig, task: Task, settled: Facts | None
) -> None:  # fmt: skip
    """Erase a reply again where what it replies to was erased before it was stored.

    Raises:
        TaskGone: this was so.
    """
    tree_id = task.tree_id or ""
    there = settled.messages if settled else await of_tree(database, "messages", Message, tree_id)
    if any(each.id == task.target_id for each in there):
        return
    await erase(database, tree_id, {task.result_id})
    await tasks.move(database, task, "expired")
    await settle(database, config, tree_id, marking=True)
    raise TaskGone(f"the message that task {task.id} replies to has been removed")


async def _apply_opinion(database: Database, task: Task) -> tuple[Facts | None, list[Write]]:
    """The facts of the tree with the review or ranking that an answer makes, and what stores that; nothing is stored
    of a tree that is gone.

    Facts read before it is stored are as good as later ones: what came since has changed the tree's `version`, or will
    find it changed.
    """
    facts = await load(database, task.tree_id or "")
    if facts is None:
        return None, []
    if task.kind.startswith("label_"):
        review = _review(task)
        return joined(facts, review), [New("reviews", review.to_document())]
    ranking = _ranking(task)
    return joined(facts, ranking), [New("rankings", ranking.to_document())]


async def _apply_text(
    database: Database, config: CollectionConfig, task: Task, around: Surroundings | None
) -> tuple[Facts | None, list[Write]]:
    """The same of the message that an answer makes, with its tree if it opens one. What is suspicious about the text
    is told here, once the message is stored."""
    if around is None:
        around = await look_around(database, (task.answer or {})["text"], task.target_id, task.tree_id)
    if task.target_id is not None and around.parent is None:
        await tasks.move(database, task, "expired")  # or it would be tried for ever
    message = _prompt(task) if task.target_id is None else _reply(task, around.parent)
    found = await screening.look(config, message, around.rows)
    message = replace(message, extra_reviews=screening.extra_reviews(found, config))
    writes: list[Write] = [New("messages", message.to_document())]
    facts = around.facts
    if task.target_id is None:
        facts = Facts(tree=_tree(config, task), messages=())
        writes += [New("trees", facts.tree.to_document()), queue.passing_on(task.work_id, task.id)]
    writes += [*rows_of(message), New("message_words", words_row(message))]
    if found.suspicions(config):
        stored = await together(database, writes)
        await screening.tell(database, config, message, found)
        if not all(stored[:2]):
            return None, []
        writes = []
    return joined(facts, message) if facts else None, writes


def _text(task: Task) -> dict[str, Any]:
    text = (task.answer or {})["text"]
    made_at = task.answered_at or task.created_at
    return {
        "text": text, "content_hash": text_hash(text), "author_id": task.user_id, "created_at": made_at,
        "collection": task.collection,
    }  # fmt: skip


def _prompt(task: Task) -> Message:
    return Message(id=task.id, tree_id=task.id, parent_id=None, role="prompter", lang=task.lang, **_text(task))


def _reply(task: Task, parent: Message | None) -> Message:
    if parent is None or task.tree_id is None:
        raise TaskGone(f"the message that task {task.id} replies to has been removed")
    return Message(
        id=task.id, tree_id=task.tree_id, parent_id=parent.id, role=task.kind.removesuffix("_reply"), lang=task.lang,
        ancestors=(*parent.ancestors, parent.id), depth=parent.depth + 1, deleted=parent.deleted,
        removed="parent" if parent.deleted else None, **_text(task),
    )  # fmt: skip


def _review(task: Task) -> Review:
    return Review(
        id=task.id, tree_id=task.tree_id or "", message_id=task.target_id or "", labels=(task.answer or {})["labels"],
        user_id=task.user_id, created_at=task.answered_at or task.created_at,
    )  # fmt: skip


def _ranking(task: Task) -> Ranking:
    answer = task.answer or {}
    return Ranking(
        id=task.id, tree_id=task.tree_id or "", parent_id=task.target_id or "", ranking=tuple(answer["ranking"]),
        served=task.served, not_rankable=answer["not_rankable"], tiers=tuple(answer.get("tiers", ())),
        user_id=task.user_id,
        created_at=task.answered_at or task.created_at,
    )  # fmt: skip


def _tree(config: CollectionConfig, task: Task) -> Tree:
    goal = config.goal_tree_size
    if config.random_goal_tree_size:
        goal = random.Random(task.id).randint(config.min_goal_tree_size, goal)  # noqa: S311 - the same when repeated
    made_at = task.answered_at or task.created_at
    return new_tree(
        config, task.id, task.lang, "initial_prompt_review", goal, author_id=task.user_id, created_at=made_at,
        collection=task.collection,
    )  # fmt: skip


def new_tree(config: CollectionConfig, tree_id: str, lang: str, state: str, goal: int, **values: Any) -> Tree:
    """A tree with the collection's present limits; dirty, so that its work opens."""
    return Tree(
        id=tree_id, lang=lang, state=state, goal_size=goal, max_depth=config.max_tree_depth,
        max_children=config.max_children_count, num_reviews_prompt=config.num_reviews_initial_prompt,
        num_reviews_reply=config.num_reviews_reply, num_rankings=config.num_required_rankings, dirty=True, **values,
    )  # fmt: skip
