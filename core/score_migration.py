"""From how scores were kept at first, a document a person and frame and one a credit, to one a person
(`core.score_documents`) and one a tree (`core.tree_credits`)."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from pymongo.errors import DuplicateKeyError, OperationFailure

from core.records import milliseconds
from core.score_documents import REMEMBERED, blank, board, placed, troll
from core.scoring import FRAMES
from core.times import moment

if TYPE_CHECKING:
    from pymongo.asynchronous.database import AsyncDatabase

PAGE = 1_000
"""Documents looked at at once."""


async def one_document_a_person(database: AsyncDatabase[dict[str, Any]]) -> None:
    """Join each person's documents, person by person, and exchange the indexes; may be broken off and repeated."""
    for frame in FRAMES:
        await database["scores"].create_index(board(frame))
        await database["scores"].create_index(troll(frame), sparse=True)
    of_frames = {"user_id": {"$gt": ""}}  # a person's one document has no such field
    while found := [each["user_id"] async for each in database["scores"].find(of_frames, {"user_id": 1}).limit(PAGE)]:
        for user_id in dict.fromkeys(found):
            old = [each async for each in database["scores"].find({"user_id": user_id})]
            with contextlib.suppress(DuplicateKeyError):  # broken off after this
                await database["scores"].insert_one(joined(user_id, old))
            await database["scores"].delete_many({"user_id": user_id})
    for name in ("board", "troll", "user_id"):
        with contextlib.suppress(OperationFailure):  # gone already
            await database["scores"].drop_index(f"{name}_1")


async def credits_of_trees(database: AsyncDatabase[dict[str, Any]]) -> None:
    """Put the credits of each tree together, tree by tree; may be broken off and repeated."""
    if "tree_credits" not in await database.list_collection_names():
        await database.create_collection("tree_credits")  # the embedded store's aggregations want it to be there
    old = database.get_collection("credits")
    of_trees = {"tree_id": {"$gt": ""}}
    while found := [each["tree_id"] async for each in old.find(of_trees, {"tree_id": 1}).limit(PAGE)]:
        for tree_id in dict.fromkeys(found):
            taken = [each async for each in old.find({"tree_id": tree_id}) if each["applied"]]
            lines = [f"{milliseconds(moment(each['at']))}|{each['user_id']}|{each['_id']}" for each in taken]
            change = {"$addToSet": {"taken": {"$each": lines}}}
            await database["tree_credits"].update_one({"_id": tree_id}, change, upsert=True)
            await old.delete_many({"tree_id": tree_id})
    await old.drop()


def joined(user_id: str, documents: list[dict[str, Any]]) -> dict[str, Any]:
    """A person's one document: the latest of each frame.

    A credit was added to the document of all time last, so what that one has taken counts as taken.
    """
    one = blank(user_id) | {"changes": 1}
    for frame in FRAMES:
        buckets = {each["key"].partition("|")[2]: each for each in documents if each["key"].startswith(f"{frame}|")}
        latest = max(buckets, default="")
        one |= placed(user_id, frame, latest, buckets[latest]["counts"] if buckets else {})
    if total := buckets.get("all"):
        one["applied"] = total["applied"][-REMEMBERED:]
        if total.get("trust_due") is not None:
            one["trust_due"] = total["trust_due"]
    return one
