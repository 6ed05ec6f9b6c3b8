"""One JSON object a line on standard error: time, level, logger, message, and named fields. Never a token or a body.

Every line that is written while a request is answered carries its id, and its trace's where the caller sent one. What
looks like a secret is taken out of the finished line (`redaction`); a line has at most `LONGEST` characters.
"""

from __future__ import annotations

import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime

import orjson

from .redaction import redacted

LONGEST = 16_000
REQUEST: ContextVar[dict[str, str] | None] = ContextVar("request", default=None)
"""`request_id`, and `trace_id` where there is one, of the request that is being answered."""


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON; `extra={"fields": {...}}` adds fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage()[: LONGEST // 4],
            **(REQUEST.get() or {}),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info).splitlines()[-20:]
        text = redacted(orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode())
        if len(text) <= LONGEST:
            return text
        cut = {name: line[name] for name in ("ts", "level", "logger")} | {"cut": text[: LONGEST // 2]}
        return orjson.dumps(cut).decode()


def configure(level: str) -> None:
    """Send this project's loggers (`oa.*`) and the server's to standard error as JSON lines, once.

    The server's access log stays off: it holds addresses with their queries.
    """
    logging.getLogger("oa").setLevel(level)
    logging.getLogger("uvicorn.access").disabled = True
    for name in ("oa", "uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        if not any(isinstance(each.formatter, JsonLines) for each in logger.handlers):
            handler = logging.StreamHandler(sys.stderr)
            handler.setFormatter(JsonLines())
            logger.handlers = [handler]
            logger.propagate = False
