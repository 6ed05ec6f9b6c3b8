"""How alike two texts are, from a short sketch of each: one-permutation MinHash over runs of characters. Pure.

A sketch has `BUCKETS` places. Every run of `RUN` characters (case and spaces evened out, so languages without spaces
are as good as others) falls into one place by its hash; the place keeps the least hash, of which 8 bits are stored
(Li, Owen, Zhang, "One Permutation Hashing", 2012; Li, König, "b-Bit Minwise Hashing", 2010). The part of places on
which two sketches agree estimates the part of runs that the texts share (Jaccard). `bands` are keys by which alike
texts find each other: two texts that share nine runs in ten share at least one of them in 99 of 100 cases.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from operator import eq

RUN = 5
"""Characters of one run."""
BUCKETS = 64
"""Places of a sketch."""
BANDS = 8
"""Keys of a text."""
PER_BAND = 4
"""Places that one key is made of."""
EMPTY = -1
DIGITS = {EMPTY: "--"} | {value: f"{value:02x}" for value in range(256)}
"""A place's value -> how it is stored."""
VALUES = {digits: value for value, digits in DIGITS.items()}


def evened(text: str) -> str:
    """The text in lower case, with single spaces."""
    return " ".join(text.casefold().split())


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


def bands(sketched: Sequence[int]) -> tuple[str, ...]:
    """Keys of a sketch; of a short text fewer, since a key of empty places would be everybody's."""
    found = []
    for number in range(BANDS):
        part = sketched[number * PER_BAND : (number + 1) * PER_BAND]
        if sum(value != EMPTY for value in part) >= PER_BAND // 2:
            found.append(f"{number}|" + ".".join(str(value) for value in part))
    return tuple(found)


def packed(sketched: Sequence[int]) -> str:
    """The sketch as text: two hexadecimal digits a place, `--` for an empty one."""
    return "".join(map(DIGITS.__getitem__, sketched))


def unpacked(text: str) -> tuple[int, ...]:
    """The sketch that `packed` made."""
    return tuple([VALUES[text[at : at + 2]] for at in range(0, len(text), 2)])
