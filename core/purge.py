"""Erasing messages for good, previewed first: what goes, what stays, and a token without which nothing goes.

`preview` counts; its token is a hash of everything that would go, so a purge does exactly what was looked at, or
nothing. A purge is written down before it begins; a crash leaves it open, and the background goes on with it. Messages
go with all that follows them and all that was said about them; rankings of replies that stay lose those that go; who
reviewed or ranked what goes keeps the points for it. Data sets that hold any of it are marked (`core.propagation`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from core import tree_credits
from core.config import CollectionConfig
from core.database import Database
from core.errors import BadInput, Conflict, Forbidden
from core.facts import Facts, load, mark, of_tree
from core.gold import forget
from core.ids import content_hash, new_id
from core.journal import record
from core.moderation_records import PurgePreview
from core.objects import ObjectStore
from core.opinions import Ranking
from core.propagation import finish, mark_snapshots
from core.records import Message, Record, User, milliseconds, now
from core.rulings import check_reason, deleted, rewrite
from core.settle import settle
from core.snapshot_members import tree_key

MOST = 20_000
"""Messages of one purge."""


@dataclass(frozen=True, kw_only=True)
class Purge(Record):
    """A purge under way or done: whose order, why, and exactly which messages, by tree."""

    by: str
    reason: str
    trees: dict[str, list[str]]
    created_at: datetime
    state: str = "open"

    def _keys(self) -> dict[str, Any]:
        # Whoever ordered it carries it out; the background takes it up when that came to nothing.
        return {"open": milliseconds(self.created_at) + 120_000 if self.state == "open" else None}


async def preview(database: Database, admin: User, user_id: str | None, message_ids: Iterable[str]) -> PurgePreview:
    """What a purge of a user's messages, or of messages (of a root: its tree) would erase.

    Raises:
        BadInput: nothing is named, or too much would go.
        Forbidden: the caller is no admin.
    """
    return (await _planned(database, admin, user_id, message_ids))[0]


async def order(
    database: Database, admin: User, user_id: str | None, message_ids: Iterable[str],
    token: str, reason: str,
) -> Purge:  # fmt: skip
    """Write down that what was previewed goes; `carry_out` does it.

    Raises:
        BadInput: there is no reason.
        Conflict: what would go is not what was previewed.
    """
    if not (reason := check_reason(reason)):
        raise BadInput("no reason is given; the journal keeps it", path=("reason",))
    seen, trees = await _planned(database, admin, user_id, message_ids)
    if seen.token != token:
        raise Conflict("what would be erased has changed since the preview; look at a new one", path=("token",))
    made = Purge(id=new_id(), by=admin.id, reason=reason, trees=trees, created_at=now())
    await database["purges"].insert_one(made.to_document())
    details = {"reason": reason, "user": user_id, "trees": seen.trees, "messages": seen.messages}
    await record(database, "purge", user_id or made.id, details, by=admin.id, key=made.id)
    return made


async def _planned(
    database: Database, admin: User, user_id: str | None, message_ids: Iterable[str]
) -> tuple[PurgePreview, dict[str, list[str]]]:
    if not admin.has_role("admin"):
        raise Forbidden("only admins may purge")
    targets = await _targets(database, user_id, set(message_ids))
    counts, parts, trees = PurgePreview(token=""), list[Any](), dict[str, list[str]]()
    for tree_id, aimed in sorted(targets.items()):
        facts = await load(database, tree_id)
        if facts is None:
            continue
        going = going_with(facts.messages, aimed)
        trees[tree_id] = sorted(going)
        counts = counts.adding(facts, going, user_id)
        if counts.messages > MOST:
            raise BadInput(f"more than {MOST} messages would go at once; name some of them")
        parts.append([tree_id, sorted((each.id, each.rev) for each in facts.messages if each.id in going)])
        parts.append(sorted(each.id for each in (*facts.reviews, *facts.rankings)))
    if not trees:
        raise BadInput("nothing that exists is named; name a user or messages")
    if user_id is not None:
        given = [await _given(database, name, user_id) for name in ("reviews", "rankings")]
        counts = replace(counts, reviews=given[0], rankings=given[1])
    return replace(counts, token=content_hash(parts)), trees


async def _targets(database: Database, user_id: str | None, message_ids: Collection[str]) -> dict[str, set[str]]:
    """Tree -> messages in it that are aimed at."""
    queries: list[dict[str, Any]] = [{"_id": {"$in": sorted(message_ids)}}]
    if user_id is not None:
        queries.append({"by_author": {"$gte": f"{user_id}|", "$lt": f"{user_id}}}"}})
    targets: dict[str, set[str]] = {}
    for query in queries:
        async for each in database["messages"].find(query, {"tree_id": 1}).limit(MOST + 1):
            targets.setdefault(each["tree_id"], set()).add(each["_id"])
    return targets


async def _given(database: Database, name: str, user_id: str) -> int:
    count = 0
    async for _ in database[name].find({"user_id": user_id}, {"_id": 1}):
        count += 1
    return count


def going_with(messages: Iterable[Message], aimed: Collection[str]) -> set[str]:
    """The messages aimed at, and all that follow them."""
    return {each.id for each in messages if each.id in aimed or not set(aimed).isdisjoint(each.ancestors)}


async def carry_out(database: Database, config: CollectionConfig, store: ObjectStore | None, purge: Purge) -> None:
    """Erase what a purge names; may be repeated."""
    for tree_id, message_ids in purge.trees.items():
        await _purge_tree(database, config, store, purge, tree_id, set(message_ids))
    await database["purges"].update_one({"_id": purge.id}, {"$set": {"state": "done", "open": None}})


async def _purge_tree(
    database: Database, config: CollectionConfig, store: ObjectStore | None, purge: Purge, tree_id: str, going: set[str]
) -> None:
    if (facts := await load(database, tree_id)) is None:
        return
    key = f"{purge.id}:{tree_key(tree_id)}"
    said = {each.id for each in facts.reviews if each.message_id in going}
    said |= {each.id for each in facts.rankings if each.parent_id in going}
    if store is not None:
        await mark_snapshots(database, store, {tree_id: going | said}, key)
    await _end_tasks(database, tree_id, going)
    # Out first, so that points and open work follow; then gone.
    await mark(database, tree_id)
    for each in facts.messages:
        if each.id in going:
            await rewrite(database, each.id, lambda message: deleted(message, purge.reason, purge.by))
    await mark(database, tree_id)
    await settle(database, config, tree_id)
    await _trim_rankings(database, facts, going)
    await erase(database, tree_id, going, said)
    # What was being stored meanwhile; whoever stores a reply later finds that there is nothing to reply to.
    if late := going_with(await of_tree(database, "messages", Message, tree_id), going):
        await erase(database, tree_id, late)
    if tree_id in going:
        await database["work"].delete_many({"tree_id": tree_id})
        for name in ("tree_credits", "trees"):
            await database[name].delete_one({"_id": tree_id})
    else:
        await mark(database, tree_id)
        await settle(database, config, tree_id)
        await _forget_credits(database, tree_id, going | said)  # who settled the tree meanwhile noted some again
    await finish(database, key)


async def _end_tasks(database: Database, tree_id: str, going: set[str]) -> None:
    async for work in database["work"].find({"tree_id": tree_id}):
        if work["target_id"] in going or not going.isdisjoint(work["served"]):
            await database["tasks"].delete_many({"_id": {"$in": list(work["holds"])}})


async def _trim_rankings(database: Database, facts: Facts, going: set[str]) -> None:
    """Take what goes out of rankings of what stays; one of fewer than two replies says nothing any more."""
    for ranking in facts.rankings:
        if ranking.parent_id in going or going.isdisjoint((*ranking.ranking, *ranking.served)):
            continue
        await database["tasks"].delete_one({"_id": ranking.id})  # it names what was served
        trimmed = trimmed_ranking(ranking, going)
        if trimmed is None:
            await database["rankings"].delete_one({"_id": ranking.id})
        else:
            changes = {name: list(getattr(trimmed, name)) for name in ("ranking", "served", "tiers")}
            await database["rankings"].update_one({"_id": ranking.id}, {"$set": changes})


def trimmed_ranking(ranking: Ranking, going: Collection[str]) -> Ranking | None:
    """`ranking` without what goes; None when nothing is left to compare."""
    order = tuple(each for each in ranking.ranking if each not in going)
    served = tuple(each for each in ranking.served if each not in going)
    if max(len(order), len(served)) < 2:
        return None
    sizes = [sum(each not in going for each in group) for group in ranking.groups] if ranking.tiers else []
    return replace(ranking, ranking=order, served=served, tiers=tuple(size for size in sizes if size))


async def erase(database: Database, tree_id: str, going: set[str], said: Collection[str] = ()) -> None:
    """Erase messages of a tree, with the reviews and rankings `said` and all else that is stored about them."""
    ids = sorted(going)
    # Without these, the points of those who reviewed or ranked what goes stay as they are; the authors' are taken back.
    await _forget_credits(database, tree_id, going.union(said))
    for name in ("reviews", "rankings", "tasks"):
        await database[name].delete_many({"_id": {"$in": sorted(said)}})
    learned = [f"{kind}:{each}" for kind in ("review", "rank") for each in ids]
    await database["lessons"].delete_many({"_id": {"$in": learned}})
    for name in ("reactions", "revisions", "free_labels"):
        await database[name].delete_many({"message_id": {"$in": ids}})
    async for report in database["reports"].find({"tree_id": tree_id}, {"message_id": 1}):
        if report["message_id"] in going:
            await database["reports"].delete_one({"_id": report["_id"]})
    subjects = [f"message:{each}" for each in ids] + ([f"tree:{tree_id}"] if tree_id in going else [])
    await database["moderation_items"].delete_many({"subject": {"$in": subjects}})
    await database["appeals"].delete_many({"message_id": {"$in": ids}})
    await forget(database, ids)
    for name in ("tasks", "text_checks", "text_bands", "message_words", "messages"):
        await database[name].delete_many({"_id": {"$in": ids}})


async def _forget_credits(database: Database, tree_id: str, facts: Collection[str]) -> None:
    await tree_credits.forget(database, tree_id, lambda line: tree_credits.fact_of(line) in facts)
