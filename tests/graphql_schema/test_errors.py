"""Errors on their way out, and the caches that keep a repeated document cheap."""

from __future__ import annotations

import logging

import pytest
from graphql import GraphQLError
from hypothesis import given
from hypothesis import strategies as st

from core.errors import CODES, BadInput, OaError, TooMany, Unavailable
from graphql_schema import charging, documents
from graphql_schema.context import Context, Services
from graphql_schema.errors import presentable, user_error
from graphql_schema.schema import build_schema

SCHEMA = build_schema()


def context(**services):
    return Context(services=Services(**services), request_id="request-0001")


def shown(original, **services):
    error = GraphQLError("whatever Strawberry made of it", path=["field"], original_error=original)
    (after,) = presentable([error], context(**services), "Operation")
    assert after.original_error is None
    assert after.path == ["field"]
    return after


@given(st.sampled_from(sorted(CODES)), st.text(max_size=50))
def test_our_errors_pass_with_their_code(code, message):
    after = shown(OaError(message, code=code))
    assert after.message == message
    assert after.extensions == {"code": code}


def test_the_path_is_spelled_as_clients_spell_it_and_a_wait_is_said():
    after = shown(BadInput("wrong", path=("input", "task_id")))
    assert after.extensions == {"code": "BAD_INPUT", "path": ["input", "taskId"]}
    assert shown(TooMany("wait", retry_after=2.5)).extensions == {"code": "TOO_MANY", "retryAfter": 2.5}
    assert user_error(TooMany("wait", path=("task_id",), retry_after=1)).path == ["taskId"]


@given(
    st.sampled_from([ValueError, KeyError, RuntimeError, OSError, AssertionError]), st.text(min_size=12, max_size=50)
)
def test_everything_else_is_masked(kind, secret):
    after = shown(kind(secret))
    assert secret not in after.message
    assert after.extensions == {"code": "INTERNAL", "correlationId": "request-0001"}


def test_a_drivers_error_with_a_meaning_is_translated():
    def translate(error):
        return Unavailable("the store does not answer") if isinstance(error, ConnectionError) else None

    assert shown(ConnectionError("10.0.0.1"), translate=translate).extensions == {"code": "UNAVAILABLE"}
    assert shown(ValueError("10.0.0.1"), translate=translate).extensions["code"] == "INTERNAL"


def test_many_defects_are_one_line(caplog):
    errors = [GraphQLError(str(n), path=[n], original_error=ValueError(f"secret {n}")) for n in range(50)]
    assert len(presentable(errors, context(), None)) == 50
    (record,) = caplog.records
    assert (record.levelno, record.fields["defects"]) == (logging.ERROR, 50)
    assert len(record.fields["trace"]) <= 20


async def test_a_document_that_comes_again_is_neither_parsed_nor_validated_nor_priced_again(monkeypatch):
    done = []
    for module, name in ((documents, "parse"), (documents, "validate"), (charging, "price")):
        call = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, _n=name, _c=call, **o: done.append(_n) or _c(*a, **o))
    document = "query Once { viewer { streakDays } }"
    for introspection in (True, True, False, False):
        asked = context()
        asked.introspection = introspection
        await SCHEMA.execute(document, context_value=asked)
    # Once for each of the two sets of rules; made anew for each request they would never be found again.
    assert sorted(done) == ["parse", "price", "validate", "validate"]


async def test_a_context_of_another_kind_is_a_mistake_of_ours():
    with pytest.raises(TypeError, match="must be a graphql_schema"):
        await SCHEMA.execute("{ viewer { streakDays } }", context_value={})
