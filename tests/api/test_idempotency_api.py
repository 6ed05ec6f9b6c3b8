"""Idempotency keys over the running API, sent in every way, by clients that race and by those that hang up."""

from __future__ import annotations

import asyncio
import json
import uuid
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from graphql import GraphQLInputObjectType
from running_api import Caller

from graphql_schema.schema import build_schema

TAKE = (
    "mutation ($input: RequestTaskInput!) { requestTask(input: $input) { task { id draft } userErrors { code path } } }"
)
LANG = "en"


def ask(caller: Caller, key: str, where: str = "input", kind: str = "INITIAL_PROMPT", document: str = TAKE):
    given = {"kind": kind, "langs": [LANG]} | ({"idempotencyKey": key} if where == "input" else {})
    body = {"query": document, "variables": {"input": given}}
    body |= {"extensions": {"idempotencyKey": key}} if where == "extensions" else {}
    headers = caller.headers | ({"idempotency-key": f'"{key}"'} if where == "header" else {})
    return caller.http.post(f"{caller.base}/graphql", json=body, headers=headers).json()


def test_every_mutation_takes_a_key():
    schema = build_schema()._schema
    for name, field in schema.mutation_type.fields.items():
        kind = field.args["input"].type.of_type
        assert isinstance(kind, GraphQLInputObjectType)
        assert str(kind.fields["idempotencyKey"].type) == "String", f"{name}: inherit graphql_schema.keyed.Keyed"


@pytest.mark.parametrize("where", ["input", "extensions", "header"])
def test_the_same_key_answers_the_same_and_another_does_not(somebody, where):
    ada, bob, key = somebody(), somebody(), uuid.uuid4().hex
    first = ask(ada, key, where)
    again = ask(ada, key, where)
    assert again["data"] == first["data"]
    assert again["extensions"]["idempotency"] == {"replayed": True}
    assert "idempotency" not in first["extensions"]
    assert ask(ada, uuid.uuid4().hex, where)["data"] != first["data"]
    assert ask(bob, key, where)["data"] != first["data"]
    for other in ({"kind": "RANDOM"}, {"document": TAKE.replace(" draft", "")}):
        (error,) = ask(ada, key, where, **other)["errors"]
        assert error["extensions"]["code"] == "IDEMPOTENCY_CONFLICT"
    assert ask(ada, key, where, document=TAKE.replace("{ id", "{\n  id"))["data"] == first["data"]


def test_copies_that_race_are_done_once(somebody):
    ada, key = somebody(), uuid.uuid4().hex
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(ada, key), range(8)))
    assert len({json.dumps(answer["data"]) for answer in answers}) == 1
    assert answers[0]["data"]["requestTask"]["task"] is not None
    assert len(ada.ask("{ viewer { tasks { id } } }")["viewer"]["tasks"]) == 1


def test_what_was_refused_may_be_tried_again(somebody):
    ada, key = somebody(), uuid.uuid4().hex
    given = f'{{messageId: "x", reason: "r", idempotencyKey: "{key}"}}'
    literal = f"mutation {{ report(input: {given}) {{ userErrors {{ code }} }} }}"
    for _ in range(2):
        answer = ada.post(literal).json()
        assert answer["data"]["report"]["userErrors"] == [{"code": "BAD_INPUT"}]
        assert "idempotency" not in answer["extensions"]


@pytest.mark.parametrize("key", ["", "x" * 201, "a\nb"])
def test_keys_of_another_form_are_refused(somebody, key):
    (error,) = ask(somebody(), key)["errors"]
    assert error["extensions"] == {"code": "BAD_INPUT", "path": ["idempotencyKey"]}


def test_a_key_is_for_one_mutation(somebody):
    one = 'requestTask(input: {kind: RANDOM, langs: ["en"], idempotencyKey: "k"}) { task { id } }'
    error = somebody().refused(f"mutation {{ a: {one} ...F }} fragment F on Mutation {{ b: {one} }}")
    assert error["extensions"]["code"] == "BAD_INPUT"


def test_an_answer_with_a_secret_is_not_kept(somebody):
    admin = somebody("ADMIN")
    header = {"idempotency_key": uuid.uuid4().hex}
    document = 'mutation { developmentSignIn(input: {name: "once"}) { token } }'
    assert admin.post(document, **header).json()["data"]["developmentSignIn"]["token"]
    (error,) = admin.post(document, **header).json()["errors"]
    assert error["extensions"]["code"] == "IDEMPOTENCY_CONFLICT"


async def test_a_caller_who_hangs_up_finds_it_done(somebody):
    ada, key = somebody(), uuid.uuid4().hex
    given = {"kind": "INITIAL_PROMPT", "langs": [LANG], "idempotencyKey": key}
    async with httpx.AsyncClient() as http:
        body = {"query": TAKE, "variables": {"input": given}}
        hurried = asyncio.ensure_future(http.post(f"{ada.base}/graphql", json=body, headers=ada.headers))
        await asyncio.sleep(0)
        hurried.cancel()
        await asyncio.gather(hurried, return_exceptions=True)
    answers = [await asyncio.to_thread(ask, ada, key) for _ in range(2)]
    assert answers[0]["data"] == answers[1]["data"]
    assert len(ada.ask("{ viewer { tasks { id } } }")["viewer"]["tasks"]) == 1


def test_an_app_does_not_get_what_another_was_answered(auth):
    name = f"ada-{uuid.uuid4().hex[:8]}"
    person, app = auth.caller().sign_in(name), auth.app(name, "read profile")
    given = f'{{displayName: "Zed", idempotencyKey: "{uuid.uuid4().hex}"}}'
    document = f"mutation {{ setDisplayName(input: {given}) {{ user {{ displayName }} }} }}"
    assert person.ask(document)["setDisplayName"]["user"]
    assert person.post(document).json()["extensions"]["idempotency"] == {"replayed": True}
    assert app.refused(document)["extensions"]["code"] == "FORBIDDEN"
    other = auth.app(name, "profile account").post(document).json()
    assert "idempotency" not in other["extensions"]


def test_who_may_not_any_more_gets_no_kept_answer(somebody):
    admin, moderator, ada = somebody("ADMIN"), somebody("MODERATOR"), somebody()
    given = f'{{userId: "{ada.user_id}", notes: "seen", idempotencyKey: "{uuid.uuid4().hex}"}}'
    document = f"mutation {{ setNotes(input: {given}) {{ person {{ notes }} userErrors {{ message }} }} }}"
    assert moderator.ask(document)["setNotes"]["person"]["notes"] == "seen"
    assert moderator.post(document).json()["extensions"]["idempotency"] == {"replayed": True}
    admin.do("setRoles", userId=moderator.user_id, roles=["CONTRIBUTOR"])
    assert moderator.refused(document)["extensions"]["code"] == "FORBIDDEN"
