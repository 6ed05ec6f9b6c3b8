"""People: what everyone may see of a contributor (a name and roles), and what one sees of oneself.

How somebody signed in (method, subject, e-mail) is in no type: it is private to the operator.
"""

from __future__ import annotations

from datetime import datetime

import strawberry

from core.records import User

from .context import Context
from .nodes import reads
from .relay import Node, global_id


@strawberry.type(name="User", description="A contributor, as others see them.")
class UserNode(Node):
    """A contributor's public face."""

    display_name: str = strawberry.field(description="The name they chose.")
    created_at: datetime = strawberry.field(description="When they joined.")

    @classmethod
    def of(cls, user: User) -> UserNode:
        """The public face of `user`; one who has left keeps no name."""
        name = "(left)" if user.deleted else user.display_name
        return cls(id=global_id("User", user.id), display_name=name, created_at=user.created_at)


@reads("User")
async def load_user(context: Context, user_id: str) -> UserNode | None:
    """The contributor with that id; None if there is none."""
    context.user()
    user = await context.loaders.users.load(user_id)
    return None if user is None else UserNode.of(user)
