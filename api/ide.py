"""The page that a browser gets at the API's address in embedded mode: an editor, the schema, a way to sign in.

It is ours and whole (`ide.html`), loading nothing from elsewhere: it works without a network, and no other site's
scripts run where tokens are.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path


@cache
def page() -> str:
    """The page's HTML."""
    return Path(__file__).with_name("ide.html").read_text("utf-8")
