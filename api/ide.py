"""The page that a browser gets at the API's address: an editor, the schema, a way to sign in.

It is ours and whole (`ide.html`), loading nothing from elsewhere: it works without a network, and no other site's
scripts run where tokens are.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from html import escape
from pathlib import Path


@cache
def page(development: bool = False, client: str | None = None) -> str:
    """The page's HTML.

    Args:
        development: whether one may sign in by a name alone.
        client: as which client the page signs people in; None: it does not.
    """
    text = Path(__file__).with_name("ide.html").read_text("utf-8")
    for name, value in (("development", "yes" if development else ""), ("client", client or "")):
        text = text.replace(f'<meta name="{name}" content="">', f'<meta name="{name}" content="{escape(value)}">')
    return text


@cache
def policy() -> str:
    """Its content security policy: the script and the styles that are in it, and this API, and nothing else."""
    hashes = {name: re.findall(rf"<{name}>(.*?)</{name}>", page(), re.DOTALL) for name in ("script", "style")}
    allowed = {name: " ".join(f"'sha256-{_hash(text)}'" for text in texts) for name, texts in hashes.items()}
    return (
        f"default-src 'none'; script-src {allowed['script']}; style-src {allowed['style']}; connect-src 'self'; "
        "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
