"""Opens what resolvers use, in order, and closes it in reverse: stores, collection, accounts, the sweeper.

The only module of this room that imports the stores' drivers (through `core`), and only when the app starts.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from core.accounts import Accounts
from core.collection import Collection
from core.sweeper import run_sweeper

from core.config import CollectionConfig
from core.database import connect, migrate
from core.objects import ObjectStore
from core.records import User
from graphql_schema.context import AccessToken, Services

from .settings import Settings
from .tokens import Tokens


@asynccontextmanager
async def open_services(settings: Settings, tokens: Tokens) -> AsyncIterator[Services]:
    """The services, until the app stops.

    Raises:
        Unavailable: a store does not answer.
    """
    async with AsyncExitStack() as stack:
        client = connect(settings.mongodb_uri)
        stack.push_async_callback(client.close)
        database = client[settings.mongodb_database]
        await migrate(database)
        store = ObjectStore(settings.s3_bucket, settings.s3_endpoint, region=settings.s3_region)
        if settings.embedded:
            await asyncio.to_thread(store.ensure_bucket)
        config = CollectionConfig()
        services = Services(
            collection=Collection(database, config), accounts=Accounts(database), database=database, store=store
        )
        if settings.embedded:
            services.sign_in = lambda user: _development_token(tokens, user)
        if settings.sweep_seconds:
            stack.push_async_callback(_stop, asyncio.create_task(run_sweeper(database, config, settings.sweep_seconds)))
        yield services


def _development_token(tokens: Tokens, user: User) -> AccessToken:
    return tokens.mint(user.id, user.roles)


async def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
