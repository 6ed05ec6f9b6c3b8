"""How far rankers agree, by day, week and month, in each collection: Krippendorff's alpha from sums kept as trees end.

A tree that ends leaves its sums once (`tree_agreement`, one document a tree, in the request that ended it); the sweeper
adds them to its periods (`agreement_periods`), each tree once: a period remembers the latest that it took, so what is
delivered twice counts once. Nothing is ever computed over many trees. What happens to a tree later changes no past.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from pymongo import UpdateOne

from core.agreement import Disagreement, alpha_of, group_disagreement
from core.ballots import Ballot
from core.database import Database
from core.ids import sha256_hex
from core.opinions import Ranking
from core.records import Message, Tree, milliseconds, now
from core.scoring import bucket

FRAMES = ("day", "week", "month")
REMEMBERED = 500
"""Trees that a period remembers having taken."""
BATCH = 200
"""Trees added in one sweep."""


@dataclass(frozen=True, kw_only=True)
class Sums:
    """What a tree, or a period, says about agreement; sums of trees are those of their period.

    Attributes:
        trees: that ended with rankings to compare.
        sets: of siblings that were ranked; `rankings`: of them.
        observed, by_chance, values: see `core.agreement.Disagreement`.
    """

    trees: int = 0
    sets: int = 0
    rankings: int = 0
    observed: float = 0.0
    by_chance: float = 0.0
    values: int = 0

    @property
    def alpha(self) -> float | None:
        """Krippendorff's alpha, ordinal, pooled over all sets; None where nothing can disagree."""
        return alpha_of([Disagreement(self.observed, self.by_chance, self.values)])

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Sums:
        """The sums in a document."""
        return cls(**{name: document[name] for name in cls.__dataclass_fields__})


def sums_of(messages: Iterable[Message], rankings: Iterable[Ranking]) -> Sums | None:
    """The sums of one tree, over its usable replies; None where no two people ranked the same."""
    siblings: dict[str, list[str]] = defaultdict(list)
    for message in messages:
        if message.usable and message.parent_id is not None:
            siblings[message.parent_id].append(message.id)
    ballots: dict[str, list[Ballot]] = defaultdict(list)
    for ranking in sorted(rankings, key=lambda each: each.id):
        if not ranking.not_rankable and len(kept := Ballot(ranking.groups).among(siblings[ranking.parent_id]).ids) > 1:
            ballots[ranking.parent_id].append(Ballot(ranking.groups).among(kept))
    parts = [group_disagreement(ballots[parent]) for parent in sorted(ballots)]
    if not any(part.values for part in parts):
        return None
    return Sums(
        trees=1, sets=len(ballots), rankings=sum(len(each) for each in ballots.values()),
        observed=sum(part.observed for part in parts), by_chance=sum(part.by_chance for part in parts),
        values=sum(part.values for part in parts),
    )  # fmt: skip


async def note(
    database: Database, tree: Tree, messages: Iterable[Message], rankings: Iterable[Ranking],
    moment: datetime | None = None,
) -> None:  # fmt: skip
    """Keep the sums of a tree that has ended, by a digest that outlives a purge; those kept before stand."""
    if (sums := sums_of(messages, rankings)) is None:
        return
    ended = moment or now()
    about = {"collection": tree.collection, "due": milliseconds(ended)}
    periods = {frame: bucket(frame, ended) for frame in FRAMES}
    fresh = about | periods | asdict(sums)
    await database["tree_agreement"].update_one({"_id": _key(tree.id)}, {"$setOnInsert": fresh}, upsert=True)


async def of_trees(database: Database, tree_ids: Sequence[str]) -> dict[str, Sums]:
    """The sums of those of the trees that ended with rankings to compare, as they then were."""
    names = {_key(tree_id): tree_id for tree_id in tree_ids}
    found = database["tree_agreement"].find({"_id": {"$in": list(names)}})
    return {names[each["_id"]]: Sums.of(each) async for each in found}


def _key(tree_id: str) -> str:
    return sha256_hex(tree_id.encode())[:32]


async def sweep(database: Database) -> int:
    """Add the sums of trees that ended to their periods; returns of how many."""
    due = database["tree_agreement"].find({"due": {"$lte": milliseconds(now())}}).sort("due").limit(BATCH)
    found = [document async for document in due]
    if not found:
        return 0
    await database["agreement_periods"].bulk_write([step for each in found for step in _additions(each)])
    done = [UpdateOne({"_id": each["_id"]}, {"$unset": {"due": ""}}) for each in found]
    await database["tree_agreement"].bulk_write(done, ordered=False)
    return len(found)


def _additions(document: Mapping[str, Any]) -> Sequence[UpdateOne]:
    """For each period of a tree: make it, then add to it what it has not taken before."""
    sums, steps = asdict(Sums.of(document)), []
    for frame in FRAMES:
        identity = f"{document['collection']}|{frame}|{document[frame]}"
        blank = {"period": document[frame], "by_period": identity, "applied": []} | asdict(Sums())
        steps.append(UpdateOne({"_id": identity}, {"$setOnInsert": blank}, upsert=True))
        taking = {"$push": {"applied": {"$each": [document["_id"]], "$slice": -REMEMBERED}}, "$inc": sums}
        steps.append(UpdateOne({"_id": identity, "applied": {"$nin": [document["_id"]]}}, taking))
    return steps


async def periods(
    database: Database, collection: str, frame: str, before: str | None, first: int
) -> tuple[list[tuple[str, Sums]], bool]:
    """Periods of a collection with what was ranked in them, newest first, and whether older ones follow.

    Args:
        frame: of `FRAMES`.
        before: name of the last period seen.
    """
    prefix = f"{collection}|{frame}|"
    query = {"by_period": {"$gte": prefix, "$lt": prefix + (before or "}")}}
    cursor = database["agreement_periods"].find(query, {"applied": 0}).sort("by_period", -1).limit(first + 1)
    found = [(str(each["period"]), Sums.of(each)) async for each in cursor]
    return found[:first], len(found) > first
