"""People's reports of messages, out of the document store: apart from the trees, whose labels they do not touch."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import orjson
from pymongo.errors import PyMongoError

from core.anonymise import Anonymiser
from core.database import Database, aware, unavailable
from core.jsonl import writer
from core.records import Report


async def export_reports(
    database: Database, out: str | Path | IO[bytes], *, anonymiser: Anonymiser | None = None
) -> int:
    """Write all reports, oldest first, one object a line; returns how many.

    Raises:
        BadInput: `out` cannot be written.
    """
    count = 0
    try:
        with writer(out) as stream:
            async for document in aware(database)["reports"].find().sort("by_time"):
                report = Report.from_document(document)
                value = {
                    "message_id": report.message_id,
                    "message_tree_id": report.tree_id,
                    "user_id": report.user_id,
                    "reason": report.reason,
                    "processed": report.processed,
                    "created_date": report.created_at.isoformat(),
                }
                if anonymiser is not None:
                    value |= {
                        "message_id": anonymiser.message_id(report.message_id),
                        "message_tree_id": anonymiser.message_id(report.tree_id),
                        "user_id": anonymiser.user_id(report.user_id),
                        "reason": anonymiser.text(report.reason),
                        "created_date": anonymiser.date(report.created_at.isoformat()),
                    }
                stream.write(orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE))
                count += 1
    except PyMongoError as error:
        raise unavailable(error) from error
    return count
