"""What of a tree's transition a moderator should look at: things done automatically, verdicts that were close. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from core.records import Message, Tree

DISPUTED = (0.2, 0.8)
"""Mean of the answers to a critical label between which reviewers were split, both included."""


@dataclass(frozen=True)
class Notice:
    """Arguments of `core.moderation_queue.enqueue`, and whether the machinery acted: then it is journaled as well."""

    subject: str
    reason: str
    priority: int
    evidence: dict[str, Any] = field(default_factory=dict)
    acted: bool = False


def notices(
    tree: Tree, before: Sequence[Message], after: Sequence[Message], state: str, critical: Sequence[str]
) -> list[Notice]:
    """What is worth a look when `tree` goes on to `state`, and its messages from `before` to `after`.

    Args:
        critical: labels any of which refuses a message.
    """
    found = [_of_tree(tree, after, state)] if state != tree.state else []
    for old, new in zip(before, after, strict=True):
        if old != new:
            found += [_deleted(old, new), _disputed(old, new, critical)]
    return [notice for notice in found if notice is not None]


def _of_tree(tree: Tree, messages: Sequence[Message], state: str) -> Notice | None:
    root = next(message for message in messages if message.id == tree.id)
    if state == "aborted_low_grade" and root.state != "refused":
        return Notice(f"tree:{tree.id}", "auto_aborted", 3, {"red_flags": root.emojis.get("red_flag", 0)}, True)
    if state == "halted_by_moderator" and not root.deleted:
        skips = max(message.emojis.get("_skip_reply", 0) for message in messages)
        return Notice(f"tree:{tree.id}", "auto_halted", 4, {"skips": skips}, True)
    return None


def _deleted(old: Message, new: Message) -> Notice | None:
    if new.removed != "flags" or old.removed == "flags":
        return None
    return Notice(f"message:{new.id}", "auto_deleted", 3, {"red_flags": new.emojis.get("red_flag", 0)}, True)


def _disputed(old: Message, new: Message, critical: Sequence[str]) -> Notice | None:
    """One that reviewers decided although they were split on a label: nobody who is asked alone sees that."""
    if old.state != "pending" or new.state == "pending" or new.ruling is not None:
        return None
    split = {
        name: label["value"] for name in critical
        if (label := new.labels.get(name)) and label["count"] > 1 and DISPUTED[0] <= label["value"] <= DISPUTED[1]
    }  # fmt: skip
    return Notice(f"message:{new.id}", "disputed", 7, {"verdict": new.state, **split}) if split else None
