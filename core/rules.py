"""The collections of a deployment and their rules, which an admin may change while all runs.

The rules that a deployment was started with are what every collection begins from; a collection's document holds only
what differs. Each process reads the documents again when what it knows is older than `FRESH_SECONDS`, so a change is
in force everywhere within that time, and at once where it was made. A change is one write guarded by the version that
the admin saw; it is journaled with what was before, and the collection's unfinished trees are settled anew.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any
from weakref import WeakKeyDictionary

from pymongo.errors import DuplicateKeyError

from core.collection_records import LIMITS, CollectionRecord
from core.config import CollectionConfig
from core.database import Client, Database
from core.errors import BadInput, Conflict, Forbidden, NotFound
from core.facts import MARK
from core.journal import record
from core.pages import one
from core.pools import DEFAULT
from core.records import TREE_STATES, Tree, User
from core.texts import check_lang, is_name

FRESH_SECONDS = 2.0
"""How old what a process knows of the rules may be."""
MOST = 100
"""Collections of a deployment."""
NAME_LIMIT = 100
"""Characters of a collection's name."""
KEY = re.compile(r"[a-z][a-z0-9-]{1,31}")
IN_WORDS = {
    "int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text",
    "tuple[str, ...]": "a list of texts",
}  # fmt: skip
"""Types of settings, for people."""
LEASE = "lease_"
SHARED = "trust_"
"""How the names of settings begin that the default collection has for all."""
OVER = ("ready_for_export", "aborted_low_grade", "halted_by_moderator", "scoring_failed")
"""Tree states that no change of rules moves."""


_known: WeakKeyDictionary[Client, dict[str, tuple[float, dict[str, CollectionRecord]]]] = WeakKeyDictionary()


async def collections(database: Database, *, fresh: bool = False) -> dict[str, CollectionRecord]:
    """All collections by id, the default one among them.

    Args:
        fresh: read now, and not what was read up to `FRESH_SECONDS` ago.
    """
    of_client = _known.setdefault(database.client, {})
    read_at, found = of_client.get(database.name, (-FRESH_SECONDS, {}))
    if fresh or time.monotonic() - read_at >= FRESH_SECONDS:
        read_at = time.monotonic()
        documents = database["collections"].find().limit(MOST)
        found = {each["_id"]: CollectionRecord.from_document(each) async for each in documents}
        found.setdefault(DEFAULT, CollectionRecord(id=DEFAULT, name="Default"))
        of_client[database.name] = read_at, found
    return found


async def rules_of(database: Database, base: CollectionConfig, collection: str = DEFAULT) -> CollectionConfig:
    """The rules of a collection; raises `NotFound` where there is none of that id.

    Args:
        base: what the deployment was started with.
    """
    return rules(base, await find(database, collection))


async def find(database: Database, collection: str) -> CollectionRecord:
    """The collection of that id; raises `NotFound`."""
    found = (await collections(database)).get(collection)
    if found is None:
        raise NotFound(f"there is no collection {collection[:40]!r}", path=("collection",))
    return found


def rules(base: CollectionConfig, collection: CollectionRecord) -> CollectionConfig:
    """The rules of `collection`."""
    return replace(base, **_typed(collection.changes)) if collection.changes else base


def checked(base: CollectionConfig, changes: Mapping[str, Any]) -> dict[str, Any]:
    """`changes` as they are kept; a value of None goes back to `base` and is left out.

    Raises:
        BadInput: a setting is unknown, of the wrong type or out of range; the message names it.
    """
    kinds = {item.name: str(item.type) for item in fields(CollectionConfig)}
    kept = {}
    for name, value in changes.items():
        if name not in kinds:
            raise BadInput(f"there is no setting {name[:60]!r}; one of: {', '.join(kinds)}", path=("config", name[:60]))
        if value is not None:
            if not _fits(kinds[name], value):
                wanted = IN_WORDS[kinds[name].removesuffix(" | None")]
                raise BadInput(f"{name} is {json.dumps(value)[:60]}; it must be {wanted}", path=("config", name))
            if name.startswith(LEASE) and value < 1:
                message = f"{name} is {value}; it must be 1 or more, or nobody can hold what they were given"
                raise BadInput(message, path=("config", name))
            kept[name] = value
    try:
        typed = replace(base, **_typed(kept))
    except BadInput as error:
        raise BadInput(error.message, path=("config", *error.path)) from error
    return {name: list(held) if isinstance(held := getattr(typed, name), tuple) else held for name in kept}


def _fits(kind: str, value: Any) -> bool:
    kind = kind.removesuffix(" | None")
    if kind.startswith("tuple"):
        return isinstance(value, list) and all(isinstance(each, str) for each in value)
    if kind == "float":
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value).__name__ == kind


def _typed(changes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in changes.items()}


# What admins do.


async def create(
    database: Database, base: CollectionConfig, admin: User, key: str, name: str, langs: Sequence[str],
    config: Mapping[str, Any],
) -> CollectionRecord:  # fmt: skip
    """A new collection of id `key`.

    Raises:
        BadInput: the key, the name, a language or a setting is malformed.
        Conflict: there is one of that id, or there are as many as there may be.
    """
    _check_admin(admin)
    if not KEY.fullmatch(key):
        message = f"key is {key[:40]!r}; it must be 2 to 32 of a-z, 0-9 and '-', and begin with a letter"
        raise BadInput(message, path=("key",))
    _check_shared(key, config)
    if len(await collections(database, fresh=True)) >= MOST:
        raise Conflict(f"there are {MOST} collections, and no more may be")
    made = CollectionRecord(
        id=key, name=_name(name), langs=_langs(langs), changes=checked(base, config), version=1
    )  # fmt: skip
    try:
        if key == DEFAULT:
            raise DuplicateKeyError("the default collection")
        await database["collections"].insert_one(made.to_document())
    except DuplicateKeyError as error:
        raise Conflict(f"there is a collection {key!r} already", path=("key",)) from error
    await record(database, "create_collection", key, _told(made), by=admin.id)
    return (await collections(database, fresh=True))[key]


