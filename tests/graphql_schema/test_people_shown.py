"""What moderators are shown of a person agrees with what the person is shown."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from core.records import User, now
from core.scoring import STREAK_PAUSE
from graphql_schema.stewardship import Person


def test_a_streak_that_is_over_is_over_for_moderators_too() -> None:
    on = User(
        id="u1", auth_method="test", subject="ada", display_name="Ada", streak_days=9,
        last_activity_at=now() - STREAK_PAUSE + timedelta(hours=1),
    )  # fmt: skip
    over = replace(on, last_activity_at=now() - STREAK_PAUSE - timedelta(hours=1))
    assert (Person.of(on).streak_days, Person.of(over).streak_days) == (9, 0)
