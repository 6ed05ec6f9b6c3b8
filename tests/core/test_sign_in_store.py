"""Sessions, grants, clients, keys and identities in the real store."""

from __future__ import annotations

import asyncio

import pytest

from core import identities
from core.errors import BadInput, Conflict, Forbidden, NotFound, TooMany, Unauthenticated
from core.ids import new_id
from core.oauth_records import DAY, Attempt
from core.records import milliseconds, now
from core.secret_values import challenge_of, hashed, new_secret
from core.sign_in import SignIn, sweep_sign_in

URI = "https://app.example.org/cb"


@pytest.fixture
def signing(database):
    return SignIn(database)


@pytest.fixture
async def ada(signing):
    return await signing.accounts.ensure_user("google", "ada", "Ada")


async def age(database, name, key, **fields):
    changed = await database[name].update_one({"_id": key}, {"$set": fields})
    assert changed.matched_count


async def test_a_browsers_session_is_that_of_its_cookie(signing, ada, database):
    session, cookie = await signing.sessions.open_browser(ada.id, "Browser\n1")
    found = await signing.sessions.of_browser(cookie)
    assert (found.user_id, found.device) == (ada.id, "Browser1")
    for wrong in (None, "", session.id, f"{session.id}.", cookie + "x", f"{new_id()}.{cookie.partition('.')[2]}"):
        assert await signing.sessions.of_browser(wrong) is None
    assert cookie.partition(".")[2] not in str(await database["sessions"].find_one({"_id": session.id}))
    await signing.sessions.revoke(session.id, ada.id)
    assert await signing.sessions.of_browser(cookie) is None


async def test_refreshing_gives_a_new_token_and_reuse_ends_the_session(signing, ada):
    session, first = await signing.sessions.open_app(new_id(), ada.id, "app", None)
    _, second = await signing.sessions.refresh(first, "app")
    _, third = await signing.sessions.refresh(second, "app")
    with pytest.raises(Unauthenticated, match="used before"):
        await signing.sessions.refresh(first, "app")
    with pytest.raises(Unauthenticated, match="session is over"):
        await signing.sessions.refresh(third, "app")
    assert not (await signing.sessions.get(session.id)).good(milliseconds(now()))


async def test_who_knows_a_sessions_id_alone_cannot_end_it(signing, ada):
    session, token = await signing.sessions.open_app(new_id(), ada.id, "app", None)
    for guess in (f"oar_{session.id}.{new_secret()}.{new_secret()}", f"oar_{session.id}.x.{token.split('.')[2]}"):
        with pytest.raises(Unauthenticated, match="unknown"):
            await signing.sessions.refresh(guess, "app")
    with pytest.raises(Unauthenticated, match="another client's"):
        await signing.sessions.refresh(token, "other")
    assert await signing.sessions.refresh(token, "app")


async def test_of_two_refreshes_at_once_one_wins_and_the_session_ends(signing, ada):
    _, token = await signing.sessions.open_app(new_id(), ada.id, "app", None)
    results = await asyncio.gather(*(signing.sessions.refresh(token, "app") for _ in range(4)), return_exceptions=True)
    won = [result for result in results if not isinstance(result, Exception)]
    assert len(won) <= 1
    assert all(isinstance(result, Unauthenticated) for result in results if result not in won)


async def test_a_session_without_offline_access_has_no_refresh_token(signing, ada):
    assert (await signing.sessions.open_app(new_id(), ada.id, "app", ["read"]))[1] is None
    assert (await signing.sessions.open_app(new_id(), ada.id, "app", ["offline_access"]))[1]


