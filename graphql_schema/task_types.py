"""Tasks: one interface, one type for each of the eight kinds, so that a client sees by type what it must show.

What is served for ranking has a type of its own with nothing in it but the text: neither author nor rank nor whether a
model wrote it can even be asked for.
"""

from __future__ import annotations

from datetime import datetime

import strawberry

from core.labels import MANDATORY, WIDGETS, labels_for
from core.records import Task

from .context import Context, Info
from .enums import LabelName, LabelWidget, TaskKind, TaskState
from .message_types import MessageNode
from .nodes import reads
from .relay import Node, global_id


@strawberry.interface(name="Task", description="A piece of work in your hands. Its type says what is asked.")
class TaskNode(Node):
    """What all tasks have."""

    record: strawberry.Private[Task]
    kind: TaskKind = strawberry.field(description="What is asked; the type says the same.")
    state: TaskState = strawberry.field(description="What became of it.")
    lang: str = strawberry.field(description="Language to work in, as a BCP 47 tag.")
    collection_id: strawberry.ID = strawberry.field(description="The collection that it is part of.")
    created_at: datetime = strawberry.field(description="When you took it.")
    expires_at: datetime = strawberry.field(description="After this it may go to somebody else.")
    draft: str | None = strawberry.field(description="The text saved with saveDraft, from whichever device.")

    @classmethod
    def of(cls, record: Task) -> TaskNode:
        """The task as the type of its kind."""
        kind = TYPE_OF_KIND[record.kind]
        return kind(
            id=global_id("Task", record.id),
            record=record,
            kind=TaskKind(record.kind),
            state=TaskState(record.state),
            lang=record.lang,
            collection_id=global_id("Collection", record.collection),
            created_at=record.created_at,
            expires_at=record.expires_at,
            draft=record.draft,
        )


@strawberry.interface(description="A task whose answer is a text.")
class WritingTask(TaskNode):
    """What the tasks to write have."""

    @strawberry.field(description="Characters (Unicode code points) that the text may have.")
    async def max_characters(self, info: Info) -> int:
        """The collection's limit."""
        collection = info.context.services.collection
        return collection.rules_of(await collection.find_collection(self.record.collection)).max_text_length


@strawberry.interface(description="A task about a conversation that is there already.")
class ConversationTask(TaskNode):
    """What all tasks but the first kind have."""

    @strawberry.field(description="The conversation so far, root first; at most a few messages.")
    async def thread(self, info: Info) -> list[MessageNode]:
        """Messages from the root to the one that the task is about."""
        records = await info.context.loaders.messages.load_many(list(self.record.thread))
        return [MessageNode.of(record, info.context) for record in records if record is not None]


@strawberry.type(description="A label to answer.")
class LabelQuestion:
    """One question of a review."""

    name: LabelName = strawberry.field(description="The label.")
    widget: LabelWidget = strawberry.field(description="How to ask it.")
    mandatory: bool = strawberry.field(description="Whether it must be answered.")


@strawberry.interface(description="A message to review: answer its labels with submitReview.")
class ReviewTask(ConversationTask):
    """What all review tasks have."""

    @strawberry.field(description="The message to review: the last of the thread.")
    async def message(self, info: Info) -> MessageNode | None:
        """The message under review."""
        record = await info.context.loaders.messages.load(str(self.record.target_id))
        return None if record is None else MessageNode.of(record, info.context)

    @strawberry.field(description="The labels that may be answered.")
    def labels(self) -> list[LabelQuestion]:
        """The questions, in the usual order."""
        return [
            LabelQuestion(name=LabelName(name), widget=LabelWidget(WIDGETS[name]), mandatory=name in MANDATORY)
            for name in labels_for(self.record.kind)
        ]


@strawberry.type(description="One of the replies to rank.")
class RankingCandidate:
    """A reply without anything that could sway the judge."""

    id: strawberry.ID = strawberry.field(description="Its message's id; send these back in order.")
    text: str = strawberry.field(description="What was said; empty for a reply that was taken out.")


@strawberry.interface(description="Replies to put in order with submitRanking, best first.")
class RankingTask(ConversationTask):
    """What both ranking tasks have."""

    @strawberry.field(description="The replies, in an order that is random for each person.")
    async def replies(self, info: Info) -> list[RankingCandidate]:
        """The replies served."""
        records = await info.context.loaders.messages.load_many(list(self.record.served))
        shown = [MessageNode.of(record, info.context) for record in records if record is not None]
        return [RankingCandidate(id=message.id, text=message.text) for message in shown]


@strawberry.type(description="Write a prompt that opens a conversation; answer with submitPrompt.")
class InitialPromptTask(WritingTask):
    """`initial_prompt`."""


@strawberry.type(description="Go on as the one who asks; answer with submitReply.")
class PrompterReplyTask(ConversationTask, WritingTask):
    """`prompter_reply`."""


@strawberry.type(description="Answer as the assistant; answer with submitReply.")
class AssistantReplyTask(ConversationTask, WritingTask):
    """`assistant_reply`."""


@strawberry.type(description="Put answers of the assistant in order, best first.")
class RankAssistantRepliesTask(RankingTask):
    """`rank_assistant_replies`."""


@strawberry.type(description="Put prompts that follow an answer in order, best first.")
class RankPrompterRepliesTask(RankingTask):
    """`rank_prompter_replies`."""


@strawberry.type(description="Review a prompt that opens a conversation.")
class LabelInitialPromptTask(ReviewTask):
    """`label_initial_prompt`."""


@strawberry.type(description="Review a later prompt.")
class LabelPrompterReplyTask(ReviewTask):
    """`label_prompter_reply`."""


@strawberry.type(description="Review an answer of the assistant.")
class LabelAssistantReplyTask(ReviewTask):
    """`label_assistant_reply`."""


TYPE_OF_KIND: dict[str, type[TaskNode]] = {
    "initial_prompt": InitialPromptTask,
    "prompter_reply": PrompterReplyTask,
    "assistant_reply": AssistantReplyTask,
    "rank_assistant_replies": RankAssistantRepliesTask,
    "rank_prompter_replies": RankPrompterRepliesTask,
    "label_initial_prompt": LabelInitialPromptTask,
    "label_prompter_reply": LabelPrompterReplyTask,
    "label_assistant_reply": LabelAssistantReplyTask,
}


@reads("Task")
async def load_task(context: Context, task_id: str) -> TaskNode | None:
    """The caller's own task with that id; None if it is nobody's or somebody else's."""
    from core.errors import NotFound, TaskGone

    try:
        return TaskNode.of(await context.services.collection.get_task(context.user(), task_id))
    except (NotFound, TaskGone):
        return None
