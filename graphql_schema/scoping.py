"""What a token that is limited to scopes may do: each root field and each type of node needs one scope.

Deny by default: a field that stands in no list is for unlimited tokens only, and a test asks for every field's place.
Mutations that contribute also need the terms of use accepted, where there are terms. Knows names; checks no roles.
"""

from __future__ import annotations

from core.errors import Forbidden, OaError
from core.scopes import SCOPES

from .context import Context

FIELDS: dict[str, tuple[str, ...]] = {
    "read": ("node", "trees", "messages", "thread", "leaderboard", "learnedFrom", "collections"),
    "profile": ("viewer",),
    "tasks": (
        "requestTask", "submitPrompt", "submitReply", "submitReview", "submitRanking", "skipTask", "saveDraft",
        "react", "report", "taskAvailable", "editContribution", "withdrawContribution", "appeal",
    ),
    "chat": (
        "chats", "chat", "createChat", "updateChat", "sendMessage", "editMessage", "regenerate", "stopReply",
        "rateReply", "chatReply", "models",
    ),
    "account": (
        "revokeSession", "signOutEverywhere", "revokeApp", "linkIdentity", "unlinkIdentity", "acceptTerms",
        "setDisplayName",
        "requestDataExport", "deleteAccount", "setLeaderboardVisibility",
    ),
    "moderate": (
        "deleteMessage", "restoreMessage", "haltTree", "resumeTree", "moderate", "moderationQueue",
        "similarTexts", "textGroups",
        "claimModerationItems", "events", "decideAppeal", "people", "banUser", "setNotes", "setTrusted",
        "gold", "createGoldReview", "createGoldRanking", "retireGold",
    ),
    "jobs": (
        "jobs", "job", "snapshots", "launchJob", "cancelJob", "promoteModel", "freezeSnapshot", "snapshotDownload",
        "jobEvents", "submitRewardScores",
    ),
    "admin": (
        "clients", "createClient", "updateClient", "deleteClient",
        "setRoles", "setModeratorLanguages", "purgePreview", "purge", "createApiKey", "revokeApiKey",
        "createCollection", "updateCollection", "limitTree",
    ),
}  # fmt: skip
"""Scope and the root fields (of queries, mutations and subscriptions) that it opens."""
UNLIMITED_ONLY = ("developmentSignIn",)
"""Root fields that no scope opens."""
NODES: dict[str, str] = {
    "ModerationItem": "moderate",
    "Chat": "chat",
    "ChatMessage": "chat",
    "Job": "jobs",
    "Snapshot": "jobs",
    "OAuthClient": "admin",
}
"""Types of node and the scope that opens them; others need `read`."""
CONTRIBUTING = frozenset({"tasks", "chat"})
"""Scopes whose mutations leave something with us, and so need the terms of use accepted."""
SCOPE_OF: dict[str, str] = {field: scope for scope, fields in FIELDS.items() for field in fields}
READING = frozenset({"taskAvailable", "chatReply", "chats", "chat", "models"})
"""Fields of contributing scopes that leave nothing with us."""


def check_scope(context: Context, field: str) -> None:
    """Nothing, where the caller's token opens a root field and the terms are accepted.

    Raises:
        Forbidden: it does not open it; says which scope would.
        OaError: the terms of use are not accepted yet (`TERMS_NOT_ACCEPTED`).
    """
    scope = SCOPE_OF.get(field)
    require_scope(context, scope, field)
    if scope in CONTRIBUTING and field not in READING:
        _check_terms(context)


def check_node_scope(context: Context, type_name: str) -> None:
    """As `check_scope`, for an object that is read by its id."""
    require_scope(context, NODES.get(type_name, "read"), type_name)


def require_scope(context: Context, scope: str | None, what: str) -> None:
    """Nothing, where the caller's token is not limited or has `scope`; raises `Forbidden` elsewhere."""
    if context.scopes is None or (scope is not None and scope in context.scopes):
        return
    if scope is None:
        raise Forbidden(f"{what} is for our own sign-in only; no scope opens it")
    raise Forbidden(f"{what} needs the scope {scope!r}, which the token lacks: {SCOPES[scope].lower()}")


def _check_terms(context: Context) -> None:
    terms, viewer = context.services.terms, context.viewer
    if terms is not None and viewer is not None and viewer.terms_version != terms.version:
        where = f" ({terms.url})" if terms.url else ""
        raise OaError(
            f"accept the terms of use {terms.version}{where} first: mutation acceptTerms", code="TERMS_NOT_ACCEPTED"
        )
