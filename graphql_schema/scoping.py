"""What a token that is limited to scopes may do: each root field, type of node and field of `Viewer` needs one scope.

Deny by default: a field that stands in no list is for unlimited tokens only, and a test asks for every field's place.
Mutations that contribute also need the terms of use accepted, where there are terms. What the scope `account` opens is
for the person alone, whatever the token: a service that acts in the name gets none of it. Knows names; checks no roles.
"""

from __future__ import annotations

from core.errors import Forbidden, OaError
from core.scopes import SCOPES

from .context import Context

FIELDS: dict[str, tuple[str, ...]] = {
    "read": (
        "node", "trees", "messages", "thread", "leaderboard", "standings", "learnedFrom", "collections", "statistics",
    ),
    "profile": ("viewer",),
    "tasks": (
        "requestTask", "submitPrompt", "submitReply", "submitReview", "submitRanking", "skipTask", "saveDraft",
        "react", "report", "labelMessage", "taskAvailable", "editContribution", "withdrawContribution", "appeal",
    ),
    "chat": (
        "chats", "chat", "createChat", "updateChat", "sendMessage", "editMessage", "regenerate", "stopReply",
        "rateReply", "chatReply", "models",
    ),
    "account": (
        "revokeSession", "signOutEverywhere", "revokeApp", "linkIdentity", "unlinkIdentity", "acceptTerms",
        "setDisplayName",
        "requestDataExport", "deleteAccount", "setTrainingConsent", "setLeaderboardVisibility",
    ),
    "moderate": (
        "deleteMessage", "restoreMessage", "correctMessage", "haltTree", "resumeTree", "moderate", "moderationQueue",
        "similarTexts", "textGroups", "people", "person",
        "claimModerationItems", "events", "decideAppeal", "trollboard", "banUser", "setNotes", "setTrusted",
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
    "Appeal": "tasks",
    "Chat": "chat",
    "ChatMessage": "chat",
    "Collection": "read",
    "Job": "jobs",
    "Message": "read",
    "Model": "read",
    "ModerationItem": "moderate",
    "OAuthClient": "admin",
    "Snapshot": "jobs",
    "Task": "tasks",
    "Tree": "read",
    "User": "read",
}
"""Types of node and the scope that opens them, besides `read` for `node` itself."""
VIEWER: dict[str, str] = {
    **dict.fromkeys(("user", "roles", "terms", "streakDays", "standing"), "profile"),
    **dict.fromkeys(("trust", "reliability", "agreement"), "profile"),
    **dict.fromkeys(("tasks", "availableTasks", "contributions", "rankingFeedback"), "tasks"),
    **dict.fromkeys(("sessions", "apps", "identities", "dataExport", "allowsTraining"), "account"),
}
"""Fields of `Viewer` and the scope that opens them, besides `profile` for `viewer` itself."""
PERSONAL = frozenset({"account"})
"""Scopes whose fields are for the person alone."""
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
    require_scope(context, NODES.get(type_name), type_name)


def check_viewer_scope(context: Context, field: str) -> None:
    """As `check_scope`, for a field of `Viewer`."""
    require_scope(context, VIEWER.get(field), field)


def has_scope(context: Context, scope: str) -> bool:
    """Whether the caller's token is not limited or has `scope`."""
    return context.scopes is None or scope in context.scopes


def require_scope(context: Context, scope: str | None, what: str) -> None:
    """Nothing, where `scope` is open to the caller.

    Raises:
        Forbidden: the token is limited and lacks it, or it is for the person alone and a service acts in the name.
    """
    if scope in PERSONAL and context.actor is not None:
        raise Forbidden(f"{what} is for the person alone, not for a service that acts in the name")
    if context.scopes is None:
        return
    if scope is None:
        raise Forbidden(f"{what} is for our own sign-in only; no scope opens it")
    if has_scope(context, scope):
        return
    raise Forbidden(f"{what} needs the scope {scope!r}, which the token lacks: {SCOPES[scope].lower()}")


def _check_terms(context: Context) -> None:
    terms, viewer = context.services.terms, context.viewer
    if terms is not None and viewer is not None and viewer.terms_version != terms.version:
        where = f" ({terms.url})" if terms.url else ""
        raise OaError(
            f"accept the terms of use {terms.version}{where} first: mutation acceptTerms", code="TERMS_NOT_ACCEPTED"
        )
