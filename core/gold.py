"""Keeping gold items: making one from messages whose answer is known, having it answered, taking it away.

Knows the store; what an item is, and what an answer says, `core.gold_records` knows.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from core import learning
from core import work as queue
from core.adaptive_reviews import CRITICAL
from core.config import CollectionConfig
from core.credits import credit_tree
from core.database import Database
from core.errors import BadInput, Conflict, NotFound
from core.facts import Facts
from core.gold_records import GoldItem, copies, decided, opening, said
from core.journal import record
from core.moderation_records import check_moderator
from core.pages import one, thread
from core.records import GOLD, Message, Tree, User
from core.review_agreement import by_answers
from core.work_records import Work
from core.writes import together


async def make_review(
    database: Database, moderator: User, message_id: str, answers: Mapping[str, bool], reason: str
) -> GoldItem:
    """A gold item out of a message of which `answers` says which critical labels apply.

    Raises:
        BadInput: no label, or one that is not critical; no reason.
        Conflict: the message or one above it was taken out.
    """
    if not answers or (wrong := sorted(answers.keys() - CRITICAL.keys())):
        named = f"{wrong[0]!r} is none" if answers else "none is given"
        raise BadInput(f"of the labels, {named}; one or more of: {', '.join(CRITICAL)}", path=("labels",))
    above = await thread(database, message_id)
    kind = "label_initial_prompt" if above[-1].parent_id is None else f"label_{above[-1].role}_reply"
    return await _make(database, moderator, above, [], kind, reason, answers=dict(answers))


async def make_ranking(
    database: Database, moderator: User, order: Sequence[Sequence[str]], reason: str
) -> GoldItem:  # fmt: skip
    """A gold item out of two or more replies to one message, in groups of equally good ones, best first.

    Raises:
        BadInput: they are no replies by the assistant to one message, or fewer than two groups.
    """
    found = [await one(database, "messages", Message, each) for tier in order for each in tier]
    parents = {message.parent_id for message in found}
    if len(order) < 2 or len(parents) != 1 or None in parents or any(each.role != "assistant" for each in found):
        raise BadInput(
            "the order must hold two or more groups of replies by the assistant to one message", path=("order",)
        )
    above = await thread(database, str(found[0].parent_id))
    return await _make(database, moderator, above, found, "rank_assistant_replies", reason, order=order)


async def _make(
    database: Database, moderator: User, above: Sequence[Message], replies: Sequence[Message], kind: str, reason: str,
    *, answers: dict[str, bool] | None = None, order: Sequence[Sequence[str]] = (),
) -> GoldItem:  # fmt: skip
    check_moderator(moderator, above[0].lang)
    if not 1 <= len(reason.strip()) <= 1000:
        raise BadInput(
            "the reason has no text, or more than 1000 characters; say why the answer is known", path=("reason",)
        )
    shown = (*above, *replies)
    if any(message.deleted for message in shown):
        raise Conflict("one of the messages was taken out; take another")
    tree = await one(database, "trees", Tree, above[0].tree_id)
    if tree.origin == GOLD:
        raise Conflict("this is a gold item already")
    held, made, names = copies(tree, above, replies, kind)
    item = GoldItem(
        id=held.id, kind=kind, lang=held.lang, collection=held.collection, target_id=names[above[-1].id],
        sources=tuple(sorted(names)), answers=answers or {},
        order=tuple([names[each] for each in tier] for tier in order), reason=reason.strip(), by=moderator.id,
    )  # fmt: skip
    # The item first: a tree without one would be taken for a tree of people.
    await database["gold"].insert_one(item.to_document())
    await database["messages"].insert_many([message.to_document() for message in made])
    await database["trees"].insert_one(held.to_document())
    about = {"kind": kind, "sources": list(item.sources)}
    await record(database, "make_gold", item.id, about, by=moderator.id, key="", lang=item.lang)
    return item


async def settle_gold(
    database: Database, config: CollectionConfig, facts: Facts, known: Collection[str]
) -> Tree | None:
    """What `core.settle` does for a tree of people, for one that holds a gold item; None when a guard was lost."""
    document = await database["gold"].find_one({"_id": facts.tree.id})
    if document is None:
        return None
    item = GoldItem.from_document(document)
    messages = {message.id: message for message in facts.messages}
    answered = [*(each.user_id for each in facts.reviews), *(each.user_id for each in facts.rankings)]
    wanted = opening(item, facts.tree, messages, answered, facts.reactions)
    held = next(iter(facts.work), None)
    done = {each.id for each in (*facts.reviews, *facts.rankings)}
    holding = set() if held is None else held.holds.keys() - done
    blank = held or replace(queue.opened(wanted, facts.tree.id, random.Random(), item.collection), gold=True)  # noqa: S311
    changed: Work = queue.adjusted(blank, wanted, holding, None)
    if not all(await together(database, queue.writes([(held, changed)]))):
        return None
    shown = tuple(decided(item, message) for message in facts.messages)
    await credit_tree(database, config, replace(facts, messages=shown), known, by_answers(item.answers))
    lessons = {lesson.id: lesson for lesson in facts.lessons}
    identity, ids = f"gold:{item.id}", tuple(sorted(done))
    before = lessons.get(identity)
    if ids and (before is None or before.following is not None or before.lesson_facts != ids):
        fresh = {identity: (ids, said(item, facts.reviews, facts.rankings))}
        if not await learning.learn(database, facts.tree.id, fresh, lessons):
            return None
    clean = {"$set": {"dirty": False}, "$inc": {"version": 1}}
    result = await database["trees"].update_one({"_id": facts.tree.id, "version": facts.tree.version}, clean)
    return replace(facts.tree, dirty=False, version=facts.tree.version + 1) if result.matched_count else None


async def items(database: Database, moderator: User, before: str | None, first: int) -> tuple[list[GoldItem], bool]:
    """A page of the gold items of the languages that a moderator looks after, newest first, and whether more follow."""
    query: dict[str, Any] = {"by_time": {"$lt": before or "}"}}
    if moderator.moderates and not moderator.has_role("admin"):
        query["lang"] = {"$in": list(moderator.moderates)}
    found = database["gold"].find(query).sort("by_time", -1).limit(first + 1)
    listed = [GoldItem.from_document(each) async for each in found]
    return listed[:first], len(listed) > first


async def retire(database: Database, moderator: User, item_id: str) -> None:
    """Hand an item out no more and erase its copies; what its answers taught stays. Twice is as once."""
    document = await database["gold"].find_one({"_id": item_id})
    if document is None:
        if await database["events"].find_one({"_id": f"retire_gold|{item_id}|"}):
            return
        raise NotFound(f"there is no gold item {item_id!r}")
    check_moderator(moderator, document["lang"])
    await record(database, "retire_gold", item_id, {}, by=moderator.id, key="", lang=document["lang"])
    await _erase(database, item_id)


async def forget(database: Database, message_ids: Sequence[str]) -> int:
    """Erase the items that were copied from any of these messages, as those are erased; returns how many."""
    query = {"sources": {"$in": list(message_ids)}}
    found = [each["_id"] async for each in database["gold"].find(query, {"_id": 1})]
    for item_id in found:
        await _erase(database, item_id)
    return len(found)


async def _erase(database: Database, item_id: str) -> None:
    """The item last, so that a crash between leaves it to be found again."""
    await database["work"].delete_many({"tree_id": item_id})
    await database["trees"].delete_one({"_id": item_id})
    await database["messages"].delete_many({"tree_id": item_id})
    await database["gold"].delete_one({"_id": item_id})
