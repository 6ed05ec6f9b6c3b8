"""Signing in through others, by real servers on loopback; and what is not taken for their answer."""

from __future__ import annotations

import json
import re
import ssl
import time
from datetime import UTC, datetime, timedelta
from itertools import count
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from aiosmtpd.controller import Controller
from auth_site import auth_site, letters
from browsing import Browser
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from provider_site import provider_site

from api.oauth import upstream
from api.oauth.mail import Mail, check_address, smtp
from api.oauth.providers import read_providers
from core.errors import BadInput, Unavailable
from core.oauth_records import Attempt
from oa.embedded import free_port


@pytest.fixture(scope="module")
def acme():
    with provider_site() as provider:
        yield provider


@pytest.fixture(scope="module")
def site(settings, acme, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sign-in")
    file = folder / "providers.json"
    file.write_text(json.dumps(acme.config()))
    with auth_site(settings, sign_in_file=file, mail_outbox=folder / "outbox") as site:
        yield site


def go_there(browser: Browser, provider: str, next_page: str = "/account") -> str:
    """Begin at the sign-in page, and let the provider answer; the address to which it sends the browser back."""
    browser.get(f"/sign-in/with/{provider}?next={next_page}")
    assert browser.page.status_code == 303, browser.page.text
    there = browser.http.get(browser.page.headers["location"])
    assert there.status_code == 302, there.text
    return there.headers["location"]


def names(site, browser: Browser) -> str:
    """What the account page says."""
    page = browser.get("/account")
    return page.text if page.status_code == 200 else ""


@pytest.mark.parametrize(("provider", "name"), [("acme", "Ada"), ("github", "ada7"), ("discord", "Ada of Discord")])
def test_people_sign_in_through_it(site, provider, name):
    browser = site.browser()
    assert f"/sign-in/with/{provider}?" in browser.get("/sign-in").text
    browser.get(go_there(browser, provider))
    assert browser.page.headers["location"] == "/account"
    assert f"<h1>{name}</h1>" in names(site, browser)
    again = site.browser()
    again.get(go_there(again, provider))
    assert f"<h1>{name}</h1>" in names(site, again)


def test_two_ways_with_one_e_mail_address_are_two_people(site):
    async def ids(signing):
        found = [await signing.accounts.ensure_user(*who, "x") for who in (("acme", "ada"), ("github", "7"))]
        return {user.id for user in found}

    for provider in ("acme", "github"):
        browser = site.browser()
        browser.get(go_there(browser, provider))
    assert len(site.store(ids)) == 2


def test_a_second_way_is_linked_by_who_is_signed_in_and_not_twice(site, acme):
    acme.person = {"sub": "linker", "name": "Linker"}
    browser = site.browser()
    browser.get(go_there(browser, "acme"))
    acme.person = {"sub": "linker-at-twin", "name": "Other Name"}
    assert "Link Twin?" in browser.get("/account/link/twin").text
    browser.send("/account/link")
    browser.get(browser.http.get(browser.page.headers["location"]).headers["location"])
    assert re.search(r"Acme.*Twin", names(site, browser), re.DOTALL)
    other = site.browser()
    other.get(go_there(other, "twin"))
    assert "<h1>Linker</h1>" in names(site, other)
    third = site.browser()
    third.sign_in()
    third.get("/account/link/twin")
    third.send("/account/link")
    refused = third.get(third.http.get(third.page.headers["location"]).headers["location"])
    assert (refused.status_code, "belongs to another account" in refused.text) == (409, True)


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "https://elsewhere.example.org"}, {"iss": None}, {"aud": "another-app"}, {"aud": None},
        {"aud": ["open-assistant", "another-app"]}, {"azp": "another-app"}, {"nonce": "another"}, {"nonce": None},
        {"exp": int(time.time()) - 120}, {"exp": None}, {"iat": None}, {"sub": None}, {"sub": 5}, {"sub": ""},
        {"iat": int(time.time()) + 3600},
    ],
    ids=count(),  # a name must be the same in each process of tests
)  # fmt: skip
def test_an_id_token_with_wrong_claims_is_refused(site, acme, change):
    browser = site.browser()
    back = go_there(browser, "acme")
    acme.change = change
    assert browser.get(back).status_code == 400
    assert "is not good" in browser.page.text
    assert names(site, browser) == ""


@pytest.mark.parametrize("way", ["unsigned", "with_the_public_key_as_secret", "by_a_stranger"])
def test_an_id_token_that_they_did_not_sign_is_refused(site, acme, way):
    browser = site.browser()
    back = go_there(browser, "acme")
    acme.sign = getattr(acme, way)
    assert browser.get(back).status_code == 400
    assert names(site, browser) == ""


