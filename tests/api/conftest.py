"""A running API over real stores, and people who call it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from auth_site import AuthSite, auth_site
from running_api import Caller, serving

from api.settings import Settings


@pytest.fixture(scope="session")
def settings(mongodb_uri: str, s3_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of an embedded app with stores of its own."""
    name = uuid.uuid4().hex[:12]
    return Settings(
        mode="embedded",
        mongodb_uri=mongodb_uri,
        mongodb_database=f"test_api_{name}",
        s3_endpoint=s3_endpoint,
        s3_bucket=f"test-api-{name}",
        token_key_file=Path(tmp_path_factory.mktemp("keys")) / "token.pem",
        cors_origins=("https://app.example.org",),
        introspection="anyone",
        sweep_seconds=0.2,
        rate_limits="off",  # everybody here signs in from one address
    )


@pytest.fixture(scope="session")
def base(settings: Settings) -> Iterator[str]:
    """The running API's address."""
    with serving(settings) as url:
        yield url


@pytest.fixture
def anyone(base: str) -> Caller:
    """A caller who is not signed in."""
    return Caller(base)


@pytest.fixture
def somebody(anyone: Caller) -> Callable[..., Caller]:
    """Signs in somebody new, with the roles given."""
    return lambda *roles: anyone.sign_in(f"user-{uuid.uuid4().hex[:8]}", *roles)


@pytest.fixture(scope="session")
def auth(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuthSite]:
    """A running API with sign-in by browser; letters go to a folder."""
    with auth_site(settings, mail_outbox=tmp_path_factory.mktemp("outbox")) as site:
        yield site