async def test_sessions_are_listed_and_ended(signing, ada, database):
    bob = await signing.accounts.ensure_user("google", "bob", "Bob")
    mine = [(await signing.sessions.open_app(new_id(), ada.id, "app", None))[0].id for _ in range(3)]
    (theirs, _) = await signing.sessions.open_app(new_id(), bob.id, "app", None)
    assert {one.id for one in await signing.sessions.of_user(ada.id)} == set(mine)
    assert not await signing.sessions.revoke(theirs.id, ada.id)
    assert await signing.sessions.revoke(mine[0], ada.id)
    assert not await signing.sessions.revoke(mine[0], ada.id)
    assert await signing.sessions.revoke_all(ada.id) == 2
    assert await signing.sessions.of_user(ada.id) == []
    assert len(await signing.sessions.of_user(bob.id)) == 1
    assert await signing.sessions.revoke_all() == 0
    await age(database, "sessions", theirs.id, expires_ms=milliseconds(now()) - 1)
    assert await signing.sessions.of_user(bob.id) == []
    assert await sweep_sign_in(database) == 0
    await age(database, "sessions", theirs.id, expires_ms=milliseconds(now()) - DAY - 1000)
    assert await sweep_sign_in(database) == 1


async def test_a_code_is_good_once_and_its_replay_ends_what_it_gave(signing, ada):
    verifier = new_secret()
    code = await signing.codes.issue("app", ada.id, URI, challenge_of(verifier), ["read"])
    for client, uri, proof, said in (
        ("other", URI, verifier, "another client"),
        ("app", URI + "/", verifier, "redirect_uri"),
        ("app", URI, new_secret(), "code_verifier"),
        ("app", URI, "", "code_verifier"),
        ("app", URI, challenge_of(verifier), "code_verifier"),
    ):
        with pytest.raises(Unauthenticated, match=said):
            await signing.codes.redeem(code, client, uri, proof)
    grant = await signing.codes.redeem(code, "app", URI, verifier)
    assert (grant.user_id, grant.scopes) == (ada.id, ("read",))
    session, _ = await signing.sessions.open_app(grant.session_id, ada.id, "app", grant.scopes)
    with pytest.raises(Unauthenticated, match="used before"):
        await signing.codes.redeem(code, "app", URI, verifier)
    assert (await signing.sessions.get(session.id)).revoked_ms


async def test_a_replay_that_comes_before_the_session_keeps_it_from_beginning(signing, ada):
    verifier = new_secret()
    code = await signing.codes.issue("app", ada.id, URI, challenge_of(verifier), ["read"])
    grant = await signing.codes.redeem(code, "app", URI, verifier)
    with pytest.raises(Unauthenticated):
        await signing.codes.redeem(code, "app", URI, verifier)
    with pytest.raises(Unauthenticated, match="used before"):
        await signing.sessions.open_app(grant.session_id, ada.id, "app", grant.scopes)


async def test_an_old_code_is_refused(signing, ada, database):
    verifier = new_secret()
    code = await signing.codes.issue("app", ada.id, URI, challenge_of(verifier), [])
    await database["oauth_codes"].update_many({}, {"$set": {"expires_ms": milliseconds(now())}})
    with pytest.raises(Unauthenticated, match="too old"):
        await signing.codes.redeem(code, "app", URI, verifier)


async def test_a_challenge_of_another_form_is_refused(signing, ada):
    with pytest.raises(BadInput, match="code_challenge"):
        await signing.codes.issue("app", ada.id, URI, "plain", [])


async def test_a_device_is_let_in_once(signing, ada, database):
    device, typed = await signing.devices.begin("tv", ["read"])
    assert (await signing.devices.poll(device, "tv")).state == "pending"
    with pytest.raises(TooMany):
        await signing.devices.poll(device, "tv")
    grant = await signing.devices.waiting(typed.lower().replace("-", " "))
    await signing.devices.decide(grant, ada.id, True)
    for again in (signing.devices.decide(grant, ada.id, False), signing.devices.waiting(typed)):
        with pytest.raises(NotFound):
            await again
    await age(database, "oauth_devices", grant.id, polled_ms=0)
    with pytest.raises(Unauthenticated, match="another client's"):
        await signing.devices.poll(device, "other")
    assert (await signing.devices.poll(device, "tv")).user_id == ada.id
    await age(database, "oauth_devices", grant.id, polled_ms=0)
    with pytest.raises(Unauthenticated, match="used"):
        await signing.devices.poll(device, "tv")


