"""What came of one's own work: verdicts and why, appeals, how one's rankings compare with the consensus."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING

import strawberry

from core.errors import NotFound
from core.people_records import (
    Agreement,
    Appeal,
    Contribution,
    RankingFeedback,
    decision_of,
    reasons_against,
    untouched,
)
from core.people_records import DataExport as DataExportRecord
from core.records import User, time_key

from .context import Context, Info, needed
from .enums import LabelName
from .message_types import LabelAverage, MessageNode, load_message
from .nodes import reads
from .permissions import ByViewer, moderates
from .relay import After, Connection, First, Node, connection, decode_cursor, global_id, page_size

if TYPE_CHECKING:
    from core.people import People
    from core.promotion import Progress
    from core.voices import Voice


@strawberry.enum(description="What became of an appeal.")
class AppealState(Enum):
    """States of an appeal."""

    OPEN = strawberry.enum_value("open", description="Waits for a moderator.")
    UPHELD = strawberry.enum_value("upheld", description="The author was right: the message is accepted, or back.")
    REJECTED = strawberry.enum_value("rejected", description="The decision stands.")


@strawberry.type(name="Appeal", description="An author's appeal against a decision about their message.")
class AppealNode(Node):
    """An appeal."""

    message_key: strawberry.Private[str]
    text: str = strawberry.field(description="What its author wrote.")
    state: AppealState = strawberry.field(description="What became of it.")
    answer: str | None = strawberry.field(description="What the moderator who decided wrote.")
    created_at: datetime = strawberry.field(description="When it was made.")

    @strawberry.field(description="The message that it is about.")
    async def message(self, info: Info) -> MessageNode | None:
        """The message."""
        return await load_message(info.context, self.message_key)

    @classmethod
    def of(cls, appeal: Appeal) -> AppealNode:
        """The appeal."""
        return cls(
            id=global_id("Appeal", appeal.id), message_key=appeal.message_id, text=appeal.text,
            state=AppealState(appeal.state), answer=appeal.answer, created_at=appeal.created_at,
        )  # fmt: skip


@strawberry.type(description="What a moderator decided about a message.")
class Ruling:
    """The latest ruling."""

    act: str = strawberry.field(description="delete, restore, accept or refuse.")
    reason: str = strawberry.field(description="Why, in the moderator's words.")
    at: datetime = strawberry.field(description="When.")


@strawberry.type(name="Contribution", description="A message of yours, and what came of it.")
class ContributionNode:
    """A message of the viewer's."""

    message: MessageNode = strawberry.field(description="The message; its state is the verdict.")
    reasons: list[LabelAverage] = strawberry.field(
        description="What reviewers held against it, the strongest first; empty until they have decided."
    )
    ruling: Ruling | None = strawberry.field(description="What a moderator decided about it last.")
    may_change: bool = strawberry.field(description="Whether you may still edit or withdraw it.")
    may_appeal: bool = strawberry.field(description="Whether a decision stands that you have not appealed against.")
    appeal: AppealNode | None = strawberry.field(description="Your appeal against the decision that stands.")

    @classmethod
    def of(cls, record: Contribution, context: Context) -> ContributionNode:
        """The contribution."""
        message, ruling = record.message, record.message.ruling
        against = reasons_against(message) if message.state != "pending" else {}
        return cls(
            message=MessageNode.of(message, context, mine=True),
            reasons=[
                LabelAverage(name=LabelName(name), value=label["value"], count=int(label["count"]))
                for name, label in against.items()
            ],
            ruling=None if ruling is None else Ruling(
                act=ruling["act"], reason=ruling["reason"], at=datetime.fromtimestamp(ruling["at"] / 1000, UTC)
            ),
            may_change=untouched(message),
            may_appeal=decision_of(message) is not None and record.appeal is None,
            appeal=None if record.appeal is None else AppealNode.of(record.appeal),
        )  # fmt: skip


