"""Which replies wait for a reward model's score: those whose siblings are ranked now, or will be. Knows no model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from core.advance import RANKING
from core.database import Database
from core.records import Message
from core.snapshot_rows import turn_of

Row = dict[str, Any]

BATCH = 200
"""Replies of one batch at least, while there are as many; replies to one message stay together."""
PAGE, PAGES = 50, 4
"""Trees read at once, and pages of them looked at for one batch."""
STATES = tuple(sorted(("growing", *RANKING)))
"""States of trees whose replies are scored, in the order looked at."""


async def waiting(database: Database, model_version: str, after: str | None) -> tuple[list[Row], str | None]:
    """Replies that the model has not scored, of the next trees, and where to go on.

    Args:
        after: where the call before ended; None at the beginning.

    Returns:
        rows (`message_id`; `prompt`: messages of `role` and `content`; `reply`), and the key of the tree looked at
        last; None when that was the last of all.
    """
    rows: list[Row] = []
    for _ in range(PAGES):
        trees = await _trees(database, after)
        messages = await _messages(database, [identity for identity, _ in trees])
        for identity, key in trees:
            rows += [row for siblings in unscored(messages[identity], model_version) for row in siblings]
            after = key
            if len(rows) >= BATCH:
                return rows, after
        if len(trees) < PAGE:
            return rows, None
    return rows, after


def unscored(messages: Sequence[Message], model_version: str) -> list[list[Row]]:
    """Replies of one tree that the model has not scored, by the message replied to, where two or more can be ranked."""
    by_id = {message.id: message for message in messages}
    usable = {message.id for message in messages if message.usable}
    replies: dict[str, list[Message]] = defaultdict(list)
    for message in sorted(messages, key=lambda message: message.id):
        if message.parent_id and message.role == "assistant" and usable.issuperset((message.id, *message.ancestors)):
            replies[message.parent_id].append(message)
    return [
        [
            {"message_id": each.id, "prompt": [turn_of(by_id[above]) for above in each.ancestors], "reply": each.text}
            for each in siblings
            if (each.reward or {}).get("model_version") != model_version
        ]
        for _, siblings in sorted(replies.items())
        if len(siblings) > 1
    ]


async def _trees(database: Database, after: str | None) -> list[tuple[str, str]]:
    """Id and key of the next trees, up to `PAGE`: one read by key for each state that is left."""
    found: list[tuple[str, str]] = []
    for state in STATES:
        start, end = max(f"{state}|", after or ""), f"{state}}}"
        if start < end and len(found) < PAGE:
            query = {"by_state_lang": {"$gt": start, "$lt": end}}
            cursor = database["trees"].find(query, {"by_state_lang": 1}).sort("by_state_lang").limit(PAGE - len(found))
            found += [(str(each["_id"]), str(each["by_state_lang"])) async for each in cursor]
    return found


async def _messages(database: Database, trees: Sequence[str]) -> dict[str, list[Message]]:
    found: dict[str, list[Message]] = defaultdict(list)
    if trees:
        async for document in database["messages"].find({"tree_id": {"$in": list(trees)}}):
            found[str(document["tree_id"])].append(Message.from_document(document))
    return found
