"""The audit journal: who did what when."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry
from strawberry.scalars import JSON

from core.moderation_records import Event

from .context import Info
from .permissions import Moderator
from .queue_types import moderators
from .relay import After, Connection, First, Node, connection, decode_cursor, global_id, page_size, parse_id
from .user_types import UserNode, load_user

SubjectId = Annotated[strawberry.ID | None, strawberry.argument(description="Only acts on this object.")]
ActorId = Annotated[strawberry.ID | None, strawberry.argument(description="Only acts of this person.")]
OfKind = Annotated[str | None, strawberry.argument(description="Only acts of this kind, such as delete_message.")]


_ABOUT = {
    "Message": "delete_message restore_message accept_message refuse_message correct_message edit_message "
               "withdraw_message appeal decide_appeal auto_deleted",
    "Tree": "tree_state lottery backlog halt_tree limit_tree review_lapsed ranking_lapsed auto_aborted auto_halted",
    "User": "set_roles set_languages set_notes set_enabled set_trusted trust_by_work set_display_name set_shown "
            "set_training_consent accept_terms link_identity unlink_identity request_data_export account_deleted "
            "acted_for",
    "Collection": "create_collection update_collection",
    "Job": "launch_job cancel_job reply_scoring_failed",
    "OAuthClient": "create_client update_client delete_client",
}  # fmt: skip
_TYPE_OF = {kind: name for name, kinds in _ABOUT.items() for kind in kinds.split()}
"""Type of what an act was done to, by its kind; others name it in their details, or are about what is no object."""


def _about_id(event: Event) -> strawberry.ID | None:
    name = _TYPE_OF.get(event.kind) or {"message": "Message", "tree": "Tree"}.get(str(event.details.get("of")))
    return None if name is None else global_id(name, event.subject)


@strawberry.type(name="Event", description="One act, as the journal has it.")
class EventNode(Node):
    """An act."""

    actor_id: strawberry.Private[str | None]
    kind: str = strawberry.field(description="What was done, such as delete_message or tree_state.")
    about: str = strawberry.field(description="Own id of what it was done to, as it stands in `details` and exports.")
    about_id: strawberry.ID | None = strawberry.field(
        description="The same as an id for `node` and other operations; null for what these do not know."
    )
    details: JSON = strawberry.field(description="Numbers and reasons.")
    at: datetime = strawberry.field(description="When.")

    @strawberry.field(description="Who did it; null for the machinery.")
    async def by(self, info: Info) -> UserNode | None:
        """The actor."""
        return None if self.actor_id is None else await load_user(info.context, self.actor_id)

    @classmethod
    def of(cls, event: Event) -> EventNode:
        """The act."""
        return cls(
            id=global_id("Event", event.id), actor_id=event.by, kind=event.kind, about=event.subject,
            about_id=_about_id(event), details=JSON(event.details), at=event.at,
        )  # fmt: skip


@strawberry.type
class JournalQuery:
    """Queries of the journal."""

    @strawberry.field(
        description="The audit journal, newest first: of your languages, and what was done about people.",
        permission_classes=[Moderator],
    )
    async def events(
        self, info: Info, first: First, after: After = None, subject_id: SubjectId = None, actor_id: ActorId = None,
        kind: OfKind = None,
    ) -> Connection[EventNode]:  # fmt: skip
        """A page of acts."""
        subject = None if subject_id is None else parse_id(subject_id, path=("subject_id",))[1]
        actor = None if actor_id is None else parse_id(actor_id, path=("actor_id",))[1]
        found, more = await moderators(info.context).events_page(
            subject=subject, actor=actor, kind=kind, before=decode_cursor(after),
            first=page_size(first), langs=() if "admin" in info.context.roles else info.context.user().moderates,
        )  # fmt: skip
        return connection(found, key=lambda each: each.by_time, has_next=more, node=EventNode.of)
