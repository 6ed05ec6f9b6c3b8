"""What the rate limits mean to an HTTP client: by what address it is counted, and the headers that say what is left."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Any

from starlette.requests import HTTPConnection

if TYPE_CHECKING:
    from core.rates import Verdict

HEADERS = ("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "ratelimit-policy")
"""Of the bucket that is nearest to its end (the IETF's draft "RateLimit header fields", its first form)."""


def address_of(connection: HTTPConnection) -> str:
    """The address by which an anonymous caller is counted.

    Where the connection comes from; behind a proxy, what those say that `OA_TRUSTED_PROXIES` names, and nobody else: a
    header that anyone can send would make any number of callers of one. An IPv6 caller is counted by its /64, of which
    one subscriber has all.
    """
    return _counted_as(connection.client.host if connection.client is not None else "")


@lru_cache(maxsize=4096)
def _counted_as(host: str) -> str:
    try:
        address = ip_address(host)
    except ValueError:
        return f"address:{host[:64]}"
    if not isinstance(address, IPv6Address):
        return f"address:{address}"
    if address.ipv4_mapped is not None:
        return f"address:{address.ipv4_mapped}"
    return f"address:{ip_network((address, 64), strict=False)}"


def rate_headers(verdicts: Sequence[Verdict], errors: Sequence[Any]) -> dict[str, str]:
    """Headers of an answer: `Retry-After` where an error says when, and what is left in the bucket nearest its end."""
    headers: dict[str, str] = {}
    waits = [wait for error in errors if (wait := error.get("extensions", {}).get("retryAfter")) is not None]
    if waits:
        headers["retry-after"] = str(math.ceil(max(waits)))
    if verdicts:
        nearest = min(verdicts, key=lambda verdict: verdict.remaining / verdict.rate.count)
        values = (nearest.rate.count, nearest.remaining, math.ceil(nearest.reset))
        headers |= dict(zip(HEADERS, map(str, values), strict=False))
        headers["ratelimit-policy"] = f"{nearest.rate.count};w={nearest.rate.seconds:g};name={nearest.action}"
    return headers
