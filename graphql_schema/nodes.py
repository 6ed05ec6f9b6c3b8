"""`node(id:)`: which type of id is read by what, with the check on the object itself.

A room registers a reader for each type that is a `Node`. A reader answers None both for what does not exist and for
what this caller may not see, so that an id tells nobody whether the thing exists.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias, TypeVar

from core.errors import BadInput

from .context import Context
from .relay import Node, parse_id
from .scoping import check_node_scope

Reader: TypeAlias = Callable[[Context, str], Awaitable[Node | None]]
ReaderT = TypeVar("ReaderT", bound=Reader)
_readers: dict[str, Reader] = {}


def reads(type_name: str) -> Callable[[ReaderT], ReaderT]:
    """Registers the decorated `async (context, raw id) -> Node | None` as the reader of ids of `type_name`."""

    def register(reader: ReaderT) -> ReaderT:
        if type_name in _readers:
            raise ValueError(f"two readers for ids of {type_name}")
        _readers[type_name] = reader
        return reader

    return register


async def read_node(context: Context, node_id: str) -> Node | None:
    """The object with that global id, if there is one that this caller may see.

    Raises:
        BadInput: it is no global id, or of a type that has none.
    """
    type_name, raw = parse_id(node_id)
    if type_name not in _readers:
        raise BadInput(f"id is of {type_name!r}; it must be of {', '.join(sorted(_readers))}", path=("id",))
    check_node_scope(context, type_name)
    return await _readers[type_name](context, raw)
