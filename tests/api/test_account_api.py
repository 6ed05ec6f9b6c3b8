"""Accounts and clients through GraphQL: sessions, identities, terms, clients, keys, services acting for people."""

from __future__ import annotations

import json
import secrets
from dataclasses import replace

import boto3
import pytest
from auth_site import WEB, auth_site, letters
from moto.server import ThreadedMotoServer
from websockets.sync.client import connect

from api.keys import keys_of, load_keys
from core.errors import BadInput, Unavailable
from graphql_schema.relay import global_id
from oa.embedded import free_port

VIEWER = "{ viewer { user { id displayName } roles } }"
SESSIONS = "{ viewer { sessions { id kind device clientName current scopes } } }"


@pytest.fixture(scope="module")
def admin(auth):
    return auth.admin()


@pytest.fixture
def ada(auth):
    """Somebody with an app, a browser and a development session."""
    caller = auth.caller().sign_in(f"ada-{secrets.token_hex(4)}")
    name = caller.ask(VIEWER)["viewer"]["user"]["displayName"]
    browser = auth.browser()
    browser.sign_in(name)
    client, verifier = auth.client()[0], secrets.token_urlsafe(48)
    browser.authorize(client, WEB, verifier, scope="read account profile")
    token = auth.redeem(client, browser.allow()["code"], verifier).json()["access_token"]
    return caller, browser, auth.caller(token)


def test_sessions_are_listed_and_ended_one_by_one(auth, ada):
    caller, browser, app = ada
    listed = {one["kind"]: one for one in caller.ask(SESSIONS)["viewer"]["sessions"]}
    assert set(listed) == {"BROWSER", "APP", "DEVELOPMENT"}
    assert (listed["APP"]["clientName"], listed["BROWSER"]["device"]) == ("Test App", "Test Browser")
    assert [kind for kind, one in listed.items() if one["current"]] == ["DEVELOPMENT"]
    assert listed["APP"]["scopes"] == ["read", "profile", "account"]
    stranger = auth.caller().sign_in("stranger")
    refused = stranger.attempt("revokeSession", sessionId=listed["APP"]["id"])["userErrors"]
    assert [one["code"] for one in refused] == ["NOT_FOUND"]
    caller.do("revokeSession", "revoked", sessionId=listed["APP"]["id"])
    assert app.post(VIEWER).status_code == 401
    assert caller.attempt("revokeSession", sessionId=listed["APP"]["id"])["userErrors"][0]["path"] == ["sessionId"]
    caller.do("revokeSession", "revoked", sessionId=listed["BROWSER"]["id"])
    assert browser.get("/account").is_redirect


def test_signing_out_everywhere_ends_all_but_one_or_all(ada):
    caller, browser, app = ada
    assert app.do("signOutEverywhere", "revoked", butThisOne=True)["revoked"] == 2
    assert app.ask(VIEWER)["viewer"]
    assert caller.post(VIEWER).status_code == 401
    assert browser.get("/account").is_redirect
    assert app.do("signOutEverywhere", "revoked")["revoked"] == 1
    assert app.post(VIEWER).status_code == 401


def test_identities_are_listed_linked_and_never_the_last_unlinked(auth, ada):
    caller, browser, _ = ada
    (identity,) = caller.ask("{ viewer { identities { id provider } } }")["viewer"]["identities"]
    assert identity["provider"] == "development"
    last = caller.attempt("unlinkIdentity", "identities { id }", identityId=identity["id"])["userErrors"][0]
    assert "your only sign-in" in last["message"]
    assert caller.attempt("linkIdentity", "url", provider="nowhere")["userErrors"][0]["code"] == "NOT_FOUND"
    url = caller.do("linkIdentity", "url", provider="email")["url"]
    assert url == f"{auth.base}/account/link/email"
    assert "Link E-mail?" in browser.get(url).text
    browser.send("/account/link", address=f"{secrets.token_hex(4)}@example.org")
    link = next(line for line in letters(auth.settings.mail_outbox)[-1].splitlines() if line.startswith("http"))
    assert "Link this address" in browser.get(link).text
    browser.send("/sign-in/letter/open")
    left = caller.do("unlinkIdentity", "identities { provider }", identityId=identity["id"])["identities"]
    assert left == [{"provider": "email"}]


