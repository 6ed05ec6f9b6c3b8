"""The chat relay: takes replies that are wanted, has a serving node say them, writes the tokens down.

Runs as one background task of the API process. A reply is wanted when it stands in the store as `streaming` and nobody
holds it, whichever process wrote it down; so a reply whose relay died is taken up by another from what was said
already. A node that dies in mid-stream is replaced by another in the same way: the text said so far is sent as the
beginning of the reply, to be continued.

Knows chats (`core.chats`) and serving nodes. Does not know GraphQL or who reads.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from core import chat_wheel
from core.chat_records import ASSISTANT, COMPLETE, FAILED, STOPPED, Chat, ChatMessage, thread_to
from core.chat_stream import FLUSH, Orphan, ReplyWriter, WriterLost, orphans, stop_notice, take, wait
from core.chats import WANTED, Chats
from core.errors import OaError, Unavailable
from core.ids import new_id, sha256_hex

from .chat_client import NodeBusy, NodeLost, new_client, stream
from .chat_nodes import Nodes

log = logging.getLogger("oa.relay")

DRAFT_TEMPERATURE = 0.9
"""Least temperature of a draft, which should differ from the reply beside it."""
PAUSE = 0.2
"""Seconds before nodes are tried again when none was ready."""


@dataclass(frozen=True)
class RelayLimits:
    """How patient a relay is."""

    streams: int = 256
    """Replies at once; others wait in the store, for this process or another."""
    poll: float = 1.0
    """Seconds between looks for replies that another process wrote down or let fall."""
    patience: float = 60.0
    """Seconds without a token after which a reply fails for which no node is ready."""
    takes: int = 5
    """Times that a reply may be taken: one that kills every relay must not live for ever."""
    grace: float = 10.0
    """Seconds at shutdown in which replies may end; what streams longer is handed over."""


class Relay:
    """Relays replies from serving nodes to the store.

    Args:
        chats: the chats; its `notices` wake this relay.
        urls: base URLs of the serving nodes.
        key: bearer key for them.
        limits: see `RelayLimits`.
        published: whether a model (`name` or `name@version`) is published: of one that is, a node may yet be loading
            it; for any other, a reply fails as soon as no node knows it. Without it every model is waited for.
    """

    def __init__(
        self, chats: Chats, urls: Sequence[str], key: str | None = None, limits: RelayLimits | None = None,
        published: Callable[[str], Awaitable[bool]] | None = None,
    ) -> None:  # fmt: skip
        self.chats = chats
        self.nodes = Nodes(urls)
        self.limits = limits or RelayLimits()
        self._key = key
        self._published = published
        self._speaking: set[asyncio.Task[None]] = set()
        self._closing = self._handing_over = False
        self._loop: asyncio.Task[None] | None = None

    @property
    def active(self) -> int:
        """Replies that this relay streams now."""
        return len(self._speaking)

    async def __aenter__(self) -> Relay:
        """Start relaying."""
        self._client = new_client(self._key)
        self._loop = asyncio.create_task(self._run(), name="chat-relay")
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Take no more replies, let those that stream end within the grace, hand the rest over."""
        self._closing = True
        self.chats.notices.notify(WANTED)
        if self._loop:
            await self._loop
        if self._speaking:
            await asyncio.wait(self._speaking, timeout=self.limits.grace)
        # No write is cut off by a cancellation: each reply notices between two writes that it is to be given back.
        self._handing_over = True
        await asyncio.gather(*self._speaking, return_exceptions=True)
        await self._client.aclose()

    async def _run(self) -> None:
        async with self.chats.notices.watch(WANTED) as wanted:
            while not self._closing:
                try:
                    await self._take_wanted()
                    await self._turn_wheels()
                except Exception:
                    # The store is away, or one document is broken: neither may end the relay.
                    log.exception("the relay could not look for replies; it goes on")
                await wait(wanted, self.limits.poll)

    async def _take_wanted(self) -> None:
        for orphan in await orphans(self.chats.database, limit=self.limits.streams):
            if self._closing or self.active >= self.limits.streams:
                return
            writer = await take(self.chats.database, self.chats.notices, orphan.message_id, new_id())
            if writer is not None:
                task = asyncio.create_task(self._relay(writer, orphan))
                self._speaking.add(task)
                task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._speaking.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("a reply was let fall, its lease will run out", exc_info=error)
        self.chats.notices.notify(WANTED)

    async def _turn_wheels(self) -> None:
        for message_id in await chat_wheel.due(self.chats.database):
            try:
                await self.chats.turn_wheel(message_id)
            except OaError as error:
                log.warning("rated reply %s could not become ranking work yet: %s", message_id, error)

    async def _relay(self, writer: ReplyWriter, orphan: Orphan) -> None:
        """One reply from taking to its end; what goes wrong with the store leaves it to the next taker."""
        try:
            ended = await self._tell(writer, orphan)
        except WriterLost:
            log.info("reply %s went to another relay", orphan.message_id)
            return
        await chat_wheel.hasten(self.chats.database, ended)

    async def _tell(self, writer: ReplyWriter, orphan: Orphan) -> ChatMessage:
        """Have the reply said and written; returns it ended."""
        if orphan.takes >= self.limits.takes:
            return await writer.finish(FAILED, _error(Unavailable(f"the reply broke off {orphan.takes} times")))
        telling = Telling(self, writer)
        speaking = asyncio.create_task(telling.speak())
        try:
            await self._write(writer, speaking, telling.pulse)
            if writer.stopping:
                return await writer.finish(STOPPED)
            if not speaking.done():
                await writer.release()
                return writer.message
            speaking.result()
            return await writer.finish(COMPLETE)
        except OaError as error:
            if isinstance(error, WriterLost):
                raise
            return await writer.finish(FAILED, _error(error))
        finally:
            speaking.cancel()
            await asyncio.gather(speaking, return_exceptions=True)

    async def _write(self, writer: ReplyWriter, speaking: asyncio.Task[None], pulse: asyncio.Event) -> None:
        """Write what is said, as it is said, until it is over, its owner asked to stop, or it is to be handed over."""
        speaking.add_done_callback(lambda _: pulse.set())
        async with self.chats.notices.watch(stop_notice(writer.message.id)) as asked:
            while not (speaking.done() or writer.stopping or self._handing_over):
                await wait(pulse, FLUSH)
                await writer.flush()
                if asked.is_set():
                    asked.clear()
                    await writer.beat()