@pytest.mark.parametrize(
    ("claims", "shown"),
    [
        ({"name": "Ada Lovelace", "given_name": "Ada"}, "Ada"),
        ({"preferred_username": "a@x.org", "name": "Ada L."}, "Ada L."),
        ({"name": "ada@example.org"}, "contributor-"),
        ({"name": "  \u0000 "}, "contributor-"), ({"name": 5}, "contributor-"),
        ({"nickname": "<b>"}, "&lt;b&gt;"),
    ],
)  # fmt: skip
def test_the_name_that_everybody_sees_says_as_little_as_it_can(site, acme, claims, shown):
    acme.person = {"sub": f"named-{sorted(claims.items())}", **claims}
    browser = site.browser()
    browser.get(go_there(browser, "acme"))
    assert f"<h1>{shown}" in names(site, browser)


def test_keys_that_cannot_be_read_are_said_to_be_so(settings, tmp_path):
    file = tmp_path / "providers.json"
    with provider_site() as provider:
        file.write_text(json.dumps(provider.config()))
        with auth_site(settings, sign_in_file=file) as site:
            for keys in ({}, {"keys": 5}, {"keys": [{"kty": "EC"}]}, [], "keys"):
                provider.key_set, browser = keys, site.browser()
                assert browser.get(go_there(browser, "acme")).status_code == 503, keys


def test_a_new_key_of_theirs_is_found_and_looked_for_once(settings, tmp_path, monkeypatch):
    file = tmp_path / "providers.json"
    with provider_site() as provider:
        file.write_text(json.dumps(provider.config()))
        with auth_site(settings, sign_in_file=file) as site:
            first = site.browser()
            first.get(go_there(first, "acme"))
            monkeypatch.setattr(upstream, "NEW_KEYS", 0.0)
            provider.rotate()
            second = site.browser()
            second.get(go_there(second, "acme"))
            assert names(site, second)
            monkeypatch.undo()
            reads = provider.key_reads
            for _ in range(3):
                browser = site.browser()
                back = go_there(browser, "acme")
                provider.sign = provider.by_a_stranger
                assert browser.get(back).status_code == 400
            assert provider.key_reads == reads


def changed(url: str, **changes: str | None) -> str:
    """`url` with other parameters."""
    parts = urlsplit(url)
    given = dict(parse_qsl(parts.query)) | changes
    query = urlencode({name: value for name, value in given.items() if value is not None})
    return parts._replace(query=query).geturl()


def test_login_csrf_an_answer_is_for_the_browser_that_began(site):
    attacker, victim = site.browser(), site.browser()
    back = go_there(attacker, "acme")
    victim.get("/sign-in")
    assert victim.get(back).status_code == 400
    assert names(site, victim) == ""
    stranger = site.browser()
    assert stranger.get(back).status_code == 400
    assert attacker.get(back).headers["location"] == "/account"


@pytest.mark.parametrize("state", [None, "", "guessed"])
def test_login_csrf_an_answer_needs_its_state(site, state):
    browser = site.browser()
    assert browser.get(changed(go_there(browser, "acme"), state=state)).status_code == 400
    assert names(site, browser) == ""


def test_an_answer_is_taken_once(site):
    browser = site.browser()
    back = go_there(browser, "acme")
    browser.get(back)
    assert browser.get(back).status_code == 400


def test_mix_up_an_answer_of_another_provider_is_refused(site):
    browser = site.browser()
    back = go_there(browser, "acme")
    assert browser.get(back.replace("/with/acme/", "/with/twin/")).status_code == 400
    for iss in ("https://evil.example.org", None):
        browser = site.browser()
        assert browser.get(changed(go_there(browser, "acme"), iss=iss)).status_code == 400
        assert "its issuer is another" in browser.page.text


def test_who_is_refused_there_is_told_so_here(site):
    browser = site.browser()
    back = changed(go_there(browser, "acme"), code=None, error="access_denied")
    assert "did not let you in" in browser.get(back).text
    browser = site.browser()
    assert "did not let you in" in browser.get(changed(go_there(browser, "github"), code="wrong")).text


ELSEWHERE = ("https://evil.example.org", "//evil.example.org", "/\\evil.example.org", "/graphql")


@pytest.mark.parametrize("elsewhere", ELSEWHERE)
def test_open_redirect_after_signing_in_somebody_stays_here(site, elsewhere):
    browser = site.browser()
    browser.get(go_there(browser, "acme", elsewhere))
    assert browser.page.headers["location"] == "/account"


