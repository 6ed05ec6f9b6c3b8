"""What contributions are worth: which acts earn a credit, the score, the level, the streak, the time frames. Pure.

Scores and levels are Open-Assistant's formulas. Two things differ: work counts once it proved good, so that a volume of
junk earns nothing (a message that its peers accepted, a review that spoke for the verdict that came of it, a ranking
that does not run against the consensus that came of it; one that is close to it counts double; who says that all
replies are wrong earns where most say so); and the frames are
calendar days, weeks (from Monday), months, in UTC, because those can be kept by one small update an event, while
rolling ones need recounts.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from itertools import accumulate
from typing import NamedTuple

from core.errors import BadInput
from core.opinions import Ranking, Review
from core.rank_correlation import kendall_tau, level_pairs
from core.records import Message
from core.review_agreement import Agrees
from core.verdicts import counts_against

FRAMES = ("day", "week", "month", "total")
POINTS: dict[str, float] = {
    "prompts": 0.1 + 0.1,
    "replies_assistant": 4 + 4,
    "replies_prompter": 1 + 1,
    "labels": 2,
    "rankings": 1,
    "rankings_good": 1,
    "ranked_1": 9,
    "ranked_2": 3,
    "ranked_3": 1,
}
"""Points for one of each; the two terms are the original's for a message written and for one accepted.

`labels` are the original's `labels_full`: every review here is asked for all labels, so there are no `labels_simple`.
"""
PLACES = 3
"""Places of a ranking that earn their authors something."""
SHARED = "~"
"""Stands before the number of a reply that shares its place, in the id of its credit: `ranked_1|ranking~1`."""
WRITTEN = ("prompts", "replies_assistant", "replies_prompter")
"""Acts that are messages of one's own that were accepted."""
TROUBLE = ("refused", "removed", "refused_spam")
"""Acts that earn nothing and are kept for moderators: messages refused, of these for spam, and messages taken out."""
FEW = 5
"""Messages that are supposed to be fine of everybody, so that one refused message of one is no large share."""
GOOD_TAU = 0.5
"""Kendall's tau-b with the consensus above which a ranking is a good one, as in the original's unused formula."""
STREAK_PAUSE = timedelta(hours=36)
"""A streak ends when nothing was done for this long."""
LEVELS = 100
_THRESHOLDS = [0, *(round(total) for total in accumulate(1.1521 * step + 3 for step in range(1, LEVELS)))]


class Credit(NamedTuple):
    """One act that counts for one person; the id is made of the act, so it counts once.

    Attributes:
        what: a key of `POINTS`, or of `TROUBLE`.
        amount: 1, or -1 where an earlier credit is taken back.
    """

    id: str
    user_id: str
    what: str
    at: datetime
    amount: int = 1


def score(counts: Mapping[str, int]) -> int:
    """Points for the given numbers of acts; parts of a point are cut, as in the original, sort by sort."""
    return max(0, sum(int(POINTS.get(what, 0) * count + 1e-9) for what, count in counts.items()))


def trouble_share(counts: Mapping[str, int]) -> float:
    """Messages refused or taken out, as a part of all that were decided and `FEW` more, in [0, 1)."""
    bad = max(0, counts.get("refused", 0) + counts.get("removed", 0))
    return bad / (bad + FEW + max(0, sum(counts.get(each, 0) for each in WRITTEN)))


def level(points: int) -> int:
    """From 1 to 100, by total points."""
    return bisect.bisect_right(_THRESHOLDS, points)


def next_level_at(points: int) -> int | None:
    """Total points at which the next level begins; None at the last."""
    reached = level(points)
    return _THRESHOLDS[reached] if reached < LEVELS else None


def bucket(frame: str, moment: datetime) -> str:
    """The name of the frame that holds `moment` (UTC): `2026-11-22`, `2026-W47`, `2026-11` or `all`."""
    if frame not in FRAMES:
        raise BadInput(f"unknown time frame {frame!r}; one of: {', '.join(FRAMES)}", path=("frame",))
    if frame == "week":
        year, week, _ = moment.isocalendar()
        return f"{year}-W{week:02d}"
    return {"day": f"{moment:%Y-%m-%d}", "month": f"{moment:%Y-%m}", "total": "all"}[frame]


