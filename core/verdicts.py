"""What peers say of one message and of one set of siblings, with weights: the weighted mode's two decisions. Pure.

A decision is kept with the message (`Message.judgement`, `Message.consensus`), for people's weights go on changing:
what was decided stays decided, and a consensus takes each ranking with the weight that it had when it first counted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from core.adaptive_reviews import Judgement, ReviewPolicy, judge
from core.agreement import ranking_alpha
from core.ballots import Ballot
from core.opinions import Ranking, Review
from core.records import Message
from core.voices import NEWCOMER, Voices, skills
from core.weighted_consensus import DIGITS, consensus


def judged(reviews: Sequence[Review], policy: ReviewPolicy, voices: Voices) -> Judgement:
    """What the reviews of a message say; one whose author is not known (an import's) speaks as a newcomer."""
    said = {review.user_id or review.id: review.labels for review in reviews}
    return judge(said, skills(said, voices), policy)


def kept_judgement(judgement: Judgement, reviews: Iterable[Review]) -> dict[str, Any]:
    """A judgement as it is kept with its message."""
    return {
        "state": judgement.state,
        "acceptable": judgement.acceptable,
        "applies": judgement.applies,
        "reasons": list(judgement.reasons) if judgement.state == "refused" else [],
        "reviews": sorted(review.id for review in reviews),
    }


def ballot(ranking: Ranking, weight: float = 1.0) -> Ballot:
    """What a ranking says: its groups of equally good replies, best first."""
    return Ballot(ranking.groups, weight)


def agreed(
    tree_id: str, rankings: Sequence[Ranking], among: Sequence[str], kept: Mapping[str, Any] | None, voices: Voices
) -> dict[str, Any]:
    """The consensus of a set of siblings as it is kept with their parent.

    Args:
        rankings: all of the set.
        among: the replies that may be in it.
        kept: the consensus kept before, whose weights stand.

    Returns:
        `order`: ids, best first; `margins`: [winner, loser, weight] of each pair, level ones left out; `rankings`:
        ballots that compared something; `steps`: for each two neighbours how sure their order is
        (`core.bradley_terry.Confidence`); `alpha`: Krippendorff's, None where nothing can disagree; `weights`: ranking
        id -> weight; `heard`: sum of those that compared something; `all_wrong`: part of all weight that says that all
        replies are factually wrong. Who says so has no say in the order: the best of wrong replies is nothing to learn.
    """
    before = (kept or {}).get("weights", {})
    weights = {
        each.id: before.get(each.id, voices.get(each.user_id or "", NEWCOMER).ballot_weight) for each in rankings
    }
    votes = [each for each in sorted(rankings, key=lambda each: each.id) if not each.not_rankable]
    wrong = math.fsum(sorted(weights[each.id] for each in rankings if each.not_rankable))
    ballots = [ballot(each, weights[each.id]) for each in votes]
    found = consensus(ballots, tree_id, among)
    margins = [[*pair, margin] for pair, margin in sorted(found.margins.items()) if margin > 0]
    return {
        "order": list(found.order),
        "margins": margins,
        "rankings": found.rankings,
        "steps": [asdict(step) for step in found.steps],
        "alpha": ranking_alpha(each.among(among) for each in ballots),
        "weights": weights,
        "heard": round(math.fsum(sorted(each.weight for each in ballots if len(each.among(among).ids) > 1)), DIGITS),
        "all_wrong": wrong / math.fsum(sorted(weights.values())) if wrong else 0.0,
    }


def counts_against(message: Message) -> tuple[str, ...]:
    """Why peers refused `message`: labels, the likeliest first; empty where it was not refused, or nobody said."""
    if message.state != "refused":
        return ()
    if message.judgement is not None:
        return tuple(message.judgement["reasons"])
    return tuple(name for name in ("spam", "lang_mismatch") if message.labels.get(name, {"value": 0.0})["value"] >= 0.5)
