"""Taking URLs apart that others wrote. Pure."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit


def parts_of(url: str) -> SplitResult | None:
    """The parts of `url`; None for what is none, such as `https://[` or a port that is no number below 65,536."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # read when it is asked for, and not before
    except ValueError:
        return None
    return parts
