"""Caches of prompts seen before, in blocks of tokens, so that a shared beginning is computed once.

A block's key is a hash chained over all tokens up to its end: equal keys mean equal beginnings. The blocks used longest
ago are dropped first. A cache belongs to one engine, hence to one model version.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from serving.kv import Cache

BLOCK = 32
"""Tokens of a block."""


class PrefixCache:
    """Blocks of keys and values by the tokens that lead to their end.

    Args:
        budget: bytes to use at most; 0 turns it off.
        bytes_per_token: of the cache.
    """

    def __init__(self, budget: int, bytes_per_token: int) -> None:
        self._most = budget // (bytes_per_token * BLOCK)
        self._blocks: OrderedDict[bytes, NDArray[np.floating]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._blocks)

    def load(self, tokens: Sequence[int], cache: Cache, slot: int) -> int:
        """Fill a slot with the longest known beginning of `tokens`, leaving at least one token to compute.

        Returns:
            How many positions were filled.
        """
        if not self._blocks:
            return 0
        found: list[bytes] = []
        for key in keys(tokens[: len(tokens) - 1]):
            if key not in self._blocks:
                break
            cache.write(slot, len(found) * BLOCK, self._blocks[key])
            found.append(key)
        self._touch(found)
        return len(found) * BLOCK

    def store(self, tokens: Sequence[int], cache: Cache, slot: int) -> None:
        """Keep the whole blocks of a slot that holds `tokens`."""
        if not self._most:
            return
        chain = list(keys(tokens))[: self._most]
        for index, key in enumerate(chain):
            if key not in self._blocks:
                self._blocks[key] = cache.read(slot, index * BLOCK, (index + 1) * BLOCK)
        self._touch(chain)
        while len(self._blocks) > self._most:
            self._blocks.popitem(last=False)

    def _touch(self, chain: Sequence[bytes]) -> None:
        """Mark as just used, the beginning last: the end of a chain is of no use without it, so it goes first."""
        for key in reversed(chain):
            self._blocks.move_to_end(key)


def keys(tokens: Sequence[int]) -> Iterator[bytes]:
    """The key of each whole block of `tokens`, in order."""
    chain = b""
    for start in range(0, len(tokens) - BLOCK + 1, BLOCK):
        block = np.asarray(tokens[start : start + BLOCK], dtype=np.int64).tobytes()
        chain = hashlib.blake2b(chain + block, digest_size=16).digest()
        yield chain
