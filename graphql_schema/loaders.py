"""Batching reads: one round trip for all objects of one kind that one step of an operation asks for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cached_property
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from strawberry.dataloader import DataLoader

from core.errors import Unavailable
from core.model_records import marked_models

if TYPE_CHECKING:
    from core.agreement_over_time import Sums
    from core.model_records import Lineage
    from core.oauth_records import Client
    from core.people import People
    from core.people_records import Appeal
    from core.records import Message, Tree, User
    from core.skips import Skip
    from core.voices import Voice

    from .context import Services

R = TypeVar("R")
T = TypeVar("T")


def _people(services: Services) -> People:
    if services.people is None:
        raise Unavailable("people's own work is not available in this deployment")
    return services.people


class Reads(DataLoader[str, R | None], Generic[R]):
    """A loader that can say what it has read already."""

    def now(self, name: str) -> R | None:
        """What was read."""
        found = self.cache_map.get(name)
        return None if found is None else found.result()


class Loaders:
    """The loaders of one operation, each made when it is first asked for; each remembers what it read until the
    operation ends. An id that leads to nothing loads as None.
    """

    def __init__(self, services: Services) -> None:
        self._services = services

    @cached_property
    def messages(self) -> Reads[Message]:
        """Messages."""
        return Reads(by_id(lambda: self._services.collection.messages))

    @cached_property
    def trees(self) -> Reads[Tree]:
        """Trees."""
        return Reads(by_id(lambda: self._services.collection.trees))

    @cached_property
    def agreements(self) -> Reads[Sums]:
        """How far those who ranked agreed, by tree."""
        return Reads(by_id(lambda: self._services.collection.tree_agreement))

    @cached_property
    def free_labels(self) -> Reads[dict[str, dict[str, float]]]:
        """Averages of free labels, by message."""
        return Reads(by_id(lambda: self._services.collection.free_labels))

    @cached_property
    def skips(self) -> Reads[list[Skip]]:
        """Skips of tasks with a reason, by message."""
        return Reads(by_id(lambda: self._services.collection.skips))

    @cached_property
    def tree_messages(self) -> Reads[list[Message]]:
        """All messages of trees that are known to be there, by tree: parents first."""
        return Reads(by_id(lambda: self._services.collection.messages_of_many))

    @cached_property
    def users(self) -> Reads[User]:
        """People."""
        return Reads(by_id(lambda: self._services.accounts.get_many))

    @cached_property
    def emojis(self) -> Reads[tuple[str, ...]]:
        """Emojis that somebody set on a message, by `message id|user id`."""
        return Reads(by_id(lambda: self._services.collection.emojis_of))

    @cached_property
    def clients(self) -> Reads[Client]:
        """Programs that sign people in."""
        return Reads(by_id(lambda: self._services.auth.clients.get_many))

    @cached_property
    def appeals(self) -> Reads[Appeal]:
        """Appeals."""
        return Reads(by_id(lambda: _people(self._services).appeals))

    @cached_property
    def voices(self) -> Reads[Voice]:
        """How far people's reviews and rankings are trusted."""
        return Reads(by_id(lambda: _people(self._services).voices))

    @cached_property
    def gone(self) -> Reads[int]:
        """How much is gone since, by snapshot."""
        return Reads(by_id(lambda: _people(self._services).gone_from))

    @cached_property
    def withdrawn(self) -> Reads[int]:
        """How many messages have lost consent since, by snapshot."""
        return Reads(by_id(lambda: _people(self._services).withdrawn_from))

    @cached_property
    def lineages(self) -> Reads[Lineage]:
        """What the model versions of chats' replies came from, by `name@version`: whole snapshots' lists of sources."""
        return Reads(by_id(lambda: self._services.models.lineages_of_replies))

    @cached_property
    def marked(self) -> DataLoader[str, int]:
        """How much a model learned from that is gone since, by `name@version`."""
        return DataLoader(marked(self._services, lambda people: people.marked_snapshots()))

    @cached_property
    def unconsented(self) -> DataLoader[str, int]:
        """How many messages a model learned from that have lost consent since, by `name@version`."""
        return DataLoader(marked(self._services, lambda people: people.snapshots_without_consent()))


def once_read(loader: Reads[R], name: str, use: Callable[[R | None], T]) -> T:
    """What `use` makes of the object with that id; where it has still to be read, an awaitable of that."""
    read = loader.cache_map.get(name)
    if read is not None and read.done():
        return use(read.result())

    async def later() -> T:
        made: Any = use(await loader.load(name))
        used: T = await made if isawaitable(made) else made
        return used

    return cast(T, later())


def marked(
    services: Services, reader: Callable[[People], Awaitable[dict[str, int]]]
) -> Callable[[list[str]], Awaitable[list[int]]]:
    """A loader's function: how many marked sources models (`name@version`) learned from; `reader` says which are."""

    async def load(labels: list[str]) -> list[int]:
        snapshots = await reader(_people(services))
        models = marked_models(await services.models.versions(), snapshots) if snapshots else {}
        return [models.get(label, 0) for label in labels]

    return load


def by_id(
    reader: Callable[[], Callable[[Sequence[str]], Awaitable[Mapping[str, T]]]],
) -> Callable[[list[str]], Awaitable[list[T | None]]]:
    """A loader's function from a read that answers what exists by id; the read is looked up when it is needed."""

    async def load(ids: list[str]) -> list[T | None]:
        found = await reader()(ids)
        return [found.get(each) for each in ids]

    return load
