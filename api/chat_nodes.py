"""Which serving node gets the next reply: least load, then where the chat was before. Pure but for the clock.

Load is what this process sends; a node that fails or says that it is full rests for a while. A chat stays with the
node of its last reply, which has its prefix cached, unless that one is busier than others by `SLACK`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager

from core.errors import BadInput
from core.ids import sha256_hex

SLACK = 2
"""Requests by which a chat's own node may be busier than the least busy one."""
REST_SECONDS = 3.0
"""Rest of a node that failed."""


class Nodes:
    """The serving nodes as this process sees them.

    Args:
        urls: base URLs, such as `http://127.0.0.1:8100`.
        clock: seconds, monotonic.

    Raises:
        BadInput: there is none, or one is no http(s) URL.
    """

    def __init__(self, urls: Sequence[str], clock: Callable[[], float] = time.monotonic) -> None:
        if not urls:
            raise BadInput("no serving node is named; OA_SERVING_URLS must be a comma-separated list of base URLs")
        for url in urls:
            if not url.startswith(("http://", "https://")):
                raise BadInput(f"serving node {url!r} is no URL; it must be like http://127.0.0.1:8100")
        self.load = dict.fromkeys(urls, 0)
        self._rest_until = dict.fromkeys(urls, 0.0)
        self._clock = clock

    def pick(self, chat_id: str, last: str | None, tried: Collection[str] = ()) -> str | None:
        """The node for a reply of `chat_id`; None when all rest or were tried.

        Args:
            chat_id: decides among equals, so that every process chooses alike.
            last: node of the chat's last reply.
            tried: nodes not to pick.
        """
        moment = self._clock()
        ready = [url for url in self.load if url not in tried and self._rest_until[url] <= moment]
        if not ready:
            return None
        least = min(self.load[url] for url in ready)
        if last in ready and self.load[last] <= least + SLACK:
            return last
        return min(ready, key=lambda url: (self.load[url], sha256_hex(f"{chat_id}|{url}".encode())))

    def rest(self, url: str, seconds: float = REST_SECONDS) -> None:
        """Pick `url` no more for `seconds`."""
        self._rest_until[url] = self._clock() + seconds

    @contextmanager
    def using(self, url: str) -> Iterator[None]:
        """Counts a request to `url` while it lasts."""
        self.load[url] += 1
        try:
            yield
        finally:
            self.load[url] -= 1
