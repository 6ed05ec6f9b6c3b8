"""Watches commands to the document store: how long each took, and a span for it where traces are taken.

Names only: a command's contents can be people's texts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

if TYPE_CHECKING:
    from .metrics import Metrics
    from .tracing import Tracing

KNOWN = frozenset(
    {"aggregate", "bulkWrite", "count", "createIndexes", "delete", "distinct", "endSessions", "find", "findAndModify",
     "getMore", "hello", "insert", "killCursors", "ping", "update"}
)  # fmt: skip


class Commands(CommandListener):
    """Tells metrics and traces of each command."""

    def __init__(self, metrics: Metrics, tracing: Tracing | None) -> None:
        self._metrics = metrics
        self._tracing = tracing
        self._spans: dict[int, Any] = {}

    def started(self, event: CommandStartedEvent) -> None:
        """A command goes out."""
        if self._tracing is not None:
            target = event.command.get(event.command_name)
            name = target if isinstance(target, str) else ""
            span = self._tracing.database(event.command_name, event.database_name, name)
            self._spans[event.request_id] = span

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Its answer came."""
        self._ended(event, True)

    def failed(self, event: CommandFailedEvent) -> None:
        """It failed."""
        self._ended(event, False)

    def _ended(self, event: CommandSucceededEvent | CommandFailedEvent, ok: bool) -> None:
        name = event.command_name if event.command_name in KNOWN else "other"
        self._metrics.command(name, ok, event.duration_micros / 1e6)
        if (span := self._spans.pop(event.request_id, None)) is not None:
            span.set_attribute("error", not ok)
            span.end()
