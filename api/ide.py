"""The page that a browser gets at the API's address: an editor, the schema, a way to sign in.

It is GraphiQL (`graphiql.html`) where its files are, else a small page of ours, whole in itself (`ide.html`). Both
sign in by the same script (`ide_client.js`) and load nothing from elsewhere: they work without a network, and no other
site's scripts run where tokens are.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from html import escape
from pathlib import Path

from starlette.responses import HTMLResponse

from . import graphiql

BESIDE = Path(__file__).parent
PLACES = {"script": "// ide_client.js\n", "files": "<!-- files -->\n", "nonce": "NONCE"}
"""What stands in the pages where something is put in."""


class Ide:
    """The page of one app.

    Args:
        development: whether one may sign in by a name alone.
        client: as which client the page signs people in; None: it does not.
        with_graphiql: whether GraphiQL's files are served.
    """

    def __init__(self, development: bool, client: str | None, with_graphiql: bool) -> None:
        text = (BESIDE / ("graphiql.html" if with_graphiql else "ide.html")).read_text("utf-8")
        text = text.replace(PLACES["script"], (BESIDE / "ide_client.js").read_text("utf-8"))
        text = text.replace(PLACES["files"], "".join(f"{_loaded(name)}\n" for name in graphiql.SHA256))
        # Hashes before values: no value of a setting may become a script that is allowed.
        self._policy = _policy(text, with_graphiql)
        for name, value in (("development", "yes" if development else ""), ("client", client or "")):
            text = text.replace(f'<meta name="{name}" content="">', f'<meta name="{name}" content="{escape(value)}">')
        self._text = text

    def response(self) -> HTMLResponse:
        """The page with its policy, and in both a nonce of this answer alone."""
        nonce = secrets.token_urlsafe(16)
        policy = self._policy.replace(PLACES["nonce"], nonce)
        text = self._text.replace(f'<style nonce="{PLACES["nonce"]}">', f'<style nonce="{nonce}">')
        return HTMLResponse(text, headers={"content-security-policy": policy})


def _policy(text: str, with_graphiql: bool) -> str:
    """The content security policy of a page: what is in it, this API, and nothing else.

    GraphiQL's own files come from this origin besides; its fonts are in its style sheet, and what keeps the page from
    scrolling under a dialog is a style element of its script's making, which takes the nonce of the page's.
    """
    scripts, styles = (_hashes(name, text) for name in ("script", "style"))
    allowed = (
        f"script-src 'self' {scripts}; style-src 'self' 'nonce-{PLACES['nonce']}'; font-src data:"
        if with_graphiql
        else f"script-src {scripts}; style-src {styles}"
    )
    return (
        f"default-src 'none'; {allowed}; connect-src 'self'; img-src 'self' data:; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    )


def _hashes(name: str, text: str) -> str:
    """The sources that allow the elements `name` that stand in a page."""
    found = re.findall(rf"<{name}>(.*?)</{name}>", text, re.DOTALL)
    digests = (base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in found)
    return " ".join(f"'sha256-{digest}'" for digest in digests)


def _loaded(name: str) -> str:
    """The element that loads one of GraphiQL's files."""
    where, held = graphiql.address(name), graphiql.integrity(name)
    if name.endswith(".css"):
        return f'<link rel="stylesheet" href="{where}" integrity="{held}">'
    return f'<script src="{where}" integrity="{held}"></script>'
