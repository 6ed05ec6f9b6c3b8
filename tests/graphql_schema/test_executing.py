"""The short way of plain fields answers what graphql-core's own way answers, errors and their places included."""

from __future__ import annotations

from enum import Enum
from typing import Any

import strawberry
from hypothesis import given
from hypothesis import strategies as st

from graphql_schema.executing import PLAIN, Executing, find_plain_fields
from graphql_schema.schema import build_schema


@strawberry.enum
class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Other(Enum):
    RED = "red"


@strawberry.type
class Thing:
    id: strawberry.ID
    name: str
    size: int
    share: float | None
    sure: bool
    colour: Colour | None
    inner: Thing | None = None

    @strawberry.field
    def shout(self) -> str:
        return str(self.name).upper()

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
find_plain_fields(SHORT._schema)
VALUES = st.one_of(
    st.none(), st.text(max_size=5), st.integers(-(2**40), 2**40), st.floats(), st.booleans(),
    st.sampled_from([Colour.RED, Colour.BLUE, Other.RED, "RED", b"x", ("a",), ValueError("a value that is an error")]),
)  # fmt: skip
THINGS = st.builds(Thing, id=VALUES, name=VALUES, size=VALUES, share=VALUES, sure=VALUES, colour=VALUES)
FIELDS = ("id", "name", "size", "share", "sure", "colour", "shout", "slowly", "again: name", "__typename")


@given(
    st.lists(st.one_of(THINGS, st.builds(Failing)), max_size=3),
    st.lists(st.sampled_from(FIELDS), min_size=1, max_size=6),
)
async def test_both_ways_answer_the_same(things: list[Any], fields: list[str]) -> None:
    for thing in things:
        if isinstance(thing, Thing):
            thing.inner = things[0] if isinstance(things[0], Thing) else None
    document = f"{{ things {{ {' '.join(fields)} ... on Thing {{ inner {{ {' '.join(fields[:3])} }} }} }} }}"
    answers = []
    for schema in (USUAL, SHORT):
        schema.process_errors = lambda *_: None  # type: ignore[method-assign]
        result = await schema.execute(document, root_value=Query(things=things))
        errors = sorted((str(error.path), error.message) for error in result.errors or [])
        answers.append((repr(result.data), errors))
    assert answers[0] == answers[1]


def test_fields_with_a_resolver_or_a_permission_are_not_plain() -> None:
    types = build_schema()._schema.type_map
    message = types["Message"].extensions[PLAIN]
    assert {"id", "text", "role", "rank", "createdAt"} <= set(message)
    assert not {"author", "labels", "synthetic", "mine", "emojis", "tree"} & set(message)
    assert types["Query"].extensions[PLAIN] == {}
    assert types["Mutation"].extensions[PLAIN] == {}
