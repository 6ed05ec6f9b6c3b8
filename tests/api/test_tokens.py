"""Access tokens: ours are taken; anything altered, forged, old or meant for another is not."""

from __future__ import annotations

import base64
import hmac
import json
import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey

from api.keys import SigningKeys, load_keys, read_keys
from api.tokens import ALGORITHM, AUDIENCE, LEEWAY, TYPE, Tokens
from core.errors import BadInput, Unauthenticated

KEY = ECKey.generate_key("P-256", private=True)
TOKENS = Tokens(SigningKeys(KEY), "issuer", 900)


def claims(**changes):
    now = int(time.time())
    whole = {"iss": "issuer", "aud": AUDIENCE, "sub": "ada", "iat": now, "exp": now + 60, "roles": ["admin"]}
    return {name: value for name, value in (whole | changes).items() if value is not None}


def signed(header=None, key=KEY, **changes):
    header = {"alg": ALGORITHM, "typ": TYPE} | (header or {})
    return jwt.encode(header, claims(**changes), key, algorithms=[header["alg"]])


def part(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_what_was_minted_is_read_back():
    access = TOKENS.mint("ada", ["contributor", "moderator"], ["read", "write"])
    read = TOKENS.verify(access.token)
    assert (read.subject, read.roles) == ("ada", {"contributor", "moderator"})
    assert read.scopes == {"read", "write"}
    assert read.expires_at == access.expires_at
    assert 0 < access.expires_at - time.time() <= 900


@given(st.text(min_size=1, max_size=40), st.frozensets(st.sampled_from(["contributor", "admin", "service"])))
def test_any_subject_and_roles_come_back(subject, roles):
    read = TOKENS.verify(TOKENS.mint(subject, roles).token)
    assert (read.subject, read.roles) == (subject, roles)


def test_the_reference_token_is_good():
    assert TOKENS.verify(signed()).subject == "ada"


def test_a_token_that_was_good_is_refused_once_it_has_run_out(monkeypatch):
    token = signed()
    assert TOKENS.verify(token) is TOKENS.verify(token)
    later = time.time() + 60 + LEEWAY + 1
    monkeypatch.setattr(time, "time", lambda: later)
    with pytest.raises(Unauthenticated, match="not good"):
        TOKENS.verify(token)


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "another"}, {"iss": None}, {"aud": "another-api"}, {"aud": None}, {"sub": None}, {"sub": 7},
        {"sub": ""}, {"exp": None}, {"iat": None}, {"exp": int(time.time()) - 60}, {"exp": "soon"},
        {"exp": int(time.time()) + 86_400},
        {"iat": int(time.time()) + 3600, "exp": int(time.time()) + 3700}, {"nbf": int(time.time()) + 3600},
        {"roles": None}, {"roles": "admin"}, {"roles": [1]}, {"scope": 3}, {"exp": float("inf")}, {"sid": 5},
        {"client_id": ["x"]}, {"jti": 1},
    ],
)  # fmt: skip
def test_wrong_claims_are_refused(changes):
    with pytest.raises(Unauthenticated):
        TOKENS.verify(signed(**changes))


def test_a_token_of_another_type_is_refused():
    with pytest.raises(Unauthenticated, match="typ must be 'at\\+jwt'"):
        TOKENS.verify(signed({"typ": "JWT"}))


def test_another_key_or_algorithm_is_refused():
    other = ECKey.generate_key("P-256", private=True)
    longer = ECKey.generate_key("P-384", private=True)
    secret = OctKey.generate_key(256, private=True)
    for token in (signed(key=other), signed({"alg": "ES384"}, key=longer), signed({"alg": "HS256"}, key=secret)):
        with pytest.raises(Unauthenticated):
            TOKENS.verify(token)


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "HS256", "", None])
def test_an_unsigned_token_is_refused_whatever_it_calls_its_algorithm(alg):
    token = f"{part({'alg': alg, 'typ': TYPE})}.{part(claims())}."
    with pytest.raises(Unauthenticated):
        TOKENS.verify(token)


def test_the_public_key_as_the_secret_of_an_hmac_is_refused():
    # Signed by hand: no library of today lends itself to it.
    for secret in (KEY.as_pem(private=False), json.dumps(KEY.as_dict(private=False)).encode()):
        body = f"{part({'alg': 'HS256', 'typ': TYPE, 'kid': KEY.thumbprint()})}.{part(claims())}"
        mac = hmac.digest(secret, body.encode(), "sha256")
        token = f"{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
        with pytest.raises(Unauthenticated):
            TOKENS.verify(token)


