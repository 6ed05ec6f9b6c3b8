"""Mutations on tasks. Each is idempotent by its task: the same submission again answers the same and counts once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import strawberry

from core.errors import BadInput

from .collections import collection_key
from .context import Info
from .enums import stored
from .errors import mutation
from .message_types import MessageNode, load_message
from .permissions import Contributor
from .relay import MAX_FIRST, raw_id
from .task_inputs import (
    LabelAnswer,
    RequestTaskInput,
    RequestTaskPayload,
    SaveDraftInput,
    SaveDraftPayload,
    SkipTaskInput,
    SkipTaskPayload,
    SubmitPromptInput,
    SubmitPromptPayload,
    SubmitRankingInput,
    SubmitRankingPayload,
    SubmitReplyInput,
    SubmitReplyPayload,
    SubmitReviewInput,
    SubmitReviewPayload,
)
from .task_types import TaskNode
from .viewer_types import check_langs

if TYPE_CHECKING:
    from core.answers import Answered  # which brings the driver


@strawberry.type
class TaskMutation:
    """Taking, keeping, giving back and answering tasks."""

    @mutation(RequestTaskPayload, Contributor, "Take a task of a kind, in one of your languages.")
    async def request_task(self, info: Info, input: RequestTaskInput) -> RequestTaskPayload:
        """Hand out a place of open work."""
        langs = check_langs(input.langs)
        task, messages = await info.context.services.collection.hand_out(
            info.context.user(), stored(input.kind), langs, collection_key(input.collection_id)
        )
        info.context.loaders.messages.prime_many(messages)
        return RequestTaskPayload(task=TaskNode.of(task))

    @mutation(SubmitPromptPayload, Contributor, "Answer an InitialPromptTask.")
    async def submit_prompt(self, info: Info, input: SubmitPromptInput) -> SubmitPromptPayload:
        """Store the prompt and open its tree."""
        answered = await info.context.services.collection.take_prompt(
            info.context.user(), _task_id(input.task_id), input.text, input.lang or None
        )
        return SubmitPromptPayload(task=TaskNode.of(answered.task), message=await _message_of(info, answered))

    @mutation(SubmitReplyPayload, Contributor, "Answer a PrompterReplyTask or an AssistantReplyTask.")
    async def submit_reply(self, info: Info, input: SubmitReplyInput) -> SubmitReplyPayload:
        """Store the reply."""
        answered = await info.context.services.collection.take_reply(
            info.context.user(), _task_id(input.task_id), input.text
        )
        return SubmitReplyPayload(task=TaskNode.of(answered.task), message=await _message_of(info, answered))

    @mutation(SubmitReviewPayload, Contributor, "Answer a review task.")
    async def submit_review(self, info: Info, input: SubmitReviewInput) -> SubmitReviewPayload:
        """Store the review."""
        task = await info.context.services.collection.submit_review(
            info.context.user(), _task_id(input.task_id), labels_answered(input.labels)
        )
        return SubmitReviewPayload(task=TaskNode.of(task))

    @mutation(SubmitRankingPayload, Contributor, "Answer a ranking task.")
    async def submit_ranking(self, info: Info, input: SubmitRankingInput) -> SubmitRankingPayload:
        """Store the ranking."""
        collection, user, task_id = info.context.services.collection, info.context.user(), _task_id(input.task_id)
        tiers = _tiers(input)
        if input.cannot_judge:
            if tiers or input.not_rankable:
                message = "cannotJudge is given with an order or notRankable; give one of them"
                raise BadInput(message, code="BAD_RANKING", path=("cannotJudge",))
            return SubmitRankingPayload(task=TaskNode.of(await collection.cannot_judge(user, task_id)))
        ranking = [raw_id(value, "Message", path=("ranking",)) for tier in tiers for value in tier]
        sizes = [len(tier) for tier in tiers]
        task = await collection.submit_ranking(user, task_id, ranking, input.not_rankable, sizes)
        return SubmitRankingPayload(task=TaskNode.of(task))

    @mutation(SkipTaskPayload, Contributor, "Give a task back; it will not be offered to you again.")
    async def skip_task(self, info: Info, input: SkipTaskInput) -> SkipTaskPayload:
        """Free the task's place."""
        task = await info.context.services.collection.skip_task(
            info.context.user(), _task_id(input.task_id), input.reason
        )
        return SkipTaskPayload(task=TaskNode.of(task))

    @mutation(SaveDraftPayload, Contributor, "Save the text so far, to go on with on any device.")
    async def save_draft(self, info: Info, input: SaveDraftInput) -> SaveDraftPayload:
        """Keep the text with the task."""
        task = await info.context.services.collection.save_draft(
            info.context.user(), _task_id(input.task_id), input.text
        )
        return SaveDraftPayload(task=TaskNode.of(task))


def _task_id(value: str) -> str:
    return raw_id(value, "Task", path=("task_id",))


async def _message_of(info: Info, answered: Answered) -> MessageNode | None:
    if answered.message is not None:
        info.context.loaders.messages.prime_many({answered.message.id: answered.message})
    return await load_message(info.context, answered.task.result_id)


def _tiers(input: SubmitRankingInput) -> list[list[strawberry.ID]]:
    """The groups of replies given, in either form."""
    if input.tiers is not None and input.ranking:
        raise BadInput("both ranking and tiers are given; give one of them", code="BAD_RANKING", path=("tiers",))
    tiers = input.tiers if input.tiers is not None else [[each] for each in input.ranking]
    if (count := sum(map(len, tiers))) > MAX_FIRST or len(tiers) > MAX_FIRST:
        raise BadInput(f"the ranking has {count} ids; {MAX_FIRST} are the most", code="BAD_RANKING", path=("ranking",))
    return tiers


def labels_answered(answers: list[LabelAnswer]) -> dict[str, float]:
    """The labels by their stored names; raises `BadInput` (code `BAD_LABELS`) where one is answered twice."""
    labels = {stored(answer.name): answer.value for answer in answers}
    if len(labels) != len(answers):
        raise BadInput("labels answers one label twice; each may be answered once", code="BAD_LABELS", path=("labels",))
    return labels
