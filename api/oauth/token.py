"""The token endpoint: a code, a refresh token, a device code or a client's own secret for an access token.

Clients say who they are by `client_id` alone (public ones), with their secret, in the form or by HTTP Basic, or with an
assertion signed by a key of theirs (`client_keys`).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any
from urllib.parse import unquote_plus

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from core.clients import secret_fits
from core.errors import OaError, TooMany, Unauthenticated
from core.ids import new_id
from core.oauth_records import DEVICE_GRANT, Client, Session
from core.records import User
from core.scopes import SERVICE_ONLY, parse_scopes

from .client_keys import ASSERTION_TYPE, BadAssertion, verified
from .errors import NO_STORE, OAuthError, as_oauth, invalid_client
from .site import auth_of, base_of, form_of, services_of, site_of, take

IN_ADDRESS = ("access_token", "refresh_token", "code", "client_secret", "client_assertion", "token", "device_code")


@dataclass(frozen=True)
class Call:
    """A request of a client that is known."""

    request: Request
    client: Client
    form: dict[str, str]

    def need(self, name: str) -> str:
        """The value of a parameter; `invalid_request` where it is missing."""
        if name not in self.form:
            raise OAuthError("invalid_request", f"{name} is missing")
        return self.form[name]


def answers(handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """`handler`, whose errors for the client are in OAuth's form; secrets in the address are refused."""

    @wraps(handler)
    async def answered(request: Request) -> Response:
        try:
            if any(name in request.query_params for name in IN_ADDRESS):
                raise OAuthError("invalid_request", "parameters belong in the body; addresses end up in logs")
            return await handler(request)
        except OAuthError as error:
            return error.response()
        except OaError as error:
            return as_oauth(error).response()
        except Exception as error:
            if (ours := services_of(request).translate(error)) is None:
                raise
            return as_oauth(ours).response()

    return answered


async def call_of(request: Request) -> Call:
    """The client that asks, and its form.

    Raises:
        OAuthError: `invalid_client` where it does not prove who it is.
    """
    form = await form_of(request)
    if "client_assertion" in form or "client_assertion_type" in form:
        proven = await _asserted(request, form)
        await take(request, "token", f"client:{proven.id}")
        return Call(request, proven, form)
    client_id, secret, basic = _credentials(request, form)
    client = await auth_of(request).clients.find(client_id)
    if client is None or not secret_fits(client, secret):
        await take(request, "token")  # guessing secrets is slow
        raise invalid_client("the client is unknown, or its secret is wrong or missing", basic)
    await take(request, "token", f"client:{client.id}" if client.kind == "confidential" else None)
    return Call(request, client, form)


async def _asserted(request: Request, form: dict[str, str]) -> Client:
    """The client whose assertion came in the form, used up by that.

    Raises:
        OAuthError: `invalid_client` where it is not good, or was taken before.
    """
    if form.get("client_assertion_type") != ASSERTION_TYPE:
        raise OAuthError("invalid_request", f"client_assertion_type must be {ASSERTION_TYPE}")
    if "authorization" in request.headers or "client_secret" in form or "client_id" not in form:
        raise OAuthError("invalid_request", "send client_id with the assertion, and no secret and no Authorization")
    clients, base = auth_of(request).clients, base_of(request)
    client = await clients.find(form["client_id"])
    try:
        if client is None or not client.public_keys:
            raise BadAssertion("the client is unknown, or has no keys")
        name, ends = verified(form.get("client_assertion", ""), client, (base, f"{base}/oauth/token"))
        if not await clients.first_use(client.id, name, ends):
            raise BadAssertion("it was sent before")
    except BadAssertion as error:
        await take(request, "token")
        raise invalid_client(f"the assertion is not good: {error}") from error
    return client


