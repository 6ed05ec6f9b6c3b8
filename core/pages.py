"""Reading trees and messages: one, a thread, a tree, and pages in order of time by one scalar key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from core.database import Database
from core.errors import BadInput, NotFound
from core.facts import of_tree
from core.pools import DEFAULT, pool_of
from core.records import TREE_STATES, Message, Record, Task, Tree, time_key
from core.tree_reading import among

T = TypeVar("T", Tree, Message)
AnyRecord = TypeVar("AnyRecord", bound=Record)
MAX_FIRST = 1000
"""Records of one page."""
SCANNED = 10_000
"""Records that one page looks at where it leaves some out."""


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some records in order of time, and whether more follow the last.

    Attributes:
        end: how far was looked, as a cursor, where that is beyond the last record (`SCANNED`).
    """

    items: tuple[T, ...]
    has_next: bool
    end: str | None = None

    @staticmethod
    def key(record: Tree | Message) -> str:
        """The record's cursor: pass it as `after`."""
        return time_key(record.created_at, record.id)


async def trees_page(
    database: Database, state: str | None, lang: str | None, after: str | None, first: int,
    newest_first: bool = False, collection: str | None = None,
) -> Page[Tree]:  # fmt: skip
    """Trees, oldest (or newest) first, of one state or language or both, and of one collection, where given."""
    if state is not None and state not in TREE_STATES:
        raise BadInput(f"unknown tree state {state!r}; one of: {', '.join(TREE_STATES)}", path=("state",))
    if collection is not None:
        return await _trees_of(database, collection, state, lang, after, first, newest_first)
    field = "by_" + "_".join(name for name, value in (("state", state), ("lang", lang)) if value is not None)
    prefix = "".join(f"{value}|" for value in (state, lang) if value is not None)
    field = "by_time" if field == "by_" else field
    return await _page(database, "trees", Tree, field, prefix, after, first, {}, newest_first)


async def _trees_of(
    database: Database, collection: str, state: str | None, lang: str | None, after: str | None, first: int,
    newest_first: bool,
) -> Page[Tree]:  # fmt: skip
    if state is not None and lang is not None:
        prefix = f"{state}|{pool_of(collection, lang)}|"
        return await _page(database, "trees", Tree, "by_state_lang", prefix, after, first, {}, newest_first)
    field, prefix = next(
        (found for value, found in ((state, ("by_state", f"{state}|")), (lang, ("by_lang", f"{lang}|"))) if value),
        ("by_time", ""),
    )
    # Those of before there were collections say nothing of theirs.
    of = {"$in": [DEFAULT, None]} if collection == DEFAULT else collection
    return await chosen(database, "trees", Tree, field, prefix, after, first, {"collection": of}, newest_first)


async def messages_page(
    database: Database, lang: str | None, author_id: str | None, after: str | None, first: int, include_deleted: bool,
    newest_first: bool = False,
) -> Page[Message]:  # fmt: skip
    """Messages of all trees, oldest (or newest) first, in one language or by one author where given."""
    also: dict[str, Any] = {} if include_deleted else {"deleted": False}
    if author_id is not None:
        if lang is not None:
            also["lang"] = lang
        own = f"{author_id}|"
        return await _page(database, "messages", Message, "by_author", own, after, first, also, newest_first)
    field, prefix = ("by_time", "") if lang is None else ("by_lang", f"{lang}|")
    return await _page(database, "messages", Message, field, prefix, after, first, also, newest_first)


async def _page(
    database: Database, name: str, kind: type[T], field: str, prefix: str, after: str | None, first: int,
    also: dict[str, Any], newest_first: bool,
) -> Page[T]:  # fmt: skip
    if not 1 <= first <= MAX_FIRST:
        raise BadInput(f"first is {first}; it must be from 1 to {MAX_FIRST}", path=("first",))
    low, high = _span(prefix, after, newest_first)
    query = {field: {"$gt": low, "$lt": high}} | also
    found = database[name].find(query).sort(field, -1 if newest_first else 1).limit(first + 1)
    records = [kind.from_document(document) async for document in found]
    return Page(items=tuple(records[:first]), has_next=len(records) > first)


