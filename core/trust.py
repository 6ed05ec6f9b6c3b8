"""How much a new account may take on: less, until it is older or somebody trusts it. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from core.config import CollectionConfig
from core.records import User

PROVEN = ("trusted", "moderator", "admin", "service")
"""Roles that are given to people who are known."""


def is_new(user: User, config: CollectionConfig, moment: datetime) -> bool:
    """Whether the account is younger than the collection asks, and has no role that says that it is known."""
    return not user.has_role(*PROVEN) and moment - user.created_at < timedelta(seconds=config.new_account_seconds)


def pending_limit(user: User, config: CollectionConfig, moment: datetime) -> int:
    """Tasks that the user may hold at once: a part of the usual number, but at least one, while the account is new."""
    usual = config.max_pending_tasks
    return max(1, int(usual * config.new_account_share)) if is_new(user, config, moment) else int(usual)
