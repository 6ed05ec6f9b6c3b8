"""What must not go into production: settings that are well on one developer's machine and dangerous elsewhere.

All that is wrong is said at once, and the API does not start.
"""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from core.errors import BadInput

if TYPE_CHECKING:
    from .settings import Settings

WELL_KNOWN = frozenset(
    {"", "123456", "admin", "change-me", "changeme", "default", "dev", "development", "example", "mongo", "mongodb",
     "open-assistant", "password", "root", "secret", "test", "toor"}
)  # fmt: skip
"""Words that everybody tries first."""
SHORTEST = 16
"""Characters of a shared key."""
LOCAL = frozenset({"127.0.0.1", "::1", "localhost"})


def insecure(settings: Settings) -> list[str]:
    """A sentence for each setting that production refuses, each with the setting's name first."""
    return [*_addresses(settings), *_keys(settings), *_limits(settings)]


def check_production(settings: Settings) -> None:
    """Raise `BadInput` with everything that production refuses; embedded mode is one developer's machine."""
    if not settings.embedded and (wrong := insecure(settings)):
        raise BadInput(f"{len(wrong)} settings must not go into production: {'; '.join(wrong)}")


def _addresses(settings: Settings) -> list[str]:
    wrong = []
    if settings.public_url and urlsplit(settings.public_url).scheme != "https":
        wrong.append(f"OA_PUBLIC_URL is {settings.public_url!r}; it must be https")
    for origin in settings.cors_origins:
        if origin.startswith("http://"):
            wrong.append(f"OA_CORS_ORIGINS has {origin!r}; each must be https, as others could change its pages")
    if not settings.public_url and not settings.trusted_hosts:
        wrong.append("OA_TRUSTED_HOSTS is not set, nor OA_PUBLIC_URL; one must say which host names this API has")
    if "*" in settings.trusted_hosts:
        wrong.append("OA_TRUSTED_HOSTS has '*'; it must list the names that this API has")
    for proxy in settings.trusted_proxies:
        if ip_network(proxy).prefixlen == 0:
            wrong.append(f"OA_TRUSTED_PROXIES has {proxy!r}, by which anybody may say where they are; name the proxies")
    return wrong


def _keys(settings: Settings) -> list[str]:
    wrong = []
    password = urlsplit(settings.mongodb_uri).password
    if password is not None and unquote(password).lower() in WELL_KNOWN:
        wrong.append("OA_MONGODB_URI has a password that everybody tries first; set one of its own")
    elsewhere = [url for url in settings.serving_urls if urlsplit(url).hostname not in LOCAL]
    if elsewhere and settings.serving_key is None:
        wrong.append(f"OA_SERVING_KEY is not set, while OA_SERVING_URLS has {elsewhere[0]!r}; nodes need a key")
    for name, key in (("OA_SERVING_KEY", settings.serving_key), ("OA_METRICS_KEY", settings.metrics_key)):
        if key is not None and (len(key) < SHORTEST or key.lower() in WELL_KNOWN or len(set(key)) < 6):
            wrong.append(
                f"{name} can be guessed; it must be {SHORTEST} random characters or more (openssl rand -hex 32)"
            )
    return wrong


def _limits(settings: Settings) -> list[str]:
    wrong = []
    if settings.rate_limits == "off":
        wrong.append("OA_RATE_LIMITS is 'off'; anybody could guess and ask without end")
    if settings.log_level == "DEBUG":
        wrong.append("OA_LOG_LEVEL is 'DEBUG'; it writes down more than others may read")
    return wrong