def credits_of(
    messages: Iterable[Message], reviews: Iterable[Review], rankings: Iterable[Ranking], agrees: Agrees
) -> list[Credit]:
    """Every credit that a tree's facts give. Imported messages and models earn none.

    Args:
        agrees: whether a review spoke for what came of its message.
    """
    known = {message.id: message for message in messages}
    credits = [_message_credit(each) for each in known.values() if _counts(each)]
    credits += [_act(what, each) for each in known.values() for what in _trouble(each)]
    credits += [
        _credit("labels", each.id, each.user_id, each.created_at)
        for each in reviews
        if each.message_id in known and agrees(each, known[each.message_id])
    ]
    for ranking in rankings:
        credits += [*_ranking_credits(ranking, known), *_place_credits(ranking, known)]
    return [credit for credit in credits if credit.user_id]


def _ranking_credits(ranking: Ranking, known: Mapping[str, Message]) -> list[Credit]:
    """What the ranker earns, once the replies have their order, or are known to be all wrong."""
    acts = _ranking_acts(ranking, known)
    return [_credit(what, ranking.id, ranking.user_id, ranking.created_at) for what in acts]


def _ranking_acts(ranking: Ranking, known: Mapping[str, Message]) -> tuple[str, ...]:
    parent = known.get(ranking.parent_id)
    if parent is not None and parent.consensus is not None and (parent.replies_wrong or ranking.not_rankable):
        return ("rankings",) if parent.replies_wrong and ranking.not_rankable else ()
    replies = [known[each] for each in ranking.served or ranking.ranking if each in known]
    ranks = {each.id: each.rank for each in replies if each.rank is not None and each.usable}
    tau = kendall_tau(ranking.groups, ranks, level_pairs(parent, ranks))
    if not ranks or (tau is not None and tau < 0):
        return ()
    return ("rankings", "rankings_good") if tau is not None and tau > GOOD_TAU else ("rankings",)


def _place_credits(ranking: Ranking, known: Mapping[str, Message]) -> list[Credit]:
    """What the authors earn: equally good replies share the higher place; weighed, one of wrong replies is none."""
    parent = known.get(ranking.parent_id)
    if ranking.not_rankable and parent is not None and parent.consensus is not None:
        return []
    before, credits = 0, []
    for group in ranking.groups:
        for number, each in enumerate(group):
            if before < PLACES and each in known and _counts(known[each]):
                fact = f"{ranking.id}{SHARED}{number}" if number else ranking.id
                credits.append(_credit(f"ranked_{before + 1}", fact, known[each].author_id, ranking.created_at))
        before += len(group)
    return credits


def _counts(message: Message) -> bool:
    return message.usable and not message.synthetic and message.base is None


def _trouble(message: Message) -> tuple[str, ...]:
    """What somebody's message was that is no good: taken out by others, or refused."""
    if message.synthetic or message.base is not None:
        return ()
    if message.deleted:
        return ("removed",) if message.removed in ("moderator", "flags") else ()
    if message.state != "refused":
        return ()
    return ("refused", "refused_spam") if "spam" in counts_against(message) else ("refused",)


def _message_credit(message: Message) -> Credit:
    return _act("prompts" if message.parent_id is None else f"replies_{message.role}", message)


def _act(what: str, message: Message) -> Credit:
    return _credit(what, message.id, message.author_id, message.created_at)


def _credit(what: str, fact_id: str, user_id: str | None, at: datetime) -> Credit:
    return Credit(f"{what}|{fact_id}", user_id or "", what, at)


def streak_now(days: int, last_at: datetime | None, present: datetime) -> int:
    """Whole days of the streak as it stands at `present`: none once nothing was done for `STREAK_PAUSE`."""
    return days if last_at is not None and present - last_at <= STREAK_PAUSE else 0


def streak(started_at: datetime | None, last_at: datetime | None, moment: datetime) -> tuple[datetime, int]:
    """When the present streak began and how many whole days it has, after something done at `moment`."""
    broken = started_at is None or started_at > moment or last_at is None or moment - last_at > STREAK_PAUSE
    began = moment if broken or started_at is None else started_at
    return began, (moment - began).days
