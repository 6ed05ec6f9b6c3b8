"""Whether a part answers: a TCP connection, or an HTTP status below 400. Never raises."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from oa.embedded import HOST

Check = Callable[[], Awaitable[bool]]
TIMEOUT = 5.0
"""Seconds after which no answer counts as none."""


def accepts(port: int) -> Check:
    """A check that something accepts connections on `port` of loopback."""

    async def check() -> bool:
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(HOST, port), TIMEOUT)
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True

    return check


def answers(port: int, path: str) -> Check:
    """A check that `GET path` on `port` of loopback answers with a status below 400."""

    async def check() -> bool:
        try:
            return await asyncio.wait_for(_status(port, path), TIMEOUT) < 400
        except (OSError, TimeoutError, ValueError, IndexError):
            return False

    return check


def once(check: Check) -> Check:
    """`check` until it has succeeded, then True for ever: for a part that watches over what it checks by itself."""
    seen = False

    async def latched() -> bool:
        nonlocal seen
        seen = seen or await check()
        return seen

    return latched


async def _status(port: int, path: str) -> int:
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        return int((await reader.readline()).split()[1])
    finally:
        writer.close()
