"""The smaller endpoints: revocation (RFC 7009), introspection (7662), registration (7591), metadata (8414)."""

from __future__ import annotations

from itertools import chain
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from core.errors import BadInput, Forbidden, OaError, Unauthenticated
from core.oauth_records import GRANT_TYPES, Client, Session
from core.records import milliseconds, now
from core.scopes import SCOPES
from graphql_schema.context import Context
from graphql_schema.scoping import require_scope

from ..callers import Callers
from .client_keys import ALGORITHM, checked_keys
from .errors import NO_STORE, OAuthError
from .site import auth_of, base_of, services_of, site_of
from .token import Call, answers, call_of, scopes_left

AUTH_METHODS = ["none", "client_secret_basic", "client_secret_post", "private_key_jwt"]


def metadata_of(base: str) -> dict[str, Any]:
    """What clients read to find their way (RFC 8414), for the issuer `base`."""
    return {
        "issuer": base,
        "authorization_endpoint": f"{base}/oauth/authorize",
        "token_endpoint": f"{base}/oauth/token",
        "device_authorization_endpoint": f"{base}/oauth/device_authorization",
        "revocation_endpoint": f"{base}/oauth/revoke",
        "introspection_endpoint": f"{base}/oauth/introspect",
        "registration_endpoint": f"{base}/oauth/register",
        "jwks_uri": f"{base}/.well-known/jwks.json",
        "scopes_supported": list(SCOPES),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": list(GRANT_TYPES),
        "token_endpoint_auth_methods_supported": AUTH_METHODS,
        "token_endpoint_auth_signing_alg_values_supported": [ALGORITHM],
        "revocation_endpoint_auth_signing_alg_values_supported": [ALGORITHM],
        "introspection_endpoint_auth_signing_alg_values_supported": [ALGORITHM],
        "revocation_endpoint_auth_methods_supported": AUTH_METHODS,
        "introspection_endpoint_auth_methods_supported": AUTH_METHODS[1:],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
    }


@answers
async def metadata(request: Request) -> Response:
    """The metadata document."""
    return JSONResponse(metadata_of(base_of(request)), headers={"cache-control": "public, max-age=3600"})


@answers
async def jwks(request: Request) -> Response:
    """The public keys of access tokens."""
    keys = site_of(request).tokens.keys.public()
    return JSONResponse(keys, headers={"cache-control": "public, max-age=300"})


@answers
async def revoke(request: Request) -> Response:
    """End the session of a refresh or access token of this client; any other text changes nothing."""
    call = await call_of(request)
    if (session := await _session(call, call.need("token"))) is not None:
        await auth_of(request).sessions.revoke(session.id)
    return Response(status_code=200, headers=NO_STORE)


async def _session(call: Call, token: str) -> Session | None:
    """The session of a token that was given to this client."""
    sessions = auth_of(call.request).sessions
    session = await sessions.of_refresh_token(token)
    if session is None:
        try:
            claims = site_of(call.request).tokens.verify(token)
        except Unauthenticated:
            return None
        session = await sessions.get(claims.session_id) if claims.session_id else None
    return session if session is not None and session.client_id == call.client.id else None


@answers
async def introspect(request: Request) -> Response:
    """Say what a token is worth: to the client that it was given to, and about all of them to our own services."""
    call = await call_of(request)
    if call.client.kind != "confidential":
        raise OAuthError("unauthorized_client", "only confidential clients may introspect")
    return JSONResponse(await _worth(call, call.need("token")), headers=NO_STORE)


