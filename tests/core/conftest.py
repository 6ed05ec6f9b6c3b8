"""Fixtures of collection: people, a small configuration, and a collection over an empty store."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import pytest

from core.accounts import Accounts
from core.collection import Collection
from core.config import CollectionConfig
from core.records import User

SMALL = CollectionConfig(
    goal_tree_size=4, max_tree_depth=2, max_children_count=2, num_reviews_initial_prompt=2, num_reviews_reply=2,
    num_required_rankings=2, p_activate_backlog_tree=0.0, max_pending_tasks=1000,
)  # fmt: skip


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
