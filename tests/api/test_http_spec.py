"""GraphQL over HTTP (the working draft of the GraphQL Foundation): what a server MUST do, one test for each demand."""

from __future__ import annotations

import json

import pytest

SPEC = "application/graphql-response+json"
ASK = "{ viewer { streakDays } }"
BOTH = [SPEC, "application/json", f"{SPEC}; charset=utf-8, application/json; charset=utf-8", "*/*", None]


def send(anyone, body, accept=SPEC, kind="application/json", method="POST"):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"content-type": kind} | ({"accept": accept} if accept else {})
    return anyone.http.request(method, f"{anyone.base}/graphql", content=content, headers=headers)


@pytest.mark.parametrize("accept", BOTH)
@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8"])
def test_well_formed_requests_are_answered_in_a_type_that_is_taken(anyone, accept, kind):
    response = send(anyone, {"query": ASK}, accept, kind)
    assert response.status_code == 200
    assert response.json()["data"] == {"viewer": None}
    given = response.headers["content-type"].partition(";")[0]
    assert given == (SPEC if accept and SPEC in accept else "application/json")


@pytest.mark.parametrize(
    "body",
    [
        {"query": ASK, "variables": {}, "operationName": None, "extensions": {}},
        {"query": ASK, "variables": None, "extensions": None},
        {"query": f"query A {ASK} query B {{ __typename }}", "operationName": "A"},
        {"query": "query ($f: Int!) { leaderboard(frame: DAY, first: $f) { rank } }", "variables": {"f": 1}},
        {"query": ASK, "onlyOurs": 1},
    ],
)
def test_every_parameter_and_its_absence_is_taken(anyone, body):
    assert send(anyone, body).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"query": NaN}',
        {}, {"query": None}, {"query": 7}, {"query": ["{ a }"]}, {"qeury": ASK}, {"query": ""},
        {"query": ASK, "variables": []}, {"query": ASK, "variables": "x"}, {"query": ASK, "variables": 7},
        {"query": ASK, "extensions": []}, {"query": ASK, "extensions": "x"},
        {"query": ASK, "operationName": 7}, {"query": ASK, "operationName": {}},
    ],
)  # fmt: skip
@pytest.mark.parametrize("accept", [SPEC, "application/json"])
def test_a_request_of_another_form_is_400_and_says_why(anyone, body, accept):
    response = send(anyone, body, accept)
    assert response.status_code == (400 if accept == SPEC else response.status_code)
    assert response.status_code in (200, 400)
    answer = response.json()
    assert answer.get("data") is None
    (error,) = answer["errors"]
    assert error["extensions"]["code"] in ("BAD_QUERY", "BAD_INPUT")
    assert error["message"]


@pytest.mark.parametrize(
    "document",
    [
        "{",
        "{ nothing }",
        "query A { __typename } query B { __typename }",
        "fragment F on Query { viewer { streakDays } }",
    ],
)
def test_what_does_not_parse_or_fit_is_400_without_data_under_the_drafts_type(anyone, document):
    response = send(anyone, {"query": document})
    assert (response.status_code, response.headers["content-type"]) == (400, SPEC)
    assert "data" not in response.json()
    assert send(anyone, {"query": document}, "application/json").status_code in (200, 400)


def test_an_operation_that_is_not_in_the_document_and_a_variable_that_does_not_fit_are_400(anyone):
    assert send(anyone, {"query": f"query A {ASK}", "operationName": "B"}).status_code == 400
    frame = "query ($f: LeaderboardFrame!) { leaderboard(frame: $f, first: 1) { rank } }"
    assert send(anyone, {"query": frame, "variables": {"f": "NEVER"}}).status_code == 400


@pytest.mark.parametrize("kind", ["text/plain", "application/graphql", "application/xml", "", "multipart/form-data"])
def test_a_body_of_another_media_type_is_415(anyone, kind):
    response = send(anyone, {"query": ASK}, kind=kind)
    assert response.status_code == 415
    assert "application/json" in response.json()["errors"][0]["message"]


@pytest.mark.parametrize("accept", ["text/plain", "image/png", "application/xml, text/csv;q=0.5"])
def test_who_takes_nothing_that_we_have_is_told_so(anyone, accept):
    response = send(anyone, {"query": ASK}, accept)
    assert response.status_code == 406
    assert SPEC in response.json()["errors"][0]["message"]


def test_get_takes_parameters_as_text_and_json(anyone):
    def get(**params):
        return anyone.http.get(f"{anyone.base}/graphql", params=params, headers={"accept": SPEC})

    document = "query A($f: Int!) { leaderboard(frame: DAY, first: $f) { rank } }"
    assert get(query=document, variables='{"f": 1}', operationName="A", extensions="{}").status_code == 200
    assert get(query=ASK, operationName="").status_code in (200, 400)
    for wrong in (
        {"query": document, "variables": "{"},
        {"query": document, "variables": "7"},
        {"query": "{"},
        {"x": "y"},
    ):
        response = get(**wrong)
        assert response.status_code == 400
        assert response.json()["errors"]


def test_get_never_changes_anything(anyone):
    response = anyone.http.get(
        f"{anyone.base}/graphql", params={"query": 'mutation { developmentSignIn(input: {name: "x"}) { token } }'}
    )
    assert response.status_code == 405
    assert "POST" in response.headers["allow"]


def test_text_is_utf_8_both_ways(anyone):
    response = send(anyone, '{"query": "{ node(id: \\"ü\u00e9\u4f60\\") { id } }"}'.encode())
    assert "\u4f60" in response.content.decode("utf-8")
