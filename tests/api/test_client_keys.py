"""Services that sign in with a key of their own (`private_key_jwt`), by a standard library, and attacks on that."""

from __future__ import annotations

import base64
import hmac
import secrets
import time
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import httpx
import pytest
from auth_site import AuthSite
from authlib.integrations.httpx_client import OAuth2Client
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey
from joserfc.jws import JWSRegistry

from api.oauth.client_keys import ASSERTION_TYPE, checked_keys
from core.errors import BadInput

ANY = JWSRegistry(algorithms=["ES256", "RS256", "none"])
SERVICE = {
    "kind": "confidential", "grants": ["client_credentials"], "redirect_uris": [], "scopes": ["jobs", "read"],
}  # fmt: skip


@dataclass
class Service:
    """A client with a key."""

    site: AuthSite
    key: ECKey = field(default_factory=lambda: ECKey.generate_key("P-256", {"kid": "one"}))

    def __post_init__(self) -> None:
        keys = checked_keys({"keys": [self.key.as_dict(private=False)]})
        self.id, self.secret = self.site.client(name="Nightly", public_keys=keys, **SERVICE)

    def assertion(self, key: Any = None, header: dict[str, Any] | None = None, **changes: Any) -> str:
        """A good assertion, but for the changes; None takes a claim out."""
        present = int(time.time())
        claims = {
            "iss": self.id, "sub": self.id, "aud": self.site.base, "exp": present + 60, "jti": secrets.token_hex(8),
        } | changes  # fmt: skip
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode({"alg": "ES256", "kid": "one"} | (header or {}), claims, key or self.key, registry=ANY)

    def ask(self, assertion: str, **form: Any) -> httpx.Response:
        """Ask for a token with it."""
        given = {
            "grant_type": "client_credentials", "client_id": self.id, "client_assertion": assertion,
            "client_assertion_type": ASSERTION_TYPE,
        } | form  # fmt: skip
        data = {name: value for name, value in given.items() if value is not None}
        return httpx.post(f"{self.site.base}/oauth/token", data=data, timeout=20)


@pytest.fixture(scope="module")
def service(auth: AuthSite) -> Service:
    return Service(auth)


def test_a_standard_library_signs_a_service_in_with_its_key(auth, service):
    about = httpx.get(f"{auth.base}/.well-known/oauth-authorization-server").json()
    assert "private_key_jwt" in about["token_endpoint_auth_methods_supported"]
    assert about["token_endpoint_auth_signing_alg_values_supported"] == ["ES256"]
    method = PrivateKeyJWT(about["token_endpoint"], headers={"kid": "one"}, alg="ES256")
    client = OAuth2Client(service.id, service.key, token_endpoint_auth_method=method)
    given = {"grant_type": "client_credentials", "scope": "jobs", "client_id": service.id}
    token = client.fetch_token(about["token_endpoint"], **given)
    assert token["scope"] == "jobs"
    assert auth.caller(token["access_token"]).ask("{ jobs(first: 1) { nodes { id } } }")


def test_an_admin_registers_a_client_with_its_public_key(auth):
    admin = auth.caller().sign_in("root", "ADMIN")
    key = ECKey.generate_key("P-256", {"kid": "k"})
    wanted = {
        "client_name": "Robot", "grant_types": ["client_credentials"], "scope": "jobs",
        "token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [key.as_dict(private=False)]},
    }  # fmt: skip
    made = httpx.post(f"{auth.base}/oauth/register", json=wanted, headers=admin.headers).json()
    assert made["token_endpoint_auth_method"] == "private_key_jwt"
    assert "client_secret" not in made
    for wrong in (
        {"jwks": {"keys": [key.as_dict(private=True)]}},
        {"jwks": None},
        {"token_endpoint_auth_method": "none"},
    ):
        refused = httpx.post(f"{auth.base}/oauth/register", json=wanted | wrong, headers=admin.headers)
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_client_metadata")


def key_set(*keys: ECKey) -> dict[str, Any]:
    return {"keys": [key.as_dict(private=False) for key in keys]}


def by_graphql(admin: Any, **wanted: Any) -> dict[str, Any]:
    """The payload of a registration."""
    about = {"name": "Nightly", "kind": "CONFIDENTIAL", "grants": ["CLIENT_CREDENTIALS"], "scopes": ["JOBS"]}
    return admin.attempt("createClient", "secret client { id clientId keyIds }", **(about | wanted))


def test_an_admin_gives_a_client_keys_over_graphql_and_changes_them(auth):
    admin = auth.caller().sign_in("root", "ADMIN")
    first, second = (ECKey.generate_key("P-256", {"kid": name}) for name in ("one", "two"))
    made = by_graphql(admin, jwks=key_set(first))
    assert (made["userErrors"], made["secret"], made["client"]["keyIds"]) == ([], None, ["one"])
    service = Service.__new__(Service)
    service.site, service.key, service.id = auth, first, made["client"]["clientId"]
    assert service.ask(service.assertion()).status_code == 200
    given = {"clientId": made["client"]["id"], "jwks": key_set(second)}
    assert admin.do("updateClient", "client { keyIds }", **given)["client"]["keyIds"] == ["two"]
    assert service.ask(service.assertion()).json()["error"] == "invalid_client"
    assert service.ask(service.assertion(second, {"kid": "two"})).status_code == 200
    (error,) = admin.attempt("updateClient", clientId=made["client"]["id"], newSecret=True)["userErrors"]
    assert error["path"] == ["newSecret"]
    admin.do("updateClient", clientId=made["client"]["id"], name="Other", jwks=None)
    assert service.ask(service.assertion(second, {"kid": "two"})).status_code == 200


