"""Whose address counts behind a proxy: the connection's, or what a named proxy says, never what a caller says."""

from __future__ import annotations

import json
import shlex
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from running_api import DEADLINE, serving

from api.production import insecure
from api.server import options
from api.settings import Settings, from_env
from core.errors import BadInput
from oa.stack import _api

ROOT = Path(__file__).parents[2]
SIGN_IN = 'mutation { developmentSignIn(input: {name: "ada"}) { token userErrors { code } } }'


@contextmanager
def counted(settings: Settings, *proxies: str) -> Iterator[Callable[..., str]]:
    """Signs somebody in from behind an `X-Forwarded-For`, twice an hour from each address; the code, or `OK`."""
    own = replace(
        settings, mongodb_database=f"test_proxies_{uuid.uuid4().hex[:12]}", rate_limits="sign_in=2/3600",
        trusted_proxies=proxies, sweep_seconds=0,
    )  # fmt: skip
    with serving(own) as base, httpx.Client(timeout=DEADLINE) as http:

        def sign_in(*forwarded: str) -> str:
            headers = [("x-forwarded-for", each) for each in forwarded]
            errors = http.post(f"{base}/graphql", json={"query": SIGN_IN}, headers=headers).json().get("errors")
            return errors[0]["extensions"]["code"] if errors else "OK"

        yield sign_in


def test_nobody_is_believed_where_no_proxy_is_named(settings):
    with counted(settings) as sign_in:
        assert [sign_in(f"198.51.100.{n}") for n in range(3)] == ["OK", "OK", "TOO_MANY"]


def test_a_named_proxy_is_believed_and_what_callers_put_before_it_is_not(settings):
    with counted(settings, "10.0.0.0/8", "127.0.0.1") as sign_in:
        spoofed = [f"203.0.113.{n}, 198.51.100.1" for n in range(3)]
        assert [sign_in(each) for each in spoofed] == ["OK", "OK", "TOO_MANY"]
        assert sign_in("198.51.100.2") == "OK", "somebody else behind the same proxy"
        in_a_row = "198.51.100.1, 10.1.2.3"
        assert sign_in(in_a_row) == "TOO_MANY", "a second proxy on the way is passed over"
        assert sign_in("9.9.9.9", "198.51.100.1") == "TOO_MANY", "two headers are one list"
        assert sign_in("198.51.100.1:4711") == "TOO_MANY"


@pytest.mark.parametrize("proxies", ["*", "10.0.0.0/33", "10.0.3.7/8", "proxy.example.org", "10.0.0.1,nonsense"])
def test_what_is_no_address_is_named_as_wrong(proxies):
    with pytest.raises(BadInput, match="OA_TRUSTED_PROXIES"):
        from_env({"OA_MODE": "embedded", "OA_MONGODB_URI": "mongodb://x", "OA_TRUSTED_PROXIES": proxies})


def test_production_refuses_to_believe_everybody(settings):
    for network in ("0.0.0.0/0", "::/0"):
        (told,) = [each for each in insecure(replace(settings, trusted_proxies=(network,))) if "PROXIES" in each]
        assert network in told
    assert not [each for each in insecure(replace(settings, trusted_proxies=("10.0.0.0/8",))) if "PROXIES" in each]


def test_the_server_itself_believes_nobody(settings):
    assert options(settings, "127.0.0.1", 1, 1)["proxy_headers"] is False
    image = (ROOT / "docker" / "api.Dockerfile").read_text("utf-8")
    command = json.loads(next(line for line in image.splitlines() if line.startswith("CMD "))[4:])
    for each in (command, list(_api(8000).command)):
        assert each[1:3] == ["-m", "api.server"], shlex.join(each)
