"""Each grant of the authorization server, end to end: a standard client library, and a browser without scripts."""

from __future__ import annotations

import secrets
from dataclasses import replace

import httpx
import pytest
from auth_site import NATIVE, WEB, auth_site
from authlib.integrations.httpx_client import OAuth2Client
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from browsing import answer
from joserfc import jwt
from joserfc.jwk import KeySet
from running_api import Caller, serving

from api.keys import load_keys
from core.oauth_records import DEVICE_GRANT

VIEWER = "{ viewer { user { displayName } roles } }"


@pytest.fixture(scope="module")
def app(auth):
    """A public client."""
    return auth.client()[0]


@pytest.fixture(scope="module")
def about(auth):
    """What the metadata document says."""
    return httpx.get(f"{auth.base}/.well-known/oauth-authorization-server").json()


@pytest.fixture
def signed_in(auth):
    """A browser in which somebody is signed in."""
    browser = auth.browser()
    browser.name = browser.sign_in()
    return browser


def library(client_id, redirect_uri=WEB, secret=None, **more):
    method = "client_secret_basic" if secret else "none"
    return OAuth2Client(
        client_id, secret, redirect_uri=redirect_uri, token_endpoint_auth_method=method,
        code_challenge_method="S256", timeout=20, **more,
    )  # fmt: skip


def test_the_metadata_is_what_the_rfc_wants(auth, about):
    whole = AuthorizationServerMetadata(about)
    whole.validate_issuer = lambda: None  # ours is on loopback here, without TLS
    for key in whole.REGISTRY_KEYS:
        if key != "issuer" and not any(str(about.get(key, "")).startswith(start) for start in ("http://",)):
            getattr(whole, f"validate_{key}")()
    assert about["issuer"] == auth.base
    assert about["code_challenge_methods_supported"] == ["S256"]
    for name, value in about.items():
        if name.endswith("_endpoint"):
            assert httpx.post(value).status_code != 404, name


def test_a_standard_client_signs_somebody_in_by_code(auth, app, about, signed_in):
    client, verifier = library(app, scope="read profile offline_access"), secrets.token_urlsafe(48)
    url, state = client.create_authorization_url(about["authorization_endpoint"], code_verifier=verifier)
    page = signed_in.get(url)
    assert page.status_code == 200
    assert "Test App" in page.text
    signed_in.send("/oauth/authorize", decision="allow")
    back = signed_in.page.headers["location"]
    assert back.startswith(WEB)
    assert answer(signed_in.page) == {"code": answer(signed_in.page)["code"], "state": state, "iss": auth.base}
    token = client.fetch_token(
        about["token_endpoint"], authorization_response=back, code_verifier=verifier, state=state
    )
    assert token["scope"] == "read profile offline_access"
    assert token["expires_in"] <= 900
    assert auth.caller(token["access_token"]).ask(VIEWER)["viewer"]["user"]["displayName"] == signed_in.name
    before = token["refresh_token"]
    renewed = client.refresh_token(about["token_endpoint"], before)
    assert renewed["refresh_token"] != before
    assert auth.caller(renewed["access_token"]).ask(VIEWER)["viewer"]
    assert client.revoke_token(about["revocation_endpoint"], renewed["refresh_token"]).status_code == 200
    assert auth.caller(renewed["access_token"]).post(VIEWER).status_code == 401


def test_access_tokens_can_be_verified_with_the_published_keys(auth, app, about, signed_in):
    verifier = secrets.token_urlsafe(48)
    signed_in.authorize(app, WEB, verifier)
    token = auth.redeem(app, signed_in.allow()["code"], verifier).json()["access_token"]
    keys = KeySet.import_key_set(httpx.get(about["jwks_uri"]).json())
    decoded = jwt.decode(token, keys, algorithms=["ES256"])
    assert decoded.header["typ"] == "at+jwt"
    assert {"iss": auth.base, "client_id": app}.items() <= decoded.claims.items()
    assert decoded.claims["exp"] - decoded.claims["iat"] <= 900


def test_keys_change_without_anybody_noticing(settings, tmp_path):
    old, new, file = tmp_path / "old.pem", tmp_path / "new.pem", tmp_path / "keys.pem"
    load_keys(old, make=True)
    load_keys(new, make=True)
    file.touch(mode=0o600)
    with auth_site(settings, token_key_file=old) as site:
        caller = site.caller().sign_in("ada")
        same = site.settings
        (before,) = httpx.get(f"{site.base}/.well-known/jwks.json").json()["keys"]
    file.write_text(new.read_text() + old.read_text())
    port = int(same.public_url.rpartition(":")[2])
    with serving(replace(same, token_key_file=file), port) as base:
        assert caller.ask(VIEWER)["viewer"]
        kids = [key["kid"] for key in httpx.get(f"{base}/.well-known/jwks.json").json()["keys"]]
        assert kids[1:] == [before["kid"]]
        fresh = Caller(base).sign_in("ada")
    file.write_text(new.read_text())
    with serving(replace(same, token_key_file=file), port):
        assert fresh.ask(VIEWER)["viewer"]
        assert caller.post(VIEWER).status_code == 401


