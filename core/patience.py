"""How long siblings wait for rankings and messages for reviews, and what happens then: they go on with what they have.

Who wrote one of the replies may not rank them, nor who ranked them before, and likewise with reviews: where few people
take part, nobody may be left who could. So a set for which no ranking came for `ranking_patience_seconds`, and a
message for which no review came for `review_patience_seconds` (in weighted mode; parity's number is fixed, as the
original's), and which nobody has in hand just now, is told that what it has is enough (`Tree.enough`, `Tree.heard`).
A set without any ranking stays unranked: its replies are good answers, and nobody said which is the better. A message
without any review is decided by no clock: moderators are told of it. `core.advance` knows no clock; it is told by these
facts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from core.advance import RANKING, rankings_so_far
from core.config import CollectionConfig
from core.database import Database
from core.facts import Facts, load, move_tree
from core.journal import record
from core.moderation_queue import enqueue
from core.opinions import Ranking, Review
from core.records import milliseconds
from core.rules import rules_of
from core.work import write
from core.work_records import NEVER, Work

ATTEMPTS = 100
JUDGED = ("rank", "label")
"""How the kinds of work begin that wait for opinions."""


def last_answers(rankings: Iterable[Ranking], reviews: Iterable[Review] = ()) -> Mapping[tuple[str, str], int]:
    """("rank", parent id) or ("label", message id) -> when the last ranking of its replies, or review of it, was given,
    in milliseconds since 1970."""
    last: dict[tuple[str, str], int] = {}
    given = [(("rank", each.parent_id), each.created_at) for each in rankings]
    given += [(("label", each.message_id), each.created_at) for each in reviews]
    for key, at in given:
        last[key] = max(last.get(key, 0), milliseconds(at))
    return last


def waiting(work: Work, answers: Mapping[tuple[str, str], int], moment: int, config: CollectionConfig) -> Work:
    """`work` with the time until which it waits for opinions; that of other kinds as it is.

    Args:
        answers: see `last_answers`.
        moment: now, in milliseconds since 1970.
    """
    sort = work.kind.split("_", maxsplit=1)[0]
    if sort not in JUDGED:
        return work
    since = max(work.since or moment, answers.get((sort, work.target_id or ""), 0))
    seconds = config.ranking_patience_seconds if sort == "rank" else config.review_patience_seconds * config.weighted
    return replace(work, since=since, lapses_at=min(NEVER, since + round(1000 * seconds)) if seconds else NEVER)


async def lapse(database: Database, config: CollectionConfig, work: Work, moment: int) -> bool:
    """Let what waits for opinions go on with those it has, if the time for more is over.

    Args:
        work: as it was read; nobody may hold a place of it.
        moment: now, in milliseconds since 1970.

    Returns:
        whether the tree was changed; it is marked, and is to be settled.
    """
    if work.holds or work.lapses_at > moment or work.tree_id is None or work.target_id is None:
        return False
    ranked = work.kind.startswith("rank_")
    name, said = ("enough", "rankings") if ranked else ("heard", "reviews")
    for _ in range(ATTEMPTS):
        facts = await load(database, work.tree_id)
        if facts is None:
            return False
        there = _so_far(facts, await rules_of(database, config, facts.tree.collection), work)
        if there is None:
            return False
        if there == 0 and not ranked:
            await _tell_moderators(database, work, moment)
            return False
        change = {name: {**getattr(facts.tree, name), work.target_id: there}}
        if moved := await move_tree(database, facts.tree, facts.tree.state, **change):
            details = {"message": work.target_id, said: there}
            await record(database, f"{said[:-1]}_lapsed", moved.id, details, key=str(moved.version), lang=moved.lang)
            return True
    return False


def _so_far(facts: Facts, rules: CollectionConfig, work: Work) -> int | None:
    """Rankings or reviews that there are of what the work is about; None where it waits for none any more."""
    tree, target = facts.tree, work.target_id or ""
    if work.kind.startswith("rank_"):
        there = rankings_so_far(tree, facts.messages, facts.rankings, rules, target)
        return there if tree.state in RANKING else None
    if not rules.weighted or not any(each.id == target and each.state == "pending" for each in facts.messages):
        return None
    return sum(review.message_id == target for review in facts.reviews)


async def _tell_moderators(database: Database, work: Work, moment: int) -> None:
    """Nobody has looked at a message at all: moderators may; then it is waited for others anew."""
    await enqueue(database, f"message:{work.target_id}", "unreviewed", 6, {"waiting_since": work.since})
    again = replace(work, since=moment, lapses_at=moment + max(1, work.lapses_at - work.since))
    await write(database, work, again)
