"""Moderators' part of the schema: the queue, claims, and what they decide about messages and trees."""

from __future__ import annotations

from typing import Annotated

import strawberry

from core.errors import BadInput, OaError
from core.moderation_records import MOST
from core.texts import check_lang

from .collections import collection_key
from .context import Info
from .enums import stored
from .errors import Payload, UserError, mutation, user_error
from .keyed import Keyed
from .message_types import MessageNode, load_message
from .permissions import Moderator
from .queue_types import ModerationAction, ModerationItemNode, ModerationKind, moderators
from .relay import After, Connection, First, connection, decode_cursor, global_id, page_size, raw_id
from .tree_types import TreeNode

TYPES = {"item": "ModerationItem", "message": "Message", "tree": "Tree", "user": "User"}
InLang = Annotated[str | None, strawberry.argument(description="Only what is in this language, a BCP 47 tag.")]
InCollection = Annotated[strawberry.ID | None, strawberry.argument(description="Only what is in this collection.")]
OfKind = Annotated[ModerationKind | None, strawberry.argument(description="Only what is there for this reason.")]


@strawberry.input(description="Things of the queue to look at, or to give back.")
class ClaimModerationItemsInput(Keyed):
    """Input of `claimModerationItems`."""

    item_ids: list[strawberry.ID] = strawberry.field(description=f"The items, 1 to {MOST}.")
    hold: bool = strawberry.field(default=True, description="Take them for 15 minutes (again renews), or give back.")


@strawberry.type(description="What became of one of many.")
class ModerationResult:
    """One outcome of a bulk act."""

    id: strawberry.ID = strawberry.field(description="The id that was given.")
    done: bool = strawberry.field(description="Whether it was done.")
    error: UserError | None = strawberry.field(description="Why not.")


@strawberry.type(description="What became of claims.")
class ClaimModerationItemsPayload(Payload):
    """Payload of `claimModerationItems`."""

    items: list[ModerationItemNode] | None = strawberry.field(default=None, description="Those that are yours now.")
    results: list[ModerationResult] | None = strawberry.field(default=None, description="One for each id given.")


@strawberry.input(description="The same act on up to 100 things.")
class ModerateInput(Keyed):
    """Input of `moderate`."""

    action: ModerationAction = strawberry.field(description="What to do.")
    reason: str = strawberry.field(default="", description="Why; the authors read it.")
    item_ids: list[strawberry.ID] = strawberry.field(
        default_factory=list, description="Items of the queue; done to what they are about, and closed."
    )
    message_ids: list[strawberry.ID] = strawberry.field(default_factory=list, description="Messages.")
    tree_ids: list[strawberry.ID] = strawberry.field(default_factory=list, description="Trees.")
    user_ids: list[strawberry.ID] = strawberry.field(
        default_factory=list, description="People: DELETE or RESTORE all of their messages in your languages."
    )


@strawberry.type(description="What became of an act on many.")
class ModeratePayload(Payload):
    """Payload of `moderate`."""

    results: list[ModerationResult] | None = strawberry.field(default=None, description="One for each id given.")


@strawberry.input(description="A message to put back.")
class RestoreMessageInput(Keyed):
    """Input of `restoreMessage`."""

    message_id: strawberry.ID = strawberry.field(description="The message; what is above it comes back too.")
    reason: str = strawberry.field(default="", description="Why; its author reads it.")


@strawberry.type(description="What became of a restoration.")
class RestoreMessagePayload(Payload):
    """Payload of `restoreMessage`."""

    message: MessageNode | None = strawberry.field(default=None, description="The message, back in its tree.")


@strawberry.input(description="A tree to stop.")
class HaltTreeInput(Keyed):
    """Input of `haltTree`."""

    tree_id: strawberry.ID = strawberry.field(description="The tree.")
    reason: str = strawberry.field(default="", description="Why.")


@strawberry.type(description="What became of a stop.")
class HaltTreePayload(Payload):
    """Payload of `haltTree`."""

    tree: TreeNode | None = strawberry.field(default=None, description="The tree.")


@strawberry.input(description="A stopped tree to let go on.")
class ResumeTreeInput(Keyed):
    """Input of `resumeTree`."""

    tree_id: strawberry.ID = strawberry.field(description="The tree.")
    reason: str = strawberry.field(default="", description="Why.")