def test_who_is_not_signed_in_signs_in_first_and_comes_back(auth, app):
    browser, verifier = auth.browser(), secrets.token_urlsafe(48)
    browser.authorize(app, NATIVE.replace("127.0.0.1", "127.0.0.1:51111"), verifier)
    page = browser.follow()
    assert "Sign in" in page.text
    browser.send("/sign-in/development", name="late-comer")
    back = browser.allow()
    assert browser.page.headers["location"].startswith("http://127.0.0.1:51111/callback?")
    assert auth.redeem(app, back["code"], verifier).status_code == 200


def test_consent_is_asked_once_for_each_client_and_scope(auth, app, signed_in):
    verifier = secrets.token_urlsafe(48)
    assert signed_in.authorize(app, WEB, verifier, scope="read").status_code == 200
    signed_in.send("/oauth/authorize", decision="allow")
    assert answer(signed_in.authorize(app, WEB, verifier, scope="read"))["code"]
    assert signed_in.authorize(app, WEB, verifier, scope="read tasks").status_code == 200
    other, _ = auth.client()
    assert signed_in.authorize(other, WEB, verifier, scope="read").status_code == 200


def test_somebody_may_say_no(auth, app, signed_in):
    signed_in.authorize(app, WEB, secrets.token_urlsafe(48))
    back = answer(signed_in.send("/oauth/authorize", decision="deny"))
    assert (back["error"], back["state"], back["iss"]) == ("access_denied", "state-1", auth.base)


def test_our_own_app_asks_nobody_and_carries_everything(auth, signed_in):
    ours, _ = auth.client(first_party=True)
    verifier = secrets.token_urlsafe(48)
    back = answer(signed_in.authorize(ours, WEB, verifier, scope=None))
    token = auth.redeem(ours, back["code"], verifier).json()
    assert "scope" not in token
    assert token["refresh_token"]
    assert auth.caller(token["access_token"]).ask(VIEWER)["viewer"]


def test_a_token_is_limited_to_its_scopes(auth, app, signed_in):
    verifier = secrets.token_urlsafe(48)
    signed_in.authorize(app, WEB, verifier, scope="read")
    caller = auth.caller(auth.redeem(app, signed_in.allow()["code"], verifier).json()["access_token"])
    assert caller.ask("{ trees(first: 1) { nodes { id } } }")
    for document in (VIEWER, "{ chats(first: 1) { nodes { id } } }", "{ jobs(first: 1) { nodes { id } } }",
                     'mutation { requestTask(input: {langs: ["en"]}) { task { id } } }'):  # fmt: skip
        assert caller.refused(document)["extensions"]["code"] == "FORBIDDEN"


def test_a_refresh_may_narrow_but_not_widen(auth, app, signed_in):
    verifier = secrets.token_urlsafe(48)
    signed_in.authorize(app, WEB, verifier)
    token = auth.redeem(app, signed_in.allow()["code"], verifier).json()
    given = {"grant_type": "refresh_token", "refresh_token": token["refresh_token"]}
    narrow = auth.token(app, None, **given, scope="read").json()
    assert narrow["scope"] == "read"
    given["refresh_token"] = narrow["refresh_token"]
    wide = auth.token(app, None, **given, scope="read tasks")
    assert (wide.status_code, wide.json()["error"]) == (400, "invalid_scope")
    assert auth.token(app, None, **given).status_code == 200  # the mistake did not use the token up


def test_a_device_is_connected_by_its_person(auth, about, signed_in):
    tv, _ = auth.client(name="Living Room TV", grants=[DEVICE_GRANT], redirect_uris=[])
    begun = httpx.post(about["device_authorization_endpoint"], data={"client_id": tv, "scope": "read"}).json()
    ask = {"grant_type": DEVICE_GRANT, "device_code": begun["device_code"]}
    assert auth.token(tv, None, **ask).json()["error"] == "authorization_pending"
    assert auth.token(tv, None, **ask).json()["error"] == "slow_down"
    page = signed_in.get(begun["verification_uri_complete"])
    assert begun["user_code"] in page.text
    assert "Living Room TV" in signed_in.send("/device").text
    assert "Connected" in signed_in.send("/device", decision="allow").text
    auth.store(lambda signing: _forget_polls(signing))
    token = library(tv).fetch_token(about["token_endpoint"], **ask)
    assert auth.caller(token["access_token"]).ask("{ trees(first: 1) { nodes { id } } }")
    auth.store(lambda signing: _forget_polls(signing))
    assert auth.token(tv, None, **ask).json()["error"] == "invalid_grant"


async def _forget_polls(signing):
    """As if five seconds had passed."""
    await signing.devices._devices.update_many({}, {"$set": {"polled_ms": 0}})


def test_a_device_may_be_refused(auth, about, signed_in):
    tv, _ = auth.client(grants=[DEVICE_GRANT], redirect_uris=[])
    begun = httpx.post(about["device_authorization_endpoint"], data={"client_id": tv}).json()
    signed_in.get("/device")
    signed_in.send("/device", user_code=begun["user_code"].lower())
    assert "got no access" in signed_in.send("/device", decision="deny").text
    denied = auth.token(tv, None, grant_type=DEVICE_GRANT, device_code=begun["device_code"])
    assert denied.json()["error"] == "access_denied"


