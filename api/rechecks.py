"""Whether those who follow something still may: streams last, and people are shut out in the meantime.

Every few seconds the accounts, sessions, keys and the keys' clients of all who follow anything in this process are read
together (four reads at most, none where nobody follows anything), so that what another process did counts here too.
Whoever lost a role, language or scope begins anew, past the same gates as the first time: what was worked out from what
they had then is gone with the stream.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from core.api_keys import ApiKeys
from core.errors import Forbidden, OaError, Unauthenticated
from core.oauth_records import ApiKey, Client, Session
from core.records import User, milliseconds, now
from graphql_schema.context import Context, Services

log = logging.getLogger("oa.api")


async def run_rechecks(services: Services, seconds: float) -> None:
    """Recheck the streams of `services` every so many seconds, until cancelled.

    A store that does not answer ends nothing: a token is good for some minutes only, whatever happens.
    """
    while True:
        await asyncio.sleep(seconds)
        try:
            await services.streams.recheck(lambda contexts: refused(services, contexts))
        except Exception as error:
            log.warning("could not recheck the streams", extra={"fields": {"error": type(error).__name__}})


async def refused(services: Services, contexts: Sequence[Context]) -> list[OaError | None]:
    """Why each signed-in caller is refused now; None for who is not."""
    people = {each.id for context in contexts for each in (context.viewer, context.actor) if each is not None}
    session_ids = {context.session_id for context in contexts if context.session_id is not None}
    key_ids = {context.key_id for context in contexts if context.key_id is not None}
    client_ids = {context.client_id for context in contexts if context.key_id is not None}
    api_keys: ApiKeys = services.auth.api_keys
    users, sessions, keys, clients = await asyncio.gather(
        services.accounts.get_many(sorted(people)),
        services.auth.sessions.get_many(sorted(session_ids)) if session_ids else _none(),
        api_keys.get_many(sorted(key_ids)) if key_ids else _none(),
        services.auth.clients.get_many(sorted(filter(None, client_ids))) if client_ids else _none(),
    )
    present = milliseconds(now())
    return [
        _ended(context, sessions, keys, present) or _changed(context, users) or _narrowed(context, keys, clients)
        for context in contexts
    ]


async def _none() -> dict[str, Any]:
    return {}


def _ended(
    context: Context, sessions: Mapping[str, Session], keys: Mapping[str, ApiKey], present: int
) -> OaError | None:
    """Why what the caller came with is no longer good."""
    session = sessions.get(context.session_id or "")
    if context.session_id is not None and (session is None or not session.good(present)):
        return Unauthenticated("the session was ended; sign in again")
    key = keys.get(context.key_id or "")
    if context.key_id is not None and (key is None or not key.good(present)):
        return Unauthenticated("the API key was revoked or is over; ask an administrator for another")
    return None


def _changed(context: Context, users: Mapping[str, User]) -> OaError | None:
    """Why the account, or that of the service that acts for it, may no longer what it could."""
    for before in (context.viewer, context.actor):
        user = None if before is None else users.get(before.id)
        if before is not None and (user is None or user.deleted or not user.enabled):
            return Unauthenticated("the account is disabled or deleted")
    viewer, actor = context.viewer, context.actor
    lost = viewer is not None and (
        not context.roles <= set(users[viewer.id].roles) or users[viewer.id].moderates != viewer.moderates
    )
    return _less() if lost or (actor is not None and "service" not in users[actor.id].roles) else None


def _narrowed(context: Context, keys: Mapping[str, ApiKey], clients: Mapping[str, Client]) -> OaError | None:
    """Why a key opens less than it did. A session's token is as it was given, for some minutes."""
    if context.key_id is None:
        return None
    client = clients.get(context.client_id or "")
    left = set(keys[context.key_id].scopes) & set(client.scopes if client is not None else ())
    return None if (context.scopes or frozenset()) <= left else _less()


def _less() -> Forbidden:
    return Forbidden("what you may do has changed; subscribe again for what you still may follow")
