"""What is tried against an authorization server (OAuth 2.1, section 7; RFC 9700), each tried and refused."""

from __future__ import annotations

import base64
import hmac
import json
import secrets
from dataclasses import replace
from urllib.parse import urlencode

import httpx
import pytest
from auth_site import NATIVE, WEB, auth_site
from browsing import Forms, answer, request
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from joserfc import jwt
from running_api import serving

from api.keys import load_keys
from api.oauth.site import Site
from core.oauth_records import DEVICE_GRANT
from core.secret_values import challenge_of

VIEWER = "{ viewer { user { id } } }"


@pytest.fixture(scope="module")
def app(auth):
    """A public client."""
    return auth.client()[0]


@pytest.fixture(scope="module")
def victim(auth):
    """A browser in which somebody is signed in."""
    browser = auth.browser()
    browser.sign_in()
    return browser


@pytest.fixture
def grant(auth, app, victim):
    """A code, with its verifier."""
    verifier = secrets.token_urlsafe(48)
    victim.authorize(app, WEB, verifier)
    return victim.allow()["code"], verifier


def error(response: httpx.Response) -> str:
    assert response.status_code in (400, 401), response.text
    assert response.headers["cache-control"] == "no-store"
    return response.json()["error"]


def test_a_replayed_code_ends_what_it_gave(auth, app, grant):
    token = auth.redeem(app, *grant).json()
    assert auth.caller(token["access_token"]).ask(VIEWER)["viewer"]
    assert error(auth.redeem(app, *grant)) == "invalid_grant"
    assert auth.caller(token["access_token"]).post(VIEWER).status_code == 401
    again = auth.token(app, None, grant_type="refresh_token", refresh_token=token["refresh_token"])
    assert error(again) == "invalid_grant"


def test_a_refresh_token_used_twice_ends_the_whole_family(auth, app, grant):
    first = auth.redeem(app, *grant).json()
    second = auth.token(app, None, grant_type="refresh_token", refresh_token=first["refresh_token"]).json()
    for stolen in (first, second):
        refused = auth.token(app, None, grant_type="refresh_token", refresh_token=stolen["refresh_token"])
        assert error(refused) == "invalid_grant"
    for token in (first, second):
        assert auth.caller(token["access_token"]).post(VIEWER).status_code == 401


def test_anothers_code_and_refresh_token_are_refused(auth, app, grant):
    other, _ = auth.client()
    assert error(auth.redeem(other, *grant)) == "invalid_grant"
    token = auth.redeem(app, *grant).json()
    refused = auth.token(other, None, grant_type="refresh_token", refresh_token=token["refresh_token"])
    assert error(refused) == "invalid_grant"
    httpx.post(f"{auth.base}/oauth/revoke", data={"client_id": other, "token": token["refresh_token"]})
    httpx.post(f"{auth.base}/oauth/revoke", data={"client_id": other, "token": token["access_token"]})
    assert auth.caller(token["access_token"]).ask(VIEWER)["viewer"]


@pytest.mark.parametrize("verifier", [None, "", "short", "x" * 43])
def test_pkce_a_code_needs_its_verifier(auth, app, grant, verifier):
    code, right = grant
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": WEB}
    assert error(auth.token(app, None, **form, **({} if verifier is None else {"code_verifier": verifier})))
    assert error(auth.token(app, None, **form, code_verifier=challenge_of(right))) == "invalid_grant"


@pytest.mark.parametrize(
    "changes",
    [
        {"code_challenge": None}, {"code_challenge_method": "plain"}, {"code_challenge_method": None},
        {"code_challenge": None, "code_challenge_method": None}, {"code_challenge": "short"},
        {"response_type": "token"}, {"response_type": "id_token"}, {"response_type": None}, {"scope": "root"},
        {"scope": "act_as"}, {"scope": "read admin"}, {"request": "x.y.z"},
    ],
    ids=str,
)  # fmt: skip
def test_pkce_and_other_downgrades_give_no_code(auth, app, victim, changes):
    back = answer(victim.authorize(app, WEB, secrets.token_urlsafe(48), **changes))
    assert "code" not in back
    assert back["error"]
    assert (back["state"], back["iss"]) == ("state-1", auth.base)


