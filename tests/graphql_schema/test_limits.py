"""Hostile documents are refused before anything works on them, and finding that out takes one look at each node."""

from __future__ import annotations

import re
import sys
import tracemalloc

import hostile
import pytest
from graphql import get_introspection_query, parse
from graphql.language import Visitor, visit
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BadInput
from graphql_schema.context import Context, Services
from graphql_schema.documents import KEPT, Kept, Parsed
from graphql_schema.limits import LIMITS, check_variables, exceeded, leaf_first, measure
from graphql_schema.schema import build_schema

SCHEMA = build_schema()
CALLS = 120_000
"""Calls of Python functions that refusing a document may take: some 50 ms of a slow core."""
MEGABYTES = 10


async def execute(document, variables=None, **services):
    return await SCHEMA.execute(
        document, variable_values=variables, context_value=Context(services=Services(**services))
    )


async def work(document, variables=None):
    """The result, and how many Python functions were called for it: a measure of work that no other process moves."""
    calls = 0

    def count(frame, event, argument):
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        result = await execute(document, variables)
    finally:
        sys.setprofile(None)
    return result, calls


@pytest.mark.parametrize("name", hostile.ATTACKS)
async def test_hostile_documents_are_refused_with_little_work(name):
    make, n, said = hostile.ATTACKS[name]
    document = make(n)
    tracemalloc.start()
    result = await execute(document)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MEGABYTES * 1_000_000
    assert result.data is None
    assert len(result.errors) <= LIMITS["errors"].most + 1
    messages = " ".join(error.message for error in result.errors)
    assert re.search(said, messages), messages
    assert all(error.extensions["code"] in ("BAD_QUERY", "TOO_COSTLY") for error in result.errors)
    _, calls = await work(document + " ")  # another text, which no cache has seen
    assert calls < CALLS


@pytest.mark.parametrize(
    "make",
    [hostile.chained_fragments, hostile.aliases, hostile.directives, hostile.wide_root_by_fragments, hostile.circle,
     hostile.spreads, hostile.repeats, hostile.repeats_inline, hostile.long_list],
)  # fmt: skip
def test_measuring_looks_at_each_node_once_however_long_the_document(make):
    def visited(n: int) -> tuple[int, int]:
        document = parse(make(n))
        return count_nodes(document), looked_at(document)

    def looked_at(document) -> int:
        seen = 0

        def count(frame, event, argument):
            nonlocal seen
            seen += event == "call"

        sys.setprofile(count)
        try:
            measure(document)
        except BadInput:
            pass
        finally:
            sys.setprofile(None)
        return seen

    long = 64_000 // max(1, len(make(101)) - len(make(100)))  # a body is never longer
    for n in (100, long):
        nodes, calls = visited(n)
        assert calls < 12 * nodes + 100
    assert long >= 200


def count_nodes(document) -> int:
    class Counting(Visitor):
        nodes = 0

        def enter(self, *_):
            self.nodes += 1

    counting = Counting()
    visit(document, counting)
    return counting.nodes


async def test_work_on_a_chain_of_fragments_grows_with_its_length_and_not_with_its_uses():
    calls = [(await work(hostile.chained_fragments_below(n)))[1] for n in (17, 34, 68)]
    # Twice the length is 2**17 and 2**34 times the uses.
    assert calls[2] - calls[1] < 3 * (calls[1] - calls[0])


async def test_a_refused_document_is_seen_by_no_other_rule():
    result = await execute("{ " + "nothing " * 20 + "}")
    (error,) = result.errors
    assert "repeats: 20; at most 10 are allowed" in error.message
    assert "nothing" not in error.message


async def test_every_document_is_refused_with_all_that_is_too_much():
    result = await execute("{ " + " ".join(f"a{i}: viewer {{ streakDays }}" for i in range(31)) + " }")
    (error,) = result.errors
    assert error.message == (
        "the document is too much: root fields: 31; at most 10 are allowed; aliases: 31; at most 30 are allowed"
    )


async def test_deep_documents_that_differ_in_a_comment_alone_are_refused_alike():
    # To compare them with those in the cache, node by node, is to go as deep as they do.
    for n in range(100, 300, 10):
        for comment in ("#0\n", "#1\n"):
            for error in (await execute(comment + hostile.deep(n))).errors:
                assert error.extensions["code"] == "BAD_QUERY"


@given(
    st.lists(st.tuples(st.booleans(), st.text(alphabet="ab", min_size=1, max_size=9)), max_size=30), st.integers(0, 40)
)
def test_documents_are_kept_up_to_so_many_characters_and_the_last_ones_longest(steps, characters):
    kept, expected = Kept(characters), []
    for keep, text in steps:
        if keep:
            kept.keep(text, Parsed(parse("{ a }")))
            expected += [] if text in expected else [text]
            while sum(map(len, expected)) > characters:
                expected.pop(0)
        elif text in expected:
            expected.remove(text)
            expected.append(text)
            assert kept.get(text) is not None
        else:
            assert kept.get(text) is None
    assert list(kept._documents) == expected
    assert kept.size == sum(map(len, expected))


@pytest.mark.parametrize("name", ["aliases", "unknown types below", "pages of pages"])
async def test_what_is_refused_is_not_kept(name):
    make, n, _ = hostile.ATTACKS[name]
    before = KEPT.size
    assert (await execute(make(n))).errors
    assert KEPT.size == before
    fine = f"{{ viewer {{ roles }} }} # {name}"
    assert (await execute(fine)).errors is None
    assert KEPT.get(fine) is not None


