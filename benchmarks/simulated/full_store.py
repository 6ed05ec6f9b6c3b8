"""A store full of trees, made as quickly as the store takes them, without running the rules for each.

Four trees, one for each stage of life, are made by hand and their open work is what `core.advance` says; every other is
a copy under fresh ids. Trees under way come with all that was said about them (reviews, rankings, credits); finished
ones with their messages, which is what fills a store. The mix is that of the original's measurement at 66 k messages:
of 5,800 trees 600 grow, 400 are ranked, 300 wait for review.
"""

from __future__ import annotations

import random
import string
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from core import work as queue
from core.advance import advance
from core.config import CollectionConfig
from core.database import Database, migrate
from core.opinions import Ranking, Review
from core.records import Message, Record, Tree, User, now, text_hash
from core.review_agreement import by_rules
from core.score_documents import blank, placed
from core.scoring import FRAMES, Credit, bucket, credits_of
from core.text_rows import words_row
from core.tree_credits import TreeCredits, line_of

MIX = {"ready_for_export": 4500, "growing": 600, "ranking": 400, "initial_prompt_review": 300}
USERS = 500
"""People, at least; one more for every 100 messages."""
BATCH = 1000
"""Documents of one insert."""
LABELS = {"spam": 0.0, "quality": 0.75}
WORDS = [*string.ascii_lowercase, "kettle", "water", "because", "boils", "slowly", "tea"]


@dataclass(frozen=True)
class Shape:
    """A tree to be copied: its records by collection, the ids in them being places to be filled."""

    records: tuple[tuple[str, Record], ...]
    messages: int
    credits: tuple[Credit, ...] = ()


def shapes(config: CollectionConfig) -> dict[str, Shape]:
    """One tree for each state of `MIX`."""
    return {state: _shape(state, config) for state in MIX}


def _shape(state: str, config: CollectionConfig) -> Shape:
    # Messages on each level; a growing tree has one of its answers and one later prompt under review.
    whole = (1, 3, 3, 6)
    sizes = {"initial_prompt_review": (1,), "growing": (1, 2, 1), "ranking": whole, "ready_for_export": whole}
    tree = Tree(id="m0", lang="en", state=state, goal_size=15, author_id="u0")
    messages: list[Message] = []
    above: list[Message] = []
    for depth, size in enumerate(sizes[state]):
        level = [_message(len(messages) + place, depth, above, place, state) for place in range(size)]
        messages += level
        above = level
    reviews = tuple(
        Review(id=f"r{message.id}{turn}", tree_id="m0", message_id=message.id, labels=LABELS, user_id=f"u{20 + turn}")
        for message in messages if message.state == "accepted" for turn in range(config.num_reviews_reply)
    )  # fmt: skip
    served = ("m1", "m2", "m3")
    rankings = (Ranking(id="k0", tree_id="m0", parent_id="m0", ranking=served, served=served, user_id="u30"),)
    following = advance(tree, messages, reviews, rankings if state == "ranking" else (), config)
    if state == "ready_for_export":
        ranked = [replace(each, rank=int(each.id[1:]) % 3 if each.role == "assistant" else None, review_count=3)
                  for each in messages]  # fmt: skip
        return Shape((("trees", tree), *(("messages", each) for each in ranked)), len(messages))
    assert following.state == state, (following.state, state)
    open_work = [queue.adjusted(queue.opened(each, "m0", random.Random()), each, (), None) for each in following.work]
    credits = credits_of(following.messages, reviews, rankings if state == "ranking" else (), by_rules(config))
    said = [
        *(("reviews", each) for each in reviews),
        *(("rankings", each) for each in rankings if state == "ranking"),
    ]
    stored = [("messages", each) for each in following.messages]
    return Shape(
        (("trees", tree), *stored, *said, *(("work", each) for each in open_work)), len(messages), tuple(credits)
    )


def _message(number: int, depth: int, above: list[Message], place: int, state: str) -> Message:
    parent = above[place % len(above)] if above else None
    waits = state == "initial_prompt_review" or (state == "growing" and number in (2, 3))
    return Message(
        id=f"m{number}", tree_id="m0", parent_id=parent.id if parent else None,
        role=("prompter", "assistant")[depth % 2], lang="en", text="", depth=depth, author_id=f"u{number}",
        ancestors=(*parent.ancestors, parent.id) if parent else (), state="pending" if waits else "accepted",
    )  # fmt: skip


def copies(shape: Shape, number: int, users: list[str], chance: random.Random) -> Iterator[tuple[str, dict[str, Any]]]:
    """The documents of one more tree of that shape, by collection; `number` makes its ids."""
    names: dict[str, str] = {}
    made_at = now()

    def fresh(value: Any) -> Any:
        if isinstance(value, str):
            return names.get(value, value)
        return tuple(fresh(each) for each in value) if isinstance(value, tuple) else value

    for name, record in shape.records:
        if name != "work":
            names[record.id] = f"{record.id}-{number:08d}"
    for place, user in enumerate(chance.sample(users, 40)):
        names[f"u{place}"] = user
    for name, record in shape.records:
        values = {key: fresh(value) for key, value in vars(record).items()}
        if name == "work":
            kind, target = record.id.split(":")
            values |= {"id": f"{kind}:{names[target]}", "random": queue.random_place(chance)}
        else:
            values["created_at"] = made_at
        if name == "messages":
            text = " ".join(chance.choices(WORDS, k=40)) + f" {values['id']}"
            values |= {"text": text, "content_hash": text_hash(text)}
        stored = type(record)(**values)
        yield name, stored.to_document()
        if isinstance(stored, Message):
            yield "message_words", words_row(stored)
    if shape.credits:
        yield "tree_credits", TreeCredits(id=names["m0"], taken=tuple(
            line_of(Credit(f"{each.what}|{fresh(each.id.partition('|')[2])}", fresh(each.user_id), each.what, made_at))
            for each in shape.credits
        )).to_document()  # fmt: skip


async def fill(database: Database, messages: int, config: CollectionConfig, seed: int = 1) -> list[str]:
    """Fill an empty database up to about `messages` messages; prints the pace. Returns the ids of its people."""
    await migrate(database)
    chance, made, started = random.Random(seed), shapes(config), time.monotonic()
    users = [f"user-{number:06d}" for number in range(USERS + messages // 100)]
    waiting: dict[str, list[dict[str, Any]]] = {}
    stored = number = 0

    async def put(name: str, document: dict[str, Any], batch: int = BATCH) -> None:
        waiting.setdefault(name, []).append(document)
        if len(waiting[name]) >= batch:
            await database[name].insert_many(waiting.pop(name), ordered=False)

    for user in users:
        for name, document in _person(user, chance):
            await put(name, document)
    while stored < messages:
        state = chance.choices(list(MIX), list(MIX.values()))[0]
        for name, document in copies(made[state], number, users, chance):
            await put(name, document)
        stored, number = stored + made[state].messages, number + 1
    for name, documents in waiting.items():
        await database[name].insert_many(documents, ordered=False)
    print(f"filled {stored:,} messages in {time.monotonic() - started:.0f} s", flush=True)
    return users


def _person(user: str, chance: random.Random) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "users", User(id=user, auth_method="bench", subject=user, display_name=user).to_document()
    counts = {"replies_assistant": chance.randrange(200), "labels": chance.randrange(900)}
    document = blank(user) | {"changes": 1}
    for frame in FRAMES:
        document |= placed(user, frame, bucket(frame, now()), counts)
    yield "scores", document
