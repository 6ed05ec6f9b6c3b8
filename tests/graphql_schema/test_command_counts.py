"""How many commands the store gets for the reads that sites make most: no more for a large tree than a small one."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import monitoring

from core.accounts import Accounts
from core.collection import Collection
from core.config import CollectionConfig
from core.database import connect
from core.records import Message, Tree, User
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
    "a page of messages": (SITE["RecentMessages"], "", 1),
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
