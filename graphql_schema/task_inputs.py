"""What the mutations on tasks take and answer: one input and one payload each."""

from __future__ import annotations

import strawberry

from .enums import LabelName, TaskKind
from .errors import Payload
from .keyed import Keyed
from .message_types import MessageNode
from .task_types import TaskNode


@strawberry.input(description="Which work is wanted.")
class RequestTaskInput(Keyed):
    """Input of `requestTask`."""

    kind: TaskKind = strawberry.field(default=TaskKind.RANDOM, description="One kind, or RANDOM.")
    langs: list[str] = strawberry.field(description="Languages you work in, as BCP 47 tags; at least one.")
    collection_id: strawberry.ID | None = strawberry.field(
        default=None, description="A collection; the default one where none is named."
    )


@strawberry.input(description="A prompt that opens a conversation.")
class SubmitPromptInput(Keyed):
    """Input of `submitPrompt`."""

    task_id: strawberry.ID = strawberry.field(description="An InitialPromptTask of yours.")
    text: str = strawberry.field(description="The prompt.")
    lang: str | None = strawberry.field(default=None, description="Its language, where not the task's.")


@strawberry.input(description="A reply to the task's conversation.")
class SubmitReplyInput(Keyed):
    """Input of `submitReply`."""

    task_id: strawberry.ID = strawberry.field(description="A PrompterReplyTask or AssistantReplyTask of yours.")
    text: str = strawberry.field(description="The reply.")


@strawberry.input(description="The answer to one question of a review.")
class LabelAnswer:
    """One label and its value."""

    name: LabelName = strawberry.field(description="The label.")
    value: float = strawberry.field(description="From 0 to 1; see the label's widget.")


@strawberry.input(description="A review. Leave out what you cannot say: it is then not counted as 0.")
class SubmitReviewInput(Keyed):
    """Input of `submitReview`."""

    task_id: strawberry.ID = strawberry.field(description="A review task of yours.")
    labels: list[LabelAnswer] = strawberry.field(description="The labels answered, each at most once.")


@strawberry.input(description="An order of the replies served.")
class SubmitRankingInput(Keyed):
    """Input of `submitRanking`."""

    task_id: strawberry.ID = strawberry.field(description="A ranking task of yours.")
    ranking: list[strawberry.ID] = strawberry.field(
        default_factory=list,
        description="Ids of the replies served, best first, where no two are equally good: all of them, or, where the "
        "collection weighs opinions, two or more; those left out are not judged.",
    )
    tiers: list[list[strawberry.ID]] | None = strawberry.field(
        default=None,
        description="The same in groups of equally good ones, best first; instead of `ranking`.",
    )
    not_rankable: bool = strawberry.field(
        default=False, description="All of them are factually wrong. Counts as a ranking; an order is optional then."
    )
    cannot_judge: bool = strawberry.field(
        default=False,
        description="You cannot judge them: the task is skipped, is not yours again, and goes to somebody else. "
        "Give no order then.",
    )


@strawberry.input(description="A task to give back.")
class SkipTaskInput(Keyed):
    """Input of `skipTask`."""

    task_id: strawberry.ID = strawberry.field(description="A task of yours.")
    reason: str = strawberry.field(default="", description="Why, for the moderators.")


@strawberry.input(description="A text to go on with later.")
class SaveDraftInput(Keyed):
    """Input of `saveDraft`."""

    task_id: strawberry.ID = strawberry.field(description="A writing task of yours.")
    text: str = strawberry.field(description="The text so far.")


@strawberry.type(description="A task, or why there is none.")
class RequestTaskPayload(Payload):
    """Payload of `requestTask`."""

    task: TaskNode | None = strawberry.field(default=None, description="The task, in your hands until it expires.")


@strawberry.type(description="What became of a submitted text.")
class SubmitPromptPayload(Payload):
    """Payload of `submitPrompt`."""

    task: TaskNode | None = strawberry.field(default=None, description="The task, done.")
    message: MessageNode | None = strawberry.field(default=None, description="The message it made.")


@strawberry.type(description="What became of a submitted text.")
class SubmitReplyPayload(Payload):
    """Payload of `submitReply`."""

    task: TaskNode | None = strawberry.field(default=None, description="The task, done.")
    message: MessageNode | None = strawberry.field(default=None, description="The message it made.")


@strawberry.type(description="What became of a review.")
class SubmitReviewPayload(Payload):
    """Payload of `submitReview`."""

    task: TaskNode | None = strawberry.field(default=None, description="The task, done.")


@strawberry.type(description="What became of a ranking.")
class SubmitRankingPayload(Payload):
    """Payload of `submitRanking`."""

    task: TaskNode | None = strawberry.field(default=None, description="The task: done, or skipped by `cannotJudge`.")


@strawberry.type(description="What became of a task given back.")
class SkipTaskPayload(Payload):
    """Payload of `skipTask`."""

    task: TaskNode | None = strawberry.field(default=None, description="The task, skipped.")


@strawberry.type(description="What became of a draft.")
class SaveDraftPayload(Payload):
    """Payload of `saveDraft`."""

    task: TaskNode | None = strawberry.field(default=None, description="The task with its draft.")
