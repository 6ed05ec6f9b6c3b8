"""What tokens with scopes open, and what nobody gets but the person: each field, asked for with each scope."""

from __future__ import annotations

import secrets
from collections import defaultdict

import pytest
from running_api import eventually
from test_authorisation import operation, value_of

from core.scopes import SCOPES, SERVICE_ONLY
from graphql_schema import access, nodes, scoping
from graphql_schema.relay import global_id
from graphql_schema.schema import build_schema

SCHEMA = build_schema()._schema
VIEWER_FIELDS = {
    "user": "user { id }", "streakDays": "streakDays", "roles": "roles", "standing": "standing(frame: TOTAL) { rank }",
    "trust": "trust { trusted }", "reliability": "reliability { tau }", "agreement": "agreement { month }",
    "terms": "terms { version }", "tasks": "tasks { id draft }",
    "availableTasks": 'availableTasks(langs: ["en"]) { count }',
    "contributions": "contributions(first: 1) { nodes { appeal { text } } }",
    "rankingFeedback": "rankingFeedback(first: 1) { nodes { tau } }", "sessions": "sessions { id }",
    "apps": "apps { id }", "identities": "identities { id }", "dataExport": "dataExport { url }",
    "allowsTraining": "allowsTraining",
}  # fmt: skip
ASKED = sorted(set(SCOPES) - SERVICE_ONLY - {"offline_access"})
NODE = "query ($id: ID!) { node(id: $id) { id ... on Task { draft } } }"


def somebody() -> str:
    return f"person-{secrets.token_hex(4)}"


def code_of(answer: dict) -> str:
    """`OK`, or the code of the only error."""
    codes = [error["extensions"]["code"] for error in answer.get("errors", [])] or ["OK"]
    (code,) = codes
    return code


def test_each_field_of_viewer_and_each_kind_of_node_has_a_scope():
    assert set(scoping.VIEWER) == set(SCHEMA.type_map["Viewer"].fields) == set(VIEWER_FIELDS)
    assert set(scoping.NODES) == set(nodes._readers) == set(access.NODES)
    assert {*scoping.VIEWER.values(), *scoping.NODES.values()} <= set(SCOPES)


@pytest.mark.parametrize("scope", ASKED)
def test_a_field_of_viewer_is_open_with_its_scope_and_no_other(auth, scope):
    app = auth.app(somebody(), f"profile {scope}" if scope != "profile" else scope)
    found = {name: code_of(app.post(f"{{ viewer {{ {field} }} }}").json()) for name, field in VIEWER_FIELDS.items()}
    wanted = {name: "OK" if scoping.VIEWER[name] in ("profile", scope) else "FORBIDDEN" for name in VIEWER_FIELDS}
    assert found == wanted


@pytest.mark.parametrize("scope", ASKED)
def test_a_kind_of_node_is_open_with_its_scope_and_no_other(auth, scope):
    app = auth.app(somebody(), f"read {scope}" if scope != "read" else scope)
    found = {kind: code_of(app.post(NODE, {"id": global_id(kind, "nothing")}).json()) for kind in scoping.NODES}
    refused = {kind for kind, code in found.items() if code == "FORBIDDEN"}
    assert refused == {kind for kind, needed in scoping.NODES.items() if needed not in ("read", scope)}


def test_an_export_of_all_data_is_not_for_an_app_that_may_see_the_profile(auth):
    name = somebody()
    person = auth.caller().sign_in(name)
    person.do("requestDataExport")
    asked = "{ viewer { dataExport { url } } }"
    eventually(lambda: person.ask(asked)["viewer"]["dataExport"]["url"])
    assert code_of(auth.app(name, "read profile tasks chat").post(asked).json()) == "FORBIDDEN"
    assert auth.app(name, "profile account").ask(asked)["viewer"]["dataExport"]["url"]


def test_drafts_are_not_for_an_app_that_may_read(auth):
    name = somebody()
    person = auth.caller().sign_in(name)
    task = person.do("requestTask", "task { id }", langs=["en"], kind="INITIAL_PROMPT")["task"]["id"]
    person.do("saveDraft", taskId=task, text="not for others yet")
    refused = auth.app(name, "read profile").post(NODE, {"id": task})
    assert (code_of(refused.json()), "not for others" in refused.text) == ("FORBIDDEN", False)
    assert auth.app(name, "read tasks").ask(NODE, id=task)["node"]["draft"] == "not for others yet"


@pytest.mark.parametrize("field", scoping.FIELDS["account"])
def test_what_concerns_the_account_is_for_the_person_and_no_service_in_the_name(auth, acted_for, field):
    person, bot = acted_for
    document, kinds = operation("mutation", field)
    ids = defaultdict(lambda: global_id("Session", "x"))
    variables = {each: value_of(kind, ids, each) for each, kind in kinds.items()}
    if field == "deleteAccount":
        shown = person.ask("{ viewer { user { displayName } } }")["viewer"]["user"]["displayName"]
        variables["input"]["confirmName"] = shown
    answer = bot.post(document, variables, x_act_as=person.user_id).json()
    assert (code_of(answer), answer["data"]) == ("FORBIDDEN", None)
    assert "for the person alone" in answer["errors"][0]["message"]
    assert person.ask("{ viewer { user { id } dataExport { url } } }")["viewer"]["dataExport"] is None


def test_a_service_sees_nothing_of_the_account(auth, acted_for):
    person, bot = acted_for
    for name, scope in scoping.VIEWER.items():
        answer = bot.post(f"{{ viewer {{ {VIEWER_FIELDS[name]} }} }}", x_act_as=person.user_id).json()
        assert code_of(answer) == ("FORBIDDEN" if scope == "account" else "OK"), name


@pytest.fixture(scope="module")
def acted_for(auth):
    """A person, and a service that has every scope there is."""
    return auth.caller().sign_in(somebody()), auth.service(" ".join(set(SCOPES) - {"offline_access"}))


def test_an_app_that_may_read_gives_a_moderator_no_more_than_others(auth):
    name = somebody()
    moderator = auth.caller().sign_in(name, "MODERATOR")
    author = auth.caller().sign_in(somebody())
    task = author.do("requestTask", "task { id }", langs=["en"], kind="INITIAL_PROMPT")["task"]["id"]
    text = f"Why do birds sing so early, {secrets.token_hex(4)}?"
    message = author.do("submitPrompt", "message { id }", taskId=task, text=text)["message"]["id"]
    fields = "text author { id } labels { name } revisions { text }"
    asked = f"query ($id: ID!) {{ node(id: $id) {{ ... on Message {{ {fields} }} }} }}"
    stranger, app = auth.caller().sign_in(somebody()), auth.app(name, "read profile")
    assert moderator.ask(asked, id=message)["node"]["author"]["id"] == author.user_id
    assert app.ask(asked, id=message) == stranger.ask(asked, id=message)
    moderator.do("deleteMessage", messageId=message, reason="a try")
    listed = "{ messages(first: 100) { nodes { id text } } }"
    for limited in (app, stranger):
        assert limited.ask(asked, id=message)["node"]["text"] == ""
        assert message not in {each["id"] for each in limited.ask(listed)["messages"]["nodes"]}
    for whole in (moderator, auth.app(name, "read moderate")):
        assert whole.ask(asked, id=message)["node"]["text"] == text
        assert message in {each["id"] for each in whole.ask(listed)["messages"]["nodes"]}
