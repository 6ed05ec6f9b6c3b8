"""Bad input at each door of the running API: it is named, coded, and nothing else happens."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest
from running_api import Caller, serving

from api.keys import load_keys
from api.tokens import Tokens
from graphql_schema.relay import global_id, raw_id

VIEWER = "{ viewer { user { id } roles } }"


@pytest.fixture
def tokens(settings, base):
    """Signs with the running API's key."""
    return Tokens(load_keys(settings.token_key_file), settings.token_issuer, 900)


def signed_in(caller: Caller, token: str) -> Caller:
    return replace(caller, token=token)


def test_no_token_is_anonymous(anyone):
    assert anyone.ask(VIEWER) == {"viewer": None}


def test_a_bad_token_is_401_and_never_anonymous(anyone, somebody):
    good = somebody().token
    for header in ("Bearer nonsense", f"Bearer {good[:-6]}AAAAAA", f"Basic {good}", "Bearer", f"Bearer {good} x"):
        response = anyone.post(VIEWER, authorization=header)
        assert response.status_code == 401, header
        assert response.headers["www-authenticate"].startswith("Bearer")
        assert response.json()["errors"][0]["extensions"] == {"code": "UNAUTHENTICATED"}
        assert good not in response.text


def test_expired_tokens_and_those_of_another_issuer_are_401(anyone, somebody, settings, base):
    key, user = load_keys(settings.token_key_file), somebody()
    for wrong in (Tokens(key, settings.token_issuer, -60), Tokens(key, "another-issuer", 900)):
        response = signed_in(anyone, wrong.mint(raw_id(user.user_id, "User"), ["contributor"]).token).post(VIEWER)
        assert response.status_code == 401


def test_a_token_of_a_user_who_is_not_there_is_401(anyone, tokens):
    response = signed_in(anyone, tokens.mint("nobody-of-that-id", ["admin"]).token).post(VIEWER)
    assert response.status_code == 401
    assert "unknown or disabled" in response.json()["errors"][0]["message"]


def test_a_token_cannot_carry_more_than_the_user_has(somebody, tokens):
    ada = somebody("CONTRIBUTOR")
    forged = signed_in(ada, tokens.mint(raw_id(ada.user_id, "User"), ["admin", "contributor"]).token)
    assert forged.ask(VIEWER)["viewer"]["roles"] == ["CONTRIBUTOR"]


def test_a_token_may_carry_less(somebody, tokens):
    mod = somebody("MODERATOR", "CONTRIBUTOR")
    narrow = signed_in(mod, tokens.mint(raw_id(mod.user_id, "User"), ["contributor"]).token)
    assert narrow.ask(VIEWER)["viewer"]["roles"] == ["CONTRIBUTOR"]
    refused = narrow.refused('mutation { deleteMessage(input: {messageId: "x"}) { userErrors { code } } }')
    assert refused["extensions"]["code"] == "FORBIDDEN"


@pytest.mark.parametrize(
    "document",
    [
        "{ trees(first: 1) { nodes { id } } }",
        "{ messages(first: 1) { nodes { id } } }",
        'mutation { requestTask(input: {langs: ["en"]}) { task { id } } }',
        'mutation { react(input: {messageId: "x", emoji: "+1"}) { message { id } } }',
        'mutation { deleteMessage(input: {messageId: "x"}) { message { id } } }',
    ],
)
def test_what_needs_a_person_refuses_nobody(anyone, document):
    error = anyone.refused(document)
    assert error["extensions"]["code"] == "UNAUTHENTICATED"
    assert "sign in first" in error["message"]


def test_a_service_collects_nothing(somebody):
    error = somebody("SERVICE").refused('mutation { requestTask(input: {langs: ["en"]}) { task { id } } }')
    assert error["extensions"]["code"] == "FORBIDDEN"
    assert error["message"] == "requestTask is for contributors only; a service acts for one by X-Act-As"


def test_an_unknown_task_kind_does_not_fit_the_schema(somebody):
    error = somebody().refused('mutation { requestTask(input: {kind: DANCE, langs: ["en"]}) { task { id } } }')
    assert error["extensions"]["code"] == "BAD_QUERY"
    assert "DANCE" in error["message"]


def test_a_list_without_first_does_not_fit_the_schema(somebody):
    error = somebody().refused("{ trees { nodes { id } } }")
    assert "'Query.trees(first:)' of type 'Int!' is required" in error["message"]


@pytest.mark.parametrize(("first", "after"), [(0, None), (101, None), (-1, None), (5, "nonsense")])
def test_bad_pages_are_named(somebody, first, after):
    document = "query ($first: Int!, $after: String) { trees(first: $first, after: $after) { nodes { id } } }"
    error = somebody().refused(document, first=first, after=after)
    assert error["extensions"]["code"] == "BAD_INPUT"
    assert error["extensions"]["path"] == ["after" if after else "first"]