def test_a_service_signs_in_by_itself(auth, about):
    wanted = {"kind": "confidential", "grants": ["client_credentials"], "redirect_uris": [], "scopes": ["jobs", "read"]}
    service, secret = auth.client(name="Nightly", **wanted)
    client = library(service, secret=secret)
    token = client.fetch_token(about["token_endpoint"], grant_type="client_credentials", scope="jobs")
    assert token["scope"] == "jobs"
    assert "refresh_token" not in token
    assert auth.caller(token["access_token"]).ask("{ jobs(first: 1) { nodes { id } } }")
    assert auth.caller(token["access_token"]).refused(VIEWER)["extensions"]["code"] == "FORBIDDEN"
    in_form = auth.token(service, None, grant_type="client_credentials", client_secret=secret)
    assert in_form.status_code == 200
    introspected = client.introspect_token(about["introspection_endpoint"], token["access_token"]).json()
    assert (introspected["active"], introspected["client_id"], introspected["scope"]) == (True, service, "jobs")
    stranger, its_secret = auth.client(**wanted)
    theirs = library(stranger, secret=its_secret)
    assert theirs.introspect_token(about["introspection_endpoint"], token["access_token"]).json() == {"active": False}
    auth.store(lambda signing: signing.clients.delete(service))
    assert auth.caller(token["access_token"]).post(VIEWER).status_code == 401


def test_a_confidential_web_app_uses_pkce_and_its_secret(auth, signed_in):
    web, secret = auth.client(kind="confidential")
    verifier = secrets.token_urlsafe(48)
    signed_in.authorize(web, WEB, verifier)
    code = signed_in.allow()["code"]
    assert auth.redeem(web, code, verifier).status_code == 401  # without its secret
    given = {"grant_type": "authorization_code", "code": code, "code_verifier": verifier, "redirect_uri": WEB}
    token = auth.token(web, secret, **given).json()
    refresh = {"token": token["refresh_token"]}
    asked = httpx.post(f"{auth.base}/oauth/introspect", data=refresh, auth=(web, secret)).json()
    assert (asked["active"], asked["token_type"]) == (True, "refresh_token")
    httpx.post(f"{auth.base}/oauth/revoke", data=refresh, auth=(web, secret))
    assert httpx.post(f"{auth.base}/oauth/introspect", data=refresh, auth=(web, secret)).json() == {"active": False}


def test_admins_register_clients(auth, signed_in):
    admin, nobody = auth.admin(), auth.caller().sign_in("no-admin")
    wanted = {"client_name": "New", "redirect_uris": [WEB], "token_endpoint_auth_method": "none", "scope": "read"}
    url = f"{auth.base}/oauth/register"
    made = httpx.post(url, json=wanted, headers=admin.headers)
    assert made.status_code == 201
    assert (made.json()["scope"], "client_secret" in made.json()) == ("read", False)
    assert (
        signed_in.authorize(made.json()["client_id"], WEB, secrets.token_urlsafe(48), scope="read").status_code == 200
    )
    for uri in ("https://[::1", "https://app.example.org:port/", "https://app.example.org:99999/"):
        refused = httpx.post(url, json=wanted | {"redirect_uris": [uri]}, headers=admin.headers)
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_redirect_uri")
        input = {"name": "New", "redirectUris": [uri], "scopes": ["READ"]}
        assert admin.attempt("createClient", "client { id }", **input)["userErrors"][0]["path"] == ["redirectUris"]
    assert httpx.post(url, json=wanted).json()["error"] == "invalid_token"
    assert httpx.post(url, json=wanted, headers=nobody.headers).status_code == 403
    for change, error in (
        ({"redirect_uris": ["http://app.example.org"]}, "invalid_redirect_uri"),
        ({"client_name": 5}, "invalid_client_metadata"),
        ({"redirect_uris": 7}, "invalid_client_metadata"), ({"scope": "root"}, "invalid_client_metadata"),
    ):  # fmt: skip
        refused = httpx.post(url, json=wanted | change, headers=admin.headers)
        assert (refused.status_code, refused.json()["error"]) == (400, error)
    with_secret = httpx.post(
        url, json=wanted | {"token_endpoint_auth_method": "client_secret_basic"}, headers=admin.headers
    )
    assert with_secret.json()["client_secret"]


def test_signing_out_ends_the_browsers_session_only(auth, app, signed_in):
    verifier = secrets.token_urlsafe(48)
    signed_in.authorize(app, WEB, verifier)
    token = auth.redeem(app, signed_in.allow()["code"], verifier).json()
    assert "signed in in this browser" in signed_in.get("/account").text
    signed_in.send("/sign-out")
    assert signed_in.get("/account").headers["location"].startswith("/sign-in")
    assert auth.caller(token["access_token"]).ask(VIEWER)["viewer"]
