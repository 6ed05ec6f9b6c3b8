"""The authorization endpoint (OAuth 2.1, section 4.1) and the consent page.

Threat: a program on the person's machine that takes another app's name. An https address leads to the app's own server,
a loopback port or a private scheme to whatever program has it now; so only a site is known again (RFC 8252, 8.6), and
for a program of ours too somebody is asked each time.

What is wrong with client or redirect URI is said on a page of ours; nothing is sent to an address that is not
registered. Everything else goes back to the client, with `state` and `iss` (RFC 9207).
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import Response

from core.errors import BadInput
from core.oauth_records import Client
from core.records import User
from core.redirects import is_registered, is_site
from core.scopes import SCOPES, SERVICE_ONLY, parse_scopes
from core.secret_values import CHALLENGE

from .errors import OAuthError, as_oauth
from .pages import go, page, shows_errors
from .sign_in import to_sign_in
from .site import auth_of, base_of, fields_of, page_form, session_of, take


@dataclass(frozen=True)
class Asked:
    """A good authorization request; scopes None: our own app asks for everything."""

    client: Client
    redirect_uri: str
    challenge: str
    scopes: tuple[str, ...] | None
    state: str | None
    query: str


@shows_errors
async def authorize(request: Request) -> Response:
    """Give a code to who is signed in and has agreed; ask for either first."""
    deciding = request.method == "POST"
    form = await page_form(request) if deciding else {}
    query = form.get("request", "") if deciding else request.url.query
    given = fields_of(query)
    client, redirect_uri = await _known(request, given)
    try:
        asked = _asked(client, redirect_uri, given, query)
    except OAuthError as error:
        said = {"error": error.error, "error_description": error.description}
        return _back(request, redirect_uri, given.get("state"), said)
    found = await session_of(request)
    if found is None:
        return to_sign_in(f"/oauth/authorize?{query}")
    if deciding:
        return await _decide(request, asked, found[1], form.get("decision") == "allow")
    if await _agreed(request, asked, found[1]):
        return await _give(request, asked, found[1])
    return consent_page(
        request, asked.client, asked.scopes, found[1], action="/oauth/authorize", field="request", value=query,
        here=f"/oauth/authorize?{query}", where=f"You will go on to {_host(redirect_uri)}.",
    )  # fmt: skip


async def _known(request: Request, given: dict[str, str]) -> tuple[Client, str]:
    """The client and its redirect URI; `BadInput`, for a page, where either is not known."""
    client = await auth_of(request).clients.find(given.get("client_id"))
    if client is None:
        raise BadInput("the app that sent you here is not known (client_id)")
    uri = given.get("redirect_uri", "")
    if not is_registered(uri, client.redirect_uris):
        raise BadInput(f"{client.name} sent you here with an address to come back to that it has not registered")
    return client, uri


def _asked(client: Client, redirect_uri: str, given: dict[str, str], query: str) -> Asked:
    """The whole request; `OAuthError`, for the client, where something is wrong with it."""
    if given.get("response_type") != "code":
        raise OAuthError("unsupported_response_type", "response_type must be code")
    if "authorization_code" not in client.grants:
        raise OAuthError("unauthorized_client", "the client is not registered for authorization_code")
    challenge = given.get("code_challenge", "")
    if given.get("code_challenge_method") != "S256" or not CHALLENGE.fullmatch(challenge):
        raise OAuthError("invalid_request", "PKCE is required: code_challenge with code_challenge_method=S256")
    if "request" in given or "request_uri" in given:
        raise OAuthError("request_not_supported", "request objects are not supported")
    return Asked(client, redirect_uri, challenge, wanted_scopes(client, given), given.get("state"), query)


def wanted_scopes(client: Client, given: dict[str, str]) -> tuple[str, ...] | None:
    """The scopes that a client asks a person for; None where our own app asks for everything."""
    return None if client.first_party and "scope" not in given else named_scopes(client, given)


def named_scopes(client: Client, given: dict[str, str]) -> tuple[str, ...]:
    """The scopes that a client asks a person for; all that it is registered for where it names none."""
    try:
        return parse_scopes(given.get("scope"), [scope for scope in client.scopes if scope not in SERVICE_ONLY])
    except BadInput as error:
        raise as_oauth(error) from error


async def _agreed(request: Request, asked: Asked, user: User) -> bool:
    """Whether nobody has to be asked: a site that is ours, or that was allowed all of it before."""
    if not is_site(asked.redirect_uri):
        return False
    if asked.client.first_party:
        return True
    return set(asked.scopes or ()) <= await auth_of(request).clients.consented(user, asked.client.id)


def consent_page(
    request: Request, client: Client, scopes: tuple[str, ...] | None, user: User, *, action: str, field: str,
    value: str, here: str, where: str,
) -> Response:  # fmt: skip
    """Ask the person; scopes None: for all that there are."""
    shown = [
        told for scope, told in SCOPES.items() if (scope not in SERVICE_ONLY if scopes is None else scope in scopes)
    ]
    return page(
        request, "consent.html", leads_out=True, client=client, scopes=shown, user=user, action=action,
        field=field, value=value, here=here, where=where,
    )  # fmt: skip


async def _decide(request: Request, asked: Asked, user: User, allowed: bool) -> Response:
    if not allowed:
        said = {"error": "access_denied", "error_description": "the person does not allow it"}
        return _back(request, asked.redirect_uri, asked.state, said)
    if asked.scopes is not None:
        await auth_of(request).clients.remember_consent(user, asked.client.id, asked.scopes)
    return await _give(request, asked, user)


async def _give(request: Request, asked: Asked, user: User) -> Response:
    await take(request, "token")
    code = await auth_of(request).codes.issue(
        asked.client.id, user.id, asked.redirect_uri, asked.challenge, asked.scopes
    )
    return _back(request, asked.redirect_uri, asked.state, {"code": code})


def _back(request: Request, redirect_uri: str, state: str | None, said: dict[str, str]) -> Response:
    """Send the browser back to the client."""
    given = said | ({"state": state} if state is not None else {}) | {"iss": base_of(request)}
    joint = "&" if "?" in redirect_uri else "?"
    return go(f"{redirect_uri}{joint}{urlencode(given, quote_via=quote)}")


def _host(uri: str) -> str:
    """What a person is told of a redirect URI."""
    return urlsplit(uri).hostname or uri if is_site(uri) else "a program on this device"