@pytest.mark.parametrize("langs", [[], ["english please"], ["x" * 60], [""], [f"l{n:02}" for n in range(60)]])
def test_bad_languages_are_named(somebody, langs):
    payload = somebody().attempt("requestTask", "task { id }", langs=langs)
    assert payload["task"] is None
    assert [error["path"][0] for error in payload["userErrors"]] == ["langs"]


def test_nothing_to_do_is_an_error_one_can_act_on(somebody):
    payload = somebody().attempt("requestTask", "task { id }", langs=["ga"], kind="RANK_ASSISTANT_REPLIES")
    assert [error["code"] for error in payload["userErrors"]] == ["NOTHING_TO_DO"]


def taken(person: Caller, lang: str, kind: str = "INITIAL_PROMPT") -> str:
    return person.do("requestTask", "task { id }", langs=[lang], kind=kind)["task"]["id"]


def code_of(payload) -> str:
    (error,) = payload["userErrors"]
    return error["code"]


def test_a_foreign_task_is_gone_for_everyone_else(somebody):
    ada, bob = somebody(), somebody("MODERATOR")
    task = taken(ada, "da")
    assert code_of(bob.attempt("submitPrompt", "message { id }", taskId=task, text="Hvad er klokken?")) == "TASK_GONE"
    assert code_of(bob.attempt("skipTask", "task { id }", taskId=task)) == "TASK_GONE"
    assert code_of(bob.attempt("saveDraft", "task { id }", taskId=task, text="x")) == "TASK_GONE"
    assert bob.ask("query ($id: ID!) { node(id: $id) { id } }", id=task) == {"node": None}
    assert ada.ask("query ($id: ID!) { node(id: $id) { id } }", id=task) == {"node": {"id": task}}
    ada.do("submitPrompt", "message { id }", taskId=task, text="Hvad er klokken?")


def test_unknown_and_malformed_tasks(somebody):
    ada = somebody()
    unknown = global_id("Task", "0190aaaa-0000-7000-8000-000000000000")
    assert code_of(ada.attempt("submitReply", "", taskId=unknown, text="x")) == "TASK_GONE"
    for wrong in ("x", "", global_id("Message", "1")):
        payload = ada.attempt("submitReply", "", taskId=wrong, text="x")
        assert code_of(payload) == "BAD_INPUT"
        assert payload["userErrors"][0]["path"] == ["taskId"]


def test_a_task_of_another_kind_takes_no_such_answer(somebody):
    ada = somebody()
    task = taken(ada, "cs")
    assert code_of(ada.attempt("submitReply", "message { id }", taskId=task, text="A reply")) == "BAD_INPUT"
    assert code_of(ada.attempt("submitRanking", "", taskId=task, ranking=[])) == "BAD_INPUT"
    review = ada.attempt("submitReview", "", taskId=task, labels=[{"name": "SPAM", "value": 0}])
    assert code_of(review) == "BAD_INPUT"


@pytest.mark.parametrize(
    ("text", "code"),
    [("", "TEXT_EMPTY"), (" \n\t", "TEXT_EMPTY"), ("\u200b", "TEXT_EMPTY"), ("x" * 2001, "TEXT_TOO_LONG")],
)
def test_texts_that_cannot_be_taken(somebody, text, code):
    ada = somebody()
    task = taken(ada, "hu")
    assert code_of(ada.attempt("submitPrompt", "message { id }", taskId=task, text=text)) == code
    ada.do("skipTask", "", taskId=task)


def test_the_same_text_twice_and_a_skipped_task(somebody):
    ada = somebody()
    ada.do("submitPrompt", "", taskId=taken(ada, "ro"), text="Cât e ceasul?")
    task = taken(ada, "ro")
    assert code_of(ada.attempt("submitPrompt", "", taskId=task, text="Cât e ceasul?")) == "DUPLICATE_TEXT"
    ada.do("skipTask", "", taskId=task)
    assert code_of(ada.attempt("submitPrompt", "", taskId=task, text="Altceva?")) == "TASK_GONE"


@pytest.mark.parametrize("text", ["a\0b", "a\x1b[2Jb", "a\x9bb", "\x07"])
def test_control_characters_are_named(somebody, text):
    ada = somebody()
    task = taken(ada, "hu")
    (error,) = ada.attempt("submitPrompt", "message { id }", taskId=task, text=text)["userErrors"]
    assert (error["code"], error["path"]) == ("BAD_INPUT", ["text"])
    assert "control character" in error["message"]
    ada.do("submitPrompt", "message { id }", taskId=task, text="Tabs\tand\r\nlines")


def test_errors_speak_of_fields_and_ids_as_the_caller_does(somebody):
    ada, bob = somebody(), somebody()
    task = taken(ada, "hu")
    for payload in (
        bob.attempt("submitPrompt", taskId=task, text="Mennyi?"),
        bob.attempt("saveDraft", taskId=task, text="Mennyi?"),
        ada.attempt("submitReply", taskId=task, text="Mennyi?"),
    ):
        (error,) = payload["userErrors"]
        assert task in error["message"]
        assert error["path"] == ["taskId"]
    (error,) = ada.attempt("submitReply", taskId="x", text="Mennyi?")["userErrors"]
    assert error["message"].startswith("taskId is 'x'")
    ada.do("skipTask", taskId=task)
    for name in ("trees", "messages"):
        error = ada.refused(f'{{ {name}(first: 1, lang: "not a tag") {{ nodes {{ id }} }} }}')
        assert error["extensions"] == {"code": "BAD_INPUT", "path": ["lang"]}


