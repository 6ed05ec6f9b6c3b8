"""Who gets which object, and which fields say less to some: the closed list behind docs/api/permissions.md.

An object that is not in it fails a test, so that a new type is thought about. `AUDIENCES` are checked by asking for one
of each kind in the name of each caller (tests/api/test_authorisation.py); the readers themselves are where the types
are. Objects that only hang on others (`with its parent`) have no id to be asked for.
"""

from __future__ import annotations

OWNER = "its owner alone"
SIGNED_IN = "whoever is signed in"
MODERATORS = "moderators of its language"
OWNER_AND_MODERATORS = "its owner and moderators of its language"
OPERATORS = "operators: admins and services"
ADMINS = "admins"
ANYONE = "anyone"
PARENT = "with what it hangs on"
YOU = "you, of yourself"
JOURNAL = "moderators, in the journal"

NODES: dict[str, str] = {
    "Appeal": OWNER_AND_MODERATORS,
    "Chat": OWNER,
    "ChatMessage": OWNER,
    "Collection": SIGNED_IN,
    "Job": OPERATORS,
    "Message": SIGNED_IN,
    "Model": SIGNED_IN,
    "ModerationItem": MODERATORS,
    "OAuthClient": ADMINS,
    "Snapshot": OPERATORS,
    "Task": OWNER,
    "Tree": SIGNED_IN,
    "User": SIGNED_IN,
}
"""Kinds of objects that `node(id:)` finds."""
AUDIENCES: dict[str, frozenset[str]] = {
    OWNER: frozenset({"owner"}),
    SIGNED_IN: frozenset({"owner", "other", "trusted", "moderator", "elsewhere", "admin", "service"}),
    MODERATORS: frozenset({"moderator", "admin"}),
    OWNER_AND_MODERATORS: frozenset({"owner", "moderator", "admin"}),
    OPERATORS: frozenset({"admin", "service"}),
    ADMINS: frozenset({"admin"}),
}
"""Callers by audience; `elsewhere` moderates another language."""
_OF_TASK = (
    "AssistantReplyTask", "InitialPromptTask", "LabelAssistantReplyTask", "LabelInitialPromptTask",
    "LabelPrompterReplyTask", "PrompterReplyTask", "RankAssistantRepliesTask", "RankPrompterRepliesTask",
)  # fmt: skip
_OF_YOURSELF = (
    "Agreement", "AllowedApp", "Contribution", "DataExport", "Identity", "RankingFeedback", "Session", "TermsOfUse",
    "Viewer", "TaskAvailability", "Ruling", "Trust",
)  # fmt: skip
_HANGING = (
    "ChatReplyEvent", "ConsensusStep", "EmojiCount", "Failure", "JobEvent", "JobStage", "LabelAverage",
    "LabelQuestion", "Lineage", "Margin", "MessageCount", "ModerationEvidence", "ModerationResult", "PageInfo",
    "PeopleCount", "PeriodAgreement", "RankingCandidate", "ReplyConsensus", "Revision", "ScoreCount", "Skip",
    "SnapshotFile", "SnapshotSource", "SnapshotUse", "TreeCount", "TrustRequirement",
    "UserError",
)  # fmt: skip
OBJECTS: dict[str, str] = {
    **{name: who for name, who in NODES.items() if name != "Task"},
    **dict.fromkeys(_OF_TASK, OWNER),
    **dict.fromkeys(_OF_YOURSELF, YOU),
    **dict.fromkeys(_HANGING, PARENT),
    "ApiKey": ADMINS,
    "Event": JOURNAL,
    "Gold": MODERATORS,
    "KnownLabel": MODERATORS,
    "Person": "moderators",
    "SimilarText": MODERATORS,
    "TextGroup": MODERATORS,
    "Profile": "moderators",
    "PurgePreview": ADMINS,
    "Reliability": "you, of yourself; moderators",
    "Standing": ANYONE,
    "Statistics": SIGNED_IN,
    "TroubleRow": "moderators",
}
"""Every type of object there is, but roots, payloads and pages."""
UNTIL_ENDED = "moderators of its language; others once its tree has ended"
GUARDED: dict[str, str] = {
    "Message.author": f"its author; {UNTIL_ENDED}, and never of what was once somebody's chat",
    "Message.emojis": UNTIL_ENDED,
    "Message.freeLabels": MODERATORS,
    "Message.labels": UNTIL_ENDED,
    "Message.modelVersion": UNTIL_ENDED,
    "Message.refusedFor": "its author; moderators of its language; others once its tree has ended",
    "Message.replyConsensus": UNTIL_ENDED,
    "Message.revisions": "its author and moderators of its language",
    "Message.skips": MODERATORS,
    "Message.synthetic": UNTIL_ENDED,
    "Message.text": "of one that was taken out: its author where it is theirs to see, and moderators of its language",
    "Profile.messages": "of the languages that the moderator looks after",
    "Profile.signsInWith": ADMINS,
    "Tree.agreement": UNTIL_ENDED,
    "Tree.origin": UNTIL_ENDED,
}
"""Fields that are null, or empty, for callers who get the object and may not see this of it."""
PEOPLE: frozenset[str] = frozenset({"id", "displayName", "createdAt"})
"""All that anybody else may see of a person: no e-mail address, no way of signing in, no reviews and no rankings."""