EDGES = {
    "aliases": hostile.aliases,
    "directives": hostile.directives,
    "repeats": hostile.repeats,
    "fragment spreads": lambda n: f"{{ viewer {{ {'...F ' * n} }} }} fragment F on Viewer {{ streakDays }}",
    "list length": hostile.long_list,
    "root fields": lambda n: "{ " + " ".join(f"a{i}: viewer {{ roles }}" for i in range(n)) + " }",
    "value depth": hostile.nested_list,
    "depth": lambda n: hostile.deep(n - 1),
    "introspection depth": lambda n: "{ __schema { queryType { " + "ofType { " * (n - 3) + "name" + " }" * n,
}
"""By name of a limit: a document that reaches it to the number given, and no other limit."""


@pytest.mark.parametrize(("name", "make"), EDGES.items(), ids=EDGES)
def test_the_limit_itself_is_allowed_and_one_more_is_not(name, make):
    most = LIMITS[name].most
    assert measure(parse(make(most)))[name] == most
    assert exceeded(measure(parse(make(most)))) == []
    assert [each.partition(":")[0] for each in exceeded(measure(parse(make(most + 1))))] == [name]


def test_limits_of_text_are_counted_at_their_edge():
    most = LIMITS["characters"].most
    assert exceeded({"characters": most}) == []
    assert exceeded({"characters": most + 1}) == [f"characters: {most + 1}; at most {most} are allowed"]


async def test_a_document_as_long_as_allowed_runs():
    document = "{ viewer { streakDays } }".ljust(LIMITS["characters"].most)
    assert (await execute(document)).data == {"viewer": None}
    assert "characters" in (await execute(document + " ")).errors[0].message


async def test_tools_may_ask_for_the_whole_schema():
    query = get_introspection_query(
        specified_by_url=True, directive_is_repeatable=True, schema_description=True, input_value_deprecation=True
    )
    result = await execute(query)
    assert result.errors is None
    assert result.data["__schema"]["queryType"]["name"] == "Query"


@st.composite
def fragment_graphs(draw):
    """Fragments that spread only later ones; operation and fragments in any order."""
    count = draw(st.integers(1, 8))
    edges = [draw(st.lists(st.integers(i + 1, count), max_size=3)) for i in range(count)]
    return [[each for each in spread if each < count] for spread in edges]


@given(fragment_graphs(), st.randoms())
def test_depth_and_root_fields_are_those_of_the_document_with_its_fragments_written_out(graph, random):
    def written_out(i: int) -> str:
        return f"a {{ b {' '.join(f'... {{ {written_out(each)} }}' for each in graph[i])} }}"

    parts = [
        f"fragment F{i} on T {{ a {{ b {' '.join(f'...F{each}' for each in graph[i])} }} }}" for i in range(len(graph))
    ]
    parts.append("{ ...F0 }")
    random.shuffle(parts)
    short, long = measure(parse(" ".join(parts))), measure(parse(f"{{ ... {{ {written_out(0)} }} }}"))
    assert short["depth"] == long["depth"]
    assert short["root fields"] == long["root fields"] == 1


@given(fragment_graphs(), st.data())
def test_a_fragment_stands_behind_those_that_it_spreads_and_circles_are_found(graph, data):
    spreads = {str(i): [str(each) for each in spread] for i, spread in enumerate(graph)}
    order = leaf_first(spreads)
    assert sorted(order) == sorted(spreads)
    assert all(order.index(each) < order.index(name) for name, spread in spreads.items() for each in spread)
    name = data.draw(st.sampled_from(order))
    reached = {name}
    for each in reversed(order):
        reached |= set(spreads[each]) if each in reached else set()
    last = data.draw(st.sampled_from(sorted(reached)))
    with pytest.raises(BadInput, match="contains itself"):
        leaf_first({**spreads, last: [*spreads[last], name]})


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=4),
    max_leaves=30,
)


@given(st.dictionaries(st.text(max_size=3), JSON, max_size=4))
def test_each_value_of_the_variables_is_looked_at_once(variables):
    def count(value) -> int:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return 1 + sum(map(count, inner))

    assert check_variables(variables) == sum(map(count, variables.values()))


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"a": [0] * 101}, "list length: 101; at most 100"),
        ({"a": {"b": [[0] * 101]}}, "list length: 101"),
        ({f"a{i}": 0 for i in range(1001)}, "values: 1001; at most 1000"),
        ({"a": [[0] * 90] * 12}, "values: 1"),
        (hostile.nested_variables(9), "value depth: 17; at most 16"),
        (hostile.nested_variables(400), "value depth: 17"),
    ],
)
async def test_variables_that_are_too_much(variables, said):
    document = "query ($input: ID!) { node(id: $input) { id } }"
    result, calls = await work(document, variables)
    (error,) = result.errors
    assert said in error.message
    assert error.extensions == {"code": "BAD_QUERY"}
    assert calls < CALLS


def test_variables_within_the_limits():
    assert check_variables({"a": [0] * 100, **hostile.nested_variables(8)}) == 118


def test_introspection_is_as_deep_as_its_fragments_reach():
    chain = "fragment A on __Type { ofType { ...B } } fragment B on __Type { ofType { name } }"
    found = measure(parse(f"{{ __schema {{ queryType {{ ...A }} }} viewer {{ streakDays }} }} {chain}"))
    assert (found["introspection depth"], found["depth"]) == (5, 2)
    assert measure(parse(get_introspection_query()))["introspection depth"] == 15
