"""What a resolver is given: who asks, and the services that answer. Knows no HTTP, no tokens and no database driver.

`Services` live as long as the app; a `Context` lives as long as one operation (over WebSocket: a connection's context
is copied for each operation, see `Context.for_operation`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import strawberry

from core.errors import OaError, Unauthenticated, Unavailable

from .loaders import Loaders
from .streams import Stream, Streams
from .watching import Watch

if TYPE_CHECKING:
    from core.accounts import Accounts
    from core.collection import Collection
    from core.documents import RegisteredDocuments
    from core.idempotency import IdempotentAnswers
    from core.leaderboard import BoardPage, Standing
    from core.moderators import Moderators
    from core.objects import ObjectStore
    from core.people import People
    from core.rate_blocks import Blocks
    from core.rate_limits import RateLimits
    from core.rates import Verdict
    from core.records import User
    from core.sign_in import SignIn

    from .persisted import AllowList


@dataclass(kw_only=True)
class Services:
    """What the resolvers call. Made once by the app; a test makes its own.

    Attributes:
        collection: trees, tasks, reviews, rankings.
        accounts: users and roles.
        moderators: the queue, what moderators decide, the journal.
        people: contributors' own work: what came of it, appeals, editing.
        leaderboard: the first places of a time frame; board_page: some behind one; standing: one person's place in
            it; neighbours: those next to them.
        database: the document store; handed on to `core`, never queried here.
        store: the object store.
        following: what this process looks at for subscriptions.
        chats, runs, models, relay: chat and training services; None where this app runs without them.
        auth: sessions, clients, grants and keys.
        sign_in: makes an access token for a user; None where development sign-in is off.
        link_url: where a person links a provider of that id; raises `NotFound` for an unknown one.
        public_keys: checks a JWK set of a client; raises `BadInput` where it is none to register.
        terms: version and address of the terms of use that contributors must accept; None where there are none.
        translate: an error of a driver as one that a caller may see, or None where it is a defect.
        rates: the buckets that operations are charged to; None where nothing is counted.
        shared_rates: the same for buckets that many share: of an app, of an address.
        documents: those that clients registered; None where there are none.
        allowed: the only documents that run; None where any may.
        max_cost: the most that one operation may cost, in units of `cost`.
        operation_seconds: how long a query or mutation may take.
        streams: the streams of this process.
        answers: to requests with an idempotency key; None where keys mean nothing.
        watch: is told of each query and mutation: kind, first field of the root, `OK` or a code, seconds.
    """

    # Absent only in tests whose resolvers ask for neither.
    collection: Collection = None  # type: ignore[assignment]
    accounts: Accounts = None  # type: ignore[assignment]
    moderators: Moderators | None = None
    people: People | None = None
    leaderboard: Callable[[str, int], Awaitable[list[Standing]]] | None = None
    board_page: Callable[[str, str | None, int], Awaitable[BoardPage]] | None = None
    standing: Callable[[User, str], Awaitable[Standing]] | None = None
    neighbours: Callable[[User, str, int], Awaitable[list[Standing]]] | None = None
    database: Any = None
    store: ObjectStore | None = None
    following: Watch = field(default_factory=Watch)
    chats: Any = None
    runs: Any = None
    models: Any = None
    relay: Any = None
    auth: SignIn = None  # type: ignore[assignment]
    sign_in: Callable[[User], Awaitable[AccessToken]] | None = None
    terms: Terms | None = None
    link_url: Callable[[str], str] | None = None
    public_keys: Callable[[object], tuple[dict[str, Any], ...]] | None = None
    translate: Callable[[Exception], OaError | None] = lambda error: None
    rates: RateLimits | None = None
    shared_rates: Blocks | None = None
    documents: RegisteredDocuments | None = None
    allowed: AllowList | None = None
    max_cost: int = 10_000
    operation_seconds: float = 30.0
    streams: Streams = field(default_factory=Streams)
    answers: IdempotentAnswers | None = None
    watch: Callable[[str, str, str, float], None] | None = None


@dataclass(frozen=True)
class Terms:
    """The terms of use that hold now: their version, and where they can be read."""

    version: str
    url: str | None = None


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
        scopes: what the token is limited to (`core.scopes`); None: to nothing, it is of our own sign-in.
        session_id, client_id: the session and the client of the token, where it has them.
        actor: the service that acts in the viewer's name; None where the viewer acts.
        expires_at: Unix time, in seconds, at which the caller's token stops being good; None for anonymous callers.
        request_id: names this request in answers and logs.
        introspection: whether this caller may ask for the schema.
        loaders: batching reads of this operation.
        connection_params: the payload of `connection_init`, over WebSocket.
        address: where the caller is, as far as the server can tell; what is counted is counted by it for who is
            not signed in.
        verdicts: takes what the rate limits say, where somebody wants to know.
        asked: kind of the operation and the first field of its root, once it is known to be valid.
        idempotency_key: of the request's header.
        done: whether a mutation of this operation was done.
        key_id: the API key that the caller came with.
        renew: completes a context anew, where this one is of a connection that lasts: who asks, and what they may.
        stream: through which this operation is answered, if it is.
    """

    services: Services
    viewer: User | None = None
    roles: frozenset[str] = frozenset()
    scopes: frozenset[str] | None = None
    session_id: str | None = None
    client_id: str | None = None
    actor: User | None = None
    expires_at: float | None = None
    request_id: str = ""
    introspection: bool = True
    connection_params: dict[str, object] | None = field(default=None, repr=False)
    address: str = ""
    verdicts: list[Verdict] | None = field(default=None, repr=False)
    asked: tuple[str, str] = ("none", "none")
    idempotency_key: str | None = None
    done: bool = False
    key_id: str | None = None
    renew: Callable[[Context], Awaitable[None]] | None = field(default=None, repr=False)
    stream: Stream | None = field(default=None, repr=False)
    loaders: Loaders = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.loaders = Loaders(self.services)

    def user(self) -> User:
        """The signed-in user.

        Raises:
            Unauthenticated: nobody is signed in, or the token has run out since the request (or stream) began.
        """
        if self.viewer is None:
            raise Unauthenticated("sign in first: send 'Authorization: Bearer <access token>'")
        self.check_token()
        return self.viewer

    def caller(self) -> str:
        """By whom is counted: the viewer, or else the address."""
        return self.address if self.viewer is None else f"user:{self.viewer.id}"

    def check_token(self) -> None:
        """Raise `Unauthenticated` when the caller's token has run out."""
        if self.seconds_left() <= 0:
            raise token_ran_out()

    def seconds_left(self) -> float:
        """Seconds for which the caller's token is still good; infinite for anonymous callers."""
        return math.inf if self.expires_at is None else self.expires_at - time.time()

    def for_operation(self) -> Context:
        """A copy with loaders of its own, so that a long connection never reads what it cached long ago."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.loaders = Loaders(self.services)
        return other


def token_ran_out() -> Unauthenticated:
    """The error for a caller whose token stopped being good meanwhile."""
    return Unauthenticated("the access token has run out; renew it and connect again")


T = TypeVar("T")


def needed(service: T | None, what: str) -> T:
    """`service`, where this app has it.

    Raises:
        Unavailable: it runs without.
    """
    if service is None:
        raise Unavailable(f"{what} are not available in this deployment")
    return service


Info: TypeAlias = strawberry.Info[Context, None]
