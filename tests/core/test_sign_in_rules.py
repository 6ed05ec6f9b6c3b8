"""Rules of sign-in: redirects, scopes, PKCE, codes that people type."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import BadInput, Unauthenticated
from core.grants import USER_CODE_LETTERS, plain_user_code
from core.redirects import check_redirect_uri, is_registered, local_page
from core.scopes import SCOPES, check_scopes, parse_scopes
from core.secret_values import challenge_of, hashed, matches, new_secret, proves
from core.sessions import read_refresh_token

WEB = "https://app.example.org/callback"
NATIVE = "http://127.0.0.1/callback"
REGISTERED = (WEB, NATIVE, "http://[::1]:4000/cb?x=1", "org.example.app:/callback")


@pytest.mark.parametrize("uri", [*REGISTERED, "https://app.example.org", "http://127.0.0.1:8080/"])
def test_these_may_be_registered(uri):
    assert check_redirect_uri(uri) == uri


@pytest.mark.parametrize(
    "uri",
    [
        "", "http://app.example.org/callback", "http://localhost/callback", "https://", "https:///x",
        "javascript:alert(1)",
        "data:text/html,x", "https://app.example.org/cb#part", "https://*.example.org/cb", "https://a@app.example.org/",
        "https://app.example.org/a/../b", "https://app.example.org/%2e%2e/b", "https://app.example.org/a b",
        "myapp:/cb",
        "https://app.example.org/\\evil", "https://app.example.org/\n", "//app.example.org/cb", "http://127.0.0.1.evil.org/",
        "http://127.0.0.1@evil.org/", "https://[::1", "https://app.example.org:99999/", "https://app.example.org:x/",
        f"https://app.example.org/{'a' * 2000}",
    ],
)  # fmt: skip
def test_these_may_not(uri):
    with pytest.raises(BadInput, match="redirect URI"):
        check_redirect_uri(uri)


def test_only_a_loopback_port_may_differ():
    assert is_registered("http://127.0.0.1:51234/callback", REGISTERED)
    assert is_registered("http://[::1]:9/cb?x=1", REGISTERED)
    assert all(is_registered(uri, REGISTERED) for uri in REGISTERED)


@pytest.mark.parametrize(
    "uri",
    [
        WEB + "/", WEB + "/../evil", WEB + "?next=x", WEB + "#x", WEB[:-1], WEB.upper(), WEB.replace("https", "http"),
        "https://app.example.org:444/callback", "https://app.example.org.evil.org/callback", "http://127.0.0.1:x/callback",
        "http://127.0.0.1:0/callback", "http://127.0.0.1:70000/callback", "http://127.0.0.1:5/callback/../x",
        "http://127.0.0.1:5/callback#x", "http://127.0.0.1:5@evil.org/callback", "http://localhost:5/callback",
        "http://127.0.0.2/callback", "org.example.app:/callback2", "",
    ],
)  # fmt: skip
def test_nothing_near_a_registered_uri_is_taken_for_it(uri):
    assert not is_registered(uri, REGISTERED)


@settings(max_examples=100)
@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=12), st.integers(0, len(WEB)))
def test_an_altered_uri_is_never_registered(extra, place):
    assert not is_registered(WEB[:place] + extra + WEB[place:], (WEB,))


@pytest.mark.parametrize(
    "path", ["/account", "/oauth/authorize?client_id=x&state=%2F*~'()!", "/device?user_code=BCDF-GHJK"]
)
def test_our_own_pages_may_be_come_back_to(path):
    assert local_page(path) == path


@pytest.mark.parametrize(
    "path",
    [
        None, "", "/", "//evil.org", "/\\evil.org", "https://evil.org/account", "/account/../x", "/accounting",
        "/oauth/authorize\n", "javascript:alert(1)", "/account//evil.org", "/sign-out", "account",
    ],
)  # fmt: skip
def test_nowhere_else(path):
    assert local_page(path) is None


def test_scopes_are_the_lists_and_in_its_order():
    assert parse_scopes("tasks read read", tuple(SCOPES)) == ("read", "tasks")
    assert parse_scopes(None, ("chat",)) == ("chat",)
    assert check_scopes([]) == ()


@pytest.mark.parametrize(("given", "said"), [("root", "unknown"), ("admin", "not allowed here")])
def test_other_scopes_are_refused(given, said):
    with pytest.raises(BadInput, match=said):
        parse_scopes(given, ("read",))


def test_the_challenge_is_that_of_the_rfc():
    # RFC 7636, appendix B.
    verifier, challenge = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    assert challenge_of(verifier) == challenge
    assert proves(verifier, challenge)


@given(st.text(max_size=150))
def test_no_other_verifier_proves_a_challenge(verifier):
    assert not proves(verifier, challenge_of(new_secret()))


def test_a_secret_matches_its_hash_only():
    secret = new_secret()
    assert matches(secret, hashed(secret))
    assert not matches(secret, secret)
    assert not matches(secret, None)


@given(st.text(st.sampled_from(USER_CODE_LETTERS + USER_CODE_LETTERS.lower() + " -_.aeiou19"), max_size=30))
def test_what_a_person_types_is_read_as_letters(text):
    read = plain_user_code(text)
    assert set(read) <= set(USER_CODE_LETTERS)
    assert plain_user_code(read) == read


@pytest.mark.parametrize("text", ["", "oar_", "oar_a.b", "oar_a.b.", "a.b.c", "oar_a.b.c.d", f"oar_a.b.{'c' * 300}"])
def test_other_texts_are_no_refresh_tokens(text):
    with pytest.raises(Unauthenticated):
        read_refresh_token(text)
