"""Where people may sign in: providers from a JSON file, letters by e-mail, and bare names in embedded mode.

{"providers": [
  {"id": "google", "kind": "oidc", "name": "Google", "issuer": "https://accounts.google.com",
   "client_id": "...", "client_secret_env": "GOOGLE_SECRET"},
  {"id": "github", "kind": "github", "client_id": "...", "client_secret": "..."},
  {"id": "discord", "kind": "discord", "client_id": "...", "client_secret": "..."}]}
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from core.errors import BadInput, NotFound

from ..settings import Settings
from .mail import Mail, mail_of

KINDS = ("oidc", "github", "discord")
BASES = {"github": "https://github.com", "discord": "https://discord.com"}
NAMES = {"github": "GitHub", "discord": "Discord"}
RESERVED = ("email", "development", "service")
"""Ways to sign in that are no providers."""
SAFE_URL = re.compile(r"https://[^\s?#@]+|http://(127\.0\.0\.1|\[::1\]|localhost)(:\d+)?(/[^\s?#@]*)?")


@dataclass(frozen=True, kw_only=True)
class Provider:
    """Somebody who says who people are.

    Attributes:
        id: part of addresses, and of the identities that it gives: it stays as it is for ever.
        kind: of `KINDS`.
        name: what people are shown.
        client_id, client_secret: of us, there.
        issuer: of OpenID Connect; discovery starts from it.
        base_url: where GitHub or Discord is; another one in tests and for GitHub Enterprise.
        api_url: GitHub's API; `base_url` with `/api/v3` for GitHub Enterprise.
        scope: what is asked for there.
    """

    id: str
    kind: str
    client_id: str
    name: str = ""
    client_secret: str | None = field(default=None, repr=False)
    issuer: str = ""
    base_url: str = ""
    api_url: str = "https://api.github.com"
    scope: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,30}", self.id) or self.id in RESERVED:
            raise BadInput(f"provider id {self.id!r} must be small letters, digits and dashes, not {RESERVED}")
        if self.kind not in KINDS:
            raise BadInput(f"provider {self.id!r}: kind is {self.kind!r}; it must be one of {', '.join(KINDS)}")
        if not self.client_id:
            raise BadInput(f"provider {self.id!r}: client_id is missing")
        for name, url in (("issuer" if self.kind == "oidc" else "base_url", self.home), ("api_url", self.api_url)):
            if not SAFE_URL.fullmatch(url):
                raise BadInput(f"provider {self.id!r}: {name} is {url!r}; it must be https://... without a query")

    @property
    def home(self) -> str:
        """The issuer of OpenID Connect, or the base address of the others."""
        return self.issuer if self.kind == "oidc" else self.base_url or BASES[self.kind]

    @property
    def label(self) -> str:
        """The name that people are shown."""
        return self.name or NAMES.get(self.kind) or self.id.title()


@dataclass(frozen=True)
class Providers:
    """Every way to sign in here.

    Attributes:
        by_id: the providers, in the order of the file.
        mail: sends letters; None where there are none.
        development: names without passwords are taken.
    """

    by_id: Mapping[str, Provider]
    mail: Mail | None = None
    development: bool = False

    def get(self, provider_id: str) -> Provider:
        """The provider of that id; raises `NotFound`."""
        if provider_id not in self.by_id:
            raise NotFound(f"there is no sign-in with {provider_id[:40]!r} here")
        return self.by_id[provider_id]

    def label(self, method: str) -> str:
        """What people are shown of an identity's way to sign in."""
        if method in self.by_id:
            return self.by_id[method].label
        return {"email": "E-mail", "development": "Name (development)"}.get(method, method)


def providers_of(settings: Settings) -> Providers:
    """The ways to sign in that the settings name; raises `BadInput` where something is wrong with them."""
    path = settings.sign_in_file
    known = {} if path is None else read_providers(path, embedded=settings.embedded)
    return Providers(known, mail_of(settings), settings.embedded)


def read_providers(
    path: Path, *, embedded: bool = False, environ: Mapping[str, str] = os.environ
) -> dict[str, Provider]:
    """The providers of a file.

    Raises:
        BadInput: it cannot be read, is of another form, or holds secrets that others on the machine can read.
    """
    try:
        listed, mode = json.loads(path.read_text("utf-8"))["providers"], path.stat().st_mode & 0o077
        providers = [_provider(dict(one), environ) for one in listed]
    except (OSError, ValueError, TypeError, KeyError) as error:
        form = 'it must be {"providers": [{"id", "kind", "client_id", ...}]}'
        raise BadInput(f"OA_SIGN_IN_FILE is {str(path)!r}, which cannot be used: {error}; {form}") from error
    if mode and not embedded and any("client_secret" in one for one in listed):
        raise BadInput(f"OA_SIGN_IN_FILE {str(path)!r} holds secrets and can be read by others: chmod 600 it")
    by_id = {provider.id: provider for provider in providers}
    if len(by_id) != len(providers):
        raise BadInput(f"OA_SIGN_IN_FILE {str(path)!r} names a provider twice")
    return by_id


def _provider(given: dict[str, Any], environ: Mapping[str, str]) -> Provider:
    if (variable := given.pop("client_secret_env", None)) is not None:
        if not environ.get(variable):
            raise BadInput(f"provider {given.get('id')!r}: its secret's variable {variable} is not set")
        given["client_secret"] = environ[variable]
    known = {one.name for one in fields(Provider)}
    if unknown := sorted(set(given) - known):
        raise BadInput(f"provider {given.get('id')!r} has the unknown field {unknown[0]!r}")
    if not all(isinstance(value, str) for value in given.values()):
        raise BadInput(f"provider {given.get('id')!r}: every field must be a text")
    return Provider(**given)
