"""Taking a reward model's scores of replies, by which the next sets to rank are chosen (`core.active_ranking`)."""

from __future__ import annotations

import math
from collections.abc import Mapping

from pymongo import UpdateOne

from core.config import CollectionConfig
from core.database import Database
from core.errors import BadInput, NotFound
from core.facts import mark
from core.models import split_version
from core.settle import settle

MOST = 100
"""Scores at once."""


async def register(
    database: Database, config: CollectionConfig, model_version: str, scores: Mapping[str, float]
) -> int:  # fmt: skip
    """Store the scores with their messages and open the ranking of their trees anew; may be repeated.

    Args:
        model_version: `name@version` of the reward model.
        scores: message id -> score, a logit.

    Returns:
        trees concerned.

    Raises:
        BadInput: the version is malformed, there are too many scores or none, or one is no finite number.
        NotFound: there is no such message; then nothing was stored.
    """
    split_version(model_version)
    if not 1 <= len(scores) <= MOST:
        raise BadInput(f"there are {len(scores)} scores; there must be 1 to {MOST}", path=("scores",))
    for message_id, score in scores.items():
        if not math.isfinite(score):
            raise BadInput(f"the score of {message_id} is {score}; it must be a finite number", path=("scores",))
    found = database["messages"].find({"_id": {"$in": sorted(scores)}}, {"tree_id": 1})
    trees = {each["_id"]: each["tree_id"] async for each in found}
    if missing := sorted(scores.keys() - trees.keys()):
        raise NotFound(f"there is no message {missing[0]!r}", path=("scores",))
    updates = [
        UpdateOne(
            {"_id": message_id},
            {"$set": {"reward": {"model_version": model_version, "score": score}}, "$inc": {"rev": 1}},
        )
        for message_id, score in scores.items()
    ]
    # Marked before and after, so that a crash between leaves it to the sweeper.
    for tree_id in sorted(set(trees.values())):
        await mark(database, tree_id)
    await database["messages"].bulk_write(updates, ordered=False)
    for tree_id in sorted(set(trees.values())):
        await settle(database, config, tree_id, marking=True)
    return len(set(trees.values()))
