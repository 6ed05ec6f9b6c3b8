"""What came of one's own messages, reviews and rankings. Reads only; the rules are in `core.people_records`."""

from __future__ import annotations

from core import appeals
from core.config import CollectionConfig
from core.database import Database
from core.opinions import Ranking, Review
from core.pages import many
from core.people_records import (
    Agreement,
    Contribution,
    RankingFeedback,
    agreement,
)
from core.rank_correlation import kendall_tau, level_pairs
from core.records import Message, Tree, User
from core.review_agreement import by_rules
from core.rules import rules_of

LATEST = 500
"""Reviews and rankings that the agreement over time looks at."""


async def contributions(
    database: Database, user: User, before: str | None, first: int
) -> tuple[list[Contribution], bool]:
    """The user's messages, newest first, with the appeals that stand, and whether older ones follow.

    Args:
        before: `Page.key` of the last message seen.
    """
    prefix = f"{user.id}|"
    query = {"by_author": {"$gte": prefix, "$lt": prefix + (before or "}")}}
    cursor = database["messages"].find(query).sort("by_author", -1).limit(first + 1)
    found = [Message.from_document(document) async for document in cursor]
    appealed = await appeals.of_messages(database, found[:first])
    return [Contribution(message, appealed.get(message.id)) for message in found[:first]], len(found) > first


async def ranking_feedback(
    database: Database, user: User, before: str | None, first: int
) -> tuple[list[RankingFeedback], bool]:
    """The user's rankings, newest first, each held against the consensus, and whether older ones follow."""
    prefix = f"{user.id}|"
    query = {"by_user": {"$gte": prefix, "$lt": prefix + (before or "}")}}
    cursor = database["rankings"].find(query).sort("by_user", -1).limit(first + 1)
    found = [Ranking.from_document(document) async for document in cursor]
    ranked = {identity for each in found[:first] for identity in (each.parent_id, *each.ranking)}
    messages = await many(database, "messages", Message, sorted(ranked))
    return [_feedback(each, messages) for each in found[:first]], len(found) > first


def _feedback(ranking: Ranking, messages: dict[str, Message]) -> RankingFeedback:
    known = [messages[each] for each in ranking.ranking if each in messages]
    ranks = {each.id: each.rank for each in known if each.rank is not None and each.usable}
    return RankingFeedback(
        ranking.id, ranking.parent_id, ranking.created_at, ranking.groups,
        tuple(sorted(ranks, key=lambda each: ranks[each])),
        kendall_tau(ranking.groups, ranks, level_pairs(messages.get(ranking.parent_id), ranks)),
    )  # fmt: skip


async def agreement_of(database: Database, config: CollectionConfig, user: User) -> list[Agreement]:
    """How the user's latest reviews and rankings agree with what came of them: over all, then by month."""
    prefix = f"{user.id}|"
    query = {"by_user": {"$gte": prefix, "$lt": prefix + "}"}}
    cursor = database["reviews"].find(query).sort("by_user", -1).limit(LATEST)
    reviews = [Review.from_document(document) async for document in cursor]
    judged = await many(database, "messages", Message, sorted({review.message_id for review in reviews}))
    trees = await many(database, "trees", Tree, sorted({message.tree_id for message in judged.values()}))
    names = {tree.collection for tree in trees.values()}
    agrees = {name: by_rules(await rules_of(database, config, name)) for name in sorted(names)}

    def agreed(review: Review) -> bool | None:
        message, tree = judged.get(review.message_id), trees.get(review.tree_id)
        return None if message is None or tree is None else agrees[tree.collection](review, message)

    rankings, _ = await ranking_feedback(database, user, None, LATEST)
    return agreement(
        [(each.created_at, agreed(each)) for each in reviews], [(each.created_at, each.tau) for each in rankings]
    )
