"""Fixtures of collection: people, a small configuration, and a collection over an empty store."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import pytest
from core_people import SMALL

from core.accounts import Accounts
from core.collection import Collection
from core.config import CollectionConfig
from core.records import User


@pytest.fixture
def config() -> CollectionConfig:
    return SMALL


@pytest.fixture
def collection(database, config: CollectionConfig) -> Collection:
    return Collection(database, config, random.Random(7))


@pytest.fixture
def accounts(database) -> Accounts:
    return Accounts(database)


@pytest.fixture
def person(accounts: Accounts) -> Callable[..., Awaitable[User]]:
    """Make or find a person by name."""

    async def make(name: str, *roles: str) -> User:
        return await accounts.ensure_user("test", name, name, roles or ("contributor",))

    return make