async def update(
    database: Database, base: CollectionConfig, admin: User, collection: str, version: int, *, name: str | None = None,
    langs: Sequence[str] | None = None, config: Mapping[str, Any] | None = None, is_open: bool | None = None,
) -> CollectionRecord:  # fmt: skip
    """Change a collection; what is None stays.

    Args:
        version: that the admin saw.
        config: settings to change; None as a value goes back to what the deployment was started with.

    Raises:
        NotFound: there is none of that id.
        Conflict: it was changed since; the message says which version it has.
    """
    _check_admin(admin)
    _check_shared(collection, config or {})
    await collections(database, fresh=True)
    old = await find(database, collection)
    if old.version != version:
        raise Conflict(
            f"collection {collection!r} has version {old.version}, not {version}; look at it again", path=("version",)
        )
    new = replace(
        old,
        name=old.name if name is None else _name(name),
        langs=old.langs if langs is None else _langs(langs),
        changes=old.changes if config is None else checked(base, {**old.changes, **config}),
        open=old.open if is_open is None else is_open,
        version=version + 1,
        pending={"by": admin.id, "before": _told(old)},
    )
    await _follow_up(database, old)
    if not await _replaced(database, old, new):
        raise Conflict(f"collection {collection!r} was changed at this moment; look at it again", path=("version",))
    await _follow_up(database, new)
    return (await collections(database, fresh=True))[collection]


async def sweep(database: Database) -> int:
    """Do what follows from changes after which a process ended too early; returns how many."""
    found = [each for each in (await collections(database)).values() if each.pending is not None]
    for each in found:
        await _follow_up(database, each)
    return len(found)


async def _follow_up(database: Database, changed: CollectionRecord) -> None:
    """Journal a change and have its trees settled anew; may be repeated."""
    if changed.pending is None:
        return
    details = {"before": changed.pending["before"], "after": _told(changed)}
    await record(
        database, "update_collection", changed.id, details, by=changed.pending["by"], key=str(changed.version)
    )  # fmt: skip
    await _settle_anew(database, changed.id)
    done = {"$set": {"pending": None}}
    await database["collections"].update_one({"_id": changed.id, "version": changed.version}, done)


async def _replaced(database: Database, old: CollectionRecord, new: CollectionRecord) -> bool:
    """Write a collection, if it is still as it was; the default one may have no document yet."""
    if old.version == 0:
        try:
            await database["collections"].insert_one(new.to_document())
        except DuplicateKeyError:
            return False
        return True
    result = await database["collections"].replace_one({"_id": old.id, "version": old.version}, new.to_document())
    return result.matched_count == 1


async def _settle_anew(database: Database, collection: str) -> None:
    """Have the sweeper look at the collection's unfinished trees."""
    mine = {"collection": {"$in": [None, DEFAULT]}} if collection == DEFAULT else {"collection": collection}
    for state in TREE_STATES:
        if state not in OVER:
            query = {"by_state": {"$gte": f"{state}|", "$lt": f"{state}}}"}, **mine}
            await database["trees"].update_many(query, MARK)


async def limit_tree(database: Database, admin: User, tree_id: str, limits: Mapping[str, int]) -> Tree:
    """Change limits of one tree, whatever its collection says; the sweeper settles it anew.

    Args:
        limits: of `LIMITS`.

    Raises:
        BadInput: a limit is unknown or out of range, or none is given.
        Conflict: the tree changes all the time.
    """
    _check_admin(admin)
    if not limits:
        raise BadInput(f"no limit is given; one or more of: {', '.join(LIMITS)}")
    for name, value in limits.items():
        low, high = LIMITS.get(name, (1, 0))
        if not low <= value <= high:
            raise BadInput(f"{name} is {value}; it must be from {low} to {high}", path=(name,))
    for _ in range(10):
        old = await one(database, "trees", Tree, tree_id)
        changed = {"$set": {**limits, "dirty": True}, "$inc": {"version": 1}}
        result = await database["trees"].update_one({"_id": tree_id, "version": old.version}, changed)
        if result.matched_count:
            details = {"before": {name: getattr(old, name) for name in limits}, "after": dict(limits)}
            await record(database, "limit_tree", tree_id, details, by=admin.id, key=str(old.version), lang=old.lang)
            return await one(database, "trees", Tree, tree_id)
    raise Conflict(f"tree {tree_id} changes all the time; try again")


def _check_admin(user: User) -> None:
    if not user.has_role("admin"):
        raise Forbidden("only admins may do this")


def _check_shared(collection: str, config: Mapping[str, Any]) -> None:
    """Roles hold in all collections, so what earns them is no collection's own."""
    own = sorted(name for name in config if name.startswith(SHARED))
    if own and collection != DEFAULT:
        raise BadInput(f"{own[0]} holds in all collections; set it on the default one", path=("config", own[0]))


def _name(name: str) -> str:
    if not 1 <= len(name.strip()) <= NAME_LIMIT or not is_name(name):
        raise BadInput(f"name is {name[:40]!r}; it must have 1 to {NAME_LIMIT} visible characters", path=("name",))
    return name.strip()


def _langs(langs: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted({check_lang(lang, "langs") for lang in langs}))


def _told(collection: CollectionRecord) -> dict[str, Any]:
    """What the journal keeps of a collection."""
    return {
        "name": collection.name, "langs": list(collection.langs), "config": collection.changes, "open": collection.open,
    }  # fmt: skip
