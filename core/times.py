"""Times as records keep them: aware, in UTC, in whole milliseconds; and keys that sort by them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def now() -> datetime:
    """The present, aware, in UTC, cut to milliseconds."""
    present = datetime.now(UTC)
    return present.replace(microsecond=present.microsecond // 1000 * 1000)


def milliseconds(when: datetime) -> int:
    """Whole milliseconds since 1970."""
    return (when - _EPOCH) // _MILLISECOND


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def time_key(when: datetime, identity: str) -> str:
    """A text that sorts by time, then by id: 15 digits of milliseconds since 1970, `|`, the id."""
    return f"{milliseconds(when):015d}|{identity}"


def moment(value: datetime | str) -> datetime:
    """A stored time, aware.

    The embedded document store turns a datetime that an update sets into text without a zone (in UTC); so no query
    compares datetimes, the ordered keys hold milliseconds, and every read goes through here.
    """
    read = datetime.fromisoformat(value) if isinstance(value, str) else value
    return read if read.tzinfo is not None else read.replace(tzinfo=UTC)