@pytest.mark.parametrize(
    "uri",
    [
        None, "https://evil.example.org/callback", WEB + "/", WEB + "/../open", WEB + "?next=https://evil.example.org",
        WEB + "#x",
        WEB[:-1], WEB.replace("https", "http"), WEB.replace(".org", ".org:8443"), WEB.replace(".org", ".org.evil.net"),
        WEB.replace("app.", "app@evil."), NATIVE + "/other", NATIVE.replace("127.0.0.1", "localhost"),
        "javascript:alert(1)",
        NATIVE.replace("127.0.0.1", "127.0.0.1:1@evil.example.org"), "//evil.example.org/callback",
    ],
    ids=str,
)  # fmt: skip
def test_nobody_is_sent_to_an_address_that_is_not_registered(auth, app, victim, uri):
    query = request(app, WEB, secrets.token_urlsafe(48), redirect_uri=uri)
    page = victim.get(f"/oauth/authorize?{query}")
    assert page.status_code == 400
    assert "location" not in page.headers
    unknown = victim.authorize("unknown", WEB, secrets.token_urlsafe(48))
    assert (unknown.status_code, "location" in unknown.headers) == (400, False)


def test_the_address_is_checked_again_when_the_code_is_redeemed(auth, app, grant):
    code, verifier = grant
    assert error(auth.redeem(app, code, verifier, redirect_uri=NATIVE)) == "invalid_grant"


def test_a_parameter_given_twice_is_refused(auth, app, victim):
    query = request(app, WEB, secrets.token_urlsafe(48))
    twice = victim.get(f"/oauth/authorize?{query}&{urlencode({'redirect_uri': 'https://evil.example.org'})}")
    assert (twice.status_code, "location" in twice.headers) == (400, False)
    body = f"grant_type=authorization_code&client_id={app}&client_id=other&code=x"
    response = httpx.post(
        f"{auth.base}/oauth/token", content=body, headers={"content-type": "application/x-www-form-urlencoded"}
    )
    assert error(response) == "invalid_request"


def test_consent_cannot_be_sent_from_elsewhere(auth, victim):
    app, _ = auth.client(name="Consent Test")
    query = request(app, WEB, secrets.token_urlsafe(48))
    url = f"{auth.base}/oauth/authorize"
    forged = victim.http.post(url, data={"request": query, "decision": "allow"})
    assert (forged.status_code, "location" in forged.headers) == (403, False)
    stranger = auth.browser()
    stranger.sign_in()
    stranger.get(f"/oauth/authorize?{query}")
    its = Forms(stranger.page.text).found[0][1]
    assert victim.http.post(url, data=its | {"decision": "allow"}).status_code == 403
    for origin in ("https://evil.example.org", "http://[", "http://[::1"):
        victim.get(f"/oauth/authorize?{query}")
        assert victim.send("/oauth/authorize", {"origin": origin}, decision="allow").status_code == 403
    victim.get(f"/oauth/authorize?{query}")
    assert victim.send("/oauth/authorize", {"origin": auth.base}, decision="allow").is_redirect


def test_login_csrf_signing_in_needs_a_page_of_ours(auth):
    browser = auth.browser()
    for path, form in (("development", {"name": "attacker"}), ("letter", {"address": "a@example.org"})):
        response = browser.http.post(f"{auth.base}/sign-in/{path}", data={"csrf": "", "next": "/account"} | form)
        assert response.status_code == 403
    assert browser.get("/account").headers["location"].startswith("/sign-in")


@pytest.mark.parametrize("path", ["/sign-in", "/device", "/oauth/authorize?{query}", "/account", "/account/link/email"])
def test_clickjacking_no_page_of_ours_can_be_framed(auth, app, victim, path):
    fresh, _ = auth.client()
    page = victim.get(path.format(query=request(fresh, WEB, secrets.token_urlsafe(48))))
    assert page.status_code == 200
    assert page.headers["x-frame-options"] == "DENY"
    policy = page.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "default-src 'none'" in policy
    assert "<script" not in page.text
    assert (page.headers["cache-control"], page.headers["referrer-policy"]) == ("no-store", "no-referrer")


