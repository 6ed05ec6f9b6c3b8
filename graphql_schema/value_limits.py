"""The limits of single values, by the constants that hold them: what a table of docs/api/limits.md is made of.

A test looks for every constant of `core` and `graphql_schema` that is named like a limit, and wants it here.
"""

from __future__ import annotations

from importlib import import_module

VALUES: dict[str, str] = {
    "graphql_schema.relay.MAX_FIRST": "nodes of one page (`first`)",
    "graphql_schema.idempotency.MOST": "characters of an `idempotencyKey`",
    "graphql_schema.viewer_types.MAX_LANGS": "languages asked for at once (`langs`)",
    "graphql_schema.text_groups.MAX_HOURS": "hours that `textGroups` looks back",
    "graphql_schema.clients.MAX_ITEMS": "redirect URIs, scopes or grants of a client, sent at once",
    "graphql_schema.sign_in.MAX_NAME": "characters of a name at `developmentSignIn`",
    "core.accounts.SHOWN_LIMIT": "characters of a display name (`setDisplayName`)",
    "core.appeals.TEXT_LIMIT": "characters of an appeal",
    "core.moderation.REASON_LIMIT": "characters of a report's reason",
    "core.rulings.REASON_LIMIT": "characters of a moderator's reason",
    "core.user_admin.NOTES_LIMIT": "characters of notes about a person",
    "core.tasks.REASON_LIMIT": "characters kept of a reason to skip",
    "core.moderation_records.MOST": "targets of one bulk act (`moderate`)",
    "core.purge.MOST": "messages of one `purge`",
    "core.rewards.MOST": "scores of one `submitRewardScores`",
    "core.rules.MOST": "collections of a deployment",
    "core.rules.NAME_LIMIT": "characters of a collection's name",
    "core.chat_records.MAX_TEXT": "characters of one prompt in a chat",
    "core.chat_records.MAX_SYSTEM_PROMPT": "characters of a chat's system prompt",
    "core.chat_records.MAX_TITLE": "characters of a chat's title",
    "core.chat_records.MAX_REASON": "characters of the reason given with a rating (`rateReply`)",
    "core.chat_records.MAX_MESSAGES": "messages of one chat, siblings included",
    "core.chats.MAX_STREAMS": "replies of one chat that are written at once",
    "core.api_keys.MAX_DAYS": "days that an API key lives",
    "core.api_keys.MAX_NAME": "characters of an API key's name",
    "core.api_keys.MOST": "API keys of one service",
    "core.clients.MAX_NAME": "characters of a client's name",
    "core.clients.MAX_URIS": "redirect URIs of one client",
    "core.redirects.MAX_URI": "characters of a redirect URI",
    "core.clients.MOST_CONSENTS": "apps of one person that are listed (`viewer.apps`)",
    "core.sessions.MOST": "sessions of one person that are listed (`viewer.sessions`)",
    "graphql_schema.watching.MOST": "different things that subscriptions of one process look at",
}
"""Constant -> what it limits, as callers know it."""


def value_limit_table() -> str:
    """What single values may be at most."""
    rows = [f"| {told} | {_value(name):,} |" for name, told in VALUES.items()]
    return "\n".join(["| what | most |", "| --- | --- |", *rows])


def _value(name: str) -> int:
    module, _, constant = name.rpartition(".")
    value: int = getattr(import_module(module), constant)
    return value