def test_a_token_says_whose_session_it_is_and_what_it_is_limited_to():
    read = TOKENS.verify(TOKENS.mint("ada", [], (), session_id="s", client_id="c").token)
    assert (read.session_id, read.client_id, read.scopes) == ("s", "c", frozenset())
    read = TOKENS.verify(TOKENS.mint("ada", []).token)
    assert (read.session_id, read.client_id, read.scopes) == (None, None, None)


def test_a_retiring_key_verifies_and_the_new_one_signs():
    new = ECKey.generate_key("P-256", private=True)
    rotated = Tokens(SigningKeys(new, (KEY,)), "issuer", 900)
    assert rotated.verify(TOKENS.mint("ada", []).token).subject == "ada"
    with pytest.raises(Unauthenticated):
        TOKENS.verify(rotated.mint("ada", []).token)
    ended = Tokens(SigningKeys(new), "issuer", 900)
    with pytest.raises(Unauthenticated):
        ended.verify(TOKENS.mint("ada", []).token)


def test_the_published_keys_are_public():
    published = SigningKeys(KEY, (ECKey.generate_key("P-256", private=True),)).public()["keys"]
    assert [set(key) for key in published] == [{"kty", "crv", "x", "y", "kid", "use", "alg"}] * 2
    assert published[0]["kid"] == KEY.thumbprint()


def test_a_key_may_come_as_text_with_others_behind_it():
    other = ECKey.generate_key("P-256", private=True)
    text = "".join(key.as_pem(private=True).decode() for key in (KEY, other))
    for spelled in (text, text.replace("\n", "\\n")):
        keys = read_keys(spelled, "OA_TOKEN_KEY")
        assert [key.thumbprint() for key in keys.all] == [KEY.thumbprint(), other.thumbprint()]


@pytest.mark.parametrize(
    "text", ["", "changeme", KEY.as_pem(private=False).decode(), "-----BEGIN X-----\nAAAA\n-----END X-----"]
)
def test_other_texts_are_no_keys_and_are_not_quoted(text):
    with pytest.raises(BadInput, match="OA_TOKEN_KEY") as caught:
        read_keys(text, "OA_TOKEN_KEY")
    assert not text or text not in caught.value.message


def test_a_key_that_the_token_brings_itself_is_not_used():
    own = ECKey.generate_key("P-256", private=True)
    with pytest.raises(Unauthenticated):
        TOKENS.verify(signed({"jwk": own.as_dict(private=False)}, key=own))


@given(st.integers(0, 400), st.sampled_from("AZaz09-_."))
def test_a_changed_token_is_refused_or_unchanged(place, letter):
    token = TOKENS.mint("ada", ["admin"]).token
    place %= len(token)
    changed = token[:place] + letter + token[place + 1 :]
    try:
        read = TOKENS.verify(changed)
    except Unauthenticated:
        return
    # The last letter of a base64 part has bits that mean nothing; the bytes are then the same.
    assert read == TOKENS.verify(token)


@given(st.text(max_size=200))
def test_nonsense_is_unauthenticated_and_not_quoted(text):
    with pytest.raises(Unauthenticated) as caught:
        TOKENS.verify(text)
    assert len(text) < 20 or text not in caught.value.message


def test_a_key_file_is_made_once_for_its_owner_only(tmp_path):
    path = tmp_path / "keys" / "token.pem"
    key = load_keys(path, make=True)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_keys(path, make=True).active.thumbprint() == key.active.thumbprint()
    assert [each.name for each in path.parent.iterdir()] == ["token.pem"]


def test_a_missing_foreign_or_open_key_file_is_refused(tmp_path):
    path = tmp_path / "token.pem"
    with pytest.raises(BadInput, match="must be a PEM private key on P-256"):
        load_keys(path)
    path.write_bytes(b"not a key")
    path.chmod(0o600)
    with pytest.raises(BadInput, match="must be a PEM private key on P-256"):
        load_keys(path)
    path.write_bytes(KEY.as_pem(private=False))
    with pytest.raises(BadInput, match="of another kind"):
        load_keys(path)
    path.write_bytes(ECKey.generate_key("P-384", private=True).as_pem(private=True))
    with pytest.raises(BadInput, match="of another kind"):
        load_keys(path)
    path.write_bytes(KEY.as_pem(private=True))
    os.chmod(path, 0o644)  # noqa: PTH101 - os.chmod and Path.chmod are the same here
    with pytest.raises(BadInput, match="can be read by others"):
        load_keys(path)