async def _worth(call: Call, token: str) -> dict[str, Any]:
    inactive, auth = {"active": False}, auth_of(call.request)
    session = await auth.sessions.of_refresh_token(token)
    if session is not None:
        client = await auth.clients.find(session.client_id)
        if client is None or not session.good(milliseconds(now())) or not _may_see(call.client, client.id):
            return inactive
        user = (await auth.accounts.get_many([session.user_id])).get(session.user_id)
        if user is None or user.deleted or not user.enabled:
            return inactive
        told = {"client_id": client.id, "sub": session.user_id, "exp": session.expires_ms // 1000}
        return {"active": True, "token_type": "refresh_token", **told, **_scope(scopes_left(session, client))}
    context = Context(services=services_of(call.request))
    try:
        claims = site_of(call.request).tokens.verify(token)
        await _callers(call.request).identify(context, f"Bearer {token}")
    except OaError:
        return inactive
    if not _may_see(call.client, claims.client_id):
        return inactive
    told = {"client_id": claims.client_id, "sub": claims.subject, "exp": int(claims.expires_at)}
    about = {"active": True, "token_type": "Bearer", "iss": site_of(call.request).tokens.issuer, "jti": claims.token_id}
    return {**about, **told, **_scope(claims.scopes)}


def _may_see(client: Client, other: str | None) -> bool:
    return client.first_party or client.id == other


def _scope(scopes: Any) -> dict[str, str]:
    return {} if scopes is None else {"scope": " ".join(sorted(scopes))}


def _callers(request: Request) -> Callers:
    site = site_of(request)
    return Callers(site.settings, site.tokens)


@answers
async def register(request: Request) -> Response:
    """Register a client, for administrators: an access token of one with the scope `admin` is needed."""
    context = Context(services=services_of(request))
    try:
        await _callers(request).identify(context, request.headers.get("authorization"))
        admin = context.user()
        require_scope(context, "admin", "registration")
    except Unauthenticated as error:
        header = {"www-authenticate": 'Bearer realm="open-assistant"'}
        raise OAuthError("invalid_token", error.message, 401, header) from error
    except Forbidden as error:
        raise OAuthError("insufficient_scope", error.message, 403) from error
    if "admin" not in context.roles:
        raise OAuthError("insufficient_scope", "registration is for admins only", 403)
    try:
        client, secret = await auth_of(request).clients.create(_wanted(await request.body()), by=admin.id)
    except BadInput as error:
        wrong = "invalid_redirect_uri" if error.path == ("redirect_uris",) else "invalid_client_metadata"
        raise OAuthError(wrong, error.message) from error
    return JSONResponse(_registered(client, secret), 201, NO_STORE)


def _wanted(body: bytes) -> dict[str, Any]:
    """Fields of a client from a registration request."""
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadInput("the body must be a JSON object") from error
    if not isinstance(given, dict):
        raise BadInput("the body must be a JSON object")
    method = given.get("token_endpoint_auth_method", "client_secret_basic")
    if method not in AUTH_METHODS:
        raise BadInput(f"token_endpoint_auth_method is {method!r}; it must be one of: {', '.join(AUTH_METHODS)}")
    lists = [given.get(name) or [] for name in ("redirect_uris", "grant_types")]
    texts = [given.get(name) or "" for name in ("client_name", "scope", "client_uri")]
    by_key = method == "private_key_jwt"
    if by_key != ("jwks" in given):
        raise BadInput("jwks is for private_key_jwt, which needs it", path=("jwks",))
    whole = all(isinstance(one, list) for one in lists)
    if not whole or not all(isinstance(one, str) for one in [*texts, *chain(*lists)]):
        raise BadInput("client_name, scope and client_uri must be texts, redirect_uris and grant_types lists of texts")
    return {
        "name": texts[0], "scopes": texts[1].split(), "home_url": texts[2], "redirect_uris": lists[0],
        "grants": lists[1] or ["authorization_code", "refresh_token"],
        "kind": "public" if method == "none" else "confidential",
        "public_keys": checked_keys(given["jwks"]) if by_key else (),
    }  # fmt: skip


def _method_of(client: Client) -> str:
    if client.public_keys:
        return "private_key_jwt"
    return "none" if client.kind == "public" else "client_secret_basic"


def _registered(client: Client, secret: str | None) -> dict[str, Any]:
    told = {
        "client_id": client.id, "client_id_issued_at": client.created_ms // 1000, "client_name": client.name,
        "redirect_uris": list(client.redirect_uris), "grant_types": list(client.grants),
        "response_types": ["code"] if "authorization_code" in client.grants else [],
        "scope": " ".join(client.scopes),
        "token_endpoint_auth_method": _method_of(client),
    }  # fmt: skip
    return told if secret is None else told | {"client_secret": secret, "client_secret_expires_at": 0}
