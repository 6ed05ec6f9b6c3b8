"""Identifiers and hashes: UUIDv7 strings, canonical JSON, content hashes. Pure, but for the clock and randomness."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from typing import Any

import orjson


def new_id() -> str:
    """A UUIDv7 (RFC 9562) as text: 48 bits of milliseconds, then 74 random bits, so ids sort by time of making."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds << 80) | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | (0x7 << 76)
    value = value & ~(0x3 << 62) | (0x2 << 62)
    return str(uuid.UUID(int=value))


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
