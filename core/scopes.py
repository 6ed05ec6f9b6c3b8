"""What a token may be limited to: the closed list of scopes. Pure.

A scope narrows what the roles of its user allow; it never adds to them. Tokens of our own sign-in carry no list and
are not narrowed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from core.errors import BadInput

SCOPES: dict[str, str] = {
    "read": "Read conversation trees, messages and the leaderboard",
    "profile": "See your name, roles and standing",
    "tasks": "Take tasks, write, review and rank in your name, and see your drafts and what came of your work",
    "chat": "Chat in your name, and read your chats",
    "account": "Manage your account: linked sign-ins, sessions, terms; fetch all of your data; delete it for good",
    "moderate": "Moderate in your name, where you are a moderator",
    "jobs": "Run training jobs and see models and data sets, where you are an operator",
    "admin": "Administer users and clients in your name, where you are an administrator",
    "act_as": "Act for people whom the service names (services only)",
    "offline_access": "Stay signed in while you are away",
}
"""Scope and what a person is told of it on the consent page."""

SERVICE_ONLY = frozenset({"act_as"})
"""Scopes that no person can consent to; only a service's own token carries them."""


def parse_scopes(text: str | None, allowed: Collection[str]) -> tuple[str, ...]:
    """The scopes in an OAuth `scope` value, each once, in the order of the list; all allowed ones where none is given.

    Raises:
        BadInput: one is unknown or not allowed.
    """
    return check_scopes((text or "").split() or allowed, allowed)


def check_scopes(scopes: Iterable[str], allowed: Collection[str] = tuple(SCOPES)) -> tuple[str, ...]:
    """`scopes`, each once, in the order of the list.

    Raises:
        BadInput: one is unknown or not among those allowed.
    """
    wanted = set(scopes)
    for scope in sorted(wanted):
        if scope not in SCOPES:
            raise BadInput(f"scope {scope[:40]!r} is unknown; one of: {', '.join(SCOPES)}", path=("scopes",))
        if scope not in allowed:
            raise BadInput(f"scope {scope!r} is not allowed here; allowed: {' '.join(allowed)}", path=("scopes",))
    return tuple(scope for scope in SCOPES if scope in wanted)
