"""How many commands the document store gets for each operation of a running API, and the ceilings that hold them.

The API under test says which request sent a command by the name of the request (`X-Request-Id`), so that what runs in
the background is not counted. The ceilings stand in command_ceilings.json: what was counted and a quarter more; of
mutations a half and two more, since what they set off depends on who else works at that moment. An operation that needs
more than its ceiling fails its test; whoever has a reason raises the ceiling, in sight of all.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch
from uuid import uuid4

from pymongo.monitoring import CommandStartedEvent
from running_api import Caller

from api.commands import Commands
from api.logs import REQUEST

CEILINGS: dict[str, dict[str, int]] = json.loads(Path(__file__).with_name("command_ceilings.json").read_text("utf-8"))


@dataclass
class Counts:
    """Commands by request, and the highest number of each operation.

    Attributes:
        highest: by the operation's name.
    """

    highest: Counter[str] = field(default_factory=Counter)
    commands: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def ask(self, name: str, caller: Caller, document: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        """The whole answer to an operation, whose commands are counted under `name`."""
        request = uuid4().hex
        answer: dict[str, Any] = caller.post(document, dict(variables), x_request_id=request).json()
        self._note(name, request)
        return answer

    def first_event(self, name: str, caller: Caller, document: str, variables: Mapping[str, Any]) -> None:
        """Count what a subscription takes until its first event."""
        request = uuid4().hex
        headers = {**caller.headers, "accept": "text/event-stream", "x-request-id": request}
        body = {"query": document, "variables": dict(variables)}
        with caller.http.stream("POST", f"{caller.base}/graphql", json=body, headers=headers) as response:
            first = next(line for line in response.iter_lines() if line.startswith("data: {"))
        assert not json.loads(first[6:]).get("errors"), first
        self._note(name, request)

    def _note(self, name: str, request: str) -> None:
        self.highest[name] = max(self.highest[name], len(self.commands.pop(request, ())))

    def check(self, page: str) -> None:
        """Fail where an operation needed more commands than its ceiling, has none, or there is one of no operation."""
        ceilings = CEILINGS[page]
        high = {name: count for name, count in self.highest.items() if count > ceilings.get(name, -1)}
        assert high == {}, f"above the ceilings of {page!r} in command_ceilings.json: {json.dumps(high)}"
        assert set(ceilings) == set(self.highest)


@contextmanager
def counting() -> Iterator[Counts]:
    """Counts the commands of every API that is started within."""
    counts = Counts()

    class Counting(Commands):
        def started(self, event: CommandStartedEvent) -> None:
            if (request := REQUEST.get()) is not None:
                target = event.command.get(event.command_name)
                counts.commands[request["request_id"]].append(f"{event.command_name} {target}")
            super().started(event)

    with patch("api.services.Commands", Counting):
        yield counts