@strawberry.type(name="RankingFeedback", description="A ranking of yours, held against the consensus.")
class RankingFeedbackNode:
    """A ranking."""

    parent_key: strawberry.Private[str]
    created_at: datetime = strawberry.field(description="When you gave it.")
    mine: list[strawberry.ID] = strawberry.field(description="Your order of the messages, best first.")
    mine_in_tiers: list[list[strawberry.ID]] = strawberry.field(description="The same, equally good ones together.")
    consensus: list[strawberry.ID] = strawberry.field(description="The order of all; empty until there is one.")
    tau: float | None = strawberry.field(
        description="Kendall's tau-b between the two, -1 to 1, level pairs left out; null where none is left."
    )

    @strawberry.field(description="The message whose replies you ranked.")
    async def parent(self, info: Info) -> MessageNode | None:
        """The message."""
        return await load_message(info.context, self.parent_key)

    @classmethod
    def of(cls, record: RankingFeedback) -> RankingFeedbackNode:
        """The feedback."""
        return cls(
            parent_key=record.parent_id, created_at=record.created_at, tau=record.tau,
            mine=[global_id("Message", each) for tier in record.mine for each in tier],
            mine_in_tiers=[[global_id("Message", each) for each in tier] for tier in record.mine],
            consensus=[global_id("Message", each) for each in record.consensus],
        )  # fmt: skip


@strawberry.type(name="Agreement", description="How your reviews and rankings of a month agree with what came of them.")
class AgreementNode:
    """One month, or all."""

    month: str = strawberry.field(description="Such as 2026-11, or all.")
    reviews: int = strawberry.field(description="Reviews of messages that have been decided.")
    agreed: int = strawberry.field(description="Those that spoke for the verdict.")
    rankings: int = strawberry.field(description="Rankings of replies that have a consensus.")
    mean_tau: float | None = strawberry.field(description="Mean Kendall's tau with it, -1 to 1; null without any.")

    @classmethod
    def of(cls, record: Agreement) -> AgreementNode:
        """The sums."""
        return cls(
            month=record.month, reviews=record.reviews, agreed=record.agreed, rankings=record.rankings,
            mean_tau=record.tau,
        )  # fmt: skip


@strawberry.enum(description="How far an export of one's data is.")
class DataExportState(Enum):
    """States of an export."""

    WAITING = strawberry.enum_value("waiting", description="Being made.")
    READY = strawberry.enum_value("ready", description="Can be fetched.")


@strawberry.type(description="All of your data, as gzipped JSON.")
class DataExport:
    """One's own export."""

    state: DataExportState = strawberry.field(description="How far it is.")
    url: str | None = strawberry.field(description="Where to fetch it in the next 15 minutes; null until it is ready.")
    size: int = strawberry.field(description="Bytes; 0 until it is ready.")
    created_at: datetime = strawberry.field(description="When it was asked for.")
    expires_at: datetime | None = strawberry.field(description="When it is removed.")

    @classmethod
    def of(cls, record: DataExportRecord, url: str | None) -> DataExport:
        """The export."""
        return cls(
            state=DataExportState(record.state), url=url, size=record.size, created_at=record.created_at,
            expires_at=record.expires_at,
        )  # fmt: skip


@strawberry.type(description="How far somebody's reviews and rankings are trusted, as estimated from all of them.")
class Reliability:
    """Feedback to the person, evidence to moderators; never a ban by itself."""

    finds_bad: float = strawberry.field(description="Probability to object to what deserves it, 0 to 1.")
    passes_good: float = strawberry.field(description="Probability to pass what is fine, 0 to 1.")
    tau: float = strawberry.field(description="Estimate of Kendall's tau of their rankings with the truth, -1 to 1.")
    ballot_weight: float = strawberry.field(description="Weight of a ranking of theirs, above 0, up to 1.")

    @classmethod
    def of(cls, voice: Voice) -> Reliability:
        """The estimates."""
        skill = voice.skill
        return cls(
            finds_bad=skill.sensitivity, passes_good=skill.specificity, tau=voice.tau,
            ballot_weight=voice.ballot_weight,
        )  # fmt: skip


async def reliability_of(context: Context, user_id: str) -> Reliability | None:
    """What was learned of a person; None while nothing was."""
    voice = await context.loaders.voices.load(user_id)
    return None if voice is None else Reliability.of(voice)


@strawberry.enum(description="What trust needs.")
class TrustNeed(Enum):
    """Requirements of the role `trusted`."""

    ACCEPTED_MESSAGES = strawberry.enum_value("accepted_messages", description="Messages that were accepted.")
    SETTLED_JUDGEMENTS = strawberry.enum_value(
        "settled_judgements", description="Reviews and rankings that agreed with what came of them."
    )
    RELIABILITY = strawberry.enum_value("reliability", description="How far reviews and rankings are heard, 0 to 1.")
    ACCOUNT_SECONDS = strawberry.enum_value("account_seconds", description="Age of the account, in seconds.")
    GOOD_STANDING = strawberry.enum_value("good_standing", description="1 without a sanction that stands, else 0.")


