"""The optional key that every mutation's input has."""

from __future__ import annotations

import strawberry

KEY = "A random text of yours, 1 to 200 characters: the same request with the same key is done once, for 24 hours."


@strawberry.input(description="An input that may carry an idempotency key.")
class Keyed:
    """Base of the inputs of mutations."""

    idempotency_key: str | None = strawberry.field(default=None, description=KEY)
