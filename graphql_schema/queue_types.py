"""The moderators' queue: what there is to look at, why, and what people said."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

import strawberry
from strawberry.scalars import JSON

from core.errors import NotFound
from core.moderation_records import ModerationItem

from .context import Context, Info, needed
from .contribution_types import AppealNode
from .message_types import MessageNode, load_message
from .nodes import reads
from .permissions import is_moderator, moderates
from .relay import Node, global_id
from .tree_types import TreeNode, load_tree
from .user_types import UserNode, load_user

if TYPE_CHECKING:
    from core.moderators import Moderators


@strawberry.enum(description="Why moderators should look at something.")
class ModerationKind(Enum):
    """Reasons of `core.moderation_queue`."""

    REPORT = strawberry.enum_value("report", description="Somebody reported it.")
    RED_FLAG = strawberry.enum_value("red_flag", description="Somebody flagged it.")
    AUTO_DELETED = strawberry.enum_value("auto_deleted", description="Red flags took the message out.")
    AUTO_ABORTED = strawberry.enum_value("auto_aborted", description="Red flags on its prompt ended the tree.")
    AUTO_HALTED = strawberry.enum_value("auto_halted", description="So many skipped it that the tree was halted.")
    DISPUTED = strawberry.enum_value("disputed", description="Reviewers were split.")
    UNREVIEWED = strawberry.enum_value("unreviewed", description="Nobody reviewed it for long.")
    SCORER = strawberry.enum_value("scorer", description="A check of the text found something.")
    FLOOD = strawberry.enum_value("flood", description="Many similar texts came in a short time.")
    APPEAL = strawberry.enum_value("appeal", description="Its author appeals against a decision.")


@strawberry.enum(description="What a moderator does.")
class ModerationAction(Enum):
    """Acts of `core.rulings`."""

    DELETE = strawberry.enum_value("delete", description="Take the message out, and what follows it.")
    RESTORE = strawberry.enum_value("restore", description="Put the message back, and what went out with it.")
    ACCEPT = strawberry.enum_value("accept", description="Accept the message, whatever its reviewers said.")
    REFUSE = strawberry.enum_value("refuse", description="Refuse the message, whatever its reviewers said.")
    HALT = strawberry.enum_value("halt", description="Stop the tree.")
    RESUME = strawberry.enum_value("resume", description="Let a stopped tree go on from where it was.")
    DISMISS = strawberry.enum_value("dismiss", description="Nothing is wrong: close what the queue has about it.")


@strawberry.type(description="One thing that speaks for looking at something.")
class ModerationEvidence:
    """A piece of evidence."""

    author_id: strawberry.Private[str | None]
    reason: str | None = strawberry.field(description="What somebody wrote.")
    details: JSON = strawberry.field(description="What was counted or found, by name.")

    @strawberry.field(description="Who said so; null for the machinery.")
    async def by(self, info: Info) -> UserNode | None:
        """The reporter."""
        return None if self.author_id is None else await load_user(info.context, self.author_id)

    @classmethod
    def of(cls, piece: Mapping[str, Any]) -> ModerationEvidence:
        """The stored piece."""
        rest = {name: value for name, value in piece.items() if name not in ("key", "by", "reason")}
        return cls(author_id=piece.get("by"), reason=piece.get("reason"), details=JSON(rest))


@strawberry.type(name="ModerationItem", description="Something that moderators should look at.")
class ModerationItemNode(Node):
    """An item of the queue."""

    record: strawberry.Private[ModerationItem]
    kind: ModerationKind = strawberry.field(description="Why.")
    priority: int = strawberry.field(description="From 0, to be looked at first, to 9.")
    lang: str | None = strawberry.field(description="Language of what it is about; null for a person.")
    count: int = strawberry.field(description="Pieces of evidence so far.")
    evidence: list[ModerationEvidence] = strawberry.field(description="The latest pieces, 50 at most, oldest first.")
    open: bool = strawberry.field(description="Whether nobody has decided yet.")
    claimed_until: datetime | None = strawberry.field(description="Until when somebody looks at it; null for nobody.")
    decision_reason: str | None = strawberry.field(description="Why it was decided so.")
    created_at: datetime = strawberry.field(description="When it was first put here.")

    @strawberry.field(description="The message that it is about, where it is about one.")
    async def message(self, info: Info) -> MessageNode | None:
        """The message."""
        subject, _, own = self.record.subject.partition(":")
        return await load_message(info.context, own) if subject == "message" else None

    @strawberry.field(description="The tree that it is about, or that its message is in.")
    async def tree(self, info: Info) -> TreeNode | None:
        """The tree."""
        return None if self.record.tree_id is None else await load_tree(info.context, self.record.tree_id)

    @strawberry.field(description="The person that it is about, where it is about one.")
    async def user(self, info: Info) -> UserNode | None:
        """The person."""
        subject, _, own = self.record.subject.partition(":")
        return await load_user(info.context, own) if subject == "user" else None

    @strawberry.field(description="Of kind APPEAL: the appeal, which `decideAppeal` decides.")
    async def appeal(self, info: Info) -> AppealNode | None:
        """The latest appeal that it is about."""
        if self.record.appeal_id is None:
            return None
        found = await info.context.loaders.appeals.load(self.record.appeal_id)
        return None if found is None else AppealNode.of(found)

    @strawberry.field(description="The moderator who looks at it now.")
    async def claimed_by(self, info: Info) -> UserNode | None:
        """The claim's holder."""
        holder = self.record.claimed_by
        return None if holder is None or self.claimed_until is None else await load_user(info.context, holder)

    @classmethod
    def of(cls, record: ModerationItem) -> ModerationItemNode:
        """The item."""
        until = datetime.fromtimestamp(record.claimed_until / 1000, UTC)
        return cls(
            id=global_id("ModerationItem", record.id),
            record=record,
            kind=ModerationKind(record.reason),
            priority=record.priority,
            lang=record.lang or None,
            count=record.count,
            evidence=[ModerationEvidence.of(piece) for piece in record.evidence],
            open=record.state == "open",
            claimed_until=until if record.claimed_by and until > datetime.now(UTC) else None,
            decision_reason=None if record.decision is None else record.decision["reason"],
            created_at=record.created_at,
        )


def moderators(context: Context) -> Moderators:
    """The service, where this app has it."""
    return needed(context.services.moderators, "moderation")


@reads("ModerationItem")
async def load_item(context: Context, item_id: str) -> ModerationItemNode | None:
    """The item with that id, for those who moderate its language."""
    context.user()
    if not is_moderator(context):
        return None
    try:
        record = await moderators(context).item(item_id)
    except NotFound:
        return None
    return ModerationItemNode.of(record) if moderates(context, record.lang) else None
