"""What people say about messages outside of tasks, out of the document store: reports and free labels.

Apart from the trees, whose labels they do not touch.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import orjson
from pymongo.errors import PyMongoError

from core.anonymise import Anonymiser
from core.database import Database, Document, aware, unavailable
from core.free_labels import FreeLabels
from core.opinions import Report
from core.targets import lines_writer
from core.tree_reading import in_order

Out = str | Path | IO[bytes]


async def export_reports(database: Database, out: Out, *, anonymiser: Anonymiser | None = None) -> int:
    """Write all reports, oldest first, one object a line; returns how many.

    Raises:
        BadInput: `out` cannot be written.
    """

    def shown(document: Document) -> dict[str, Any]:
        report = Report.from_document(document)
        reason = report.reason if anonymiser is None else anonymiser.text(report.reason)
        return _about(report, anonymiser) | {"reason": reason, "processed": report.processed}

    return await _export(database, "reports", out, shown)


async def export_free_labels(database: Database, out: Out, *, anonymiser: Anonymiser | None = None) -> int:
    """Write all free labels, oldest first, one object a line; returns how many. Errors as those of `export_reports`."""

    def shown(document: Document) -> dict[str, Any]:
        given = FreeLabels.from_document(document)
        return _about(given, anonymiser) | {"labels": given.labels}

    return await _export(database, "free_labels", out, shown)


def _about(said: Report | FreeLabels, anonymiser: Anonymiser | None) -> dict[str, Any]:
    """Of what, by whom, when."""
    created = said.created_at.isoformat()
    if anonymiser is None:
        names: list[str | None] = [said.message_id, said.tree_id, said.user_id, created]
    else:
        names = [
            anonymiser.message_id(said.message_id), anonymiser.message_id(said.tree_id),
            anonymiser.user_id(said.user_id), anonymiser.date(created),
        ]  # fmt: skip
    return dict(zip(("message_id", "message_tree_id", "user_id", "created_date"), names, strict=True))


async def _export(database: Database, name: str, out: Out, shown: Callable[[Document], dict[str, Any]]) -> int:
    count = 0
    try:
        with lines_writer(out, name.replace("_", " ")) as stream:
            async for document in in_order(aware(database), name, "by_time"):
                stream.write(orjson.dumps(shown(document), option=orjson.OPT_APPEND_NEWLINE))
                count += 1
    except PyMongoError as error:
        raise unavailable(error) from error
    return count