def test_keys_that_are_none_to_register_are_refused_over_graphql(auth):
    admin = auth.caller().sign_in("root", "ADMIN")
    key = ECKey.generate_key("P-256", {"kid": "k"})
    elsewhere = "http://169.254.169.254/latest"
    for jwks in ({"keys": [key.as_dict(private=True)]}, {}, [], "x", elsewhere, {"jwks_uri": elsewhere}, {"keys": []}):
        (error,) = by_graphql(admin, jwks=jwks)["userErrors"]
        assert (error["code"], error["path"]) == ("BAD_INPUT", ["jwks"])
    (error,) = by_graphql(admin, jwks=key_set(key), kind="PUBLIC", grants=["AUTHORIZATION_CODE"])["userErrors"]
    assert error["path"] == ["kind"]
    secretive = by_graphql(admin)["client"]["id"]
    (error,) = admin.attempt("updateClient", clientId=secretive, jwks=key_set(key))["userErrors"]
    assert error["path"] == ["jwks"]
    document = "mutation ($i: CreateClientInput!) { createClient(input: $i) { client { id } } }"
    asked = {"name": "x", "scopes": ["JOBS"], "jwksUri": elsewhere}
    assert admin.post(document, {"i": asked}).json()["errors"][0]["extensions"]["code"] == "BAD_QUERY"


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "https://elsewhere.example"}, {"aud": None}, {"iss": "somebody"}, {"sub": "somebody"}, {"sub": None},
        {"exp": None}, {"exp": 1}, {"exp": time.time() + 7200}, {"exp": "soon"}, {"exp": float("1e300")},
        {"exp": float("nan")}, {"exp": 10**400}, {"exp": True}, {"nbf": float("inf")}, {"nbf": "x"},
        {"nbf": time.time() + 600}, {"jti": None}, {"jti": ""}, {"jti": "x" * 201}, {"jti": 7}, {"padding": "x" * 5000},
        {"aud": ["https://elsewhere.example", "both"]},
    ],
    ids=count(),  # a name must be the same in each process of tests
)  # fmt: skip
def test_an_assertion_with_one_thing_wrong_proves_nothing(service, changes):
    answer = service.ask(service.assertion(**changes))
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client"), answer.text


def test_an_assertion_is_taken_once(service):
    assertion = service.assertion()
    assert service.ask(assertion).status_code == 200
    again = service.ask(assertion)
    assert (again.status_code, again.json()["error"]) == (401, "invalid_client")
    assert "sent before" in again.json()["error_description"]
    assert service.ask(service.assertion(aud=[service.site.base])).status_code == 200
    assert service.ask(service.assertion(aud=f"{service.site.base}/oauth/token")).status_code == 200


def by_hmac(service: Service, secret: bytes) -> str:
    """An assertion signed with a shared secret; by hand, as no library of today takes a public key for one."""
    claims = service.assertion().split(".")[1]
    header = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"one"}').rstrip(b"=").decode()
    mac = hmac.digest(secret, f"{header}.{claims}".encode(), "sha256")
    return f"{header}.{claims}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def test_other_keys_and_algorithms_prove_nothing(service):
    other = ECKey.generate_key("P-256", {"kid": "one"})
    brought = {"jwk": other.as_dict(private=False)}
    forged = [
        service.assertion(key=other), service.assertion(key=other, header=brought),
        by_hmac(service, service.key.as_pem(private=False)), by_hmac(service, b"guessed"),
        service.assertion(key=RSAKey.generate_key(2048), header={"alg": "RS256"}),
        service.assertion(header={"alg": "none"}), service.assertion(header={"kid": "two"}),
        service.assertion().rpartition(".")[0] + ".", "nonsense", "", "a.b.c",
    ]  # fmt: skip
    for assertion in forged:
        answer = service.ask(assertion)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client"), answer.text


def test_an_assertion_is_its_clients_own_and_stands_alone(auth, service):
    stranger = Service(auth)
    assert service.ask(stranger.assertion()).status_code == 401
    secretive, secret = auth.client(**SERVICE)
    assert service.ask(service.assertion(), client_id=secretive).status_code == 401
    assert service.secret is None
    for form in ({"client_secret": "x"}, {"client_id": None}, {"client_assertion_type": "urn:other"}):
        answer = service.ask(service.assertion(), **form)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert auth.token(service.id, None, grant_type="client_credentials").status_code == 401
    assert auth.token(service.id, secret, grant_type="client_credentials").status_code == 401


@pytest.mark.parametrize(
    "given",
    [None, [], {}, {"keys": []}, {"keys": [{}]}, {"keys": ["x"]}, {"keys": [{"kty": "RSA", "kid": "k"}]},
     {"keys": [{"kty": "EC", "crv": "P-256", "kid": "k", "x": "!", "y": 7}]}],
)  # fmt: skip
def test_what_is_no_set_of_public_keys_is_refused(given):
    with pytest.raises(BadInput) as error:
        checked_keys(given)
    assert error.value.path == ("jwks",)


def test_a_key_of_a_set_has_a_name_of_its_own_and_is_public():
    key = ECKey.generate_key("P-256", {"kid": "k"})
    public = key.as_dict(private=False)
    assert checked_keys({"keys": [public]})[0].keys() == {"kty", "crv", "x", "y", "kid"}
    for keys in ([public, public], [key.as_dict(private=True)], [public | {"kid": ""}], [public] * 5):
        with pytest.raises(BadInput):
            checked_keys({"keys": keys})
