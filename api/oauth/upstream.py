"""Signing in through others: OpenID Connect by discovery, GitHub and Discord by OAuth 2. Authlib is the client.

Threats: a forged or foreign ID token (algorithm, signature, issuer, audience, nonce and times are checked), an answer
of another provider (`iss` of the answer, where there is one, and an own return address for each), a stolen code (PKCE).
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core.errors import Unauthenticated, Unavailable
from core.oauth_records import Attempt
from core.texts import is_visible

from .providers import SAFE_URL, Provider

if TYPE_CHECKING:
    from joserfc.jwk import KeySet

ALGORITHMS = ["RS256", "ES256", "PS256", "Ed25519"]
"""Signatures of ID tokens that are taken: public keys only, so that no key of theirs can be used as a secret."""
SECONDS = 10.0
KEEP = 3600.0
"""Seconds that what discovery said is kept."""
NEW_KEYS = 30.0
"""Seconds between two looks for new keys, however many unknown ones come."""
NAME_CLAIMS = ("nickname", "preferred_username", "given_name", "name")
"""What is taken for a display name, which everybody sees: what says least about the person first."""
LEEWAY = 60
"""Seconds by which their clock may differ."""


@dataclass(frozen=True)
class Person:
    """Who somebody is there."""

    subject: str
    name: str


def plain_name() -> str:
    """A name for who has none that can be shown."""
    return f"contributor-{secrets.token_hex(3)}"


@dataclass
class _Known:
    """What discovery said, and when."""

    about: dict[str, Any]
    at: float
    keys: KeySet | None = None
    keys_at: float = field(default=0.0)


class Upstream:
    """Talks to providers; keeps what discovery said."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    async def address(self, provider: Provider, attempt: Attempt, state: str, back: str) -> str:
        """Where to send the browser; `back` is our return address for this provider."""
        authorize = (await self._endpoints(provider))["authorization_endpoint"]
        async with _client(provider, back) as client:
            more = {"nonce": attempt.nonce} if provider.kind == "oidc" else {}
            url, _ = client.create_authorization_url(authorize, state=state, code_verifier=attempt.verifier, **more)
        return str(url)

    async def person(self, provider: Provider, attempt: Attempt, code: str, iss: str | None, back: str) -> Person:
        """Who came back with `code`.

        Raises:
            Unauthenticated: what came back is not good; the message says why.
            Unavailable: the provider does not answer.
        """
        endpoints = await self._endpoints(provider)
        if provider.kind == "oidc":
            _check_issuer(provider, endpoints, iss)
        async with _client(provider, back) as client:
            token = await _answer(provider, _redeem(client, endpoints["token_endpoint"], code, attempt.verifier))
            if provider.kind == "oidc":
                return await self._from_id_token(provider, attempt, token)
            return await _from_profile(provider, client)

    async def _endpoints(self, provider: Provider) -> dict[str, Any]:
        if provider.kind != "oidc":
            return _fixed_endpoints(provider)
        known = self._known.get(provider.id)
        if known is None or time.monotonic() - known.at > KEEP:
            about = await _fetch(provider, f"{provider.issuer.rstrip('/')}/.well-known/openid-configuration")
            if about.get("issuer") != provider.issuer:
                raise Unavailable(f"{provider.label} calls itself {str(about.get('issuer'))[:80]!r} in its discovery")
            for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                if not _is_safe(provider, str(about.get(name))):
                    raise Unavailable(f"{provider.label} names no safe {name} in its discovery")
            known = self._known[provider.id] = _Known(about, time.monotonic())
        return known.about

    async def _from_id_token(self, provider: Provider, attempt: Attempt, token: dict[str, Any]) -> Person:
        from joserfc import jwt
        from joserfc.errors import JoseError
        from joserfc.jws import JWSRegistry

        text, registry = str(token.get("id_token") or ""), JWSRegistry(algorithms=ALGORITHMS)
        try:
            keys = await self._keys(provider, fresh=False)
            try:
                decoded = jwt.decode(text, keys, registry=registry)
            except (JoseError, ValueError):  # perhaps signed by a key that is newer than what we know
                newer = await self._keys(provider, fresh=True)
                if newer is keys:
                    raise
                decoded = jwt.decode(text, newer, registry=registry)
            return _person_of(provider, attempt, decoded.claims)
        except (JoseError, ValueError) as error:
            reason = str(getattr(error, "error", "") or type(error).__name__).replace("_", " ")
            raise Unauthenticated(f"the answer of {provider.label} is not good: {reason}") from error

    async def _keys(self, provider: Provider, *, fresh: bool) -> KeySet:
        """The provider's keys: those known, or newer ones where they were not looked for just now."""
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        known = self._known[provider.id]
        if known.keys is None or (fresh and time.monotonic() - known.keys_at > NEW_KEYS):
            listed: Any = await _fetch(provider, str(known.about["jwks_uri"]))
            try:
                known.keys, known.keys_at = KeySet.import_key_set(listed), time.monotonic()
            except (JoseError, KeyError, TypeError, ValueError) as error:
                raise Unavailable(f"{provider.label} publishes keys that cannot be read") from error
        return known.keys


