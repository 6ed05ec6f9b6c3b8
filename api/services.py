"""Opens what resolvers use, in order, and closes it in reverse: stores, collection, accounts, chats and their relay,
jobs and models, the sweeper.

The only module of this room that imports the stores' drivers (through `core`), and only when the app starts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

from pymongo.errors import PyMongoError

from core.accounts import Accounts
from core.chats import Chats
from core.collection import Collection
from core.database import Database, aware, connect, migrate, unavailable
from core.documents import RegisteredDocuments
from core.errands import run_errands
from core.errors import BadInput, OaError
from core.idempotency import IdempotentAnswers
from core.leaderboard import board_page, leaderboard, neighbours, standing
from core.models import Models
from core.moderators import Moderators
from core.objects import ObjectStore
from core.people import People
from core.rate_blocks import Blocks
from core.rate_limits import RateLimits
from core.rates import ROOM, Rate, parse_rates
from core.records import User
from core.reply_scores import run_reply_scores
from core.retention import Retention
from core.runs import Runs
from core.sign_in import SignIn, run_sign_in_sweeper
from core.sweeper import run_sweeper
from core.text_scorers import chosen_scorer
from graphql_schema.context import AccessToken, Services, Terms
from graphql_schema.persisted import read_allow_list
from graphql_schema.streams import Streams

from .commands import Commands
from .metrics import Metrics
from .rechecks import run_rechecks
from .relay import Relay
from .settings import Settings
from .tokens import Tokens
from .tracing import Tracing


@asynccontextmanager
async def open_services(
    settings: Settings, tokens: Tokens, metrics: Metrics | None = None, tracing: Tracing | None = None
) -> AsyncIterator[Services]:
    """The services, until the app stops.

    Args:
        settings: of the app.
        tokens: signs access tokens.
        metrics: is told of operations and database commands; counts by itself where none is given.
        tracing: takes spans of database commands.

    Raises:
        BadInput: the rates or the list of documents are of another form.
        Unavailable: a store does not answer.
    """
    rates = rates_of(settings)
    chosen_scorer()  # a wrong name is told now, not by the first submission
    allowed = None if settings.documents is None else read_allow_list(settings.documents)
    async with AsyncExitStack() as stack:
        metrics = metrics or Metrics()
        database, store = await _stores(settings, stack, Commands(metrics, tracing))
        services = _services(settings, database, store, rates, metrics)
        services.allowed = allowed
        if settings.embedded:
            services.sign_in = partial(_development_token, tokens, services.auth, settings.token_seconds)
        published = services.models.published
        relay = Relay(services.chats, settings.serving_urls, settings.serving_key, published=published)
        services.relay = await stack.enter_async_context(relay)
        swept = LastTime()
        metrics.follow(services, swept.ago)
        for work in _background(settings, services, store, swept):
            stack.push_async_callback(_stop, asyncio.create_task(work))
        yield services


async def _stores(settings: Settings, stack: AsyncExitStack, listener: Commands) -> tuple[Database, ObjectStore]:
    """The document store, migrated, and the object store; the former's connections are closed with `stack`."""
    client = connect(settings.mongodb_uri, listener, seconds=settings.database_seconds)
    stack.push_async_callback(client.close)
    database = aware(client[settings.mongodb_database])
    await migrate(database)
    store = ObjectStore(settings.s3_bucket, settings.s3_endpoint, settings.s3_region, discreet=True)
    if settings.embedded:
        await asyncio.to_thread(store.ensure_bucket)
    return database, store


def _services(
    settings: Settings, database: Database, store: ObjectStore, rates: Mapping[str, Rate], metrics: Metrics
) -> Services:
    """What needs the stores alone; nothing of it runs yet."""
    rules = settings.collection
    collection = Collection(database, rules)
    buckets = RateLimits(database, rates) if rates else None
    return Services(
        collection=collection,
        accounts=Accounts(database),
        auth=SignIn(database),
        moderators=Moderators(database, rules, store),
        people=People(database, rules, store),
        leaderboard=partial(leaderboard, database),
        board_page=partial(board_page, database),
        standing=partial(standing, database),
        neighbours=partial(neighbours, database),
        database=database,
        store=store,
        chats=Chats(database, collection),
        runs=Runs(database, store),
        models=Models(database, store),
        terms=Terms(settings.terms_version, settings.terms_url) if settings.terms_version else None,
        translate=_translated,
        rates=buckets,
        shared_rates=None if buckets is None else Blocks(buckets),
        documents=RegisteredDocuments(database),
        max_cost=settings.max_cost,
        operation_seconds=settings.operation_seconds,
        streams=Streams(settings.subscription_seconds, settings.streams_per_caller, settings.streams_per_address),
        watch=metrics.operation,
        answers=IdempotentAnswers(database, settings.operation_seconds + 5),
    )


def _background(
    settings: Settings, services: Services, store: ObjectStore, swept: LastTime
) -> Iterator[Coroutine[Any, Any, None]]:
    """What runs beside the requests until the app stops; the sweeper and its like where this process sweeps."""
    yield run_rechecks(services, settings.stream_check_seconds)
    if settings.sweep_seconds:
        database, rules, seconds = services.database, settings.collection, settings.sweep_seconds
        kept = Retention(settings.task_days, settings.acting_days)
        yield run_sweeper(database, rules, seconds, swept.now, kept)
        yield services.runs.run_mirror()
        yield run_errands(database, rules, store, seconds)
        if settings.score_seconds:
            yield run_reply_scores(database, rules, store, settings.score_seconds)
        yield run_sign_in_sweeper(database)


class LastTime:
    """When something last happened; from the start on, as if it had then."""

    def __init__(self) -> None:
        self.now()

    def now(self) -> None:
        """It happens now."""
        self._at = time.monotonic()

    def ago(self) -> float:
        """Seconds since it last happened."""
        return time.monotonic() - self._at


def rates_of(settings: Settings) -> dict[str, Rate]:
    """The rates of this deployment; an operation that may run must fit into its bucket."""
    rates = parse_rates(settings.rate_limits)
    for name in ("cost", *(f"cost_{kind}" for kind in ROOM)):
        if name in rates and rates[name].count < settings.max_cost:
            raise BadInput(
                f"OA_MAX_COST is {settings.max_cost} and the rate of {name} {rates[name]}; the rate's count must be as "
                "much"
            )
    return rates


async def _development_token(tokens: Tokens, auth: SignIn, seconds: int, user: User) -> AccessToken:
    session = await auth.sessions.open_plain(user.id, "development", seconds)
    return tokens.mint(user.id, user.roles, session_id=session.id)


def _translated(error: Exception) -> OaError | None:
    """The driver's error as the caller's, where it says that the store does not answer."""
    try:
        return unavailable(error) if isinstance(error, PyMongoError) else None
    except PyMongoError:
        return None


async def _stop(task: asyncio.Task[None]) -> None:
    """End a background task; asked again while it runs, since one that was deep in the driver may miss the first."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=0.5)