async def test_an_attempt_ends_once_in_its_own_browser(signing):
    browser = new_secret()
    state = await signing.attempts.begin(Attempt(id="", provider="google", browser_hash=hashed(browser), nonce="n"))
    for provider, cookie in (("google", None), ("google", new_secret()), ("github", browser)):
        with pytest.raises(Unauthenticated):
            await signing.attempts.finish(state, provider, cookie)
    assert (await signing.attempts.finish(state, "google", browser)).nonce == "n"
    with pytest.raises(Unauthenticated):
        await signing.attempts.finish(state, "google", browser)


async def test_clients_are_made_changed_and_deleted(signing, ada, database):
    client, secret = await signing.clients.create({"name": "App", "redirect_uris": [URI]}, by=ada.id)
    assert (secret, client.kind, client.scopes) == (None, "public", ("read", "profile"))
    changed, _ = await signing.clients.update(client.id, {"name": "Other", "scopes": ["tasks"]}, by=ada.id)
    assert (changed.name, changed.scopes, changed.redirect_uris) == ("Other", ("tasks",), (URI,))
    with pytest.raises(BadInput, match="no secret"):
        await signing.clients.update(client.id, {}, new_secret_wanted=True)
    assert [one.name for _, one in await signing.clients.page()] == ["Other"]
    session, _ = await signing.sessions.open_app(new_id(), ada.id, client.id, None)
    await signing.clients.delete(client.id, by=ada.id)
    assert (await signing.sessions.get(session.id)).revoked_ms
    with pytest.raises(NotFound):
        await signing.clients.get(client.id)
    kinds = [event["kind"] async for event in database["events"].find({"subject": client.id})]
    assert sorted(kinds) == ["create_client", "delete_client", "update_client"]


async def test_a_service_is_an_account_that_goes_with_its_client(signing, database):
    wanted = {"name": "Bot", "kind": "confidential", "grants": ["client_credentials"], "scopes": ["jobs", "act_as"]}
    client, secret = await signing.clients.create(wanted)
    assert secret
    assert secret not in str(await database["oauth_clients"].find_one({"_id": client.id}))
    _, renewed = await signing.clients.update(client.id, {}, new_secret_wanted=True)
    assert renewed != secret
    assert (await signing.accounts.get(client.service_id)).roles == ("service",)
    await signing.clients.delete(client.id)
    assert not (await signing.accounts.get(client.service_id)).enabled


@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        ({"name": ""}, "name"), ({"kind": "secret"}, "kind"), ({"grants": ["password"]}, "grants"),
        ({"grants": ["client_credentials"]}, "grants"), ({"scopes": ["root"]}, "scopes"),
        ({"scopes": ["act_as"]}, "scopes"),
        ({"redirect_uris": []}, "redirect_uris"), ({"redirect_uris": ["http://app.example.org"]}, "redirect_uris"),
        ({"redirect_uris": [f"{URI}/{n}" for n in range(11)]}, "redirect_uris"), ({"home_url": "ftp://x"}, "home_url"),
    ],
)  # fmt: skip
async def test_a_wrong_client_is_refused(signing, wanted, path):
    with pytest.raises(BadInput) as caught:
        await signing.clients.create({"name": "App", "redirect_uris": [URI]} | wanted)
    assert caught.value.path == (path,)


async def test_consent_is_remembered_for_each_client_and_scope(signing, ada):
    await signing.clients.remember_consent(ada, "app", ["read"])
    await signing.clients.remember_consent(ada, "app", ["chat", "read"])
    assert await signing.clients.consented(ada, "app") == {"read", "chat"}
    assert await signing.clients.consented(ada, "other") == frozenset()
    await signing.clients.forget_consent(ada.id, "app")
    assert await signing.clients.consented(ada, "app") == frozenset()


