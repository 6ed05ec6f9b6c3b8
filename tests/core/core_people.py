"""People who do their part through a `Collection`, for tests that need a tree at some point of its way."""

from __future__ import annotations

from collections.abc import Sequence

from core.collection import Collection
from core.config import CollectionConfig
from core.credits import add_up
from core.database import Database
from core.errors import NothingToDo
from core.facts import Facts
from core.records import Tree, User
from core.scoring import Credit
from core.sweeper import sweep_once
from core.tree_credits import first_turn

SMALL = CollectionConfig(
    mode="parity",
    goal_tree_size=4, max_tree_depth=2, max_children_count=2, num_reviews_initial_prompt=2, num_reviews_reply=2,
    num_required_rankings=2, p_activate_backlog_tree=0.0, max_pending_tasks=1000,
)  # fmt: skip
"""Limits small enough that a few people finish a tree."""
GOOD = {"spam": 0.0, "quality": 0.75}
BAD = {"spam": 1.0}


async def review_all(collection: Collection, people: Sequence[User], kind: str, labels=GOOD) -> int:
    """Everybody reviews what they are given until nothing of that kind is open; the number of reviews."""
    done = 0
    for user in people:
        while True:
            try:
                task = await collection.request_task(user, kind, ["en"])
            except NothingToDo:
                break
            await collection.submit_review(user, task.id, labels)
            done += 1
    return done


async def give(database: Database, *credits: Credit) -> None:
    """Add credits of some tree to people's scores."""
    await add_up(database, SMALL, Facts(tree=Tree(id="t", lang="en", state="growing"), messages=()), credits)


async def credits_in(database: Database, tree_id: str) -> list[tuple[str, str]]:
    """(who, what) of the credits that are stored of a tree, sorted."""
    document = await database["tree_credits"].find_one({"_id": tree_id})
    stored = {first_turn(line) for line in (document or {}).get("taken", ())}
    return sorted((credit.user_id, credit.what) for credit in stored)


async def write_prompt(collection: Collection, user: User, text: str = "Why is the sky blue?") -> str:
    """A prompt under review; its id."""
    task = await collection.request_task(user, "initial_prompt", ["en"])
    return (await collection.submit_prompt(user, task.id, text, "en")).result_id


async def until_growing(collection: Collection, people: Sequence[User]) -> str:
    """A tree that grows; its id."""
    tree_id = await write_prompt(collection, people[0])
    await review_all(collection, people, "label_initial_prompt")
    await sweep_once(collection.database, collection.config)
    assert (await collection.tree(tree_id)).state == "growing"
    return tree_id


async def reply_all(collection: Collection, people: Sequence[User]) -> int:
    """Everybody writes what replies they are asked for; the number of replies."""
    done = 0
    for user in people:
        for kind in ("assistant_reply", "prompter_reply"):
            try:
                task = await collection.request_task(user, kind, ["en"])
            except NothingToDo:
                continue
            await collection.submit_reply(user, task.id, f"{user.display_name} says {done} ({task.id})")
            done += 1
    return done


async def until_ranking(collection: Collection, people: Sequence[User]) -> str:
    """A tree in ranking; its id."""
    tree_id = await until_growing(collection, people)
    for _ in range(10):
        await reply_all(collection, people)
        await review_all(collection, people, "label_assistant_reply")
        await review_all(collection, people, "label_prompter_reply")
        if (await collection.tree(tree_id)).state == "ranking":
            return tree_id
    raise AssertionError(f"the tree is still {(await collection.tree(tree_id)).state}")
