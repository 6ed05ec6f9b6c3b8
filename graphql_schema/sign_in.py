"""Development sign-in: a name and roles, no password. Only where the app gives a way to sign in (embedded mode)."""

from __future__ import annotations

from datetime import UTC, datetime

import strawberry

from core.errors import BadInput
from core.texts import is_name

from .context import Info, needed
from .enums import UserRole, stored
from .errors import Payload, mutation
from .keyed import Keyed
from .permissions import DevelopmentOnly
from .user_types import UserNode

MAX_NAME = 64


@strawberry.input(description="Who to be.")
class DevelopmentSignInInput(Keyed):
    """Input of `developmentSignIn`."""

    name: str = strawberry.field(description="A name; the same name is the same user.")
    roles: list[UserRole] = strawberry.field(
        default_factory=lambda: [UserRole.CONTRIBUTOR], description="The roles that the user will have."
    )


@strawberry.type(description="An access token.")
class DevelopmentSignInPayload(Payload):
    """Payload of `developmentSignIn`."""

    token: str | None = strawberry.field(default=None, description="Send it as 'Authorization: Bearer <token>'.")
    expires_at: datetime | None = strawberry.field(default=None, description="When it stops being good.")
    user: UserNode | None = strawberry.field(default=None, description="Who you are now.")


@strawberry.type
class SignInMutation:
    """Getting a token."""

    @mutation(DevelopmentSignInPayload, DevelopmentOnly, "Sign in as anybody, in embedded mode only.")
    async def development_sign_in(self, info: Info, input: DevelopmentSignInInput) -> DevelopmentSignInPayload:
        """Make the user if there is none of that name, set the roles, give a token."""
        name, services = input.name.strip(), info.context.services
        if not 1 <= len(name) <= MAX_NAME or not is_name(name):
            raise BadInput(f"name is {name[:80]!r}; it must have 1 to {MAX_NAME} visible characters", path=("name",))
        roles = sorted({stored(role) for role in input.roles}) or ["contributor"]
        user = await services.accounts.ensure_user("development", name, name, roles)
        if user.trusted_at is not None and user.has_role("trusted"):  # earned by work, so nobody need ask for it
            roles = sorted({*roles, "trusted"})
        if sorted(user.roles) != roles:
            user = await services.accounts.set_roles(user.id, roles)
        access = await needed(services.sign_in, "development sign-ins")(user)
        return DevelopmentSignInPayload(
            token=access.token, expires_at=datetime.fromtimestamp(access.expires_at, UTC), user=UserNode.of(user)
        )
