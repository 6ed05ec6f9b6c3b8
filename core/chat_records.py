"""Chats and their messages as plain records, and the pure rules over them.

Knows the shape of a chat, of a message in it (a tree: regenerating or editing makes a sibling), what a caller may set,
and how a thread is read out of a chat. Does not know the database, token streams, serving nodes or who calls.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from core.errors import BadInput, Conflict, NotFound
from core.records import moment
from core.texts import is_visible

State = Literal["streaming", "complete", "stopped", "failed"]
Role = Literal["prompter", "assistant"]

STREAMING: State = "streaming"
COMPLETE: State = "complete"
STOPPED: State = "stopped"
FAILED: State = "failed"

PROMPTER: Role = "prompter"
ASSISTANT: Role = "assistant"

MAX_TEXT = 8_000
"""Characters of one prompt."""
MAX_SYSTEM_PROMPT = 4_000
"""Characters of a chat's system prompt."""
MAX_TITLE = 100
"""Characters of a title."""
MAX_REASON = 2_000
"""Characters of the reason given with a rating."""
MAX_MESSAGES = 1_000
"""Messages of one chat, siblings included: a chat is read whole."""

MODEL_FORM = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}(@[a-z0-9][a-z0-9._-]{0,62})?")
LANG_FORM = re.compile(r"[a-z]{2,3}(-[A-Z]{2})?")
_NAMESPACE = uuid.UUID("6f9c7c7e-0d0a-4b0e-9a55-0f4f3a2c6b11")


def derived_id(*parts: str) -> str:
    """An id that follows from `parts` alone, so that a repeated request names the same thing again."""
    return str(uuid.uuid5(_NAMESPACE, "\x1f".join(parts)))


@dataclass(frozen=True)
class Sampling:
    """How a reply is drawn.

    Attributes:
        temperature: 0 (always the likeliest token) to 2.
        top_p: share of probability kept, above 0 up to 1 (Holtzman et al. 2019).
        max_tokens: tokens of one reply, 1 to 4096.
    """

    temperature: float = 0.7
    top_p: float = 0.95
    max_tokens: int = 512

    def __post_init__(self) -> None:
        _within("temperature", self.temperature, 0 <= self.temperature <= 2, "0 to 2")
        _within("top_p", self.top_p, 0 < self.top_p <= 1, "above 0, up to 1")
        _within("max_tokens", self.max_tokens, 1 <= self.max_tokens <= 4096, "1 to 4096")


@dataclass(frozen=True)
class Chat:
    """One chat of one person.

    Attributes:
        id: UUIDv7, so chats sort by age.
        owner_id: the only one who sees it.
        title: for lists; the start of the first prompt when none was given.
        lang: language of the chat, such as `en` or `pt-BR`: the language of the ranking work that comes of it.
        model: `name` or `name@version` that replies are asked of.
        system_prompt: put before the thread; may be empty.
        sampling: how replies are drawn.
        allow_training: the owner consents that rated threads become ranking work and training data.
        created_at: UTC.
        updated_at: UTC, of the newest message or change.
        consent_key, consent_due: as of a user (`core.records.User`), for the consent of this chat.
    """

    id: str
    owner_id: str
    title: str
    lang: str
    model: str
    system_prompt: str
    sampling: Sampling
    allow_training: bool
    created_at: datetime
    updated_at: datetime
    consent_key: str | None = None
    consent_due: int | None = None

    @property
    def owner_key(self) -> str:
        """One ordered scalar key for the pages of an owner's chats."""
        return f"{self.owner_id}|{self.id}"

    def to_document(self) -> dict[str, Any]:
        """As stored in `chats`."""
        document = asdict(self)
        return {"_id": document.pop("id"), **document, "owner_key": self.owner_key}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Chat:
        """From a document of `chats`."""
        values = {name: document[name] for name in cls.__dataclass_fields__ if name in document}
        times = {name: moment(document[name]) for name in ("created_at", "updated_at")}
        return cls(**{**values, **times, "id": document["_id"], "sampling": Sampling(**document["sampling"])})


@dataclass(frozen=True)
class ChatMessage:
    """One turn of a chat.

    Attributes:
        id: unique over all chats.
        chat_id: its chat.
        parent_id: the turn before; None for a first prompt.
        owner_id: owner of the chat, repeated here so that one read decides who may see it.
        role: `prompter` or `assistant`.
        text: the turn; of a streaming reply, what was folded in so far.
        state: a prompt is always `complete`.
        model: what a reply is asked of, `name` or `name@version`; empty for a prompt.
        model_version: `name@version` that answered, once a node said so.
        node: base URL of the serving node that answered last: the best place for the next turn.
        seq: number of the last token folded into `text`, from 1; 0 before the first.
        score: -1, 0 or 1, by the owner.
        score_reason: the owner's words with it.
        error: `{"code", "message"}` of a failed reply.
        draft: made by the system to have something to rank, not asked for by the owner.
        tree_id: the conversation tree that this rated reply went into.
        created_at: UTC.
        finished_at: UTC; None while streaming.
    """

    id: str
    chat_id: str
    parent_id: str | None
    owner_id: str
    role: Role
    text: str
    state: State
    created_at: datetime
    model: str = ""
    model_version: str | None = None
    node: str | None = None
    seq: int = 0
    score: int = 0
    score_reason: str = ""
    error: Mapping[str, str] | None = None
    draft: bool = False
    tree_id: str | None = None
    finished_at: datetime | None = None

    @property
    def prompt_id(self) -> str:
        """The prompt that it answers, or is."""
        return self.id if self.role == PROMPTER else self.parent_id or ""

    @property
    def usable(self) -> bool:
        """Whether a next turn may follow it: it has ended with a text to go on from."""
        return self.state in (COMPLETE, STOPPED) and bool(self.text.strip())

    def to_document(self) -> dict[str, Any]:
        """As stored in `chat_messages`, but for what only the relay keeps there (lease, writer, stop request)."""
        document = asdict(self)
        return {"_id": document.pop("id"), **document}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> ChatMessage:
        """From a document of `chat_messages`."""
        values = {name: document[name] for name in cls.__dataclass_fields__ if name in document}
        times = {name: moment(values[name]) for name in ("created_at", "finished_at") if values.get(name) is not None}
        return cls(**{**values, **times, "id": document["_id"]})


