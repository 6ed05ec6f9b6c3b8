"""Durable token streams: what a reply says, token by token, numbered, in the document store.

A reply is a log of chunks in `chat_chunks`. Tokens count from 1; a chunk holds consecutive tokens and its one scalar
key is `<message id>|<number of its first token, padded>`, unique. So whoever continues a log must know where it ends,
and of two writers that both think they hold it exactly one gets the next chunk in; the other finds out by the refusal.
Readers follow the log, so two of them see the same, and one that comes back with the last number it saw misses nothing.

Tokens are flushed every `FLUSH` seconds (the first at once), folded into the message every `FOLD` seconds and at the
end. Readers in the writer's process are woken by `Notices`; others poll.

Knows the store. Does not know who may read, how a reply is made or what a serving node is.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from core.chat_records import STREAMING, ChatMessage, State
from core.errors import Conflict, NotFound
from core.records import milliseconds, now

if TYPE_CHECKING:
    from core.database import Database

FLUSH = 0.2
"""Seconds between two chunks of a reply."""
FOLD = 3.0
"""Seconds between two foldings of the log into the message."""
LEASE = 10.0
"""Seconds for which a writer that has fallen silent keeps its reply; then another may take it."""
MAX_CHUNK = 64
"""Tokens of one chunk."""
KEEP = timedelta(days=1)
"""How long a log is kept; afterwards the message's text alone tells what was said."""


class WriterLost(Conflict):
    """Another writer has this reply, or it has ended: write no more."""


@dataclass(frozen=True)
class Token:
    """One piece of a reply: its number, from 1, and its text."""

    seq: int
    text: str


class Notices:
    """Wakes those who wait, in this process, for something to happen to a message.

    A waiter opens `watch(key)` before it looks at the store, so that nothing can happen between look and wait.
    """

    def __init__(self) -> None:
        self._events: dict[str, set[asyncio.Event]] = {}

    def notify(self, key: str) -> None:
        """Wake everyone who watches `key`."""
        for event in self._events.get(key, ()):
            event.set()

    @asynccontextmanager
    async def watch(self, key: str) -> AsyncIterator[asyncio.Event]:
        """An event that `notify(key)` sets; the watcher clears it."""
        event = asyncio.Event()
        self._events.setdefault(key, set()).add(event)
        try:
            yield event
        finally:
            watchers = self._events[key]
            watchers.discard(event)
            if not watchers:
                del self._events[key]


def stop_notice(message_id: str) -> str:
    """The notice that its owner asked a reply to stop."""
    return f"stop|{message_id}"


