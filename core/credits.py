"""Keeping scores: credits become counts in the score documents, each exactly once, by small guarded updates.

A credit is added to one score document a time frame (each remembers the latest credits that it took, so a repetition
does nothing), then stored; a crash between leaves the tree dirty, and the next settling repeats it. All credits of a
tree are handled together: three commands, however many they are. Knows the store; `core.scoring` knows what counts.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from core.config import CollectionConfig
from core.database import DUPLICATE, Database, Document
from core.facts import Facts
from core.records import milliseconds, now
from core.review_agreement import Agrees, by_rules
from core.rules import rules_of
from core.scoring import FRAMES, POINTS, Credit, bucket, credits_of, score, trouble_share
from core.trust import enough_work
from core.writes import New, together

REMEMBERED = 500
"""Credits that a score document remembers having taken."""


async def credit_tree(
    database: Database, config: CollectionConfig, facts: Facts, known: Collection[str] = (),
    agrees: Agrees | None = None,
) -> None:  # fmt: skip
    """Bring the stored credits of a tree to what its facts give: apply new ones, take back those that fell away.

    Args:
        config: the rules of the tree's collection.
        known: users who are known to have an account; others are looked up.
        agrees: whether a review spoke for what came of its message; by the rules where nothing is given.
    """
    await together(database, await add_up(database, config, due_of(config, facts, agrees), known))


def due_of(config: CollectionConfig, facts: Facts, agrees: Agrees | None = None) -> list[Credit]:
    """What is to be added to people's scores, or taken from them, now; arguments as above."""
    wanted = credits_of(facts.messages, facts.reviews, facts.rankings, agrees or by_rules(config))
    return turns(wanted, facts.credits)


async def add_up(
    database: Database, config: CollectionConfig, due: Sequence[Credit], known: Collection[str] = ()
) -> list[New]:  # fmt: skip
    """Add credits to people's scores; what is to be stored after it, so that they are not due again."""
    unknown = {credit.user_id for credit in due if credit.amount > 0} - set(known)
    counted = await apply(database, await rules_of(database, config), due, unknown) if due else []
    return [New("credits", replace(credit, applied=True).to_document()) for credit in counted]


def turns(wanted: Iterable[Credit], had: Iterable[Credit]) -> list[Credit]:
    """The credits to store beside those stored, `had`, so that what counts is `wanted`.

    A credit that comes, falls away and comes again (a message taken out and put back) is stored once for each turn:
    the turns of one act have ids of their own, and it counts while their number is odd.
    """
    taken: dict[str, list[Credit]] = defaultdict(list)
    for credit in had:
        taken[act_of(credit)].append(credit)
    acts = {credit.id: credit for credit in wanted}
    due = [_turn(credit, act, len(taken[act])) for act, credit in acts.items() if len(taken[act]) % 2 == 0]
    gone = [(act, credits) for act, credits in taken.items() if act not in acts and len(credits) % 2]
    return due + [_turn(credits[0], act, len(credits)) for act, credits in gone]


def act_of(credit: Credit) -> str:
    """The act that a credit is a turn of: `what|fact`."""
    return "|".join(credit.id.split("|")[:2])


def _turn(credit: Credit, act: str, number: int) -> Credit:
    """Turn `number` (from 0) of an act: even ones give, odd ones take back."""
    identity = act if number == 0 else f"{act}|{number}"
    return replace(credit, id=identity, amount=-1 if number % 2 else 1, applied=False)


async def insert_new(database: Database, name: str, documents: list[Document]) -> None:
    """Store those of `documents` that are not there yet, by one command."""
    try:
        await database[name].insert_many(documents, ordered=False)
    except BulkWriteError as error:
        if any(each["code"] != DUPLICATE for each in error.details["writeErrors"]):
            raise


async def apply(
    database: Database, config: CollectionConfig, credits: Sequence[Credit], unknown: Collection[str] = ()
) -> list[Credit]:
    """Add `credits` to their people's scores; nothing where one was added before.

    Who has enough work to be trusted by the rules of `config`, the default collection's, is noted in the same write.

    Mostly two commands: the score documents are read, and each is written with its new points and its new place if
    nothing changed meanwhile. Where something did, or some document took a part of the credits before, one by one.

    Args:
        unknown: users of whom the same read finds out whether they have an account.

    Returns:
        the credits that count; who has no account gains nothing.
    """
    if not credits:
        return []
    there, gone = await _read(database, _by_place(credits), unknown)
    counted = [credit for credit in credits if credit.amount < 0 or credit.user_id not in gone]
    by_place = _by_place(counted)
    fresh = [_fresh(place, added) for place, added in by_place.items() if place not in there]
    if fresh:
        await insert_new(database, "scores", fresh)
    updates = [_addition(there[place], added, config) for place, added in by_place.items() if place in there]
    found = await database["scores"].bulk_write(updates, ordered=False) if updates else None
    if fresh or found is None or found.matched_count < len(updates):
        await _apply_each(database, config, by_place)
    return counted