@strawberry.type(description="One thing that trust needs.")
class TrustRequirement:
    """How much there is, and how much there must be."""

    need: TrustNeed = strawberry.field(description="What.")
    have: float = strawberry.field(description="How much there is.")
    needed: float = strawberry.field(description="How much there must be.")
    met: bool = strawberry.field(description="Whether there is enough.")


@strawberry.type(name="Trust", description="How far you are from being trusted: more tasks at once, fewer known ones.")
class TrustNode:
    """The way to the role `trusted`."""

    trusted: bool = strawberry.field(description="Whether you are.")
    by_work: bool = strawberry.field(description="Whether work earns it here; else somebody must give it.")
    withheld: str | None = strawberry.field(description="Why it was taken back; work does not earn it again.")
    needs: list[TrustRequirement] = strawberry.field(description="What work must come to, met or not.")

    @classmethod
    def of(cls, record: Progress) -> TrustNode:
        """The way."""
        return cls(
            trusted=record.trusted, by_work=record.by_work, withheld=record.withheld,
            needs=[
                TrustRequirement(need=TrustNeed(each.name), have=each.have, needed=each.needed, met=each.met)
                for each in record.needs
            ],
        )  # fmt: skip


@strawberry.type
class OwnWork:
    """The viewer's own work."""

    record: strawberry.Private[User]

    @strawberry.field(
        description="Your messages, newest first: what came of each, and why.", permission_classes=[ByViewer]
    )
    async def contributions(self, info: Info, first: First, after: After = None) -> Connection[ContributionNode]:
        """A page of one's messages."""
        found, more = await people(info.context).contributions(self.record, decode_cursor(after), page_size(first))
        return connection(
            found, key=lambda each: time_key(each.message.created_at, each.message.id), has_next=more,
            node=lambda each: ContributionNode.of(each, info.context),
        )  # fmt: skip

    @strawberry.field(
        description="Your rankings, newest first, each held against the consensus.", permission_classes=[ByViewer]
    )
    async def ranking_feedback(self, info: Info, first: First, after: After = None) -> Connection[RankingFeedbackNode]:
        """A page of one's rankings."""
        found, more = await people(info.context).ranking_feedback(self.record, decode_cursor(after), page_size(first))
        return connection(found, key=lambda each: each.key, has_next=more, node=RankingFeedbackNode.of)

    @strawberry.field(
        description="Whether what you wrote may go into data sets that are frozen from now on.",
        permission_classes=[ByViewer],
    )
    def allows_training(self) -> bool:
        """The person's own word; a chat needs its own consent besides."""
        return self.record.no_training_since is None

    @strawberry.field(description="How far you are from being trusted, and what is missing.")
    async def trust(self, info: Info) -> TrustNode:
        """The requirements."""
        return TrustNode.of(await people(info.context).trust(self.record))

    @strawberry.field(
        description="The export of your data that you asked for last; null for none.", permission_classes=[ByViewer]
    )
    async def data_export(self, info: Info) -> DataExport | None:
        """The export."""
        found = await people(info.context).export_of(self.record)
        return None if found is None else DataExport.of(*found)

    @strawberry.field(description="How far your reviews and rankings are trusted; null while nothing is known.")
    async def reliability(self, info: Info) -> Reliability | None:
        """The estimates."""
        return await reliability_of(info.context, self.record.id)

    @strawberry.field(description="How your latest 500 reviews and rankings agree with what came of them.")
    async def agreement(self, info: Info) -> list[AgreementNode]:
        """Feedback, never a punishment."""
        return [AgreementNode.of(each) for each in await people(info.context).agreement(self.record)]


def people(context: Context) -> People:
    """The service, where this app has it."""
    return needed(context.services.people, "people's own work")


@reads("Appeal")
async def load_appeal(context: Context, appeal_id: str) -> AppealNode | None:
    """The appeal with that id, for its author and those who moderate its language."""
    user = context.user()
    try:
        found = await people(context).appeal_of(appeal_id)
    except NotFound:
        return None
    return AppealNode.of(found) if moderates(context, found.lang) or found.user_id == user.id else None
