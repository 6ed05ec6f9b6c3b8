"""Opens what resolvers use, in order, and closes it in reverse: stores, collection, accounts, chats and their relay,
jobs and models, the sweeper.

The only module of this room that imports the stores' drivers (through `core`), and only when the app starts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from pymongo.errors import PyMongoError

from core.accounts import Accounts
from core.chats import Chats
from core.collection import Collection
from core.database import connect, migrate, unavailable
from core.documents import RegisteredDocuments
from core.errands import run_errands
from core.errors import BadInput, OaError
from core.idempotency import IdempotentAnswers
from core.leaderboard import leaderboard, neighbours, standing
from core.models import Models
from core.moderators import Moderators
from core.objects import ObjectStore
from core.people import People
from core.rate_limits import Rate, RateLimits, parse_rates
from core.records import User
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
        client = connect(settings.mongodb_uri, Commands(metrics, tracing), seconds=settings.database_seconds)
        stack.push_async_callback(client.close)
        database = client[settings.mongodb_database]
        await migrate(database)
        store = ObjectStore(settings.s3_bucket, settings.s3_endpoint, settings.s3_region, discreet=True)
        if settings.embedded:
            await asyncio.to_thread(store.ensure_bucket)
        rules = settings.collection
        collection = Collection(database, rules)
        chats, runs, models = Chats(database, collection), Runs(database, store), Models(database, store)
        services = Services(
            collection=collection,
            accounts=Accounts(database),
            auth=SignIn(database),
            moderators=Moderators(database, rules, store),
            people=People(database, rules, store),
            leaderboard=partial(leaderboard, database),
            standing=partial(standing, database),
            neighbours=partial(neighbours, database),
            database=database,
            store=store,
            chats=chats,
            runs=runs,
            models=models,
            terms=Terms(settings.terms_version, settings.terms_url) if settings.terms_version else None,
            translate=_translated,
            rates=RateLimits(database, rates) if rates else None,
            documents=RegisteredDocuments(database),
            allowed=allowed,
            max_cost=settings.max_cost,
            operation_seconds=settings.operation_seconds,
            streams=Streams(settings.subscription_seconds, settings.streams_per_caller, settings.streams_per_address),
            watch=metrics.operation,
            answers=IdempotentAnswers(database, settings.operation_seconds + 5),
        )
        if settings.embedded:
            services.sign_in = partial(_development_token, tokens, services.auth, settings.token_seconds)
        relay = Relay(chats, settings.serving_urls, settings.serving_key, published=models.published)
        services.relay = await stack.enter_async_context(relay)
        rechecks = run_rechecks(services, settings.stream_check_seconds)
        stack.push_async_callback(_stop, asyncio.create_task(rechecks))
        swept = LastTime()
        metrics.follow(services, swept.ago)
        if settings.sweep_seconds:
            sweeper = run_sweeper(database, rules, settings.sweep_seconds, swept.now)
            stack.push_async_callback(_stop, asyncio.create_task(sweeper))
            stack.push_async_callback(_stop, asyncio.create_task(runs.run_mirror()))
            errands = run_errands(database, rules, store, settings.sweep_seconds)
            stack.push_async_callback(_stop, asyncio.create_task(errands))
            stack.push_async_callback(_stop, asyncio.create_task(run_sign_in_sweeper(database)))
        yield services


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
    if "cost" in rates and rates["cost"].count < settings.max_cost:
        raise BadInput(
            f"OA_MAX_COST is {settings.max_cost} and the rate of cost {rates['cost']}; the rate's count must be as much"
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