def test_what_clients_call_themselves_is_not_markup(auth, victim):
    app, _ = auth.client(name="<script>alert(1)</script><b>Bold")
    page = victim.authorize(app, WEB, secrets.token_urlsafe(48))
    assert "<script" not in page.text
    assert "&lt;script&gt;" in page.text


def test_cookies_are_kept_from_scripts_and_other_sites(auth, settings):
    response = auth.browser().get("/sign-in")
    cookie = response.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "path=/" in cookie
    secure = Site(replace(settings, public_url="https://api.example.org"), None, None)
    assert (secure.secure, secure.cookie("session")) == (True, "__Host-oa_session")


def test_the_cookie_of_the_pages_signs_nobody_in_to_the_api(auth):
    browser = auth.browser()
    browser.sign_in()
    ask = {"query": "{ viewer { user { id } } }"}
    answers = browser.http.post(f"{auth.base}/graphql", json=ask), browser.http.get(f"{auth.base}/graphql", params=ask)
    assert [answer.json()["data"] for answer in answers] == [{"viewer": None}] * 2


def test_secrets_in_addresses_are_refused(auth, app, grant):
    code, verifier = grant
    query = urlencode({"grant_type": "authorization_code", "code": code, "code_verifier": verifier, "client_id": app})
    headers = {"content-type": "application/x-www-form-urlencoded"}
    assert error(httpx.post(f"{auth.base}/oauth/token?{query}", headers=headers)) == "invalid_request"
    assert httpx.get(f"{auth.base}/oauth/token?{query}").status_code == 405
    token = auth.redeem(app, code, verifier).json()["access_token"]
    for method in ("GET", "POST"):
        url = f"{auth.base}/graphql?{urlencode({'access_token': token, 'query': VIEWER})}"
        response = httpx.request(method, url, json={"query": VIEWER} if method == "POST" else None)
        assert response.status_code == 400
        assert token not in response.text


def forged(auth, key, header, claims):
    """A token signed by hand."""
    body = ".".join(encoded(json.dumps(one).encode()) for one in (header, claims))
    return f"{body}.{encoded(key(body.encode()))}"


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def test_forged_tokens_are_refused(auth, app, grant):
    token = auth.redeem(app, *grant).json()["access_token"]
    keys = load_keys(auth.settings.token_key_file)
    claims = jwt.decode(token, keys.active, algorithms=["ES256"]).claims | {"roles": ["admin", "contributor"]}
    public = keys.active.as_pem(private=False)
    tokens = [
        forged(auth, lambda body: b"", {"alg": "none", "typ": "at+jwt"}, claims),
        forged(auth, lambda body: hmac.digest(public, body, "sha256"), {"alg": "HS256", "typ": "at+jwt"}, claims),
        jwt.encode({"alg": "ES256", "typ": "at+jwt"}, claims | {"iss": "https://evil.example.org"}, keys.active),
        jwt.encode({"alg": "ES256", "typ": "at+jwt"}, claims | {"aud": "another-api"}, keys.active),
        jwt.encode({"alg": "ES256", "typ": "at+jwt"}, claims | {"iat": 1, "exp": 900}, keys.active),
        jwt.encode({"alg": "ES256", "typ": "JWT"}, claims, keys.active),
        jwt.encode({"alg": "ES256", "typ": "at+jwt"}, claims | {"sid": "made-up"}, keys.active),
        jwt.encode({"alg": "ES256", "typ": "at+jwt", "kid": "another"}, claims, keys.active),
    ]
    own = auth.client(kind="confidential", first_party=True)
    genuine = httpx.post(f"{auth.base}/oauth/introspect", data={"token": token}, auth=own)
    assert (genuine.json()["active"], auth.caller(token).post(VIEWER).status_code) == (True, 200)
    for number, one in enumerate(tokens):
        assert auth.caller(one).post(VIEWER).status_code == 401, number
        asked = httpx.post(f"{auth.base}/oauth/introspect", data={"token": one}, auth=own)
        assert asked.json() == {"active": False}