def test_session_fixation_a_planted_cookie_is_worth_nothing(site):
    browser = site.browser()
    planted = "0192f0c0-0000-7000-8000-000000000000.planted"
    browser.http.cookies.set("oa_session", planted, domain="127.0.0.1")
    browser.sign_in("victim")
    cookies = {cookie.value for cookie in browser.http.cookies.jar if cookie.name == "oa_session"}
    thief = site.browser()
    thief.http.cookies.set("oa_session", planted, domain="127.0.0.1")
    assert names(site, thief) == ""
    (first,) = cookies - {planted}
    browser.sign_in("victim")
    old = site.browser()
    old.http.cookies.set("oa_session", first, domain="127.0.0.1")
    assert names(site, old) == ""


def ask_for_letter(site, browser: Browser, address: str) -> str:
    """Ask for a letter; the link in it."""
    browser.get("/sign-in")
    assert "Look into your mailbox" in browser.send("/sign-in/letter", address=address).text
    letter = letters(site.settings.mail_outbox)[-1]
    assert f"To: {address.strip().lower()}" in letter
    return re.search(r"http://\S+", letter)[0]


def test_a_letter_signs_in_once_and_in_its_own_browser(site):
    browser, other = site.browser(), site.browser()
    link = ask_for_letter(site, browser, " Bea@Example.org ")
    assert other.get(link).status_code == 400  # a mail scanner, or somebody who reads along
    assert "bea@example.org" in browser.get(link).text
    assert browser.get(link).status_code == 200  # looking does not use it up
    browser.send("/sign-in/letter/open")
    assert browser.page.headers["location"] == "/account"
    assert "<h1>contributor-" in names(site, browser)  # and not what stands before the @
    assert browser.get(link).status_code == 400


WRONG = ("", "bea", "bea@", "bea@example", "a@b.org\r\nBcc: c@d.org", "bea@exa mple.org", "b..a@example.org")


@pytest.mark.parametrize("address", WRONG)
def test_letters_go_to_plain_addresses_only(site, address):
    before, browser = len(letters(site.settings.mail_outbox)), site.browser()
    browser.get("/sign-in")
    assert browser.send("/sign-in/letter", address=address).status_code == 400
    assert len(letters(site.settings.mail_outbox)) == before


def test_letters_are_few_and_nobody_is_locked_out_by_others(settings, tmp_path):
    rates = "letter=2/900,letter_address=5/900,letter_mailbox=4/3600"
    with auth_site(settings, mail_outbox=tmp_path, rate_limits=rates, trusted_proxies=("127.0.0.1",)) as site:

        def ask(mailbox: str, place: str) -> int:
            browser = site.browser()
            browser.http.headers["x-forwarded-for"] = place
            browser.get("/sign-in")
            answer = browser.send("/sign-in/letter", address=f"{mailbox}@example.org")
            assert (answer.status_code == 429) == ("retry-after" in answer.headers)
            return answer.status_code

        assert [ask("bea", "198.51.100.1") for _ in range(4)] == [200, 200, 429, 429]
        assert ask("bea", "203.0.113.9") == 200  # she herself, elsewhere: the refused ones took nothing of hers
        assert ask("cy", "198.51.100.1") == 200
        assert ask("dot", "198.51.100.1") == 429  # the fifth from there was one of the refused
        assert ask("bea", "203.0.113.9") == 200
        assert ask("bea", "203.0.113.10") == 429  # her mailbox had four
        assert len(letters(tmp_path)) == 5


def test_a_class_behind_one_address_signs_in(settings, tmp_path):
    with auth_site(settings, mail_outbox=tmp_path, rate_limits="") as site:
        for number in range(12):
            browser = site.browser()
            browser.get("/sign-in")
            assert browser.send("/sign-in/letter", address=f"pupil{number}@example.org").status_code == 200


class Box:
    """Takes letters, as a mail server does."""

    def __init__(self) -> None:
        self.letters: list[str] = []

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 - aiosmtpd's name
        self.letters.append(envelope.content.decode())
        return "250 OK"


