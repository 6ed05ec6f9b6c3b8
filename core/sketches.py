"""How alike two texts are, from a short sketch of each: one-permutation MinHash over runs of characters. Pure.

A sketch has `BUCKETS` places. Every run of `RUN` characters (case and spaces evened out, so languages without spaces
are as good as others) falls into one place by its hash; the place keeps the least hash, of which 8 bits are stored
(Li, Owen, Zhang, "One Permutation Hashing", 2012; Li, König, "b-Bit Minwise Hashing", 2010). The part of places on
which two sketches agree estimates the part of runs that the texts share (Jaccard). `bands` are keys by which alike
texts find each other: two texts that share the part s of their runs share a key with probability 1 - (1 - p^4)^8, where
p = s + (1 - s) / 256 is that of one place: in 99.98 of 100 cases for s = 0.9, 98.6 for 0.8, 41 for 0.5, and once in 500
million for texts with nothing in common.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import lru_cache
from operator import eq

RUN = 5
"""Characters of one run."""
BUCKETS = 64
"""Places of a sketch."""
BANDS = 8
"""Keys of a text."""
BAND_NAMES = tuple(f"b{number}" for number in range(BANDS))
PER_BAND = 4
"""Places that one key is made of."""
EMPTY = -1
DIGITS = {EMPTY: "--"} | {value: f"{value:02x}" for value in range(256)}
"""A place's value -> how it is stored."""
VALUES = {digits: value for value, digits in DIGITS.items()}


def evened(text: str) -> str:
    """The text in lower case, with single spaces."""
    return " ".join(text.casefold().split())


@lru_cache(maxsize=16)  # a text that comes in is looked up, judged and kept within moments
def sketch(text: str) -> tuple[int, ...]:
    """`BUCKETS` values: 0 to 255, or `EMPTY` where no run fell."""
    even = evened(text)
    least: dict[int, int] = {}
    for run in {even[at : at + RUN] for at in range(max(1, len(even) - RUN + 1))}:
        # CRC-32 of near texts is near; a multiplication by an odd constant (Knuth's) spreads it over all 32 bits.
        value = zlib.crc32(run.encode()) * 2654435761 & 0xFFFFFFFF
        place, rest = value % BUCKETS, value // BUCKETS
        if rest < least.get(place, 1 << 32):
            least[place] = rest
    return tuple(least[place] & 0xFF if place in least else EMPTY for place in range(BUCKETS))


def similarity(one: Sequence[int], other: Sequence[int]) -> float:
    """An estimate of the part of runs that two texts share, from 0 to 1."""
    pairs = list(zip(one, other, strict=True))
    empty = pairs.count((EMPTY, EMPTY))
    if empty == len(pairs):
        return 0.0
    agreed: float = (sum(map(eq, one, other)) - empty) / (len(pairs) - empty)
    return max(0.0, (agreed - 1 / 256) / (1 - 1 / 256))


def bands(sketched: Sequence[int]) -> dict[str, str]:
    """Keys of a sketch by their names, `b0` and so on; of a short text fewer, since a key of empty places would be
    everybody's."""
    found = {}
    for number, name in enumerate(BAND_NAMES):
        part = sketched[number * PER_BAND : (number + 1) * PER_BAND]
        if PER_BAND - part.count(EMPTY) >= PER_BAND // 2:
            found[name] = packed(part)
    return found


def packed(sketched: Sequence[int]) -> str:
    """The sketch as text: two hexadecimal digits a place, `--` for an empty one."""
    return "".join(map(DIGITS.__getitem__, sketched))


def unpacked(text: str) -> tuple[int, ...]:
    """The sketch that `packed` made."""
    return tuple([VALUES[text[at : at + 2]] for at in range(0, len(text), 2)])