async def test_an_api_key_is_shown_once_and_ends(signing, ada, database):
    key, text = await signing.api_keys.create(ada.id, "CI", ["jobs"], 30, by=ada.id)
    assert text.startswith("oa_")
    assert text.split("_", 2)[2] not in str(await database["api_keys"].find_one({"_id": key.id}))
    assert (await signing.api_keys.verify(text)).scopes == ("jobs",)
    assert (await signing.api_keys.of_user(ada.id))[0].used_ms
    for wrong in ("oa_", "oa_x_y", text[:-1], text + "x", text.replace("oa_", "oa_0", 1)):
        with pytest.raises(Unauthenticated, match="unknown"):
            await signing.api_keys.verify(wrong)
    await signing.api_keys.revoke(key.id, by=ada.id)
    with pytest.raises(Unauthenticated, match="revoked"):
        await signing.api_keys.verify(text)
    assert await signing.api_keys.of_user(ada.id) == []
    with pytest.raises(NotFound):
        await signing.api_keys.revoke(new_id())


@pytest.mark.parametrize(
    ("name", "scopes", "days"), [("", ["jobs"], 1), ("n", ["x"], 1), ("n", ["jobs"], 0), ("n", [], 999)]
)
async def test_a_wrong_api_key_is_refused(signing, ada, name, scopes, days):
    with pytest.raises(BadInput):
        await signing.api_keys.create(ada.id, name, scopes, days)


async def test_a_key_that_is_over_is_refused(signing, ada, database):
    key, text = await signing.api_keys.create(ada.id, "CI", ["jobs"], 1)
    await age(database, "api_keys", key.id, expires_ms=milliseconds(now()))
    with pytest.raises(Unauthenticated, match="over"):
        await signing.api_keys.verify(text)


async def test_one_person_signs_in_in_several_ways(signing, ada, database):
    await identities.link(database, ada.id, "github:7")
    assert (await signing.accounts.ensure_user("github", "7", "ada7")).id == ada.id
    again = await identities.link(database, ada.id, "github:7")
    assert again.identities == ("google:ada", "github:7")
    left = await identities.unlink(database, ada.id, "google:ada")
    assert left.identities == ("github:7",)
    assert (await signing.accounts.ensure_user("github", "7", "x")).id == ada.id
    assert (await signing.accounts.ensure_user("google", "ada", "New")).id != ada.id
    with pytest.raises(BadInput, match="only sign-in"):
        await identities.unlink(database, ada.id, "github:7")
    with pytest.raises(NotFound):
        await identities.unlink(database, ada.id, "google:ada")


async def test_what_is_somebody_elses_cannot_be_linked(signing, ada, database):
    bob = await signing.accounts.ensure_user("github", "7", "Bob")
    await identities.link(database, bob.id, "discord:9")
    for key in ("github:7", "discord:9"):
        with pytest.raises(Conflict, match="another account"):
            await identities.link(database, ada.id, key)


async def test_two_unlinks_at_once_leave_one_sign_in(signing, ada, database):
    await identities.link(database, ada.id, "github:7")
    await asyncio.gather(
        *(identities.unlink(database, ada.id, key) for key in ("google:ada", "github:7")), return_exceptions=True
    )
    assert len((await signing.accounts.get(ada.id)).identities) == 1


async def test_a_claim_left_behind_by_a_crash_is_nobodys_after_a_minute(signing, ada, database):
    await identities.claim(database, "github:7", ada.id)
    with pytest.raises(Conflict):
        await signing.accounts.ensure_user("github", "7", "x")
    await age(database, "identities", "github:7", at_ms=0)
    with pytest.raises(Conflict):
        await signing.accounts.ensure_user("github", "7", "x")
    assert (await signing.accounts.ensure_user("github", "7", "x")).id != ada.id


async def test_racing_first_sign_ins_make_one_account(signing):
    users = await asyncio.gather(*(signing.accounts.ensure_user("github", "8", "Bea") for _ in range(6)))
    assert len({user.id for user in users}) == 1


async def test_a_disabled_account_cannot_sign_in(signing, ada):
    await signing.accounts.set_enabled(ada.id, False)
    with pytest.raises(Forbidden):
        await signing.accounts.ensure_user("google", "ada", "Ada")
