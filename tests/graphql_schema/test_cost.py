"""What operations cost, and that the price is known, told and charged before anything runs."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from graphql import GraphQLSchema, get_named_type, get_operation_ast, parse
from hypothesis import given
from hypothesis import strategies as st

from core.errors import TooMany
from core.rates import Rate, Verdict
from core.records import User
from graphql_schema import cost
from graphql_schema.charging import REFUSED
from graphql_schema.context import Context, Services
from graphql_schema.cost import ACTIONS, MAX_COST, price, units
from graphql_schema.schema import build_schema

SCHEMA = build_schema()


def priced(document: str, variables=None, operation=None):
    parsed = parse(document)
    return price(SCHEMA._schema, parsed, get_operation_ast(parsed, operation), variables or {})


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("{ viewer { streakDays } }", 3),
        ("{ viewer { user { id displayName } } }", 6),
        ("{ trees(first: 20) { nodes { id } } }", 2 + 20 * (2 + 1)),
        ("{ trees(first: 20) { pageInfo { endCursor } } }", 2 + 20 * (2 + 1)),
        ("{ trees(first: 20) { edges { cursor node { id } } } }", 2 + 20 * (2 + 1 + 2 + 1)),
        ("{ trees(first: 20) { nodes { id messages(first: 10) { nodes { text } } } } }", 702),
        ("{ leaderboard(first: 50, frame: DAY) { points } }", 2 + 50),
        ("{ viewer { tasks { id } } }", 2 + 2 + cost.LIST_SIZE),
        ("{ viewer { roles } }", 3),
        ("{ __typename }", 1),
        ('mutation { skipTask(input: {taskId: "1", reason: "no"}) { __typename } }', 13),
        ('mutation { stopReply(input: {replyId: "1"}) { userErrors { code } } }', 12 + 2 + 10),
        ('subscription { taskAvailable(langs: ["en"]) { kind count } }', 12 + 2 * cost.LIST_SIZE),
        ("{ trees(first: 0) { nodes { id } } }", 2 + 3),
        ("{ trees(first: -5) { nodes { id } } }", 2 + 3),
        ("{ trees(first: 99999) { nodes { id } } }", 2 + 300),
        ('{ messages(first: 1, search: "sky") { nodes { id } } }', 2 + cost.SEARCH + 3),
        ("{ models(first: 1) { nodes { id } } }", 2 + cost.SEARCH + 3),
        ("{ messages(first: 1, search: null, newestFirst: true) { nodes { id } } }", 2 + 3),
        ('{ trees(first: 1, lang: "en") { nodes { messages(first: 1) { nodes { id } } } } }', 2 + 2 + 2 + 2 + 1),
        ("{ viewer @skip(if: true) { streakDays } }", 3),
    ],
)
def test_what_operations_cost(document, expected):
    assert priced(document).cost == pytest.approx(expected)


@pytest.mark.parametrize(
    ("variables", "searches"),
    [({}, False), ({"state": None}, False), ({"state": "REFUSED"}, True), ({"id": "x"}, True)],
)
def test_a_search_by_variables_costs_what_it_looks_at(variables, searches):
    document = """query ($state: MessageState, $id: ID) {
      messages(first: 1, state: $state) { nodes { id } } trees(first: 1, collectionId: $id) { nodes { id } } }"""
    assert priced(document, variables).cost == 10 + cost.SEARCH * searches
    assert priced(document.replace("$state: MessageState", "$state: MessageState = PENDING")).cost == 10 + cost.SEARCH


@pytest.mark.parametrize(
    ("variables", "expected"), [({"n": 7}, 7), ({}, 5), ({"n": None}, 100), ({"n": "x"}, 100), ({"n": 10**9}, 100)]
)
def test_pages_asked_for_by_variables(variables, expected):
    document = "query ($n: Int! = 5) { leaderboard(first: $n, frame: DAY) { points } }"
    assert priced(document, variables).cost == 2 + expected


def test_a_page_by_a_variable_without_a_value_is_the_largest():
    assert priced("query ($n: Int!) { leaderboard(first: $n, frame: DAY) { points } }").cost == 102


def test_the_named_operation_is_the_one_that_counts():
    document = "query A { viewer { streakDays } } query B { leaderboard(first: 50, frame: DAY) { points } }"
    assert (priced(document, operation="A").cost, priced(document, operation="B").cost) == (3, 52)


def test_actions_are_counted_through_fragments_and_each_use_is_a_use():
    ask = "requestTask(input: {kind: RANDOM, langs: []}) { task { id } }"
    document = f"mutation {{ ...F ...F b: {ask} }} fragment F on Mutation {{ ... {{ a: {ask} }} }}"
    assert dict(priced(document).actions) == {"request_task": 3}


@pytest.mark.parametrize("name", ACTIONS)
def test_what_is_counted_by_itself_is_a_mutation_and_its_action_has_a_rate(name):
    from core.rates import DEFAULT_RATES

    assert name in SCHEMA._schema.mutation_type.fields
    assert ACTIONS[name][0] in DEFAULT_RATES
    assert DEFAULT_RATES["cost"].count >= MAX_COST == Services().max_cost


def selections(schema: GraphQLSchema):
    """Random valid selections on the connections of the schema, as (text, cost worked out by hand)."""

    def on(kind, depth):
        leaves = st.just(("__typename", 1))
        fields = [leaves]
        for name, field in kind.fields.items():
            inner = get_named_type(field.type)
            paged = "first" in field.args
            if depth and hasattr(inner, "fields") and (paged or not field.args) and inner.name.endswith("Connection"):
                fields.append(on_page(name, inner, depth - 1))
            elif not field.args and not hasattr(inner, "fields") and not hasattr(inner, "types"):
                fields.append(st.just((name, 1)))
        return st.lists(st.one_of(fields), min_size=1, max_size=3).map(joined)

    def on_page(name, kind, depth):
        node = get_named_type(kind.fields["nodes"].type)
        return st.builds(
            lambda first, inner: (f"{name}(first: {first}) {{ nodes {{ {inner[0]} }} }}", 2 + first * (2 + inner[1])),
            st.integers(1, 100),
            on(node, depth),
        )

    def joined(parts):
        return " ".join(text for text, _ in parts), sum(cost for _, cost in parts)

    tree = get_named_type(schema.query_type.fields["trees"].type)
    return on_page("trees", tree, 3)


@given(selections(SCHEMA._schema))
def test_a_price_is_the_sum_of_costs_times_the_pages_around(asked):
    document, expected = asked
    assert priced(f"{{ {document} }}").cost == pytest.approx(expected)


@given(st.integers(1, 60))
def test_a_chain_of_fragments_is_priced_once_for_each_link(n):
    links = "".join(f"fragment F{i} on User {{ ...F{i + 1} ...F{i + 1} }} " for i in range(n))
    found = priced(f"{{ viewer {{ user {{ ...F0 }} }} }} {links} fragment F{n} on User {{ id }}")
    assert found.cost == min(cost.MOST, 4 + 2**n)
    assert found.visited == 2 * n + 4


async def execute(document, variables=None, **services):
    context = Context(services=Services(**services), address="address:192.0.2.1", verdicts=[])
    return await SCHEMA.execute(document, variable_values=variables, context_value=context)


async def test_the_cost_is_told():
    result = await execute("{ viewer { streakDays } }")
    assert result.extensions["cost"] == {"requested": 3, "maximum": MAX_COST}


async def test_what_costs_too_much_is_refused_before_it_runs_and_the_cost_is_told():
    asked = "query ($n: Int!) { leaderboard(first: $n, frame: DAY) { points } }"
    ran = []

    async def leaderboard(frame, first):
        ran.append(first)
        return []

    result = await execute(asked, {"n": 99}, max_cost=100, leaderboard=leaderboard)
    (error,) = result.errors
    assert error.message.startswith("the operation costs 101, and one may cost 100;")
    assert error.extensions == {"code": "TOO_COSTLY"}
    assert result.extensions["cost"] == {"requested": 101, "maximum": 100}
    assert ran == []
    result = await execute(asked, {"n": 98}, max_cost=100, leaderboard=leaderboard)
    assert (result.errors, ran) == (None, [98])


class Buckets:
    """Buckets that note what is taken, and refuse one action."""

    def __init__(self, refused: str = "") -> None:
        self.taken: list[tuple[str, str, int]] = []
        self.refused = refused

    async def take(self, caller, action, amount=1):
        if action == self.refused:
            raise TooMany(f"{action}: too many", retry_after=2.5)
        self.taken.append((caller, action, amount))
        return Verdict(action, Rate(100, 60), 100 - amount, 0.5)


SIGN_IN = 'mutation { developmentSignIn(input: {name: "ada"}) { token } }'


async def test_anonymous_callers_are_charged_by_address_and_others_by_who_they_are():
    buckets = Buckets()
    services = Services(rates=buckets)
    ada = User(id="u1", auth_method="development", subject="ada", display_name="Ada", roles=("contributor",))
    for viewer in (None, ada):
        context = Context(services=services, viewer=viewer, address="address:192.0.2.1", verdicts=[])
        await SCHEMA.execute("{ viewer { streakDays } }", context_value=context)
        await SCHEMA.execute(SIGN_IN, context_value=context)
        assert [verdict.action for verdict in context.verdicts] == ["cost", "sign_in", "cost"]
    address = "address:192.0.2.1"
    assert buckets.taken == [
        (address, "cost", 3), (address, "sign_in", 1), (address, "cost", 13),
        ("user:u1", "cost", 3), (address, "sign_in", 1), ("user:u1", "cost", 13),
    ]  # fmt: skip


async def test_an_empty_bucket_stops_the_operation_and_says_when_to_come_again():
    signed_in = []
    result = await execute(SIGN_IN, rates=Buckets("sign_in"), sign_in=signed_in.append)
    (error,) = result.errors
    assert error.extensions == {"code": "TOO_MANY", "retryAfter": 2.5}
    assert (result.data, signed_in) == (None, [])


@pytest.mark.parametrize("document", ["{", "{ nothing }", "{ viewer }", "{ messages(first: 100) { nodes { id } } }"])
async def test_what_is_refused_is_charged_at_a_fixed_price(document):
    buckets = Buckets()
    assert (await execute(document, rates=buckets, max_cost=50)).errors
    assert [(action, amount) for _, action, amount in buckets.taken] == [("cost", REFUSED)]


async def test_a_subscription_is_charged_once_and_its_events_do_not_repeat_the_cost():
    buckets = Buckets()
    context = Context(services=Services(rates=buckets), address="a")
    stream = await SCHEMA.stream('subscription { taskAvailable(langs: ["en"]) { kind } }', context_value=context)
    results = [result async for result in stream]
    assert [result.errors[0].extensions["code"] for result in results] == ["UNAUTHENTICATED"]
    assert "cost" not in (results[0].extensions or {})
    assert buckets.taken == [("a", "cost", 22)]


def test_units_are_whole_and_at_least_one():
    assert [units(SimpleNamespace(cost=each)) for each in (0, 0.1, 1, 1.5)] == [1, 1, 1, 2]
