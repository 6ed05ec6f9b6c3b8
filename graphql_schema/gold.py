"""Questions with a known answer, for moderators; contributors meet them as work like any other."""

from __future__ import annotations

from datetime import datetime

import strawberry

from core.errors import BadInput
from core.gold_records import GoldItem

from .context import Info
from .enums import LabelName, TaskKind, stored
from .errors import Payload, mutation
from .keyed import Keyed
from .message_types import MessageNode, load_message
from .permissions import Moderator
from .relay import MAX_FIRST, After, Connection, First, connection, decode_cursor, global_id, page_size, raw_id


@strawberry.type(description="Whether a label applies to a message.")
class KnownLabel:
    """One label of a gold item."""

    name: LabelName = strawberry.field(description="The label.")
    applies: bool = strawberry.field(description="Whether it applies.")


@strawberry.type(description="A question with a known answer, slipped in among others.")
class Gold:
    """A gold item."""

    record: strawberry.Private[GoldItem]
    id: strawberry.ID = strawberry.field(description="The id to retire it by.")
    kind: TaskKind = strawberry.field(description="What is asked.")
    lang: str = strawberry.field(description="Language, a BCP 47 tag.")
    reason: str = strawberry.field(description="Why the answer is known.")
    created_at: datetime = strawberry.field(description="When it was made.")

    @strawberry.field(description="Of a review: what is known of labels.")
    def labels(self) -> list[KnownLabel]:
        """The known labels."""
        return [KnownLabel(name=LabelName(name), applies=yes) for name, yes in self.record.answers.items()]

    @strawberry.field(description="The copy that is shown: to review, or whose replies to rank.")
    async def message(self, info: Info) -> MessageNode | None:
        """The copy."""
        return await load_message(info.context, self.record.target_id)

    @classmethod
    def of(cls, item: GoldItem) -> Gold:
        """The item."""
        return cls(
            record=item, id=global_id("Gold", item.id), kind=TaskKind(item.kind), lang=item.lang, reason=item.reason,
            created_at=item.created_at,
        )  # fmt: skip


@strawberry.input(description="What is known of a label.")
class KnownLabelInput:
    """One label."""

    name: LabelName = strawberry.field(description="A label that can refuse a message.")
    applies: bool = strawberry.field(description="Whether it applies.")


@strawberry.input(description="A message whose labels are known.")
class CreateGoldReviewInput(Keyed):
    """Input of `createGoldReview`."""

    message_id: strawberry.ID = strawberry.field(description="The message; it is copied.")
    labels: list[KnownLabelInput] = strawberry.field(description="What is known, each label once.")
    reason: str = strawberry.field(description="Why it is known, for other moderators.")


@strawberry.input(description="Replies whose order is known.")
class CreateGoldRankingInput(Keyed):
    """Input of `createGoldRanking`."""

    order: list[list[strawberry.ID]] = strawberry.field(
        description="Replies to one message in groups of equally good ones, best first; they are copied."
    )
    reason: str = strawberry.field(description="Why it is known, for other moderators.")


@strawberry.input(description="A gold item to hand out no more.")
class RetireGoldInput(Keyed):
    """Input of `retireGold`."""

    gold_id: strawberry.ID = strawberry.field(description="The item.")


@strawberry.type(description="What became of a gold item.")
class CreateGoldReviewPayload(Payload):
    """Payload of `createGoldReview`."""

    gold: Gold | None = strawberry.field(default=None, description="The item.")


@strawberry.type(description="What became of a gold item.")
class CreateGoldRankingPayload(Payload):
    """Payload of `createGoldRanking`."""

    gold: Gold | None = strawberry.field(default=None, description="The item.")


@strawberry.type(description="What became of a gold item.")
class RetireGoldPayload(Payload):
    """Payload of `retireGold`."""

    retired: bool | None = strawberry.field(default=None, description="Whether it is handed out no more.")


@strawberry.type
class GoldQuery:
    """Which gold items there are."""

    @strawberry.field(
        description="Questions with a known answer in your languages, newest first.", permission_classes=[Moderator]
    )
    async def gold(self, info: Info, first: First, after: After = None) -> Connection[Gold]:
        """A page of items."""
        found, more = await info.context.services.collection.gold_items(
            info.context.user(), decode_cursor(after), page_size(first)
        )
        return connection(found, key=lambda each: each.by_time, has_next=more, node=Gold.of)


@strawberry.type
class GoldMutation:
    """Making and retiring gold items."""

    @mutation(CreateGoldReviewPayload, Moderator, "Make a question with a known answer out of a message.")
    async def create_gold_review(self, info: Info, input: CreateGoldReviewInput) -> CreateGoldReviewPayload:
        """Copy the message."""
        answers = {stored(each.name): each.applies for each in input.labels}
        if len(answers) != len(input.labels):
            raise BadInput("labels names one label twice; each may be named once", path=("labels",))
        message_id = raw_id(input.message_id, "Message", path=("message_id",))
        made = await info.context.services.collection.make_gold_review(
            info.context.user(), message_id, answers, input.reason
        )
        return CreateGoldReviewPayload(gold=Gold.of(made))

    @mutation(CreateGoldRankingPayload, Moderator, "Make a question with a known answer out of replies.")
    async def create_gold_ranking(self, info: Info, input: CreateGoldRankingInput) -> CreateGoldRankingPayload:
        """Copy the replies and what is above them."""
        if (count := sum(map(len, input.order))) > MAX_FIRST:
            raise BadInput(f"order has {count} ids; {MAX_FIRST} are the most", path=("order",))
        order = [[raw_id(each, "Message", path=("order",)) for each in tier] for tier in input.order]
        made = await info.context.services.collection.make_gold_ranking(info.context.user(), order, input.reason)
        return CreateGoldRankingPayload(gold=Gold.of(made))

    @mutation(RetireGoldPayload, Moderator, "Hand a gold item out no more; what its answers taught stays.")
    async def retire_gold(self, info: Info, input: RetireGoldInput) -> RetireGoldPayload:
        """Erase the copies."""
        await info.context.services.collection.retire_gold(
            info.context.user(), raw_id(input.gold_id, "Gold", path=("gold_id",))
        )
        return RetireGoldPayload(retired=True)
