"""Collection's part of the schema: reading trees, taking and submitting tasks, following what is open."""

from __future__ import annotations

import strawberry

from .context import Info
from .nodes import read_node
from .permissions import Anyone
from .relay import Node

TYPES: list[type] = []
"""Types that only an interface leads to."""


@strawberry.type
class CollectionQuery:
    """Queries about collection."""

    @strawberry.field(description="The object with that global id, if you may see it.", permission_classes=[Anyone])
    async def node(self, info: Info, id: strawberry.ID) -> Node | None:
        """Relay's object identification."""
        return await read_node(info.context, id)


@strawberry.type
class CollectionMutation:
    """Mutations of collection."""


@strawberry.type
class CollectionSubscription:
    """Subscriptions of collection."""
