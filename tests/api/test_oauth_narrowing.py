"""What was given is taken back: narrowed clients, ended sessions, revoked tokens; and who is asked again."""

from __future__ import annotations

import secrets

import httpx
import pytest
from auth_site import NATIVE, WEB
from browsing import answer

from core.oauth_records import DEVICE_GRANT
from core.scopes import SCOPES
from graphql_schema.relay import global_id

VIEWER = "{ viewer { user { id } } }"
SESSIONS = "{ viewer { sessions { id } } }"
JOBS = "{ jobs(first: 1) { nodes { id } } }"
PRIVATE = "org.example.app:/callback"
SERVICE = {"kind": "confidential", "grants": ["client_credentials"], "redirect_uris": []}


@pytest.fixture(scope="module")
def admin(auth):
    return auth.admin()


@pytest.fixture
def browser(auth):
    """A browser in which somebody is signed in."""
    browser = auth.browser()
    browser.name = browser.sign_in()
    return browser


@pytest.fixture
def person(auth, browser):
    """The same person, elsewhere."""
    return auth.caller().sign_in(browser.name)


def tokens(auth, browser, client, **asked):
    """What a client gets by code."""
    verifier = secrets.token_urlsafe(48)
    browser.authorize(client, WEB, verifier, **asked)
    return auth.redeem(client, browser.allow()["code"], verifier).json()


def refreshed(auth, client, given):
    return auth.token(client, None, grant_type="refresh_token", refresh_token=given["refresh_token"])


def let_in(auth, browser, client, **asked):
    """A device code that the browser's person has allowed, and the page that asked."""
    form = {"client_id": client, **asked}
    begun = httpx.post(f"{auth.base}/oauth/device_authorization", data=form).json()
    browser.get("/device")
    page = browser.send("/device", user_code=begun["user_code"]).text
    assert "Connected" in browser.send("/device", decision="allow").text
    return begun["device_code"], page


def test_a_device_of_ours_names_what_it_gets(auth, browser):
    wanted = {"first_party": True, "grants": [DEVICE_GRANT], "redirect_uris": [], "scopes": ["read", "chat"]}
    client, _ = auth.client(**wanted)
    code, page = let_in(auth, browser, client)
    assert all(SCOPES[scope] in page for scope in wanted["scopes"])
    token = auth.token(client, None, grant_type=DEVICE_GRANT, device_code=code).json()
    assert token["scope"] == "read chat"
    assert auth.caller(token["access_token"]).refused(SESSIONS)["extensions"]["code"] == "FORBIDDEN"


@pytest.mark.parametrize("ours", [False, True])
def test_a_program_asks_each_time_and_a_site_once(auth, browser, ours):
    client, _ = auth.client(first_party=ours, redirect_uris=[WEB, NATIVE, PRIVATE])
    for _ in range(2):
        for uri in (NATIVE.replace("127.0.0.1", "127.0.0.1:4444"), PRIVATE):
            page = browser.authorize(client, uri, secrets.token_urlsafe(48), scope=None)
            assert (page.status_code, "a program on this device" in page.text) == (200, True)
            shown = [told for scope, told in SCOPES.items() if told in page.text]
            assert len(shown) == (len(SCOPES) - 1 if ours else 5)
            assert answer(browser.send("/oauth/authorize", decision="allow"))["code"]
    assert answer(browser.authorize(client, WEB, secrets.token_urlsafe(48), scope=None))["code"]


def test_an_app_that_is_not_ours_any_more_loses_what_nobody_was_asked_for(auth, admin, browser, person):
    client, _ = auth.client(first_party=True)
    given, named = tokens(auth, browser, client, scope=None), tokens(auth, browser, client, scope="read profile")
    other = tokens(auth, browser, auth.client(first_party=True)[0], scope=None)
    verifier = secrets.token_urlsafe(48)
    browser.authorize(client, WEB, verifier, scope=None)
    code = browser.allow()["code"]
    assert auth.caller(given["access_token"]).ask(SESSIONS)["viewer"]["sessions"]
    one = global_id("OAuthClient", client)
    admin.do("updateClient", clientId=one, firstParty=True, scopes=["READ", "PROFILE"])
    assert auth.caller(given["access_token"]).ask(SESSIONS)["viewer"]["sessions"], "it is still ours"
    admin.do("updateClient", clientId=one, firstParty=False)
    for each in (given, named):
        assert auth.caller(each["access_token"]).post(VIEWER).status_code == 401
    assert refreshed(auth, client, given).json()["error"] == "invalid_grant"
    assert auth.redeem(client, code, verifier).json()["error"] == "invalid_grant"
    assert auth.caller(other["access_token"]).ask(SESSIONS)["viewer"]["sessions"], "another app's is another matter"
    page = browser.authorize(client, WEB, secrets.token_urlsafe(48), scope="read profile")
    assert "Allow Test App to use your account?" in page.text
    admin.do("updateClient", clientId=one, firstParty=False, name="Other App")
    assert browser.authorize(client, WEB, verifier, scope="read profile").status_code == 200
    late = auth.redeem(client, answer(browser.send("/oauth/authorize", decision="allow"))["code"], verifier).json()
    admin.do("updateClient", clientId=one, firstParty=False)
    assert auth.caller(late["access_token"]).ask(VIEWER), "what it was allowed since stays"


