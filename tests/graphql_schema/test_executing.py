"""The short way of plain fields answers what graphql-core's own way answers, errors and their places included."""

from __future__ import annotations

from enum import Enum
from typing import Any, Generic, TypeVar

import strawberry
from hypothesis import given, settings
from hypothesis import strategies as st

from graphql_schema.executing import Executing
from graphql_schema.schema import build_schema
from graphql_schema.straight import STRAIGHT, prepare_fields


@strawberry.enum
class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Other(Enum):
    RED = "red"


T = TypeVar("T")


@strawberry.type
class Pair(Generic[T]):
    first: T | None
    both: list[T]


@strawberry.type
class Thing:
    id: strawberry.ID
    name: str
    size: int
    share: float | None
    sure: bool
    colour: Colour | None
    inner: Thing | None = None
    marks: list[str | None] | None = None
    parts: list[Thing | None] | None = None

    @strawberry.field
    def shout(self) -> str:
        return str(self.name).upper()

    @strawberry.field
    def of(self, info: strawberry.Info) -> str:
        return f"{info.context} {self.name}"

    @strawberry.field
    def where(self, info: strawberry.Info) -> str:
        return f"{info.field_name} {info.path.as_list()}"

    @strawberry.field
    def perhaps(self) -> str | None:
        async def later() -> Any:
            return self.name

        return later() if self.sure is True else self.name  # type: ignore[return-value]

    @strawberry.field
    def pair(self) -> Pair[Thing]:
        return Pair(first=self.inner, both=[self, *(self.parts or ())])  # type: ignore[list-item]

    @strawberry.field
    async def slowly(self) -> int:
        return self.size


@strawberry.type
class Query:
    things: list[Thing | None]


class Failing:
    """An object whose attributes cannot be read."""

    def __getattr__(self, name: str) -> Any:
        raise ValueError(f"no {name}")


USUAL = strawberry.Schema(Query)
SHORT = strawberry.Schema(Query, execution_context_class=Executing)
prepare_fields(SHORT._schema)
VALUES = st.one_of(
    st.none(), st.text(max_size=5), st.integers(-(2**40), 2**40), st.floats(), st.booleans(),
    st.sampled_from([Colour.RED, Colour.BLUE, Other.RED, "RED", b"x", ("a",), ValueError("a value that is an error")]),
)  # fmt: skip
MARKS = st.one_of(VALUES, st.lists(VALUES, max_size=3), st.just(("a", "b")))
THINGS = st.builds(
    Thing, id=VALUES, name=VALUES, size=VALUES, share=VALUES, sure=VALUES, colour=VALUES, marks=MARKS
)  # fmt: skip
PARTS = st.lists(st.one_of(THINGS, st.none(), st.builds(Failing)), max_size=2)
FIELDS = (
    "id", "name", "size", "share", "sure", "colour", "shout", "of", "where", "perhaps", "slowly", "marks",
    "again: name", "__typename",
)  # fmt: skip


@given(
    st.lists(st.one_of(THINGS, st.builds(Failing)), max_size=3),
    st.lists(st.sampled_from(FIELDS), min_size=1, max_size=6),
    PARTS,
)
@settings(deadline=None)  # a loaded machine
async def test_both_ways_answer_the_same(things: list[Any], fields: list[str], parts: list[Any]) -> None:
    for thing in things:
        if isinstance(thing, Thing):
            thing.inner = things[0] if isinstance(things[0], Thing) else None
            thing.parts = parts
    few = " ".join(fields[:3])
    pair = f"pair {{ first {{ {few} }} both {{ {few} parts {{ size }} }} }}"
    below = f"inner {{ {few} }} parts {{ {few} inner {{ name }} }} {pair}"
    document = f"{{ things {{ {' '.join(fields)} ... on Thing {{ {below} }} }} }}"
    answers = []
    for schema in (USUAL, SHORT):
        schema.process_errors = lambda *_: None  # type: ignore[method-assign]
        result = await schema.execute(document, root_value=Query(things=things), context_value="context")
        errors = sorted((str(error.path), error.message) for error in result.errors or [])
        answers.append((repr(result.data), errors))
    assert answers[0] == answers[1]


async def test_a_field_that_failed_once_is_left_to_graphql_core_alone() -> None:
    """Values are not completed again at every level above the one that is wrong, and not for every object."""
    read = 0

    class Counted(Thing):
        @property
        def name(self) -> Any:
            nonlocal read
            read += 1
            return None

        @name.setter
        def name(self, value: Any) -> None:
            pass

    Counted.__strawberry_definition__ = Thing.__strawberry_definition__  # type: ignore[attr-defined]
    things: list[Any] = [Counted(id="x", name="", size=1, share=None, sure=True, colour=None) for _ in range(50)]  # type: ignore[arg-type]
    result = await SHORT.execute("{ things { name } }", root_value=Query(things=things))
    assert result.data == {"things": [None] * 50}
    assert len(result.errors or []) == 50
    assert read == 51, "once by the short way, once for each by graphql-core"


def test_no_field_of_a_root_nor_one_that_takes_arguments_goes_straight() -> None:
    types = build_schema()._schema.type_map
    message = types["Message"].extensions[STRAIGHT]
    assert {"id", "text", "role", "rank", "createdAt", "author", "labels", "parent"} <= set(message)
    assert not {"tree", "revisions"} & set(message), "they wait"
    assert not {"messages", "root"} & set(types["Tree"].extensions[STRAIGHT])
    for root in ("Query", "Mutation", "Subscription"):
        assert types[root].extensions[STRAIGHT] == {}, "each has a permission"
