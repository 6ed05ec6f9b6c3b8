"""Open work: handing out a place of it to one person at a time, and keeping the places right.

One document a piece of work. A place is taken by a ranged read of a few candidates on the scalar `key`
(`kind|pool|priority|random`) and one write guarded by the document's `rev`; so are all its other changes. Knows places
and holds; does not know what a tree wants (`core.advance` does) nor what a task shows.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace

from pymongo.errors import DuplicateKeyError

from core.config import CollectionConfig
from core.database import Database, Document, count_range
from core.errors import Unavailable
from core.pools import DEFAULT
from core.records import holder_key
from core.transition import Opening
from core.work_records import Work
from core.writes import Change, Gone, New, Write

CANDIDATES = 3
"""Pieces of work read at once from one range of keys."""
FIRST_RANGES = 2
"""Ranges of keys read first."""
RANGES = 16
"""Ranges of keys read by one command when the first had nothing."""
IN_HAND = 100
"""Tasks that one person mostly has in hand at most; more of them come in a second answer of the store."""
ATTEMPTS = 200
"""Reads after which a hand-out gives up; each lost one means that somebody else got a place."""
AVAILABLE_CAP = 100
"""Counting of available work stops here."""
Hold = Callable[[Work], Awaitable[bool]]
"""Takes a place of a piece of work; False where somebody else changed it meanwhile, or it was out of date."""
Admit = Callable[[Sequence[Document]], None]
"""Is given the tasks that a person has in hand; raises where that person may take no other."""


def random_place(chance: random.Random) -> str:
    """Eight hexadecimal digits: where a piece of work stands among its equals."""
    return f"{chance.getrandbits(32):08x}"


# Pure changes of one piece of work.


def take(work: Work, task_id: str, user_id: str, until: int) -> Work:
    """`work` with one free place less, held by `task_id` until `until` (milliseconds since 1970)."""
    excluded = work.excluded if work.tree_id is None else tuple(sorted({*work.excluded, user_id}))
    holds = work.holds | {task_id: {"user": user_id, "until": until}}
    return replace(work, free=work.free - 1, holds=holds, excluded=excluded)


def opened(opening: Opening, tree_id: str, chance: random.Random, collection: str = DEFAULT) -> Work:
    """A new piece of work that nobody holds, with no place free yet."""
    return Work(
        id=f"{opening.kind}:{opening.target_id}", kind=opening.kind, lang=opening.lang, collection=collection,
        tree_id=tree_id, target_id=opening.target_id, random=random_place(chance),
    )  # fmt: skip


def adjusted(work: Work, opening: Opening, holding: Collection[str], budget: int | None) -> Work:
    """`work` as `opening` wants it.

    Args:
        holding: ids of tasks whose hold stands.
        budget: places that it may have free (see `shares`); None for no bound.
    """
    holds = {task_id: hold for task_id, hold in work.holds.items() if task_id in holding}
    free = max(0, opening.places - len(holds))
    users = opening.excluded | {hold["user"] for hold in holds.values()}
    return replace(
        work, lang=opening.lang, priority=opening.priority, served=opening.served, holds=holds,
        excluded=tuple(sorted(users)), free=free if budget is None else min(free, max(0, budget)),
        thread=opening.thread,
    )  # fmt: skip


def shares(openings: Sequence[Opening], held: Mapping[str, int], budget: int) -> dict[str, int]:
    """Places that may be free of each opening, `budget` in all, so that all of them taken at once are not too many.

    One place each in turn, those first that fewest people are kept from: work that nobody may take holds no other up.

    Args:
        held: target id -> places in people's hands.

    Returns:
        target id -> places.
    """
    given = dict.fromkeys((opening.target_id for opening in openings), 0)
    wanted = {opening.target_id: opening.places - held.get(opening.target_id, 0) for opening in openings}
    turn = sorted(openings, key=lambda opening: (len(opening.excluded), opening.priority, opening.target_id))
    while budget > 0 and any(given[target] < wanted[target] for target in given):
        for target in [each.target_id for each in turn if given[each.target_id] < wanted[each.target_id]][:budget]:
            given[target] += 1
            budget -= 1
    return given


# The store.


async def write(database: Database, before: Work, after: Work) -> bool:
    """Store `after` if the document is still `before`; False when it was changed or removed meanwhile."""
    if after == before:
        return True
    result = await database["work"].update_one(*_update(before, after))
    return result.matched_count == 1


def _update(before: Work, after: Work) -> tuple[Document, Document]:
    """The guard and the change that make `before` into `after`."""
    change = replace(after, rev=before.rev + 1).changes_from(before)
    return {"_id": before.id, "rev": before.rev}, {"$set": change}


async def insert(database: Database, work: Work) -> bool:
    """Store a new piece of work; False when there is one of its id."""
    try:
        await database["work"].insert_one(work.to_document())
    except DuplicateKeyError:
        return False
    return True


def writes(changes: Sequence[tuple[Work | None, Work | None]]) -> list[Write]:
    """What makes each piece of work what it should be: (as read or None where new, as wanted or None where it goes).

    Every change is guarded as in `write`.
    """
    found: list[Write] = []
    for before, after in changes:
        if before is None and after is not None:
            found.append(New("work", after.to_document()))
        elif before is not None and after is None:
            found.append(Gone("work", {"_id": before.id, "rev": before.rev}))
        elif before is not None and after is not None and after != before:
            found.append(Change("work", *_update(before, after)))
    return found


def taking(work: Work, task_id: str, user_id: str, until: int) -> Write:
    """What takes a place of `work` as in `take`, if the document is still as it was read."""
    return Change("work", *_update(work, take(work, task_id, user_id, until)))


async def claim(
    database: Database, kinds: Sequence[str], pools: Sequence[str], user_id: str, hold: Hold,
    config: CollectionConfig, chance: random.Random, gold: float = 0.0, admit: Admit = lambda in_hand: None,
) -> bool:  # fmt: skip
    """Take a place of some open work: of the first of `kinds` that has any for this user, in one of `pools`.

    With probability `gold`, a question with a known answer is looked for first.

    Args:
        hold: is given one piece of work after the other until it has taken a place (`taking`).
        admit: what the user has in hand is read along with the work, and shown to it before a place is taken.

    Returns:
        whether a place was taken; there is none for this user otherwise.

    Raises:
        Unavailable: too many others took places at the same moment.
    """
    prefixes = [
        prefix
        for kind in kinds
        for pool in chance.sample(list(pools), len(pools))
        for prefix in _prefixes(kind, pool, config, chance)
    ]
    if chance.random() < gold:
        prefixes = [f"gold:{kind}|{pool}|5|" for kind in kinds[:1] for pool in pools] + prefixes
    for _ in range(ATTEMPTS):
        candidates = await _candidates(database, prefixes, user_id, chance, admit)
        if not candidates:
            return False
        for work in chance.sample(candidates, len(candidates)):
            if await hold(work):
                return True
    raise Unavailable("too many people ask for the same work at this moment; ask again", retry_after=1.0)


def _prefixes(kind: str, pool: str, config: CollectionConfig, chance: random.Random) -> list[str]:
    """Key ranges to look through in turn: lonely parents first with the configured probability, else last; sets of
    siblings that a reward model is unsure of before others."""
    priorities = "1" if kind == "prompter_reply" else "15" if kind.startswith("rank_") else "5"
    if kind == "assistant_reply":
        priorities = "01" if chance.random() < config.p_lonely_child_extension else "10"
    return [f"{kind}|{pool}|{priority}|" for priority in priorities]


async def _candidates(
    database: Database, prefixes: Sequence[str], user_id: str, chance: random.Random, admit: Admit
) -> list[Work]:
    """A few pieces of work of the first range that has any, from a random point of it on, or else from its start.

    Ranges are read by one command, many at a time; the first, which mostly has work, by itself.
    """
    groups = [prefixes[:FIRST_RANGES]]
    groups += [prefixes[at : at + RANGES] for at in range(FIRST_RANGES, len(prefixes), RANGES)]
    for group in groups:
        starts = [start for prefix in group for start in (prefix + random_place(chance), prefix)]
        found, in_hand = await _ranges(database, starts, user_id)
        admit(in_hand)
        for prefix in group:
            under = [work for work in found if (work.keys()["key"] or "").startswith(prefix)]
            if under:
                # A range's start is read too: what follows the random point comes first, and is enough if there is any.
                ahead = [work for work in under if work.keys()["key"] >= starts[2 * group.index(prefix)]]
                return (ahead or under)[:CANDIDATES]
    return []


async def _ranges(
    database: Database, starts: Sequence[str], user_id: str
) -> tuple[list[Work], list[Document]]:  # fmt: skip
    """Open work for the user from each start on to the end of its range, a few pieces of each, and the tasks that the
    user has in hand, by one command."""

    def part(start: str) -> list[Document]:
        end = start[: start.rindex("|")] + "}"  # "}" follows "|" in every collation by code point
        query = {"key": {"$gte": start, "$lt": end}, "excluded": {"$nin": [user_id]}}
        return [{"$match": query}, {"$sort": {"key": 1}}, {"$limit": CANDIDATES}]

    first, *others = [part(start) for start in starts]
    unions = [{"$unionWith": {"coll": "work", "pipeline": each}} for each in others]
    tasks = [{"$match": {"holder": holder_key(user_id, "open")}}]
    unions.append({"$unionWith": {"coll": "tasks", "pipeline": tasks}})
    cursor = await database["work"].aggregate([*first, *unions], batchSize=2 * RANGES * CANDIDATES + IN_HAND)
    found = {document["_id"]: document async for document in cursor}
    in_hand = [document for document in found.values() if "holder" in document]
    return [Work.from_document(each) for each in found.values() if "holder" not in each], in_hand


async def available(database: Database, kind: str, pools: Sequence[str], user_id: str) -> int:
    """Pieces of work of `kind` that the user could take now, counted up to `AVAILABLE_CAP`."""
    also = {"excluded": {"$nin": [user_id]}}
    spans = [(f"{kind}|{pool}|", f"{kind}|{pool}}}") for pool in pools]
    counts = [await count_range(database, "work", "key", *span, AVAILABLE_CAP, also) for span in spans]
    return min(sum(counts), AVAILABLE_CAP)


def passing_on(work_id: str, task_id: str) -> Write:
    """What ends the hold of a task whose answer takes its place for good; nothing when it holds none."""
    hold = f"holds.{task_id}"
    return Change("work", {"_id": work_id, hold: {"$exists": True}}, {"$unset": {hold: ""}, "$inc": {"rev": 1}})