def _credentials(request: Request, form: dict[str, str]) -> tuple[str | None, str | None, bool]:
    """Client id, secret, and whether they came by HTTP Basic (RFC 6749, section 2.3.1)."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return form.get("client_id"), form.get("client_secret"), False
    if "client_secret" in form:
        raise OAuthError("invalid_request", "the client's secret is given twice; give it once")
    try:
        name, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, ValueError) as error:
        raise invalid_client("the Authorization header is malformed", True) from error
    if form.get("client_id", unquote_plus(name)) != unquote_plus(name):
        raise OAuthError("invalid_request", "client_id is not that of the Authorization header")
    return unquote_plus(name), unquote_plus(secret), True


@answers
async def token(request: Request) -> Response:
    """Give an access token."""
    call = await call_of(request)
    grant = call.need("grant_type")
    if grant not in GRANTS:
        raise OAuthError("unsupported_grant_type", f"grant_type must be one of: {', '.join(GRANTS)}")
    if grant not in call.client.grants:
        raise OAuthError("unauthorized_client", f"the client is not registered for {grant}")
    return JSONResponse(await GRANTS[grant](call), headers=NO_STORE)


async def _from_code(call: Call) -> dict[str, Any]:
    auth = auth_of(call.request)
    grant = await auth.codes.redeem(
        call.need("code"), call.client.id, call.form.get("redirect_uri"), call.form.get("code_verifier", "")
    )
    return await _begin(call, grant.session_id, grant.user_id, grant.scopes)


async def _begin(call: Call, session_id: str, user_id: str, scopes: tuple[str, ...] | None) -> dict[str, Any]:
    """A session of this client for that person, and its first tokens."""
    user = await _person(call, user_id)
    session, refresh = await _open(call, session_id, user, scopes)
    return _tokens(call, user, session, scopes, refresh)


async def _open(
    call: Call, session_id: str, user: User, scopes: tuple[str, ...] | None
) -> tuple[Session, str | None]:  # fmt: skip
    device, renewable = call.request.headers.get("user-agent", ""), "refresh_token" in call.client.grants
    return await auth_of(call.request).sessions.open_app(
        session_id, user.id, call.client.id, scopes, device, renewable=renewable
    )


async def _from_refresh_token(call: Call) -> dict[str, Any]:
    sessions, given = auth_of(call.request).sessions, call.need("refresh_token")
    if "scope" in call.form and (before := await sessions.of_refresh_token(given)) is not None:
        _scopes_of(call, before)  # a wrong scope must not use the token up
    session, refresh = await sessions.refresh(given, call.client.id)
    return _tokens(call, await _person(call, session.user_id), session, _scopes_of(call, session), refresh)


def _scopes_of(call: Call, session: Session) -> tuple[str, ...] | None:
    """The scopes of a session that its client still may ask for, or those of them that it asks for now."""
    scopes = scopes_left(session, call.client)
    if "scope" not in call.form:
        return scopes
    return parse_scopes(call.form["scope"], call.client.scopes if scopes is None else scopes)


def scopes_left(session: Session, client: Client) -> tuple[str, ...] | None:
    """The scopes of a session that its client still may ask for; None where it is not limited.

    A session that is not limited is our own app's; once the app is not ours any more, it is as limited as others.
    """
    if session.scopes is None and client.first_party:
        return None
    mine = [scope for scope in client.scopes if scope not in SERVICE_ONLY]
    return tuple(scope for scope in mine if session.scopes is None or scope in session.scopes)


async def _from_device_code(call: Call) -> dict[str, Any]:
    try:
        grant = await auth_of(call.request).devices.poll(call.need("device_code"), call.client.id)
    except TooMany as error:
        raise OAuthError("slow_down", error.message) from error
    except Unauthenticated as error:
        raise OAuthError("expired_token" if error.path else "invalid_grant", error.message) from error
    if grant.state == "pending":
        raise OAuthError("authorization_pending", "the person has not decided yet")
    if grant.state != "approved" or grant.user_id is None:
        raise OAuthError("access_denied", "the person does not allow it")
    return await _begin(call, grant.session_id, grant.user_id, grant.scopes)


async def _from_secret(call: Call) -> dict[str, Any]:
    client = call.client
    if client.kind != "confidential" or client.service_id is None:
        raise OAuthError("unauthorized_client", "the client is no service")
    service = await _person(call, client.service_id)
    allowed = [scope for scope in client.scopes if scope != "offline_access"]
    scopes = parse_scopes(call.form.get("scope"), allowed)
    session, _ = await _open(call, new_id(), service, scopes)
    return _tokens(call, service, session, scopes, None)


GRANTS: dict[str, Callable[[Call], Awaitable[dict[str, Any]]]] = {
    "authorization_code": _from_code,
    "refresh_token": _from_refresh_token,
    DEVICE_GRANT: _from_device_code,
    "client_credentials": _from_secret,
}


async def _person(call: Call, user_id: str) -> User:
    user = (await auth_of(call.request).accounts.get_many([user_id])).get(user_id)
    if user is None or user.deleted or not user.enabled:
        raise OAuthError("invalid_grant", "the account is disabled or gone")
    return user


def _tokens(
    call: Call, user: User, session: Session, scopes: tuple[str, ...] | None, refresh: str | None
) -> dict[str, Any]:
    tokens = site_of(call.request).tokens
    access = tokens.mint(user.id, user.roles, scopes, session_id=session.id, client_id=call.client.id)
    answer = _answer(call, access.token, scopes)
    return answer if refresh is None else answer | {"refresh_token": refresh}


def _answer(call: Call, access_token: str, scopes: tuple[str, ...] | None) -> dict[str, Any]:
    told = {} if scopes is None else {"scope": " ".join(scopes)}
    seconds = site_of(call.request).settings.token_seconds
    return {"access_token": access_token, "token_type": "Bearer", "expires_in": seconds, **told}