def _is_safe(provider: Provider, url: str) -> bool:
    """Whether to ask there: by https, or on this machine where the issuer is on it; a remote one must not lead us to
    what listens on loopback."""
    at_home = provider.issuer.startswith("http://")
    return SAFE_URL.fullmatch(url) is not None and (at_home or url.startswith("https://"))


def _check_issuer(provider: Provider, about: dict[str, Any], iss: str | None) -> None:
    """Mixing up of providers (RFC 9207): the answer names who gives it, where they promise to."""
    promised = about.get("authorization_response_iss_parameter_supported") is True
    if (iss is None and promised) or (iss is not None and iss != provider.issuer):
        raise Unauthenticated(f"the answer is not of {provider.label}: its issuer is another")


def _person_of(provider: Provider, attempt: Attempt, claims: dict[str, Any]) -> Person:
    """Who an ID token with a good signature is about (OpenID Connect Core, 3.1.3.7)."""
    from joserfc import jwt

    required = jwt.ClaimsOption(essential=True)
    jwt.JWTClaimsRegistry(
        leeway=LEEWAY, iss=jwt.ClaimsOption(essential=True, value=provider.issuer),
        aud=jwt.ClaimsOption(essential=True, value=provider.client_id),
        nonce=jwt.ClaimsOption(essential=True, value=attempt.nonce), exp=required, iat=required, sub=required,
    ).validate(claims)  # fmt: skip
    audience = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    if claims.get("azp", provider.client_id) != provider.client_id or (len(audience) > 1 and "azp" not in claims):
        raise ValueError("azp")
    if not isinstance(claims["sub"], str) or not 1 <= len(claims["sub"]) <= 255:
        raise ValueError("sub")
    return Person(claims["sub"], _name(*(claims.get(name) for name in NAME_CLAIMS)))


async def _from_profile(provider: Provider, client: Any) -> Person:
    url = f"{provider.api_url}/user" if provider.kind == "github" else f"{provider.home}/api/users/@me"
    response = await _answer(provider, client.get(url, headers={"accept": "application/json"}))
    about = _object(response)
    if about is None or not isinstance(about.get("id"), int | str) or not about["id"]:
        raise Unauthenticated(f"{provider.label} does not say who you are")
    names = ("name", "login") if provider.kind == "github" else ("global_name", "username")
    return Person(str(about["id"]), _name(*(about.get(name) for name in names)))


def _name(*names: Any) -> str:
    """The first of `names` that can be shown and is no e-mail address, else a plain one."""
    for name in names:
        if (
            isinstance(name, str)
            and "@" not in name
            and is_visible(shown := "".join(one for one in name if one.isprintable()).strip())
        ):
            return shown[:64]
    return plain_name()


def _fixed_endpoints(provider: Provider) -> dict[str, Any]:
    home = provider.home
    if provider.kind == "github":
        authorize, token = f"{home}/login/oauth/authorize", f"{home}/login/oauth/access_token"
    else:
        authorize, token = f"{home}/oauth2/authorize", f"{home}/api/oauth2/token"
    return {"authorization_endpoint": authorize, "token_endpoint": token}


def _client(provider: Provider, back: str) -> Any:
    from authlib.integrations.httpx_client import AsyncOAuth2Client

    scope = provider.scope or {"oidc": "openid profile", "github": "", "discord": "identify"}[provider.kind]
    return AsyncOAuth2Client(
        provider.client_id, provider.client_secret, redirect_uri=back, scope=scope or None, timeout=SECONDS,
        code_challenge_method="S256", follow_redirects=False,
    )  # fmt: skip


async def _redeem(client: Any, endpoint: str, code: str, verifier: str) -> dict[str, Any]:
    return dict(
        await client.fetch_token(endpoint, code=code, code_verifier=verifier, headers={"accept": "application/json"})
    )


async def _fetch(provider: Provider, url: str) -> dict[str, Any]:
    """A JSON object of theirs."""
    import httpx2

    async with httpx2.AsyncClient(timeout=SECONDS, follow_redirects=False) as client:
        response = await _answer(provider, client.get(url))
    if (about := _object(response)) is None:
        raise Unavailable(f"{provider.label} does not answer as it should ({response.status_code})")
    return about


def _object(response: Any) -> dict[str, Any] | None:
    """The JSON object of a good answer, or None."""
    try:
        about = response.json() if response.status_code == 200 else None
    except ValueError:
        return None
    return about if isinstance(about, dict) else None


async def _answer(provider: Provider, asked: Any) -> Any:
    """What the provider answers; its refusals and silences as errors of ours, without its words."""
    import httpx2
    from authlib.common.errors import AuthlibBaseError

    try:
        return await asked
    except httpx2.HTTPError as error:
        raise Unavailable(f"{provider.label} does not answer: {type(error).__name__}", retry_after=10.0) from error
    except (AuthlibBaseError, ValueError) as error:
        raise Unauthenticated(f"{provider.label} did not let you in") from error
