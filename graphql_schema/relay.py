"""Relay's conventions: global ids, nodes, and connections that page by key.

    global id    base64 of "Message:0190..."           opaque; says of which type it is
    cursor       base64 of "k:2026-11-22T13:00|0190"   the sort key of the edge's node; a page starts after it

`first` is required by the schema and capped here; there is no `last`, because no page of ours needs one. Pages are read
by key, never by offset, so page 1,000 costs what page 1 costs, and rows that arrive meanwhile shift nothing.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Annotated, Generic, TypeAlias, TypeVar

import strawberry

from core.errors import BadInput

MAX_FIRST = 100
"""The most nodes of one page."""

R = TypeVar("R")
T = TypeVar("T")


@strawberry.interface(description="An object with a globally unique id, which `node(id:)` finds again.")
class Node:
    """Anything with a global id."""

    id: strawberry.ID = strawberry.field(description="Opaque and globally unique.")


@strawberry.type(description="Where a page ends.")
class PageInfo:
    """Relay's page information, forward only."""

    has_next_page: bool = strawberry.field(description="Whether more nodes follow.")
    end_cursor: str | None = strawberry.field(
        description="Pass it as `after` to read on, from an empty page too; null where nothing was looked at."
    )


@strawberry.type(description="A node and its place in the list.")
class Edge(Generic[T]):
    """One node of a connection."""

    node: T = strawberry.field(description="The node.")
    cursor: str = strawberry.field(description="Opaque; pass it as `after` to start behind this node.")


@strawberry.type(description="One page of a list.")
class Connection(Generic[T]):
    """A page of nodes."""

    edges: list[Edge[T]] = strawberry.field(description="The nodes of this page with their cursors, in order.")
    page_info: PageInfo = strawberry.field(description="Where this page ends.")

    @strawberry.field(description="The nodes of this page, in order: `edges { node }` without the edges.")
    def nodes(self) -> list[T]:
        """The nodes without their cursors."""
        return [edge.node for edge in self.edges]


First: TypeAlias = Annotated[int, strawberry.argument(description=f"Nodes wanted, 1 to {MAX_FIRST}.")]
After: TypeAlias = Annotated[str | None, strawberry.argument(description="A cursor: the page starts behind it.")]


def page_size(first: int) -> int:
    """`first` itself.

    Raises:
        BadInput: it is not within 1 to `MAX_FIRST`.
    """
    if not 1 <= first <= MAX_FIRST:
        raise BadInput(f"first is {first}; it must be 1 to {MAX_FIRST}", path=("first",))
    return first


def connection(
    records: Sequence[R], *, key: Callable[[R], str], has_next: bool, node: Callable[[R], T], end: str | None = None
) -> Connection[T]:
    """A page from records in order.

    Args:
        records: the page's records, in order.
        key: the sort key of a record; it comes back as `after`.
        has_next: whether more follow.
        node: a record as the GraphQL object.
        end: where the page ends, if that is beyond its last record.
    """
    edges = [Edge(node=node(record), cursor=encode_cursor(key(record))) for record in records]
    last = encode_cursor(end) if end is not None else edges[-1].cursor if edges else None
    return Connection(edges=edges, page_info=PageInfo(has_next_page=has_next, end_cursor=last))


def slice_connection(
    records: Sequence[R], first: int, after: str | None, *, key: Callable[[R], str], node: Callable[[R], T]
) -> Connection[T]:
    """A page of a list that is at hand whole, because its length is bounded.

    Raises:
        BadInput: `first` is out of range, or `after` is the cursor of no record in it.
    """
    size, start = page_size(first), 0
    if (last := decode_cursor(after)) is not None:
        places = [place for place, record in enumerate(records) if key(record) == last]
        if not places:
            raise BadInput(f"after is {after!r}, which is no cursor of this list (any more)", path=("after",))
        start = places[0] + 1
    page = records[start : start + size]
    return connection(page, key=key, has_next=start + size < len(records), node=node)


def encode_cursor(key: str) -> str:
    """A sort key as an opaque cursor."""
    return base64.urlsafe_b64encode(f"k:{key}".encode()).decode()


def decode_cursor(cursor: str | None) -> str | None:
    """The sort key in a cursor; None for none.

    Raises:
        BadInput: it is no cursor of ours.
    """
    if cursor is None:
        return None
    text = _decoded(cursor)
    if text is None or not text.startswith("k:"):
        raise BadInput(f"after is {cursor[:80]!r}; it must be an endCursor or cursor of this list", path=("after",))
    return text[2:]


def global_id(type_name: str, raw: str) -> strawberry.ID:
    """The global id of the object of type `type_name` whose own id is `raw`."""
    return strawberry.ID(base64.urlsafe_b64encode(f"{type_name}:{raw}".encode()).decode())


def raw_id(value: str, *type_names: str, path: Sequence[str] = ("id",)) -> str:
    """The own id in a global id that must be of one of `type_names`.

    Raises:
        BadInput: it is no global id, or of another type.
    """
    type_name, raw = parse_id(value, path=path)
    if type_name not in type_names:
        raise BadInput(
            f"{path[-1]} is the id of a {type_name}; it must be of {' or '.join(type_names)}", path=tuple(path)
        )
    return raw


def parse_id(value: str, path: Sequence[str] = ("id",)) -> tuple[str, str]:
    """Type name and own id in a global id; `BadInput` if it is none."""
    type_name, colon, raw = (_decoded(value) or "").partition(":")
    if not (type_name and colon and raw):
        raise BadInput(f"{path[-1]} is {value[:80]!r}; it must be an id that this API gave", path=tuple(path))
    return type_name, raw


def _decoded(value: str) -> str | None:
    """Base64 text, or None where it is not; the URL-safe and the plain alphabet, with or without padding."""
    plain = value.replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True).decode()
    except (binascii.Error, ValueError):
        return None
