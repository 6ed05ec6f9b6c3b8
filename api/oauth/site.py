"""What all endpoints share: settings, where we are, forms, cookies, who is signed in in this browser, buckets.

Threats: forms sent by other sites (each carries a text that only this browser's cookie gives, and the `Origin` must be
ours); a cookie planted before sign-in (each sign-in makes a new one); parameters given twice and read differently
(refused).
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response

from core.errors import BadInput, Forbidden, Unavailable
from core.oauth_records import ATTEMPT_LIFE, BROWSER_LIFE, Session
from core.records import User
from core.secret_values import hashed, new_secret
from core.sign_in import SignIn
from core.urls import parts_of
from graphql_schema.context import Services

from ..rate import address_of
from ..settings import Settings
from ..tokens import Tokens

if TYPE_CHECKING:
    from .providers import Providers

FORM_TYPE = "application/x-www-form-urlencoded"
MAX_FIELDS = 40


@dataclass(frozen=True)
class Site:
    """The parts that endpoints work with, kept in the app's state."""

    settings: Settings
    tokens: Tokens
    providers: Providers

    @property
    def secure(self) -> bool:
        """Whether browsers reach us by https."""
        return (self.settings.public_url or "").startswith("https://")

    def cookie(self, name: str) -> str:
        """The name of a cookie; with https, browsers let nobody but this host set it."""
        return f"__Host-oa_{name}" if self.secure else f"oa_{name}"

    def link_url(self, method: str) -> str:
        """Where a person links a provider (or `email`) to their account; raises `NotFound` for an unknown one."""
        if method != "email" or self.providers.mail is None:
            self.providers.get(method)
        return f"{self.settings.public_url or ''}/account/link/{method}"


def site_of(request: Request) -> Site:
    """The site of this app."""
    return cast(Site, request.app.state.site)


def services_of(request: Request) -> Services:
    """The services that the app opened at its start."""
    return cast(Services, request.app.state.services)


def auth_of(request: Request) -> SignIn:
    """What sign-in stores."""
    return services_of(request).auth


def base_of(request: Request) -> str:
    """Our address as others see it, which is also our issuer. Embedded, without one set, it is as it was asked for.

    Raises:
        Unavailable: production was not told.
    """
    site = site_of(request)
    if site.settings.public_url:
        return site.settings.public_url
    if not site.settings.embedded:
        raise Unavailable("sign-in by browser is off: OA_PUBLIC_URL is not set")
    return str(request.base_url).rstrip("/")


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form, or of a client's request; each once.

    Raises:
        BadInput: it is no form, or a field comes twice.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM_TYPE:
        raise BadInput(f"content-type must be {FORM_TYPE}")
    return fields_of((await request.body()).decode("utf-8", "replace"))


def fields_of(text: str) -> dict[str, str]:
    """The fields of a query or form; those without a value are left out, as OAuth wants it."""
    try:
        pairs = [(name, value) for name, value in parse_qsl(text, max_num_fields=MAX_FIELDS) if value]
    except ValueError as error:
        raise BadInput(f"there are more than {MAX_FIELDS} parameters") from error
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise BadInput("a parameter is given twice; each may be given once")
    return fields


async def page_form(request: Request) -> dict[str, str]:
    """The fields of one of our own pages' forms.

    Raises:
        Forbidden: another site sent it, or the page is older than the browser's cookie.
    """
    origin, fields = request.headers.get("origin"), await form_of(request)
    if origin is not None and origin != "null" and not _of_ours(request, origin):
        raise Forbidden("this form was sent from another site")
    if not hmac.compare_digest(fields.get("csrf", "").encode(), csrf_of(request).encode()):
        raise Forbidden("this page is too old, or cookies are off; load it again")
    return fields


def _of_ours(request: Request, origin: str) -> bool:
    """Whether a page of ours sent it."""
    sent_from, public = parts_of(origin), parts_of(base_of(request))
    ours = (request.headers.get("host"), public.netloc if public else None)
    return sent_from is not None and sent_from.netloc in ours


def csrf_of(request: Request) -> str:
    """The text that our forms carry: it follows from this browser's cookies, which no other site can read."""
    return hashed(f"csrf|{_cookie(request, 'session')}|{browser_of(request)}")


def _cookie(request: Request, name: str) -> str:
    return request.cookies.get(site_of(request).cookie(name), "")


def browser_of(request: Request) -> str:
    """The text by which this browser is known before anybody signs in; made now, where it has none yet."""
    known = _cookie(request, "browser")
    if len(known) == len(new_secret()):
        return known
    if not hasattr(request.state, "browser"):
        request.state.browser = new_secret()
    return cast(str, request.state.browser)


def keep_browser(request: Request, response: Response) -> None:
    """Give the browser its text, for as long as a sign-in may take."""
    _set_cookie(request, response, "browser", browser_of(request), ATTEMPT_LIFE // 1000)


def _set_cookie(request: Request, response: Response, name: str, value: str, seconds: int) -> None:
    site = site_of(request)
    response.set_cookie(
        site.cookie(name), value, max_age=seconds, path="/", secure=site.secure, httponly=True, samesite="lax"
    )


async def session_of(request: Request) -> tuple[Session, User] | None:
    """Who is signed in in this browser, by which session; None where nobody is."""
    auth = auth_of(request)
    session = await auth.sessions.of_browser(_cookie(request, "session") or None)
    if session is None:
        return None
    user = (await auth.accounts.get_many([session.user_id])).get(session.user_id)
    return None if user is None or user.deleted or not user.enabled else (session, user)


async def sign_in_browser(request: Request, response: Response, user: User) -> None:
    """Begin a session of this browser, with a new cookie; the one before ends."""
    auth = auth_of(request)
    before = await auth.sessions.of_browser(_cookie(request, "session") or None)
    if before is not None:
        await auth.sessions.revoke(before.id)
    _, value = await auth.sessions.open_browser(user.id, request.headers.get("user-agent", ""))
    _set_cookie(request, response, "session", value, BROWSER_LIFE // 1000)
    _set_cookie(request, response, "browser", "", 0)


async def sign_out_browser(request: Request, response: Response) -> None:
    """End the session of this browser, if there is one."""
    session = await auth_of(request).sessions.of_browser(_cookie(request, "session") or None)
    if session is not None:
        await auth_of(request).sessions.revoke(session.id)
    _set_cookie(request, response, "session", "", 0)


async def take(request: Request, action: str, caller: str | None = None) -> None:
    """Take one token of a bucket, by address where no caller is named; raises `TooMany` where there is none."""
    rates = services_of(request).rates
    if rates is not None:
        await rates.take(caller or address_of(request), action)
