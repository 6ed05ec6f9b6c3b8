"""What is suspicious about a new text, and what follows: more reviews, a place in the moderators' queue. Never a
refusal, but for limits that the collection sets itself.

`screen` is pure; `look` asks the scorers, `keep` stores what was found (in `text_checks`, which nobody but moderators
sees) and tells the moderators.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from core.alike import Alike
from core.config import CollectionConfig
from core.database import Database, Document
from core.errors import BadInput, Conflict
from core.languages import other_language
from core.moderation_queue import enqueue
from core.pii import find_pii
from core.records import Message, now
from core.similar_texts import among, remember
from core.text_scorers import chosen_scorer

PRIORITY = {"scorer": 6, "flood": 2}
"""Places in the moderators' queue, 0 first."""


@dataclass(frozen=True, kw_only=True)
class Screening:
    """What was found about a text.

    Attributes:
        scores: what the scorer says, name -> 0 to 1.
        pii: kinds of personal data in it.
        own, tree: the likeness of the most alike text by the same person, and in the same tree; 0 where there is none.
        others: different other people who wrote texts like it.
        spoken: the language it is in, where that is surely not the one that it claims; else empty.
    """

    scores: Mapping[str, float] = field(default_factory=dict)
    pii: tuple[str, ...] = ()
    own: float = 0.0
    tree: float = 0.0
    others: int = 0
    spoken: str = ""

    def suspicions(self, config: CollectionConfig) -> tuple[str, ...]:
        """Names of what is suspicious, in a fixed order."""
        found = [f"score:{name}" for name, score in sorted(self.scores.items()) if score >= config.suspicious_score]
        found += [f"pii:{kind}" for kind in sorted(set(self.pii))]
        found += [f"lang:{self.spoken}"] * bool(self.spoken)
        found += ["alike:own"] * (self.own > 0) + ["alike:tree"] * (self.tree > 0)
        return tuple(found + ["flood"] * (self.others >= config.flood_people))


def screen(
    user_id: str, tree_id: str | None, scores: Mapping[str, float], pii: Sequence[str], alike: Sequence[Alike],
    spoken: str | None = None,
) -> Screening:  # fmt: skip
    """What is found about a text of that person for that tree."""
    return Screening(
        scores={name: round(min(1.0, max(0.0, score)), 4) for name, score in scores.items()},
        pii=tuple(pii),
        own=max((each.similarity for each in alike if each.user_id == user_id), default=0.0),
        tree=max((each.similarity for each in alike if each.tree_id == tree_id), default=0.0),
        others=len({each.user_id for each in alike} - {user_id, ""}),
        spoken=spoken or "",
    )


def extra_reviews(found: Screening, config: CollectionConfig) -> int:
    """Reviews wanted beyond the usual number."""
    return config.suspicious_reviews if found.suspicions(config) else 0


def check_limits(found: Screening, config: CollectionConfig) -> None:
    """Refuse a text that is over a limit of the collection's own.

    Raises:
        BadInput: a score is above `refuse_score_above`.
        Conflict: code `DUPLICATE_TEXT`: it is too like a text by the same person or in the same conversation.
    """
    for name, score in found.scores.items():
        if score > config.refuse_score_above:
            message = (
                f"the text looks like {name} ({score:.2f}; this collection takes up to {config.refuse_score_above})"
            )
            raise BadInput(message, path=("text",))
    if max(found.own, found.tree) > config.refuse_alike_above:
        message = "the text is almost the same as one that you sent, or that is in this conversation; write another"
        raise Conflict(message, code="DUPLICATE_TEXT", path=("text",))


async def look(config: CollectionConfig, message: Message, rows: Sequence[Document]) -> Screening:
    """Everything found about the text of a message, stored or not.

    Args:
        rows: of texts that may be like it (`core.surroundings`).
    """
    alike = among(message.text, rows, config.alike_from, but=message.id)
    scores = chosen_scorer().score(message.text, message.lang)
    pii = [span.kind for span in find_pii(message.text)]
    spoken = await other_language(message.text, message.lang, config.other_lang_sure)
    return screen(message.author_id or "", message.tree_id, scores, pii, alike, spoken)


async def keep(database: Database, config: CollectionConfig, message: Message, found: Screening) -> None:
    """Store what was found about a message that is stored, and tell the moderators; twice is as once.

    What is kept is of the present text; the moderators' queue item has what was found about those before.
    """
    await remember(database, message)
    await tell(database, config, message, found)


async def tell(database: Database, config: CollectionConfig, message: Message, found: Screening) -> None:
    """The same, of a message whose text others find already."""
    suspicions = found.suspicions(config)
    if not suspicions:
        if message.revision:
            await database["text_checks"].delete_one({"_id": message.id})
        return
    check = {**asdict(found), "suspicions": list(suspicions), "tree_id": message.tree_id, "at": now()}
    check["pii"] = list(found.pii)
    await database["text_checks"].update_one({"_id": message.id}, {"$set": check}, upsert=True)
    reason = "flood" if "flood" in suspicions else "scorer"
    evidence = {"suspicions": list(suspicions), "scores": dict(found.scores), "people": found.others}
    await enqueue(database, f"message:{message.id}", reason, PRIORITY[reason], evidence)
