"""How long siblings wait for rankings, and what happens then: they go on with those that they have.

Who wrote one of the replies may not rank them, nor who ranked them before: where few people take part, nobody may be
left who could. So a set for which no ranking came for `ranking_patience_seconds`, and which nobody is ranking just now,
is told that what it has is enough (`Tree.enough`). One without any ranking stays unranked: its replies are good
answers, and nobody said which is the better. `core.advance` knows no clock; it is told by this fact.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from core.advance import RANKING, rankings_so_far
from core.config import CollectionConfig
from core.database import Database
from core.facts import load, move_tree
from core.journal import record
from core.opinions import Ranking
from core.records import milliseconds
from core.rules import rules_of
from core.work_records import NEVER, Work

ATTEMPTS = 100


def last_answers(rankings: Iterable[Ranking]) -> Mapping[str, int]:
    """Parent id -> when the last ranking of its replies was given, in milliseconds since 1970."""
    last: dict[str, int] = {}
    for ranking in rankings:
        last[ranking.parent_id] = max(last.get(ranking.parent_id, 0), milliseconds(ranking.created_at))
    return last


def waiting(work: Work, answered_at: int, moment: int, config: CollectionConfig) -> Work:
    """`work` with the time until which it waits for rankings; that of other kinds as it is.

    Args:
        answered_at: when the last ranking of the set was given; 0 for never.
        moment: now; both in milliseconds since 1970.
    """
    if not work.kind.startswith("rank_"):
        return work
    since = max(work.since or moment, answered_at)
    patience = round(1000 * config.ranking_patience_seconds)
    return replace(work, since=since, lapses_at=min(NEVER, since + patience) if patience else NEVER)


async def lapse(database: Database, config: CollectionConfig, work: Work, moment: int) -> bool:
    """Let the siblings of some open ranking go on with the rankings they have, if the time for more is over.

    Args:
        work: as it was read; nobody may hold a place of it.
        moment: now, in milliseconds since 1970.

    Returns:
        whether the tree was changed; it is marked, and is to be settled.
    """
    if work.holds or work.lapses_at > moment or work.tree_id is None or work.target_id is None:
        return False
    for _ in range(ATTEMPTS):
        facts = await load(database, work.tree_id)
        if facts is None or facts.tree.state not in RANKING:
            return False
        rules = await rules_of(database, config, facts.tree.collection)
        there = rankings_so_far(facts.tree, facts.messages, facts.rankings, rules, work.target_id)
        enough = {**facts.tree.enough, work.target_id: there}
        if moved := await move_tree(database, facts.tree, facts.tree.state, enough=enough):
            details = {"message": work.target_id, "rankings": there}
            await record(database, "ranking_lapsed", moved.id, details, key=str(moved.version))
            return True
    return False