def test_what_an_app_was_allowed_is_taken_back(auth, ada):
    caller, _, app = ada
    listed = caller.ask("{ viewer { apps { id name scopes } } }")["viewer"]["apps"]
    assert [(one["name"], sorted(one["scopes"])) for one in listed] == [("Test App", ["account", "profile", "read"])]
    caller.do("revokeApp", "revoked", appId=listed[0]["id"])
    assert app.post(VIEWER).status_code == 401
    assert caller.ask("{ viewer { apps { id } } }")["viewer"]["apps"] == []
    assert caller.ask(VIEWER)["viewer"]


def test_people_name_themselves(ada):
    caller, browser, app = ada
    named = app.do("setDisplayName", "user { displayName }", displayName=" Countess ")["user"]
    assert named == {"displayName": "Countess"}
    assert "<h1>Countess</h1>" in browser.get("/account").text
    for wrong in ("", " ", "x" * 65, "a\u0000b", "a\nb"):
        assert caller.attempt("setDisplayName", displayName=wrong)["userErrors"][0]["path"] == ["displayName"]


def test_an_app_without_the_scope_sees_nothing_of_the_account(auth, ada):
    _, browser, _ = ada
    client, verifier = auth.client()[0], secrets.token_urlsafe(48)
    browser.authorize(client, WEB, verifier, scope="profile")
    app = auth.caller(auth.redeem(client, browser.allow()["code"], verifier).json()["access_token"])
    assert app.ask(VIEWER)["viewer"]
    for document in (SESSIONS, "{ viewer { identities { id } } }",
                     "mutation { signOutEverywhere(input: {}) { revoked } }"):  # fmt: skip
        assert app.refused(document)["extensions"]["code"] == "FORBIDDEN"


def test_contributions_wait_until_the_terms_are_accepted(settings):
    with auth_site(settings, terms_version="2", terms_url="https://example.org/terms") as site:
        ada = site.caller().sign_in("ada")
        request = 'mutation { requestTask(input: {langs: ["en"], kind: INITIAL_PROMPT}) { task { id } } }'
        terms = "{ viewer { terms { version url accepted } } }"
        assert ada.refused(request)["extensions"]["code"] == "TERMS_NOT_ACCEPTED"
        assert ada.ask(terms)["viewer"]["terms"] == {
            "version": "2", "url": "https://example.org/terms", "accepted": False,
        }  # fmt: skip
        assert ada.attempt("acceptTerms", version="1")["userErrors"][0]["path"] == ["version"]
        ada.do("acceptTerms", "terms { accepted }", version="2")
        assert ada.ask(terms)["viewer"]["terms"]["accepted"]
        assert ada.ask(request)["requestTask"]["task"]
        assert "terms of use" in site.browser().get("/sign-in").text


CLIENT = "client { id clientId name kind scopes redirectUris grants service { id } apiKeys { name } }"


