"""Which trees come into play: the prompt lottery and the backlog, and trees made of chats that people rated."""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

from pymongo.errors import DuplicateKeyError

from core.answers import new_tree
from core.backlog import bring, in_state
from core.config import CollectionConfig
from core.database import Database
from core.errors import BadInput
from core.facts import move_tree
from core.journal import record
from core.leaderboard import first_places
from core.lottery import draw
from core.pools import collection_of
from core.records import Message, Tree, now, text_hash
from core.rules import rules_of
from core.settle import count_trees, settle
from core.text_rows import words_row

_IDS = uuid.UUID("5d9c1f5e-3a7b-5b64-9a53-6f0f9d1c7e21")
"""Namespace of ids made from the key of a synthetic tree."""
_ROLES = {"user": "prompter", "prompter": "prompter", "assistant": "assistant"}


class Turn(Protocol):
    """One turn of a chat; `role` is `user`, `prompter` or `assistant`."""

    @property
    def role(self) -> str:
        """Who speaks."""

    @property
    def text(self) -> str:
        """What is said."""

    @property
    def model_version(self) -> str | None:
        """The model that says it, `name@version`; None for people."""


async def run_lottery(database: Database, config: CollectionConfig, pool: str, chance: random.Random) -> list[Tree]:
    """Draw waiting prompts of one pool until as many trees grow as may; the winners."""
    config = await rules_of(database, config, collection_of(pool))
    won: list[Tree] = []
    room = config.max_active_trees - await count_trees(database, "growing", pool, config.max_active_trees)
    while len(won) < room:
        waiting = await in_state(database, "prompt_lottery_waiting", pool, config.max_prompt_lottery_waiting)
        authors = sorted({tree.author_id for tree in waiting if tree.author_id})
        winner = draw(waiting, await first_places(database, authors, now()), chance)
        if winner is None:
            break
        # A lost guard means that the tree changed; it is drawn from what is there then.
        if await move_tree(database, winner, "growing", won_lottery_at=now()):
            await record(database, "lottery", winner.id, {"lang": winner.lang}, lang=winner.lang)
            won.append(winner)
            await settle(database, config, winner.id)
    return won


async def activate_backlog(database: Database, config: CollectionConfig, pool: str) -> Tree | None:
    """Bring the oldest backlog tree of a pool that can be ranked into ranking; None when there is none."""
    config = await rules_of(database, config, collection_of(pool))
    tree = await bring(database, config, pool)
    if tree is None:
        return None
    settled = await settle(database, config, tree.id)
    return settled.tree if settled else tree


async def add_synthetic_tree(
    database: Database, config: CollectionConfig, thread: Sequence[Turn], replies: Sequence[Turn], *, key: str,
    lang: str, origin: str = "chat", author_id: str | None = None,
) -> Tree:  # fmt: skip
    """A tree in `backlog_ranking`: `thread`, whose last turn is a user's, and models' `replies` to it.

    Args:
        key: names the tree; the same key gives the same tree, however often it is added.
        author_id: who wrote the user's turns; None where withheld.

    Raises:
        BadInput: roles do not alternate from user to user, or there are fewer than two replies.
    """
    _check_turns(thread, replies)
    config = await rules_of(database, config)
    identity = str(uuid.uuid5(_IDS, key))
    if existing := await database["trees"].find_one({"_id": identity}):
        return Tree.from_document(existing)
    made_at, messages = now(), list[Message]()
    for turn in thread:
        name = identity if not messages else str(uuid.uuid5(_IDS, f"{key}|{len(messages)}"))
        messages.append(_turn_message(turn, name, identity, lang, messages, author_id, made_at))
    for index, reply in enumerate(replies):
        name = str(uuid.uuid5(_IDS, f"{key}|reply|{index}"))
        messages.append(_turn_message(reply, name, identity, lang, messages[: len(thread)], None, made_at))
    for message in messages:
        await _insert(database, "messages", message.to_document())
        await _insert(database, "message_words", words_row(message))
    tree = new_tree(
        config, identity, lang, "backlog_ranking", 0, origin=origin, author_id=author_id, created_at=made_at
    )
    await _insert(database, "trees", tree.to_document())
    settled = await settle(database, config, identity)
    return settled.tree if settled else tree


def _check_turns(thread: Sequence[Turn], replies: Sequence[Turn]) -> None:
    roles = [_ROLES.get(turn.role, turn.role) for turn in thread]
    expected = [("prompter", "assistant")[place % 2] for place in range(len(thread))]
    if not thread or roles != expected or roles[-1] != "prompter":
        raise BadInput(f"the thread's roles are {roles}; they must alternate from a user's turn to a user's turn")
    if len(replies) < 2 or any(_ROLES.get(turn.role) != "assistant" for turn in replies):
        raise BadInput(f"there are {len(replies)} replies to rank; there must be two or more, all by the assistant")


def _turn_message(
    turn: Turn, identity: str, tree_id: str, lang: str, above: Sequence[Message], author_id: str | None,
    made_at: datetime,
) -> Message:  # fmt: skip
    """A message that needs no review; its empty `base` says that its verdict came with it."""
    role = _ROLES[turn.role]
    synthetic = role == "assistant"
    return Message(
        id=identity, tree_id=tree_id, parent_id=above[-1].id if above else None, role=role, lang=lang, text=turn.text,
        ancestors=tuple(message.id for message in above), depth=len(above), content_hash=text_hash(turn.text),
        author_id=None if synthetic else author_id, synthetic=synthetic,
        model_version=turn.model_version if synthetic else None, state="accepted", created_at=made_at, base={},
    )  # fmt: skip


async def _insert(database: Database, name: str, document: dict[str, Any]) -> None:
    try:
        await database[name].insert_one(document)
    except DuplicateKeyError:
        return
