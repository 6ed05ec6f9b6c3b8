"""Batching reads: one round trip for all objects of one kind that one step of an operation asks for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from strawberry.dataloader import DataLoader

from core.errors import Unavailable
from core.model_records import marked_models

if TYPE_CHECKING:
    from core.oauth_records import Client
    from core.people import People
    from core.records import Message, Tree, User
    from core.voices import Voice

    from .context import Services

T = TypeVar("T")


class Loaders:
    """The loaders of one operation; each remembers what it read until the operation ends.

    An id that leads to nothing loads as None.
    """

    def __init__(self, services: Services) -> None:
        self.messages: DataLoader[str, Message | None] = DataLoader(by_id(lambda: services.collection.messages))
        self.trees: DataLoader[str, Tree | None] = DataLoader(by_id(lambda: services.collection.trees))
        self.users: DataLoader[str, User | None] = DataLoader(by_id(lambda: services.accounts.get_many))
        self.clients: DataLoader[str, Client | None] = DataLoader(by_id(lambda: services.auth.clients.get_many))
        self.voices: DataLoader[str, Voice | None] = DataLoader(by_id(lambda: _people(services).voices))
        self.gone: DataLoader[str, int | None] = DataLoader(by_id(lambda: _people(services).gone_from))
        self.marked: DataLoader[str, bool] = DataLoader(marked(services))


def _people(services: Services) -> People:
    if services.people is None:
        raise Unavailable("people's own work is not available in this deployment")
    return services.people


def marked(services: Services) -> Callable[[list[str]], Awaitable[list[bool]]]:
    """A loader's function: whether models (`name@version`) learned from what is gone since."""

    async def load(labels: list[str]) -> list[bool]:
        snapshots = await _people(services).marked_snapshots()
        models = marked_models(await services.models.versions(), snapshots) if snapshots else set()
        return [label in models for label in labels]

    return load


def by_id(
    reader: Callable[[], Callable[[Sequence[str]], Awaitable[Mapping[str, T]]]],
) -> Callable[[list[str]], Awaitable[list[T | None]]]:
    """A loader's function from a read that answers what exists by id; the read is looked up when it is needed."""

    async def load(ids: list[str]) -> list[T | None]:
        found = await reader()(ids)
        return [found.get(each) for each in ids]

    return load