def test_admins_register_change_and_remove_clients(auth, admin):
    made = admin.do("createClient", f"secret {CLIENT}", name="App", redirectUris=[WEB], scopes=["READ"])
    assert (made["secret"], made["client"]["kind"], made["client"]["service"]) == (None, "PUBLIC", None)
    client = made["client"]["id"]
    changed = admin.do("updateClient", CLIENT, clientId=client, name="Other", scopes=["READ", "CHAT"])["client"]
    assert (changed["name"], changed["scopes"], changed["redirectUris"]) == ("Other", ["READ", "CHAT"], [WEB])
    assert admin.ask("query ($id: ID!) { node(id: $id) { ... on OAuthClient { name } } }", id=client)["node"]
    seen, after = [], None
    while True:
        page = admin.ask(
            "query ($after: String) { clients(first: 3, after: $after) "
            "{ nodes { id } pageInfo { hasNextPage endCursor } } }",
            after=after,
        )["clients"]
        seen += [node["id"] for node in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert seen.count(client) == 1
    wrong = admin.attempt("updateClient", CLIENT, clientId=client, redirectUris=["http://x.org"])["userErrors"][0]
    assert (wrong["code"], wrong["path"]) == ("BAD_INPUT", ["redirectUris"])
    assert admin.attempt("updateClient", "secret", clientId=client, newSecret=True)["userErrors"]
    admin.do("deleteClient", "deleted", clientId=client)
    assert admin.attempt("deleteClient", "deleted", clientId=client)["userErrors"][0]["code"] == "NOT_FOUND"


def test_others_neither_see_nor_make_clients(auth, admin):
    client = global_id("OAuthClient", auth.client()[0])
    mod = auth.caller().sign_in("mod", "MODERATOR")
    assert mod.ask("query ($id: ID!) { node(id: $id) { id } }", id=client)["node"] is None
    assert mod.refused("{ clients(first: 1) { nodes { id } } }")["extensions"]["code"] == "FORBIDDEN"
    make = 'mutation { createClient(input: {name: "x", scopes: [ADMIN]}) { secret } }'
    assert mod.refused(make)["extensions"]["code"] == "FORBIDDEN"
    assert auth.caller().refused(make)["extensions"]["code"] == "UNAUTHENTICATED"


@pytest.fixture(scope="module")
def service(admin):
    """A service that may act for people."""
    return admin.do(
        "createClient", f"secret {CLIENT}", name="Bot", kind="CONFIDENTIAL", grants=["CLIENT_CREDENTIALS"],
        scopes=["ACT_AS", "TASKS", "PROFILE", "JOBS"],
    )  # fmt: skip


def test_a_service_uses_a_key_until_it_is_ended(auth, admin, service):
    client = service["client"]["id"]
    made = admin.do(
        "createApiKey", "text apiKey { id name beginsWith scopes good lastUsedAt }", clientId=client, name="CI",
        scopes=["JOBS"], days=7,
    )  # fmt: skip
    text, key = made["text"], made["apiKey"]
    assert text.startswith(key["beginsWith"] + "_")
    assert (key["name"], key["scopes"], key["good"], key["lastUsedAt"]) == ("CI", ["JOBS"], True, None)
    bot = auth.caller(text)
    assert bot.ask("{ jobs(first: 1) { nodes { id } } }")
    assert bot.refused(VIEWER)["extensions"]["code"] == "FORBIDDEN"
    admin.do("revokeApiKey", "apiKey { good }", apiKeyId=key["id"])
    assert bot.post("{ jobs(first: 1) { nodes { id } } }").status_code == 401
    assert auth.caller("oa_nonsense").post(VIEWER).status_code == 401
    for wrong, path in (({"scopes": ["CHAT"]}, "scopes"), ({"days": 0}, "days"), ({"name": ""}, "name")):
        given = {"clientId": client, "name": "x", "scopes": ["JOBS"], "days": 1} | wrong
        assert admin.attempt("createApiKey", "text", **given)["userErrors"][0]["path"] == [path]
    public = global_id("OAuthClient", auth.client()[0])
    assert admin.attempt("createApiKey", "text", clientId=public, name="x", scopes=["READ"])["userErrors"]


def test_a_service_acts_for_a_named_person_and_the_journal_says_so(auth, admin, service):
    ada = auth.caller().sign_in("ada-acted-for")
    form = {"grant_type": "client_credentials"}
    token = auth.token(service["client"]["clientId"], service["secret"], **form).json()["access_token"]
    bot = auth.caller(token)
    request = 'mutation { requestTask(input: {langs: ["en"], kind: INITIAL_PROMPT}) { task { id } } }'
    assert bot.refused(request)["extensions"]["code"] == "FORBIDDEN"
    answer = bot.post(request, x_act_as=ada.user_id).json()
    task = answer["data"]["requestTask"]["task"]["id"]
    assert [one["id"] for one in ada.ask("{ viewer { tasks { id } } }")["viewer"]["tasks"]] == [task]
    assert bot.post(SESSIONS, x_act_as=ada.user_id).json()["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    reads = "query Two { ...F leaderboard(frame: DAY, first: 1) { rank } } fragment F on Query { viewer { roles } }"
    assert bot.post(reads, x_act_as=ada.user_id).json()["data"] is None  # the service may not see leaderboards
    events = 'query ($id: ID) { events(first: 9, subjectId: $id, kind: "acted_for") { nodes { by { id } details } } }'
    found = admin.ask(events, id=ada.user_id)["events"]["nodes"]
    assert [one["details"]["action"] for one in found] == ["viewer, leaderboard", "viewer", "requestTask"]
    assert {one["by"]["id"] for one in found} == {service["client"]["service"]["id"]}


def test_nobody_else_acts_for_anybody(auth, admin, service):
    ada = auth.caller().sign_in("ada-left-alone")
    key = admin.do("createApiKey", "text", clientId=service["client"]["id"], name="k", scopes=["TASKS", "PROFILE"])
    without_scope = auth.caller(key["text"])
    for caller, status in ((admin, 403), (auth.caller(), 401), (without_scope, 403)):
        assert caller.post(VIEWER, x_act_as=ada.user_id).status_code == status
    form = {"grant_type": "client_credentials"}
    token = auth.token(service["client"]["clientId"], service["secret"], **form).json()["access_token"]
    bot = auth.caller(token)
    for named, status in ((admin.user_id, 200), ("nonsense", 400), (global_id("User", "nobody"), 401)):
        response = bot.post(VIEWER, x_act_as=named)
        assert response.status_code == status
        if status == 200:  # an admin's name does not bring an admin's rights
            assert response.json()["data"]["viewer"]["roles"] == []


def test_over_websocket_a_key_and_a_name_come_in_the_first_message(auth, service):
    ada = auth.caller().sign_in("ada-over-websocket")
    form = {"grant_type": "client_credentials"}
    token = auth.token(service["client"]["clientId"], service["secret"], **form).json()["access_token"]
    url = auth.base.replace("http", "ws") + "/graphql"
    with connect(url, subprotocols=["graphql-transport-ws"]) as socket:
        payload = {"authorization": f"Bearer {token}", "actAs": ada.user_id}
        socket.send(json.dumps({"type": "connection_init", "payload": payload}))
        assert json.loads(socket.recv())["type"] == "connection_ack"
        socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": {"query": VIEWER}}))
        data = json.loads(socket.recv())["payload"]["data"]
        assert data["viewer"]["user"]["id"] == ada.user_id


def test_the_key_comes_from_the_secret_store(settings, tmp_path, monkeypatch):
    port = free_port()
    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    try:
        for name, value in (("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}"), ("AWS_ACCESS_KEY_ID", "x"),
                            ("AWS_SECRET_ACCESS_KEY", "x")):  # fmt: skip
            monkeypatch.setenv(name, value)
        store = boto3.client("secretsmanager", region_name="us-east-1")
        mine = load_keys(tmp_path / "key.pem", make=True)
        store.create_secret(Name="signing", SecretString=(tmp_path / "key.pem").read_text())
        store.create_secret(Name="default", SecretString="changeme")
        named = {"mode": "production", "mail_outbox": None, "rate_limits": "", "token_key_file": tmp_path / "nowhere",
                 "trusted_hosts": ("api.example.org",)}  # fmt: skip
        found = keys_of(replace(settings, **named, token_key_secret="signing"))
        assert found.active.thumbprint() == mine.active.thumbprint()
        with pytest.raises(BadInput, match="OA_TOKEN_KEY_SECRET"):
            keys_of(replace(settings, **named, token_key_secret="default"))
        with pytest.raises(Unavailable, match="cannot be read"):
            keys_of(replace(settings, **named, token_key_secret="missing"))
    finally:
        server.stop()
