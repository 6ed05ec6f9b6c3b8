"""Keeping scores: credits become counts in people's score documents, each exactly once, by one guarded write a person.

A credit is added to the scores (which remember the latest credits that they took, so a repetition does nothing), then
stored with the tree (`core.tree_credits`); a crash between leaves it dirty, or the task answered, and the next settling
repeats it. All credits of a tree are handled together: three commands, however many they are. Knows the store;
`core.scoring` knows what counts, and `core.score_documents` what is kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from core.config import CollectionConfig
from core.database import Database, Document
from core.facts import Facts
from core.records import milliseconds, now
from core.review_agreement import Agrees, by_rules
from core.rules import rules_of
from core.score_documents import blank, with_credits
from core.scoring import Credit, credits_of
from core.tree_credits import first_turn, id_of, storing
from core.trust import enough_work
from core.writes import New, Whole, Write, together


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
    _, stored = await add_up(database, config, facts, due_of(config, facts, agrees), known)
    await together(database, stored)


def due_of(config: CollectionConfig, facts: Facts, agrees: Agrees | None = None) -> list[Credit]:
    """What is to be added to people's scores, or taken from them, now; arguments as above."""
    wanted = credits_of(facts.messages, facts.reviews, facts.rankings, agrees or by_rules(config))
    return turns(wanted, facts.credits)


async def add_up(
    database: Database, config: CollectionConfig, facts: Facts, due: Sequence[Credit], known: Collection[str] = (),
    before: Sequence[Write] = (),
) -> tuple[tuple[bool, ...], list[Write]]:  # fmt: skip
    """Make the writes `before` and, by the same command, add credits that are due of a tree to people's scores.

    Who has enough work to be trusted, by the rules of the default collection, is noted in the same write.

    Returns:
        which of `before` were done, and what is to be stored after it, done or not, so that the credits are not due
        again.
    """
    if not due:
        return await together(database, before), []
    unknown = {credit.user_id for credit in due if credit.amount > 0} - set(known)
    done, counted = await _add(database, await rules_of(database, config), due, unknown, before)
    return done, storing(facts.tree.id, counted, first=not facts.credits) if counted else []


def turns(wanted: Iterable[Credit], had: Iterable[str]) -> list[Credit]:
    """The credits to store beside those stored, the lines `had`, so that what counts is `wanted`.

    A credit that comes, falls away and comes again (a message taken out and put back) is stored once for each turn:
    the turns of one act have ids of their own, and it counts while their number is odd.
    """
    taken: dict[str, int] = {}
    lines: dict[str, str] = {}
    for line in had:
        act, number = act_of(id_of(line))
        taken[act] = max(taken.get(act, 0), number + 1)  # earlier ones may have gone, with what was purged meanwhile
        lines[act] = line
    acts = {credit.id: credit for credit in wanted}
    due = [_turn(credit, taken.get(act, 0)) for act, credit in acts.items() if taken.get(act, 0) % 2 == 0]
    gone = [act for act, number in taken.items() if act not in acts and number % 2]
    return due + [_turn(first_turn(lines[act]), taken[act]) for act in gone]


def act_of(identity: str) -> tuple[str, int]:
    """The act that a credit of that id is a turn of, `what|fact`, and which turn, from 0."""
    what, fact, *number = identity.split("|")
    return f"{what}|{fact}", int(number[0]) if number and number[0].isdecimal() else 0


def _turn(credit: Credit, number: int) -> Credit:
    """Turn `number` (from 0) of an act, the first of which is given: even ones give, odd ones take back."""
    identity = credit.id if number == 0 else f"{credit.id}|{number}"
    return credit._replace(id=identity, amount=-1 if number % 2 else 1)


async def _add(
    database: Database, config: CollectionConfig, credits: Sequence[Credit], unknown: Collection[str],
    before: Sequence[Write],
) -> tuple[tuple[bool, ...], list[Credit]]:  # fmt: skip
    """Make `before`, then add the credits.

    Two commands, unless others change the same scores meanwhile: those are read and written again.

    Args:
        unknown: users who may have no account.

    Returns:
        which of `before` were done, and the credits that count; who has no account gains nothing.
    """
    there = await _read(database, {credit.user_id for credit in credits})
    gone = await _gone(database, set(unknown) - there.keys())  # whoever has scores has an account (`core.departures`)
    counted = [credit for credit in credits if credit.amount < 0 or credit.user_id not in gone]
    of: dict[str, list[Credit]] = defaultdict(list)
    for credit in counted:
        of[credit.user_id].append(credit)
    first = {credit.user_id for credit in counted if credit.amount > 0 and credit.user_id not in there}
    writes = _writes(of, there | {user_id: blank(user_id) for user_id in first}, config)
    done = await together(database, [*before, *writes.values()])
    lost = _lost(writes, done[len(before) :])
    while lost:
        there = await _read(database, lost)
        writes = _writes({user_id: of[user_id] for user_id in lost}, there, config)
        lost = _lost(writes, await together(database, list(writes.values())))
    return done[: len(before)], counted


def _lost(writes: Mapping[str, Write], done: Iterable[bool]) -> list[str]:
    """Those whose scores somebody else has changed."""
    return [user_id for user_id, made in zip(writes, done, strict=True) if not made]


async def _read(database: Database, people: Collection[str]) -> dict[str, Document]:
    """The scores of those people who have some."""
    found = database["scores"].find({"_id": {"$in": list(people)}})
    return {document["_id"]: document async for document in found}


async def _gone(database: Database, people: Collection[str]) -> set[str]:
    """Those who have no account, or leave."""
    if not people:
        return set()
    found = database["users"].find({"_id": {"$in": list(people)}}, {"deleted": 1})
    return set(people) - {user["_id"] async for user in found if not user.get("deleted")}


def _writes(
    credits: Mapping[str, list[Credit]], there: Mapping[str, Document], config: CollectionConfig
) -> dict[str, Write]:
    """What adds the credits to scores as they were read, by person; whose scores have gone has left."""
    writes: dict[str, Write] = {}
    for user_id, taken in credits.items():
        before = there.get(user_id)
        if before is None or (after := with_credits(before, taken)) is before:
            continue
        if after.get("trust_due") is None and enough_work(after["total"]["counts"], config):
            after["trust_due"] = milliseconds(now())
        guard = {"_id": user_id, "changes": before["changes"]}
        writes[user_id] = Whole("scores", guard, after) if before["changes"] else New("scores", after)
    return writes
