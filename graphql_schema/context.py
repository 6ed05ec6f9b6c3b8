"""What a resolver is given: who asks, and the services that answer. Knows no HTTP, no tokens and no database driver.

`Services` live as long as the app; a `Context` lives as long as one operation (over WebSocket: a connection's context
is copied for each operation, see `Context.for_operation`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import strawberry

from core.errors import Unauthenticated

if TYPE_CHECKING:
    from core.objects import ObjectStore
    from core.records import User

    from .loaders import Loaders


@dataclass(kw_only=True)
class Services:
    """What the resolvers call. Made once by the app; a test makes its own.

    Attributes:
        collection: `core.collection.Collection`.
        accounts: `core.accounts`' service: users, roles, leaderboards.
        database: the document store; handed on to `core`, never queried here.
        store: the object store.
        chats, runs, models, relay: chat and training services; None where this app runs without them.
        sign_in: makes an access token for a user; None where development sign-in is off.
    """

    collection: Any = None
    accounts: Any = None
    database: Any = None
    store: ObjectStore | None = None
    chats: Any = None
    runs: Any = None
    models: Any = None
    relay: Any = None
    sign_in: Callable[[User], AccessToken] | None = None


@dataclass(frozen=True)
class AccessToken:
    """A signed access token and the Unix time, in seconds, at which it stops being good."""

    token: str
    expires_at: float


@dataclass(kw_only=True)
class Context:
    """One operation's surroundings.

    Attributes:
        services: see `Services`.
        viewer: the signed-in user, or None.
        roles: the viewer's roles: those stored, narrowed to those that the token carries.
        scopes: the token's scopes; empty means all that the roles allow.
        expires_at: Unix time, in seconds, at which the caller's token stops being good; None for anonymous callers.
        request_id: names this request in answers and logs.
        introspection: whether this caller may ask for the schema.
        loaders: batching reads of this operation.
        connection_params: the payload of `connection_init`, over WebSocket.
    """

    services: Services
    viewer: User | None = None
    roles: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    expires_at: float | None = None
    request_id: str = ""
    introspection: bool = True
    loaders: Loaders | None = None
    connection_params: dict[str, object] | None = field(default=None, repr=False)

    def user(self) -> User:
        """The signed-in user.

        Raises:
            Unauthenticated: nobody is signed in, or the token has run out since the request (or stream) began.
        """
        if self.viewer is None:
            raise Unauthenticated("sign in first: send 'Authorization: Bearer <access token>'")
        self.check_token()
        return self.viewer

    def check_token(self) -> None:
        """Raise `Unauthenticated` when the caller's token has run out."""
        if self.expires_at is not None and time.time() >= self.expires_at:
            raise Unauthenticated("the access token has run out; renew it and connect again")

    def for_operation(self) -> Context:
        """A copy with loaders of its own, so that a long connection never reads what it cached long ago."""
        from .loaders import Loaders

        return replace(self, loaders=Loaders(self.services))


Info: TypeAlias = strawberry.Info[Context, None]