async def wait(event: asyncio.Event, seconds: float) -> bool:
    """Whether `event` was set within `seconds`; clears it."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    event.clear()
    return True


def chunk_key(message_id: str, first: int) -> str:
    """The key of the chunk of `message_id` that begins with token number `first`."""
    return f"{message_id}|{first:09d}"


async def read_log(database: Database, message_id: str, after: int = 0) -> list[Token]:
    """The tokens numbered above `after` that are in the log, in order.

    A chunk has at most `MAX_CHUNK` tokens, so the one that holds `after + 1` begins at most that far before it.
    """
    start = chunk_key(message_id, max(1, after + 2 - MAX_CHUNK))
    keys = {"$gte": start, "$lt": f"{message_id}|~"}
    chunks = await database.chat_chunks.find({"key": keys}).sort("key", 1).to_list()
    tokens = [Token(chunk["first"] + index, text) for chunk in chunks for index, text in enumerate(chunk["tokens"])]
    return [token for token in tokens if token.seq > after]


async def follow(
    database: Database, notices: Notices, message_id: str, after: int = 0, *, poll: float = 0.25
) -> AsyncIterator[Token | ChatMessage]:
    """Tokens numbered above `after` as they come, then the message when it has ended, then nothing more.

    The message comes last and holds the whole text, so a reader whose log has been cleared still ends right.

    Args:
        database: the document store.
        notices: of this process.
        message_id: a reply; of a prompt the message comes at once.
        after: number of the last token that the reader has.
        poll: seconds between looks at the store when nobody in this process says that something happened.

    Raises:
        NotFound: there is no such message.
    """
    position, pause = after, poll
    async with notices.watch(message_id) as changed:
        while True:
            message = await load_message(database, message_id)
            for token in await read_log(database, message_id, position):
                if message.state == STREAMING or token.seq <= message.seq:
                    position = token.seq
                    yield token
            if message.state != STREAMING:
                yield message
                return
            # Whoever is woken has the writer in its own process and need not look often.
            pause = 8 * poll if await wait(changed, pause) else poll


async def load_message(database: Database, message_id: str) -> ChatMessage:
    """One message, or `NotFound`."""
    document = await database.chat_messages.find_one({"_id": message_id})
    if document is None:
        raise NotFound(f"there is no message {message_id!r}, or you may not see it")
    return ChatMessage.from_document(document)


class ReplyWriter:
    """One writer's hold on one streaming reply; made by `take`.

    `say` and `note` only remember; one task calls `flush`, `beat` and `finish`, which write.

    Attributes:
        message: the reply as of the last folding.
        text: all that was said so far, what is not flushed yet included.
        stopping: the owner asked to stop; seen when the log is next folded.
    """

    def __init__(
        self, database: Database, notices: Notices, message: ChatMessage, writer: str, said: list[Token]
    ) -> None:
        self._database = database
        self._notices = notices
        self._writer = writer
        self._pending: list[str] = []
        self._notes: dict[str, str] = {}
        self._flushed_at = self._folded_at = -math.inf
        self.message = message
        self.flushed = said[-1].seq if said else 0
        self.text = "".join(token.text for token in said)
        self.stopping = False

    @property
    def seq(self) -> int:
        """How many tokens were said so far, what is not flushed yet included."""
        return self.flushed + len(self._pending)

    @property
    def model_version(self) -> str | None:
        """`name@version` that said what was said so far."""
        return self._notes.get("model_version") or self.message.model_version

    @property
    def due(self) -> bool:
        """Whether there is something to flush and the last time is `FLUSH` seconds ago."""
        return bool(self._pending) and time.monotonic() - self._flushed_at >= FLUSH

    def say(self, text: str) -> None:
        """One more token."""
        self._pending.append(text)
        self.text += text

    def note(self, **about: str) -> None:
        """Fields of the message, such as `node` and `model_version`, to be set when the log is next folded."""
        self._notes |= about

    async def flush(self) -> None:
        """Put what was said into the log; fold the log into the message when that is due.

        Raises:
            WriterLost: another writer has the reply now, or it has ended.
        """
        while self._pending:
            await self._insert(self._pending[:MAX_CHUNK])
            self._flushed_at = time.monotonic()
            self._notices.notify(self.message.id)
        if time.monotonic() - self._folded_at >= FOLD:
            await self.beat()

    async def beat(self) -> None:
        """Fold the log into the message and renew the lease; learns whether a stop was asked for."""
        self._folded_at = time.monotonic()
        await self._update({"lease_until": lease_end()})

    async def finish(self, state: State, error: Mapping[str, str] | None = None) -> ChatMessage:
        """Flush, fold and end the reply as `state`; returns it. Nothing can be added afterwards."""
        while self._pending:
            await self._insert(self._pending[:MAX_CHUNK])
        ending = {"state": state, "error": error, "finished_at": now()}
        await self._update(ending, unset=("lease_until", "writer"))
        self._notices.notify(self.message.id)
        return self.message

    async def release(self) -> None:
        """Give the reply back, for another writer to go on with at once."""
        await self.flush()
        await self._update({"lease_until": milliseconds(now())}, unset=("writer",))

    async def _insert(self, tokens: list[str]) -> None:
        from pymongo.errors import DuplicateKeyError

        first = self.flushed + 1
        key = chunk_key(self.message.id, first)
        chunk = {"_id": key, "key": key, "first": first, "tokens": tokens, "expires_at": now() + KEEP}
        try:
            await self._database.chat_chunks.insert_one(chunk)
        except DuplicateKeyError as error:
            raise WriterLost(f"another writer has said token {first} of {self.message.id!r}") from error
        self.flushed += len(tokens)
        del self._pending[: len(tokens)]

    async def _update(self, changes: Mapping[str, Any], unset: tuple[str, ...] = ()) -> None:
        """Write `changes`, what was noted and the log as far as it is flushed, if this writer still has the reply."""
        logged = self.text[: len(self.text) - sum(map(len, self._pending))]
        update: dict[str, Any] = {"$set": {**self._notes, **changes, "text": logged, "seq": self.flushed}}
        if unset:
            update["$unset"] = dict.fromkeys(unset, "")
        guard = {"_id": self.message.id, "state": STREAMING, "writer": self._writer}
        found = await self._database.chat_messages.find_one_and_update(guard, update, return_document=True)
        if found is None:
            raise WriterLost(f"reply {self.message.id!r} has ended or another writer has it")
        self.stopping = bool(found.get("stop_requested"))
        self.message = ChatMessage.from_document(found)


def lease_end() -> int:
    """When a lease that is renewed now runs out, in milliseconds since 1970: a number, so that queries may compare."""
    return milliseconds(now() + timedelta(seconds=LEASE))


async def take(database: Database, notices: Notices, message_id: str, writer: str) -> ReplyWriter | None:
    """Take a streaming reply that nobody writes, or whose writer fell silent; None when it is not to be had.

    The log, not the message, says what was said already: a writer may have died between the two.

    Args:
        database: the document store.
        notices: of this process.
        message_id: the reply.
        writer: names this taking alone; never used twice.
    """
    guard = {
        "_id": message_id,
        "state": STREAMING,
        "$or": [{"writer": {"$exists": False}}, {"lease_until": {"$lt": milliseconds(now())}}],
    }
    taken = {"$set": {"writer": writer, "lease_until": lease_end()}, "$inc": {"takes": 1}}
    document = await database.chat_messages.find_one_and_update(guard, taken, return_document=True)
    if document is None:
        return None
    said = await read_log(database, message_id)
    message = replace(ChatMessage.from_document(document), seq=said[-1].seq if said else 0)
    hold = ReplyWriter(database, notices, message, writer, said)
    hold.stopping = bool(document.get("stop_requested"))
    return hold


@dataclass(frozen=True)
class Orphan:
    """A streaming reply whose lease ran out: its id, and how often it was taken."""

    message_id: str
    takes: int


async def orphans(database: Database, limit: int = 20) -> list[Orphan]:
    """Streaming replies that nobody has taken or whose writer fell silent, the longest waiting first."""
    due = database.chat_messages.find({"lease_until": {"$lte": milliseconds(now())}})
    return [Orphan(each["_id"], each.get("takes", 0)) async for each in due.sort("lease_until", 1).limit(limit)]