class Telling:
    """The saying of one reply: finds nodes and passes on what they say. Only remembers; `_write` writes.

    Attributes:
        pulse: set when there is something to write at once.
    """

    def __init__(self, relay: Relay, writer: ReplyWriter) -> None:
        self.pulse = asyncio.Event()
        self._relay = relay
        self._writer = writer
        self._refusal: NodeBusy | None = None

    async def speak(self) -> None:
        """Say the reply to its end, on as many nodes as that takes.

        Raises:
            OaError: no node takes it.
        """
        message = self._writer.message
        chat = await self._relay.chats.chat(message.owner_id, message.chat_id)
        thread = thread_to(await chat_wheel.messages_of(self._relay.chats.database, chat.id), message.prompt_id)
        last = next((turn.node for turn in reversed(thread) if turn.role == ASSISTANT), None)
        tried: set[str] = set()
        self._be_patient()
        while self._writer.seq < chat.sampling.max_tokens:
            node = self._relay.nodes.pick(chat.id, last, tried)
            if node is None:
                self._give_up_in_time()
                await self._give_up_the_unknown(message.model)
                tried.clear()
                await asyncio.sleep(PAUSE)
            elif await self._said_by(node, request(chat, thread, self._writer)):
                break
            else:
                tried.add(node)
        if not self._writer.text.strip():
            raise Unavailable("the model ended its reply without a word; regenerate it")

    async def _said_by(self, node: str, body: dict[str, Any]) -> bool:
        """Whether `node` said the (rest of the) reply to its end."""
        nodes = self._relay.nodes
        try:
            with nodes.using(node):
                async with contextlib.aclosing(stream(self._relay._client, node, body)) as pieces:
                    async for piece in pieces:
                        self._writer.note(node=node, model_version=piece.model)
                        self._writer.say(piece.text)
                        self._be_patient()
                        if self._writer.due:
                            self.pulse.set()
            return True
        except NodeLost as error:
            log.warning("a serving node was lost after %d tokens: %s", self._writer.seq, error)
            nodes.rest(node)
        except NodeBusy as error:
            self._refusal = error
            nodes.rest(node, error.seconds)
        return False

    def _be_patient(self) -> None:
        self._deadline = time.monotonic() + self._relay.limits.patience

    def _give_up_in_time(self) -> None:
        if time.monotonic() < self._deadline:
            return
        if self._refusal is not None:
            raise Unavailable(self._refusal.message, code=self._refusal.code)
        raise Unavailable("no serving node answers; try again in a while", retry_after=10)

    async def _give_up_the_unknown(self, model: str) -> None:
        """Raise what the nodes said where none has the model and none will: a mistyped name is not waited for."""
        published = self._relay._published
        if published is None or self._refusal is None or self._refusal.code != "NO_MODEL":
            return
        try:
            coming = await published(model)
        except OaError:
            return  # the object store is away: that says nothing of the model
        if not coming:
            message = f"no model {model[:80]!r} is published and no serving node has it; `models` lists what there is"
            raise Unavailable(message, code="NO_MODEL")


def request(chat: Chat, thread: Sequence[ChatMessage], writer: ReplyWriter) -> dict[str, Any]:
    """The body of `POST /v1/chat/completions` for a reply to `thread`, to be continued from what was said already.

    A reply is continued by the very model version that began it. The seed follows from the reply's id, so what was
    said can be said again.
    """
    message, sampling = writer.message, chat.sampling
    turns = [{"role": "assistant" if turn.role == ASSISTANT else "user", "content": turn.text} for turn in thread]
    system = [{"role": "system", "content": chat.system_prompt}] if chat.system_prompt.strip() else []
    body: dict[str, Any] = {
        "model": message.model,
        "messages": [*system, *turns],
        "max_tokens": sampling.max_tokens - writer.seq,
        "temperature": max(sampling.temperature, DRAFT_TEMPERATURE) if message.draft else sampling.temperature,
        "top_p": sampling.top_p,
        "seed": int(sha256_hex(message.id.encode())[:7], 16),
    }
    if writer.text:
        body["messages"].append({"role": "assistant", "content": writer.text})
        body |= {"continue_final_message": True, "model": writer.model_version or message.model}
    return body


def _error(error: OaError) -> dict[str, str]:
    return {"code": error.code, "message": error.message}