def _by_place(credits: Iterable[Credit]) -> dict[str, list[Credit]]:
    """Id of a score document -> the credits that it takes."""
    by_place: dict[str, list[Credit]] = defaultdict(list)
    for credit in credits:
        for frame in FRAMES:
            by_place[f"{frame}|{bucket(frame, credit.at)}|{credit.user_id}"].append(credit)
    return by_place


async def _read(
    database: Database, places: Collection[str], unknown: Collection[str]
) -> tuple[dict[str, Document], set[str]]:
    """Those score documents that exist, by id, and those of `unknown` who have no account; one command."""
    wanted = [("scores", place) for place in places] + [("users", user_id) for user_id in sorted(unknown)]
    # Each by itself: beside a `$unionWith` the embedded store reads whole collections for an `$in`.
    (_, first), *others = [(name, [{"$match": {"_id": identity}}]) for name, identity in wanted]
    unions = [{"$unionWith": {"coll": name, "pipeline": match}} for name, match in others]
    stages: list[Document] = [*first, *unions, {"$project": {"applied": 0}}]
    found = [document async for document in await database["scores"].aggregate(stages, batchSize=len(wanted) + 1)]
    people = {each["_id"] for each in found if "display_name" in each and not each.get("deleted")}
    return {each["_id"]: each for each in found if "counts" in each}, set(unknown) - people


def _fresh(place: str, credits: Sequence[Credit]) -> Document:
    """A score document with nothing in it yet."""
    user_id = credits[0].user_id
    key = place.removesuffix(f"|{user_id}")
    return {"_id": place, "key": key, "user_id": user_id, "counts": {}, "changes": 0, "applied": [], "points": 0}


def _addition(document: Document, credits: Sequence[Credit], config: CollectionConfig) -> UpdateOne:
    """The change that adds all of `credits` to a score document as it was read, unless it has one of them already."""
    counts: Counter[str] = Counter(document["counts"])
    for credit in credits:
        counts[credit.what] += credit.amount
    names = [credit.id for credit in credits]
    changed = {f"counts.{credit.what}": counts[credit.what] for credit in credits}
    guard = {"_id": document["_id"], "changes": document["changes"], "applied": {"$nin": names}}
    update = {
        "$set": {**_placed(document, counts), **changed, **_due(document, counts, config)},
        "$inc": {"changes": 1},
        "$push": {"applied": {"$each": names, "$slice": -REMEMBERED}},
    }
    return UpdateOne(guard, update)


def _due(document: Document, counts: Mapping[str, int], config: CollectionConfig) -> Document:
    """What notes that somebody has enough work to be trusted (`core.promotion` looks at it); empty where none is."""
    first_time = document["key"] == "total|all" and document.get("trust_due") is None
    return {"trust_due": milliseconds(now())} if first_time and enough_work(counts, config) else {}


async def _apply_each(database: Database, config: CollectionConfig, by_place: dict[str, list[Credit]]) -> None:
    updates = []
    for place, credits in by_place.items():
        for credit in credits:
            update = {
                "$inc": {f"counts.{credit.what}": credit.amount, "changes": 1},
                "$push": {"applied": {"$each": [credit.id], "$slice": -REMEMBERED}},
            }
            updates.append(UpdateOne({"_id": place, "applied": {"$nin": [credit.id]}}, update))
    await database["scores"].bulk_write(updates, ordered=False)
    await _rank(database, config, list(by_place))


async def _rank(database: Database, config: CollectionConfig, places: list[str]) -> None:
    """Write the points and the place on the board that the counts give; whoever counts later places later."""
    updates = []
    async for document in database["scores"].find({"_id": {"$in": places}}, {"applied": 0}):
        guard = {"_id": document["_id"], "changes": document["changes"]}
        placed = _placed(document, document["counts"]) | _due(document, document["counts"], config)
        updates.append(UpdateOne(guard, {"$set": placed}))
    if updates:
        await database["scores"].bulk_write(updates, ordered=False)


def _placed(document: Document, counts: Mapping[str, int]) -> Document:
    """Points and places on the boards; no place for who has done nothing that such a board is of."""
    points = score(counts)
    placed: Document = {"points": points}
    if "board" in document or any(counts.get(what, 0) > 0 for what in POINTS):
        placed["board"] = board_key(document, points)
    if (share := trouble_share(counts)) > 0 or document.get("troll") is not None:
        place = f"{document['key']}|{10**6 - round(share * 10**6):07d}|{document['user_id']}"
        placed["troll"] = place if share > 0 else None
    return placed


def board_key(document: Document, points: int) -> str:
    """`frame|bucket|points, falling|user`: ascending order of these is the leaderboard."""
    return f"{document['key']}|{10**9 - points:010d}|{document['user_id']}"