def test_a_session_that_outlived_the_change_is_limited_when_it_is_renewed(auth, browser):
    """Should the process die between the change and the end of the sessions."""
    client, _ = auth.client(first_party=True)
    given = tokens(auth, browser, client, scope=None)

    async def change(auth):
        changed = {"$set": {"first_party": False, "scopes": ["read", "profile"]}}
        await auth.clients._clients.update_one({"_id": client}, changed)

    auth.store(change)
    own = auth.client(kind="confidential", first_party=True)
    form = {"token": given["refresh_token"]}
    assert httpx.post(f"{auth.base}/oauth/introspect", data=form, auth=own).json()["scope"] == "profile read"
    after = refreshed(auth, client, given).json()
    assert after["scope"] == "read profile"
    assert auth.caller(after["access_token"]).refused(SESSIONS)["extensions"]["code"] == "FORBIDDEN"


def test_what_is_taken_from_a_service_is_gone_from_its_keys(auth, admin):
    client, _ = auth.client(**SERVICE, scopes=["read", "jobs", "act_as", "tasks"])
    one = global_id("OAuthClient", client)
    made = admin.do("createApiKey", "text", clientId=one, name="k", scopes=["READ", "JOBS", "ACT_AS", "TASKS"])
    bot = auth.caller(made["text"])
    assert bot.ask(JOBS)
    admin.do("updateClient", clientId=one, scopes=["READ"])
    assert bot.ask("{ trees(first: 1) { nodes { id } } }")
    assert bot.refused(JOBS)["extensions"]["code"] == "FORBIDDEN"
    assert bot.post(VIEWER, x_act_as=admin.user_id).status_code == 403


@pytest.mark.parametrize("way", ["signOutEverywhere", "revokeApp"])
def test_what_was_allowed_and_not_redeemed_yet_ends_too(auth, browser, person, way):
    client, _ = auth.client(grants=["authorization_code", "refresh_token", DEVICE_GRANT])
    verifier = secrets.token_urlsafe(48)
    browser.authorize(client, WEB, verifier)
    code = browser.allow()["code"]
    device, _ = let_in(auth, browser, client, scope="read offline_access")
    given = {"appId": global_id("App", client)} if way == "revokeApp" else {}
    person.do(way, "revoked", **given)
    late = auth.redeem(client, code, verifier)
    assert (late.status_code, late.json()["error"]) == (400, "invalid_grant")
    late = auth.token(client, None, grant_type=DEVICE_GRANT, device_code=device)
    assert (late.status_code, late.json()["error"]) == (400, "invalid_grant")


def test_taking_back_one_app_leaves_what_others_were_allowed(auth, browser, person):
    one, other = auth.client()[0], auth.client()[0]
    verifier = secrets.token_urlsafe(48)
    browser.authorize(other, WEB, verifier)
    code = browser.allow()["code"]
    tokens(auth, browser, one)
    person.do("revokeApp", "revoked", appId=global_id("App", one))
    assert auth.redeem(other, code, verifier).status_code == 200


def test_a_services_token_can_be_revoked(auth):
    client, secret = auth.client(**SERVICE, scopes=["read", "jobs"])
    token = auth.token(client, secret, grant_type="client_credentials").json()["access_token"]
    other = auth.client(**SERVICE, scopes=["read", "jobs"])
    for who, works in ((other, True), ((client, secret), False)):
        assert httpx.post(f"{auth.base}/oauth/revoke", data={"token": token}, auth=who).status_code == 200
        assert (auth.caller(token).post(JOBS).status_code == 200) == works
    introspected = httpx.post(f"{auth.base}/oauth/introspect", data={"token": token}, auth=(client, secret))
    assert introspected.json() == {"active": False}


def test_a_client_that_is_not_registered_for_refreshing_cannot(auth, browser):
    client, _ = auth.client(grants=["authorization_code"])
    given = tokens(auth, browser, client)
    assert ("offline_access" in given["scope"], "refresh_token" in given) == (True, False)
    other, _ = auth.client()
    refused = refreshed(auth, client, tokens(auth, browser, other))
    assert (refused.status_code, refused.json()["error"]) == (400, "unauthorized_client")