def test_letters_go_out_by_smtp(settings, tmp_path):
    box = Box()
    server = Controller(box, hostname="127.0.0.1", port=free_port())
    server.start()
    try:
        with auth_site(settings, smtp_url=f"smtp://127.0.0.1:{server.port}", mail_from="us@example.org") as site:
            browser = site.browser()
            browser.get("/sign-in")
            assert browser.send("/sign-in/letter", address="cleo@example.org").status_code == 200
            (letter,) = box.letters
            assert "From: us@example.org" in letter
            browser.get(re.search(r"http://\S+", letter)[0])
            browser.send("/sign-in/letter/open")
            assert "<h1>contributor-" in names(site, browser)
            server.stop()
            browser = site.browser()
            browser.get("/sign-in")
            assert browser.send("/sign-in/letter", address="cleo@example.org").status_code == 503
    finally:
        if server.loop.is_running():
            server.stop()


def certificate(folder):
    """A certificate for 127.0.0.1 that nobody vouches for, and its key, as files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    begins = datetime.now(UTC) - timedelta(days=1)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(begins).not_valid_after(begins + timedelta(days=2))
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    (folder / "cert.pem").write_bytes(made.public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return folder / "cert.pem", folder / "key.pem"


async def test_letters_do_not_go_to_a_mail_server_that_nobody_vouches_for(tmp_path):
    box, context = Box(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate(tmp_path))
    server = Controller(box, hostname="127.0.0.1", port=free_port(), ssl_context=context)
    server.start()
    try:
        letter = Mail("us@example.org", smtp(f"smtps://user:secret@127.0.0.1:{server.port}"))
        with pytest.raises(Unavailable, match="SSLCertVerificationError"):
            await letter.send_link("cleo@example.org", "http://x", "here", 15)
        assert box.letters == []
    finally:
        server.stop()


@pytest.mark.parametrize("url", ["http://mail", "smtp://", "smtp://host/path"])
def test_a_wrong_mail_server_is_named_but_not_quoted(url):
    with pytest.raises(BadInput, match="OA_SMTP_URL must be") as caught:
        smtp(url)
    assert url == "smtp://" or url not in caught.value.message


def test_an_address_is_in_small_letters():
    assert check_address(" Ada.L+x@Example.ORG ") == "ada.l+x@example.org"


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint", "jwks_uri"])
async def test_an_address_that_only_begins_like_a_safe_one_is_not_taken(acme, site, name):
    provider = read_providers(site.settings.sign_in_file, embedded=True)["acme"]
    attempt = Attempt(id="", provider="acme", browser_hash="")
    for wrong in ("http://localhost.evil.example/x", "http://127.0.0.1:1@evil.example/x", "https://a.example/x y"):
        acme.about = {name: wrong}
        try:
            with pytest.raises(Unavailable, match=f"names no safe {name}"):
                await upstream.Upstream().address(provider, attempt, "state", site.base)
        finally:
            acme.about = {}
    assert await upstream.Upstream().address(provider, attempt, "state", site.base)


GOOD = {"id": "acme", "kind": "oidc", "client_id": "c", "issuer": "https://id.example.org"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"id": "email"}, "provider id"), ({"id": "A b"}, "provider id"), ({"kind": "saml"}, "kind is 'saml'"),
        ({"client_id": ""}, "client_id is missing"), ({"issuer": "http://id.example.org"}, "it must be https"),
        ({"issuer": ""}, "it must be https"), ({"colour": "red"}, "unknown field 'colour'"),
        ({"name": 5}, "must be a text"),
        ({"client_secret_env": "NOT_THERE"}, "NOT_THERE is not set"),
    ],
)  # fmt: skip
def test_a_wrong_provider_is_named(tmp_path, change, said):
    file = tmp_path / "providers.json"
    file.write_text(json.dumps({"providers": [GOOD | change]}))
    with pytest.raises(BadInput, match=said):
        read_providers(file, environ={})


def test_a_file_of_providers_that_others_can_read_must_hold_no_secrets(tmp_path):
    file = tmp_path / "providers.json"
    file.write_text(json.dumps({"providers": [GOOD | {"client_secret": "s"}]}))
    file.chmod(0o644)
    with pytest.raises(BadInput, match="can be read by others"):
        read_providers(file)
    assert read_providers(file, embedded=True)["acme"].client_secret == "s"
    file.write_text(json.dumps({"providers": [GOOD | {"client_secret_env": "SECRET"}]}))
    read = read_providers(file, environ={"SECRET": "s"})["acme"]
    assert (read.client_secret, read.label) == ("s", "Acme")
    assert "'s'" not in repr(read)


@pytest.mark.parametrize("text", ["", "[]", '{"providers": 5}', '{"providers": ["x"]}'])
def test_a_file_of_another_form_is_refused(tmp_path, text):
    file = tmp_path / "providers.json"
    file.write_text(text)
    with pytest.raises(BadInput, match="OA_SIGN_IN_FILE"):
        read_providers(file)
