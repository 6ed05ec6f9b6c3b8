"""The operations that a page of the documentation shows, executed over HTTP."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from command_counting import Counts
from graphql import OperationDefinitionNode, parse
from running_api import Caller

from oa.client import GraphQLClient

DOCS = Path(__file__).parents[2] / "docs"


def operations(page: Path) -> dict[str, str]:
    """Name -> text of each operation of a page."""
    found = {}
    for text in re.findall(r"```graphql\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
        (operation,) = [each for each in parse(text).definitions if isinstance(each, OperationDefinitionNode)]
        assert operation.name is not None
        found[operation.name.value] = text
    return found


class Page:
    """The operations of some pages of docs/; remembers which were executed, and has their commands counted."""

    def __init__(self, *names: str, counts: Counts | None = None) -> None:
        self.counts = counts or Counts()
        self.operations = {name: text for each in names for name, text in operations(DOCS / each).items()}
        self.executed: set[str] = set()

    def run(self, name: str, caller: Caller, /, **variables: Any) -> Any:
        """The root field of the operation's answer; fails on any error."""
        answer = self.attempt(name, caller, **variables)
        assert not (isinstance(answer, dict) and answer.get("userErrors")), answer["userErrors"]
        return answer

    def attempt(self, name: str, caller: Caller, /, **variables: Any) -> Any:
        """The same, with what it says of bad input."""
        self.executed.add(name)
        whole = self.counts.ask(name, caller, self.operations[name], variables)
        assert "errors" not in whole, whole["errors"]
        answers = whole["data"]
        return next(iter(answers.values())) if len(answers) == 1 else answers

    def follow(self, name: str, caller: Caller, /, **variables: Any) -> Iterator[dict[str, Any]]:
        """What a subscription of the page says, over WebSocket."""
        self.executed.add(name)
        self.counts.first_event(name, caller, self.operations[name], variables)
        client = GraphQLClient(f"{caller.base}/graphql", caller.token)
        return client.subscribe(self.operations[name], **variables)