def test_a_refresh_token_is_no_access_token(auth, app, grant):
    token = auth.redeem(app, *grant).json()
    assert auth.caller(token["refresh_token"]).post(VIEWER).status_code == 401
    assert error(auth.token(app, None, grant_type="refresh_token", refresh_token=token["access_token"]))


@pytest.mark.parametrize("secret", [None, "wrong", ""])
def test_a_confidential_client_proves_who_it_is(auth, secret):
    client, right = auth.client(kind="confidential", grants=["client_credentials"], redirect_uris=[])
    form = {"grant_type": "client_credentials"}
    assert error(auth.token(client, secret, **form)) == "invalid_client"
    response = httpx.post(f"{auth.base}/oauth/token", data=form, auth=(client, "wrong"))
    assert response.headers["www-authenticate"].startswith("Basic")
    twice = httpx.post(f"{auth.base}/oauth/token", data=form | {"client_secret": right}, auth=(client, right))
    assert error(twice) == "invalid_request"
    assert auth.token(client, right, **form).status_code == 200


def test_a_public_client_cannot_be_a_service_and_grants_are_those_registered(auth, app, grant):
    assert error(auth.token(app, None, grant_type="client_credentials")) == "unauthorized_client"
    assert error(auth.token(app, None, grant_type="password", username="a", password="b")) == "unsupported_grant_type"
    assert error(auth.token(app, None, grant_type=DEVICE_GRANT, device_code="x")) == "unauthorized_client"
    assert error(auth.token(app, None, code="x")) == "invalid_request"
    assert error(auth.token("unknown", None, grant_type="authorization_code")) == "invalid_client"


def test_a_deleted_client_and_a_disabled_person_get_nothing(auth, victim):
    app, _ = auth.client()
    verifier = secrets.token_urlsafe(48)
    victim.authorize(app, WEB, verifier)
    token = auth.redeem(app, victim.allow()["code"], verifier).json()
    auth.store(lambda signing: signing.clients.delete(app))
    assert auth.caller(token["access_token"]).post(VIEWER).status_code == 401
    browser, other = auth.browser(), auth.client()[0]
    name = browser.sign_in()
    browser.authorize(other, WEB, verifier)
    token = auth.redeem(other, browser.allow()["code"], verifier).json()

    async def disable(signing):
        user = await signing.accounts.ensure_user("development", name, name)
        await signing.accounts.set_enabled(user.id, False)

    auth.store(disable)
    assert auth.caller(token["access_token"]).post(VIEWER).status_code == 401
    assert error(auth.token(other, None, grant_type="refresh_token", refresh_token=token["refresh_token"]))
    assert browser.get("/account").is_redirect


def test_codes_of_devices_cannot_be_guessed_at_leisure(settings):
    with auth_site(settings, rate_limits="device_code=3/900,device_code_address=5/900") as site:
        browser = site.browser()
        browser.sign_in()
        found = []
        for _ in range(4):
            browser.get("/device")
            found.append(browser.send("/device", user_code="BCDF-GHJK").status_code)
        assert found == [404, 404, 404, 429]
        other = site.browser()
        other.sign_in()
        found = []
        for _ in range(2):
            other.get("/device")
            found.append(other.send("/device", user_code="BCDF-GHJK").status_code)
        assert found == [404, 429]  # others behind the address still may, and not without end


def test_a_device_code_is_asked_about_by_its_client_only(auth):
    tv, _ = auth.client(grants=[DEVICE_GRANT], redirect_uris=[])
    other, _ = auth.client(grants=[DEVICE_GRANT], redirect_uris=[])
    begun = httpx.post(f"{auth.base}/oauth/device_authorization", data={"client_id": tv}).json()
    asked = auth.token(other, None, grant_type=DEVICE_GRANT, device_code=begun["device_code"])
    assert error(asked) == "invalid_grant"
    for who in (auth.client()[0], "unknown"):
        refused = httpx.post(f"{auth.base}/oauth/device_authorization", data={"client_id": who})
        assert error(refused) in ("unauthorized_client", "invalid_client")
    assert auth.browser().get("/device?user_code=BCDFGHJK").headers["location"].startswith("/sign-in?next=%2Fdevice")


