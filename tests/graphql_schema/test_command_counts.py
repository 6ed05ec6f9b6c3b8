"""How many commands the store gets: no more for a large tree than a small one, for a long page than a short one."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pymongo import monitoring

from core.accounts import Accounts
from core.chat_records import ChatSettings
from core.chats import Chats
from core.collection import Collection
from core.config import CollectionConfig
from core.credits import add_up
from core.database import connect
from core.facts import Facts
from core.journal import record
from core.leaderboard import leaderboard
from core.moderation_queue import enqueue
from core.moderators import Moderators
from core.people import People
from core.records import Message, Tree, User, now
from core.scoring import Credit
from graphql_schema.context import Context, Services
from graphql_schema.relay import global_id
from graphql_schema.schema import build_schema

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "api" / "rebuild-the-site.md").read_text("utf-8")
SITE = {text.split()[1].partition("(")[0]: text for text in re.findall(r"```graphql\n(.*?)```", PAGE, re.DOTALL)}
WHOLE_TREE = """query ($id: ID!) { node(id: $id) { ... on Tree { state messages(first: 100) { nodes {
  id text rank synthetic labels { name value } parent { id } author { displayName } } } } } }"""
READS = {
    "a tree with authors": (WHOLE_TREE, "Tree", 3),  # tree, messages, people
    "a page of messages": (SITE["RecentMessages"], "", 2),  # messages; their trees
    "a message in its tree": (SITE["MessagePage"], "Message", 6),  # message, tree, messages, author; thread: two
}


class Commands(monitoring.CommandListener):
    """Names of the commands sent."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.names.append(f"{event.command_name} {event.command.get(event.command_name)}")

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass


@pytest.fixture
async def counted(mongodb_uri: str, database: Any) -> AsyncIterator[tuple[Any, Commands]]:
    """The test's database through a driver that counts."""
    commands = Commands()
    client = connect(mongodb_uri, commands)
    yield client[database.name], commands
    await client.close()


async def fill(database: Any, name: str, size: int) -> None:
    """An ended tree of `size` messages by ten people: a root, and replies to it."""
    tree = Tree(id=name, lang="en", state="ready_for_export", author_id="u0")
    await database["trees"].insert_one(tree.to_document())
    messages = [
        Message(
            id=name if number == 0 else f"{name}-{number}", tree_id=name, parent_id=name if number else None,
            role="assistant" if number else "prompter", lang="en", text=f"Message {number}", depth=min(number, 1),
            ancestors=(name,) if number else (), author_id=f"u{number % 10}", state="accepted",
            labels={"quality": {"value": 1.0, "count": 1}},
        )
        for number in range(size)
    ]  # fmt: skip
    await database["messages"].insert_many([each.to_document() for each in messages])


async def test_reads_take_as_many_commands_for_a_large_tree_as_for_a_small_one(counted: tuple[Any, Commands]) -> None:
    database, commands = counted
    people = [
        User(id=f"u{number}", auth_method="t", subject=f"{number}", display_name=f"P{number}") for number in range(10)
    ]
    await database["users"].insert_many([each.to_document() for each in people])
    sizes = {"small": 4, "large": 40}
    for name, size in sizes.items():
        await fill(database, name, size)
    services = Services(collection=Collection(database, CollectionConfig()), accounts=Accounts(database))
    schema = build_schema()
    for what, (document, kind, most) in READS.items():
        for name, size in sizes.items():
            commands.names.clear()
            context = Context(services=services, viewer=people[9], roles=frozenset({"contributor"}))
            variables = {"id": global_id(kind, name)} if kind else {"lang": "en"}
            result = await schema.execute(document, variable_values=variables, context_value=context)
            assert result.errors is None
            assert len(commands.names) == most, (what, name, commands.names)
            if what == "a tree with authors":
                nodes = result.data["node"]["messages"]["nodes"]
                assert len(nodes) == size
                assert {node["author"]["displayName"] for node in nodes} == {f"P{n % 10}" for n in range(size)}


LISTS = {
    "trees": "trees(first: $first) { nodes { id state messages(first: 5) { nodes { text author { displayName } } } } }",
    "messages": """messages(first: $first) { nodes { id text author { displayName } parent { text }
        tree { state } } }""",
    "people": "people(first: $first) { nodes { user { displayName } roles notes } }",
    "the journal": "events(first: $first) { nodes { kind about by { displayName } } }",
    "the queue": """moderationQueue(first: $first) { nodes { kind evidence { by { displayName } }
        claimedBy { displayName } message { text author { displayName } tree { state } } } }""",
    "the leaderboard": "leaderboard(frame: TOTAL, first: $first) { points level user { displayName } }",
    "chats": "chats(first: $first) { nodes { id title } }",
    "own messages": """viewer { contributions(first: $first) { nodes { mayChange mayAppeal reasons { name }
        appeal { state } message { text tree { state } parent { text } } } } }""",
}


async def test_a_page_takes_as_many_commands_for_twenty_nodes_as_for_two(counted: tuple[Any, Commands]) -> None:
    database, commands = counted
    config = CollectionConfig()
    people = [User(id=f"u{n}", auth_method="t", subject=f"{n}", display_name=f"P{n}") for n in range(20)]
    await database["users"].insert_many([each.to_document() for each in people])
    chats = Chats(database)
    for number, person in enumerate(people):
        await fill(database, f"tree{number}", 2)
        await record(database, "set_notes", person.id, {}, by=person.id)
        await enqueue(database, f"message:tree{number}-1", "report", 5, {"by": person.id, "reason": "rude"})
        await chats.create("u0", ChatSettings(title=f"Chat {number}"))
    work = [Credit(f"prompts|c{n}", f"u{n}", "prompts", now()) for n in range(20)]
    await add_up(database, config, Facts(tree=Tree(id="tree0", lang="en", state="growing"), messages=()), work)
    services = Services(
        collection=Collection(database, config), accounts=Accounts(database), moderators=Moderators(database, config),
        people=People(database, config), leaderboard=partial(leaderboard, database), database=database, chats=chats,
    )  # fmt: skip
    schema = build_schema()
    roles = frozenset({"contributor", "moderator", "admin"})
    viewer = replace(people[0], roles=tuple(sorted(roles)))
    for what, field in LISTS.items():
        counts = {}
        for first in (2, 20):
            commands.names.clear()
            context = Context(services=services, viewer=viewer, roles=roles)
            document = f"query ($first: Int!) {{ {field} }}"
            result = await schema.execute(document, variable_values={"first": first}, context_value=context)
            assert result.errors is None, (what, result.errors)
            assert str(result.data).count("{") >= first, (what, result.data)
            counts[first] = list(commands.names)
        assert len(counts[20]) <= len(counts[2]), (what, counts)
