"""What moderators look for, as plain data: which people, which messages. Knows no store."""

from __future__ import annotations

from dataclasses import dataclass

ACCOUNT_STATES = ("active", "banned", "left")


@dataclass(frozen=True)
class WantedPeople:
    """Whom to find; what is None says nothing.

    Attributes:
        name: the beginning of the display name, whatever its case.
        role: of `USER_ROLES`.
        state: of `ACCOUNT_STATES`.
    """

    name: str | None = None
    role: str | None = None
    state: str | None = None


EVERYBODY = WantedPeople()


@dataclass(frozen=True, kw_only=True)
class WantedMessages:
    """Which messages to find; what is None says nothing.

    Attributes:
        langs: any of these languages.
        state: of `MESSAGE_STATES`; role: of `ROLES`.
        collection: id of the one whose trees they are in.
        words: all of them are in the text, whatever their case.
        deleted: those that were taken out, too.
    """

    lang: str | None = None
    langs: tuple[str, ...] | None = None
    author_id: str | None = None
    state: str | None = None
    role: str | None = None
    collection: str | None = None
    words: str | None = None
    deleted: bool = False
    newest_first: bool = False