def test_the_token_endpoint_is_slow_for_who_guesses(settings):
    with auth_site(settings, rate_limits="token=3/60") as site:
        client, _ = site.client(kind="confidential", grants=["client_credentials"], redirect_uris=[])
        form = {"grant_type": "client_credentials"}
        answers = [site.token(client, f"guess-{number}", **form) for number in range(4)]
        assert [one.status_code for one in answers] == [401, 401, 401, 429]
        assert answers[-1].headers["retry-after"]


@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/revoke", "/oauth/introspect", "/oauth/device_authorization"])
def test_bodies_of_another_type_are_refused(auth, path):
    response = httpx.post(f"{auth.base}{path}", json={"client_id": "x"})
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


def test_production_signs_in_under_its_public_address_only_and_never_without_a_password(settings):
    load_keys(settings.token_key_file, make=True)
    named = {"public_url": None, "trusted_hosts": ("api.example.org",)}
    hidden = replace(settings, mode="production", mail_outbox=None, rate_limits="", **named)
    with serving(hidden) as base:
        assert httpx.get(f"{base}/.well-known/oauth-authorization-server").status_code == 503
        assert httpx.get(f"{base}/sign-in").status_code == 503
    public = "https://api.example.org"
    with serving(replace(hidden, public_url=public)) as base:
        about = httpx.get(f"{base}/.well-known/oauth-authorization-server").json()
        assert (about["issuer"], about["token_endpoint"]) == (public, f"{public}/oauth/token")
        page = httpx.get(f"{base}/sign-in")
        assert "without a password" not in page.text
        cookie = page.headers["set-cookie"]
        assert cookie.startswith("__Host-oa_browser=")
        assert "Secure" in cookie
        assert httpx.post(f"{base}/sign-in/development", data={"name": "x"}).status_code == 404


NAMES = [
    "client_id",
    "client_secret",
    "grant_type",
    "code",
    "code_verifier",
    "redirect_uri",
    "refresh_token",
    "token",
    "scope",
    "device_code",
    "state",
    "response_type",
    "code_challenge",
    "code_challenge_method",
    "csrf",
    "next",
    "address",
    "name",
    "request",
    "decision",
    "user_code",
]
WORDS = ("code", "S256", "read", WEB, NATIVE, "authorization_code", "refresh_token", "\x00", "%00", "$ne")
VALUES = st.sampled_from(WORDS) | st.text(max_size=30)
FIELDS = st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=8)
PATHS = [
    "/oauth/authorize",
    "/oauth/token",
    "/oauth/revoke",
    "/oauth/introspect",
    "/oauth/device_authorization",
    "/device",
    "/sign-in",
    "/sign-in/letter",
    "/sign-in/letter/open",
    "/sign-in/development",
    "/account/link/email",
]


@given(st.sampled_from(PATHS), FIELDS, st.booleans(), st.booleans())
@hypothesis_settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_whatever_is_sent_is_answered_and_never_by_a_defect(auth, app, victim, path, fields, post, known):
    given_fields = [*fields, *([("client_id", app)] if known else [])]
    try:
        text = urlencode(given_fields)
    except UnicodeEncodeError:  # a surrogate alone, which no client can send
        return
    if post:
        headers = {"content-type": "application/x-www-form-urlencoded"}
        response = victim.http.post(f"{auth.base}{path}", content=text, headers=headers)
    else:
        response = victim.http.get(f"{auth.base}{path}?{text}")
    assert response.status_code < 500, (path, text, response.text)
    location = response.headers.get("location", "/")
    assert location.startswith(("/", WEB, NATIVE)), location
    assert not location.startswith("//")
