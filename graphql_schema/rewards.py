"""What reward models say of replies: handed in by services, never shown to contributors."""

from __future__ import annotations

import strawberry

from core.errors import BadInput

from .context import Info
from .errors import Payload, mutation
from .keyed import Keyed
from .permissions import Operator
from .relay import raw_id


@strawberry.input(description="What a reward model says of one reply.")
class RewardScore:
    """One score."""

    message_id: strawberry.ID = strawberry.field(description="The reply.")
    score: float = strawberry.field(description="The model's score, a logit: higher is better.")


@strawberry.input(description="A reward model's scores.")
class SubmitRewardScoresInput(Keyed):
    """Input of `submitRewardScores`."""

    model_version: str = strawberry.field(description="The model, as name@version.")
    scores: list[RewardScore] = strawberry.field(description="At most 100, each reply at most once.")


@strawberry.type(description="What became of scores.")
class SubmitRewardScoresPayload(Payload):
    """Payload of `submitRewardScores`."""

    trees: int | None = strawberry.field(default=None, description="Trees whose ranking they concern.")


@strawberry.type
class RewardMutation:
    """Scores of replies."""

    @mutation(
        SubmitRewardScoresPayload,
        Operator,
        "Hand in a reward model's scores: sets that it is unsure of, or that people see otherwise, are ranked first.",
    )
    async def submit_reward_scores(self, info: Info, input: SubmitRewardScoresInput) -> SubmitRewardScoresPayload:
        """Store the scores."""
        scores = {raw_id(each.message_id, "Message", path=("scores",)): each.score for each in input.scores}
        if len(scores) != len(input.scores):
            raise BadInput("scores names one message twice; each may be named once", path=("scores",))
        trees = await info.context.services.collection.register_rewards(input.model_version, scores)
        return SubmitRewardScoresPayload(trees=trees)
