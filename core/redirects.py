"""Where a browser may be sent after sign-in: rules of redirect URIs. Pure.

Threat: a code or a person sent to somebody else's page. So a redirect URI must be, character for character, one that
was registered; only the port of a loopback address may differ, as native apps learn theirs late (RFC 8252, 7.3).
"""

from __future__ import annotations

import re

from core.errors import BadInput
from core.urls import parts_of

LOOPBACK = ("127.0.0.1", "[::1]")
"""Hosts whose port may differ; `localhost` is a name, which a machine may give to another address (RFC 8252, 8.3)."""
MAX_URI = 2_000
LOOPBACK_URI = re.compile(r"(http://(?:127\.0\.0\.1|\[::1\]))(?::(\d{1,5}))?(/[^#]*)?")
PRIVATE_SCHEME = re.compile(r"[a-z][a-z0-9+-]*(\.[a-z0-9+-]+)+")
"""Schemes of native apps are reversed domain names (RFC 8252, 7.1)."""
FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\uffff\\*#]")
NOT_IN_A_PATH = re.compile(r"[\x00-\x20\x7f-\uffff\\#]")
LOCAL_PATHS = ("/oauth/authorize", "/device", "/account")
"""Pages of ours to which somebody may come back after signing in."""


def check_redirect_uri(uri: str) -> str:
    """`uri`, if it may be registered.

    Raises:
        BadInput: it is neither https, nor http on loopback, nor a private scheme with a dot; or it has a fragment, a
            wildcard, user information, a step to a parent folder, an impossible host or port, or characters that belong
            escaped.
    """
    path = ("redirect_uris",)
    if not uri or len(uri) > MAX_URI or FORBIDDEN.search(uri):
        raise BadInput(f"redirect URI {uri[:80]!r} has a fragment, a wildcard or a character to be escaped", path=path)
    parts = parts_of(uri)
    if parts is None:
        raise BadInput(f"redirect URI {uri[:80]!r} has a host or port that cannot be one", path=path)
    if ".." in parts.path.split("/") or "@" in parts.netloc or "%2e%2e" in uri.lower():
        raise BadInput(f"redirect URI {uri[:80]!r} has user information or '..'; it must have neither", path=path)
    if (parts.scheme == "https" and parts.hostname) or LOOPBACK_URI.fullmatch(uri):
        return uri
    if parts.scheme not in ("http", "https") and PRIVATE_SCHEME.fullmatch(parts.scheme):
        return uri
    raise BadInput(
        f"redirect URI {uri[:80]!r} must be https://..., http://127.0.0.1/..., http://[::1]/... or a private scheme "
        "such as org.example.app:/callback",
        path=path,
    )


def is_registered(uri: str, registered: tuple[str, ...]) -> bool:
    """Whether `uri` is one of those registered: the same text, or the same loopback address with another port."""
    return uri in registered or any(_same_but_port(uri, one) for one in registered)


def is_site(uri: str) -> bool:
    """Whether a redirect URI leads to a site, which nobody else can answer for, and not to a program on a machine."""
    return uri.startswith("https://")


def _same_but_port(uri: str, registered: str) -> bool:
    given, known = LOOPBACK_URI.fullmatch(uri), LOOPBACK_URI.fullmatch(registered)
    if given is None or known is None or FORBIDDEN.search(uri):
        return False
    port = given[2]
    return (given[1], given[3]) == (known[1], known[3]) and (port is None or 0 < int(port) < 65_536)


def local_page(path: str | None) -> str | None:
    """`path` with its query, if it is a page of ours to come back to; else None.

    Only a path that begins with one of `LOCAL_PATHS` whole: `//elsewhere`, `/\\elsewhere` and full URLs are not.
    """
    if not path or len(path) > 8_000 or NOT_IN_A_PATH.search(path):
        return None
    name = path.partition("?")[0]
    known = any(name == page or name.startswith(f"{page}/") for page in LOCAL_PATHS)
    return path if known and ".." not in name and "//" not in name else None
