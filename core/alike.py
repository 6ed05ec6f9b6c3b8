"""What is found of texts that are alike. Knows no store."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Alike:
    """A text like another: its message, who wrote it, and the part of runs shared, from 0 to 1."""

    message_id: str
    tree_id: str
    user_id: str
    lang: str
    similarity: float


@dataclass(frozen=True, kw_only=True)
class Group:
    """Messages of many people whose texts are alike, oldest first."""

    message_ids: tuple[str, ...]
    user_ids: tuple[str, ...]
    lang: str


@dataclass(frozen=True)
class GroupPage:
    """Some groups, each with its cursor, and whether there may be more.

    Attributes:
        end: how far was looked, as a cursor, where that is beyond the last group.
    """

    items: tuple[tuple[str, Group], ...]
    has_next: bool
    end: str | None
