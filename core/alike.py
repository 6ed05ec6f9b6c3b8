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
