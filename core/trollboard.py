"""Who makes trouble: people by the share of their messages that was refused or taken out, worst first; for moderators.

Kept with the scores (`core.credits`), by the same small writes, so a board is one read of an index however many people
there are. A word to moderators, never a sanction by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from core.database import Database
from core.records import User, now
from core.score_documents import troll
from core.scoring import WRITTEN, bucket, trouble_share


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """One person on the board.

    Attributes:
        accepted: messages that peers or moderators accepted.
        refused: those that were refused, `spam` of them for spam among other reasons.
        removed: those that moderators or red flags took out.
        share: of refused and removed among all, from 0 to 1; of few messages held for less.
    """

    user: User
    accepted: int
    refused: int
    spam: int
    removed: int
    share: float

    @classmethod
    def of(cls, user: User, counts: Mapping[str, int]) -> Trouble:
        """What the counts of a frame say."""
        return cls(
            user=user, accepted=sum(counts.get(each, 0) for each in WRITTEN), refused=counts.get("refused", 0),
            spam=counts.get("refused_spam", 0), removed=counts.get("removed", 0), share=trouble_share(counts),
        )  # fmt: skip


async def trollboard(
    database: Database, frame: str, first: int = 20, *, moment: datetime | None = None
) -> list[Trouble]:
    """The `first` people with the largest share of the frame (`day`, `week`, `month`, `total`) that holds `moment`."""
    prefix = f"{frame}|{bucket(frame, moment or now())}"
    query = {troll(frame): {"$gte": f"{prefix}|", "$lt": f"{prefix}}}"}}
    cursor = database["scores"].find(query, {frame: 1}).sort(troll(frame)).limit(first)
    counts = {document["_id"]: document[frame]["counts"] async for document in cursor}
    people = database["users"].find({"_id": {"$in": list(counts)}})
    users = {document["_id"]: User.from_document(document) async for document in people}
    return [Trouble.of(users[user_id], acts) for user_id, acts in counts.items() if user_id in users]