def test_labels_that_cannot_be_taken(somebody):
    ada, bob = somebody(), somebody()
    ada.do("submitPrompt", "", taskId=taken(ada, "uk"), text="Котра година?")
    task = taken(bob, "uk", "LABEL_INITIAL_PROMPT")
    spam = {"name": "SPAM", "value": 0}
    for labels in ([], [{"name": "QUALITY", "value": 1}], [{"name": "SPAM", "value": 2}], [spam, spam],
                   [spam, {"name": "HELPFULNESS", "value": 1}]):  # fmt: skip
        payload = bob.attempt("submitReview", "", taskId=task, labels=labels)
        assert code_of(payload) == "BAD_LABELS", labels
        assert payload["userErrors"][0]["path"][0] == "labels"
    bob.do("submitReview", "task { state }", taskId=task, labels=[spam])


def test_reactions_and_reports_that_cannot_be_taken(somebody):
    ada = somebody()
    unknown = global_id("Message", "0190aaaa-0000-7000-8000-000000000000")
    assert code_of(ada.attempt("react", "", messageId=unknown, emoji="+1")) == "NOT_FOUND"
    assert code_of(ada.attempt("report", "", messageId=unknown, reason="x")) == "NOT_FOUND"
    ada.do("submitPrompt", "", taskId=taken(ada, "el"), text="Τι ώρα είναι;")
    message = ada.ask('{ messages(first: 1, lang: "el") { nodes { id } } }')["messages"]["nodes"][0]["id"]
    for emoji in ("shrug", "_skip_reply", ""):
        assert code_of(ada.attempt("react", "", messageId=message, emoji=emoji)) == "BAD_INPUT", emoji


def test_nodes_that_are_none(somebody):
    ada = somebody()
    for wrong in ("x", global_id("Nothing", "1")):
        error = ada.refused("query ($id: ID!) { node(id: $id) { id } }", id=wrong)
        assert error["extensions"]["code"] == "BAD_INPUT"
    for kind in ("Message", "Tree", "Task", "User"):
        assert ada.ask("query ($id: ID!) { node(id: $id) { id } }", id=global_id(kind, "none")) == {"node": None}


@pytest.mark.parametrize("kind", ["Message", "Tree", "Task", "User"])
def test_nodes_are_not_for_everyone(anyone, kind):
    error = anyone.refused("query ($id: ID!) { node(id: $id) { id } }", id=global_id(kind, "x"))
    assert error["extensions"]["code"] == "UNAUTHENTICATED"


@pytest.mark.parametrize("name", ["", "  ", "x" * 65, "a\u0000b"])
def test_names_that_cannot_sign_in(anyone, name):
    payload = anyone.attempt("developmentSignIn", "token", name=name)
    assert code_of(payload) == "BAD_INPUT"
    assert payload["token"] is None


@pytest.fixture(scope="module")
def production(settings):
    """An API in production, with a key and the same stores, whose tokens live a minute."""
    mine = replace(
        settings,
        mode="production",
        introspection="signed-in",
        sweep_seconds=0,
        rate_limits="",
        trusted_hosts=("api.test",),
    )
    load_keys(mine.token_key_file, make=True)
    with serving(mine) as url:
        yield Caller(url)


def test_production_has_no_development_sign_in_no_ide_and_no_open_schema(production, somebody):
    refused = production.refused('mutation { developmentSignIn(input: {name: "x"}) { token } }')
    assert refused["extensions"]["code"] == "FORBIDDEN"
    page = production.http.get(f"{production.base}/graphql", headers={"accept": "text/html"})
    assert page.status_code == 404
    schema = production.post("{ __schema { queryType { name } } }").json()
    assert schema["data"] is None
    assert "introspection has been disabled" in schema["errors"][0]["message"]
    assert "Did you mean" not in production.post("{ viewers { id } }").text
    ada = somebody()
    known = replace(production, token=ada.token)
    assert known.ask("{ __schema { queryType { name } } }")["__schema"]["queryType"] == {"name": "Query"}


def test_a_stream_ends_when_its_token_runs_out(base, somebody, settings, anyone):
    ada = somebody()
    short = Tokens(load_keys(settings.token_key_file), settings.token_issuer, 2)
    token = short.mint(raw_id(ada.user_id, "User"), ["contributor"])
    headers = {"authorization": f"Bearer {token.token}", "accept": "text/event-stream"}
    body = {"query": 'subscription { taskAvailable(langs: ["bg"]) { kind } }'}
    with anyone.http.stream("POST", f"{base}/graphql", json=body, headers=headers) as response:
        data = [json.loads(line[6:]) for line in response.iter_lines() if line.startswith("data: {")]
    assert time.time() >= token.expires_at
    assert data[-1]["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