@strawberry.type(description="What became of a resumption.")
class ResumeTreePayload(Payload):
    """Payload of `resumeTree`."""

    tree: TreeNode | None = strawberry.field(default=None, description="The tree.")


@strawberry.type
class RulingQuery:
    """The queue."""

    @strawberry.field(
        description="What moderators should look at, in your languages, first things first.",
        permission_classes=[Moderator],
    )
    async def moderation_queue(
        self, info: Info, first: First, after: After = None, lang: InLang = None, kind: OfKind = None,
        collection_id: InCollection = None,
    ) -> Connection[ModerationItemNode]:  # fmt: skip
        """A page of open items."""
        found, more = await moderators(info.context).queue_page(
            info.context.user(), None if lang is None else check_lang(lang),
            None if kind is None else stored(kind), decode_cursor(after), page_size(first),
            None if collection_id is None else collection_key(collection_id),
        )  # fmt: skip
        return connection(found, key=lambda each: each.place, has_next=more, node=ModerationItemNode.of)


@strawberry.type
class RulingMutation:
    """Decisions."""

    @mutation(ClaimModerationItemsPayload, Moderator, "Take things of the queue to look at, so that no other does.")
    async def claim_moderation_items(self, info: Info, input: ClaimModerationItemsInput) -> ClaimModerationItemsPayload:
        """Claim each, or give it back."""
        if not 1 <= len(input.item_ids) <= MOST:
            raise BadInput(f"itemIds has {len(input.item_ids)} ids; it must have 1 to {MOST}", path=("item_ids",))
        own = [raw_id(value, "ModerationItem", path=("item_ids",)) for value in dict.fromkeys(input.item_ids)]
        outcomes = await moderators(info.context).claim_all(info.context.user(), own, input.hold)
        held = [ModerationItemNode.of(each) for each, _ in outcomes.values() if each is not None]
        results = [_result(global_id("ModerationItem", identity), error) for identity, (_, error) in outcomes.items()]
        return ClaimModerationItemsPayload(items=held if input.hold else [], results=results)

    @mutation(ModeratePayload, Moderator, "Do the same to up to 100 messages, trees or things of the queue.")
    async def moderate(self, info: Info, input: ModerateInput) -> ModeratePayload:
        """Do it to each; what fails for one does not stop the others."""
        targets: dict[str, strawberry.ID] = {}
        for kind, given in (
            ("item", input.item_ids),
            ("message", input.message_ids),
            ("tree", input.tree_ids),
            ("user", input.user_ids),
        ):
            path = (f"{kind}_ids",)
            targets |= {f"{kind}:{raw_id(value, TYPES[kind], path=path)}": value for value in given}
        outcomes = await moderators(info.context).moderate(
            info.context.user(), list(targets), stored(input.action), input.reason
        )
        return ModeratePayload(results=[_result(targets[each.target], each.error) for each in outcomes])

    @mutation(RestoreMessagePayload, Moderator, "Put a message back that flags or a moderator took out.")
    async def restore_message(self, info: Info, input: RestoreMessageInput) -> RestoreMessagePayload:
        """Undo a deletion."""
        message_id = raw_id(input.message_id, "Message", path=("message_id",))
        await info.context.services.collection.restore_message(info.context.user(), message_id, input.reason)
        return RestoreMessagePayload(message=await load_message(info.context, message_id))

    @mutation(HaltTreePayload, Moderator, "Stop a tree: no more work on it is handed out.")
    async def halt_tree(self, info: Info, input: HaltTreeInput) -> HaltTreePayload:
        """Stop it."""
        tree_id = raw_id(input.tree_id, "Tree", path=("tree_id",))
        tree = await info.context.services.collection.halt_tree(info.context.user(), tree_id, True, input.reason)
        return HaltTreePayload(tree=TreeNode.of(tree))

    @mutation(ResumeTreePayload, Moderator, "Let a stopped tree go on from where it was.")
    async def resume_tree(self, info: Info, input: ResumeTreeInput) -> ResumeTreePayload:
        """Let it go on."""
        tree_id = raw_id(input.tree_id, "Tree", path=("tree_id",))
        tree = await info.context.services.collection.halt_tree(info.context.user(), tree_id, False, input.reason)
        return ResumeTreePayload(tree=TreeNode.of(tree))


def _result(given: strawberry.ID, error: OaError | None) -> ModerationResult:
    return ModerationResult(id=given, done=error is None, error=None if error is None else user_error(error))