@dataclass(frozen=True)
class Exchange:
    """A prompt and the reply that was begun for it."""

    prompt: ChatMessage
    reply: ChatMessage


@dataclass(frozen=True)
class ChatSettings:
    """What an owner may set of a chat; checked on making.

    Raises:
        BadInput: a value is too long, out of range or malformed; `path` names its field.
    """

    title: str = ""
    lang: str = "en"
    model: str = "assistant"
    system_prompt: str = ""
    sampling: Sampling = field(default_factory=Sampling)
    allow_training: bool = False

    def __post_init__(self) -> None:
        check_length("title", self.title, MAX_TITLE)
        check_length("system_prompt", self.system_prompt, MAX_SYSTEM_PROMPT)
        check_model(self.model)
        if not LANG_FORM.fullmatch(self.lang):
            raise BadInput(f"lang is {self.lang[:20]!r}; it must be a code such as en or pt-BR", path=("lang",))

    def apply(self, chat: Chat) -> Chat:
        """`chat` with these settings."""
        return replace(chat, **{name: getattr(self, name) for name in self.__dataclass_fields__})


def check_model(model: str) -> str:
    """`model` if it reads `name` or `name@version`, else `BadInput`."""
    if not MODEL_FORM.fullmatch(model):
        raise BadInput(
            f"model {model[:80]!r} is malformed; give `name` or `name@version` in lower-case letters, digits, . _ -",
            path=("model",),
        )
    return model


def check_text(text: str) -> str:
    """A prompt without outer white space.

    Raises:
        BadInput: with code `TEXT_EMPTY` or `TEXT_TOO_LONG`.
    """
    stripped = text.strip()
    if not is_visible(stripped):
        raise BadInput("the message has no visible character; write something", code="TEXT_EMPTY", path=("text",))
    return check_length("text", stripped, MAX_TEXT)


def check_length(name: str, text: str, limit: int) -> str:
    """`text` if it has at most `limit` characters, else `BadInput` with code `TEXT_TOO_LONG`."""
    if len(text) > limit:
        raise BadInput(f"{name} has {len(text)} characters; at most {limit}", code="TEXT_TOO_LONG", path=(name,))
    return text


def title_of(text: str) -> str:
    """A title from a first prompt: its first line, cut."""
    line = text.strip().splitlines()[0] if text.strip() else ""
    return line if len(line) <= 60 else f"{line[:59]}…"


def ordered(messages: Iterable[ChatMessage]) -> list[ChatMessage]:
    """Oldest first; among equals a prompt before its reply, then by id."""
    return sorted(messages, key=lambda message: (message.created_at, message.role == ASSISTANT, message.id))


def thread_to(messages: Iterable[ChatMessage], message_id: str) -> list[ChatMessage]:
    """The turns from the first prompt to `message_id`, both included.

    Raises:
        NotFound: `message_id`, or a turn before it, is not among `messages`.
    """
    by_id = {message.id: message for message in messages}
    thread: list[ChatMessage] = []
    wanted: str | None = message_id
    while wanted is not None:
        if wanted not in by_id:
            raise NotFound(f"message {wanted!r} is not in this chat")
        thread.append(by_id.pop(wanted))
        wanted = thread[-1].parent_id
    return thread[::-1]


def next_parent(messages: Sequence[ChatMessage]) -> str | None:
    """The reply that a new prompt follows when its sender names none: the newest with a text; None in an empty chat.

    Raises:
        Conflict: the newest reply is still streaming.
    """
    replies = [message for message in ordered(messages) if message.role == ASSISTANT and not message.draft]
    if replies and replies[-1].state == STREAMING:
        raise Conflict("the newest reply of this chat is still streaming; stop it first, or wait")
    usable = [reply.id for reply in replies if reply.usable]
    return usable[-1] if usable else None


def drafts_of(messages: Iterable[ChatMessage], prompt_id: str) -> list[ChatMessage]:
    """Complete replies to one prompt, oldest first, one for each distinct text: what can be ranked."""
    distinct: dict[str, ChatMessage] = {}
    for message in ordered(messages):
        if message.parent_id == prompt_id and message.state == COMPLETE and message.text.strip():
            distinct.setdefault(message.text.strip(), message)
    return list(distinct.values())


def _within(name: str, value: float, good: bool, form: str) -> None:
    if not good:
        raise BadInput(f"{name} is {value}; it must be {form}", path=("sampling", name))