def _span(prefix: str, after: str | None, newest_first: bool) -> tuple[str, str]:
    """What the keys of a page lie between."""
    low, high = prefix, f"{prefix[:-1]}}}" if prefix else "}"
    if after:
        low, high = (low, f"{prefix}{after}") if newest_first else (f"{prefix}{after}", high)
    return low, high


async def chosen(
    database: Database, name: str, kind: type[T], field: str, prefix: str, after: str | None, first: int,
    also: dict[str, Any], newest_first: bool,
) -> Page[T]:  # fmt: skip
    """A page of those among the next `SCANNED` records for which `also` holds: it may have fewer than `first`."""
    (low, high), way = _span(prefix, after, newest_first), -1 if newest_first else 1
    span = {"$gt": low, "$lt": high}
    ahead = database[name].find({field: span}, {field: 1}).sort(field, way).skip(SCANNED - 1).limit(1)
    last = [str(document[field]) async for document in ahead]
    if last:
        span = {"$gte": last[0], "$lt": high} if newest_first else {"$gt": low, "$lte": last[0]}
    found = database[name].find({field: span} | also).sort(field, way).limit(first + 1)
    records = [kind.from_document(document) async for document in found]
    if len(records) > first:
        return Page(tuple(records[:first]), has_next=True)
    return Page(tuple(records), has_next=bool(last), end=last[0].removeprefix(prefix) if last else None)


async def one(database: Database, name: str, kind: type[T], identity: str) -> T:
    """The record of that id; raises `NotFound`."""
    document = await database[name].find_one({"_id": identity})
    if document is None:
        raise NotFound(f"there is no {kind.__name__.lower()} {identity!r}")
    return kind.from_document(document)


async def many(
    database: Database, name: str, kind: type[AnyRecord], identities: list[str]
) -> dict[str, AnyRecord]:  # fmt: skip
    """The records of those ids that exist, by id."""
    if len(identities) == 1:  # which stores answer with less ado
        only = await database[name].find_one({"_id": identities[0]})
        return {} if only is None else {only["_id"]: kind.from_document(only)}
    found = database[name].find({"_id": {"$in": identities}})
    return {document["_id"]: kind.from_document(document) async for document in found}


async def messages_of(database: Database, tree_id: str, known: bool = False) -> list[Message]:
    """All messages of a tree: parents before children, siblings by rank, then age.

    Raises:
        NotFound: there is no such tree; it is not looked for where the caller says that it is `known`.
    """
    if not known:
        await one(database, "trees", Tree, tree_id)
    return _in_order(await of_tree(database, "messages", Message, tree_id))


async def messages_of_many(database: Database, tree_ids: Sequence[str]) -> dict[str, list[Message]]:
    """All messages of trees that there are, in one read: each tree's in the order of `messages_of`."""
    found: dict[str, list[Message]] = {tree_id: [] for tree_id in tree_ids}
    async for document in database["messages"].find({"tree_id": among(tree_ids)}):
        found[document["tree_id"]].append(Message.from_document(document))
    return {tree_id: _in_order(messages) for tree_id, messages in found.items()}


def _in_order(messages: Iterable[Message]) -> list[Message]:
    return sorted(messages, key=lambda each: (each.depth, each.rank is None, each.rank or 0, each.created_at, each.id))


async def thread(database: Database, message_id: str) -> list[Message]:
    """The messages from the root to this one."""
    last = await one(database, "messages", Message, message_id)
    above = await many(database, "messages", Message, list(last.ancestors))
    return [above[each] for each in last.ancestors if each in above] + [last]


async def shown(database: Database, task: Task) -> tuple[list[Message], list[Message]]:
    """What a task shows: the thread down to its target, and the replies to rank in the order served.

    Who wrote a message, whether a model did, and what people said of it is left out.
    """
    found = await many(database, "messages", Message, [*task.thread, *task.served])
    blind = {identity: blinded(message) for identity, message in found.items()}
    return (
        [blind[identity] for identity in task.thread if identity in blind],
        [blind[identity] for identity in task.served if identity in blind],
    )


def blinded(message: Message) -> Message:
    """The message without author, origin, verdict, counts and rank."""
    return Message(
        id=message.id, tree_id=message.tree_id, parent_id=message.parent_id, role=message.role, lang=message.lang,
        text=message.text, ancestors=message.ancestors, depth=message.depth, created_at=message.created_at,
    )  # fmt: skip
