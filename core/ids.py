"""Identifiers and hashes: UUIDv7 strings, canonical JSON, content hashes. Pure, but for the clock and randomness."""

from __future__ import annotations

import hashlib
import os
import threading
import time
import uuid
from typing import Any

import orjson

_STEP_BYTES = 4
_last = 0
"""The last id's time and random bits: 48 and 74 of them."""
_lock = threading.Lock()


def new_id() -> str:
    """A UUIDv7 (RFC 9562) as text: 48 bits of milliseconds, then 74 random bits, so ids sort by time of making.

    Those of one process sort in their order even within a millisecond: the random part then goes on from the last one
    by a random step (section 6.2, method 2), as it does where the clock was set back.
    """
    global _last
    fresh = (time.time_ns() // 1_000_000 << 74) | int.from_bytes(os.urandom(10)) >> 6
    with _lock:
        _last = value = max(fresh, _last + 1 + int.from_bytes(os.urandom(_STEP_BYTES)))
    head, middle, tail = value >> 74, value >> 62 & 0xFFF, value & (1 << 62) - 1
    return str(uuid.UUID(int=head << 80 | 0x7 << 76 | middle << 64 | 0x2 << 62 | tail))


def canonical_json(value: Any) -> bytes:
    """UTF-8 JSON with sorted keys and no spaces: equal values give equal bytes. Datetimes become RFC 3339."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def sha256_hex(data: bytes) -> str:
    """SHA-256 of `data`, 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def content_hash(value: Any) -> str:
    """SHA-256 of the canonical JSON of `value`, 64 hexadecimal digits."""
    return sha256_hex(canonical_json(value))


def short_hash(value: Any) -> str:
    """The first 12 hexadecimal digits of `content_hash(value)`: a version name, not a security measure."""
    return content_hash(value)[:12]
