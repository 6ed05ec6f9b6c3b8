"""Random operations in the name of two people, a moderator, an admin and nobody: no 5xx, no unmasked error, nothing of
others; subscriptions too, of which the first events are read.

`make test` runs a few hundred; `FUZZ_OPERATIONS=10000 make test TESTS=tests/api/test_fuzz.py` runs as many as it says.
"""

from __future__ import annotations

import json
import os
import uuid
from collections import Counter
from dataclasses import replace

import pytest
from fuzzing import operations
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from running_api import Caller, serving

from core.errors import CODES
from graphql_schema.error_guide import EXTENSIONS
from graphql_schema.relay import global_id
from graphql_schema.schema import build_schema

OPERATIONS = int(os.environ.get("FUZZ_OPERATIONS", "250"))
SCHEMA = build_schema()._schema
WITHOUT = frozenset({"developmentSignIn", "deleteAccount", "signOutEverywhere", "revokeSession"})
"""Left out: they would end the callers; other tests have them."""
EVENTS = 1
"""Events that are read of a subscription: the first comes at once."""
STATUS = frozenset({200, 400, 401, 403, 405, 413, 422, 429})
MARK = "private-mark-of-"


class Crowd:
    """The callers, what each has that only they may see, and what came of everything."""

    def __init__(self, anyone: Caller) -> None:
        self.callers = {"nobody": anyone}
        self.ids: dict[str, list[str]] = {}
        self.seen: Counter[str] = Counter()
        for name in ("ada", "bob", "carol", "max", "root"):
            role = {"max": "MODERATOR", "root": "ADMIN"}.get(name, "CONTRIBUTOR")
            caller = anyone.sign_in(f"{name}-{uuid.uuid4().hex[:6]}", role)
            self.callers[name] = caller
            self.ids[name] = self._belongings(caller, name)
        self.victims = [anyone.sign_in(f"victim-{uuid.uuid4().hex[:6]}").user_id or "" for _ in range(2)]
        self.public = [self._published(self.callers["carol"]), global_id("Model", "assistant@v1"), "x", "", "VHJlZTo="]
        self.public += [
            global_id(kind, "nothing") for kind in ("Job", "Snapshot", "ModerationItem", "Appeal", "Nothing")
        ]
        self.public += [global_id(kind, own) for kind in ("Model", "Snapshot", "Job") for own in ("../x@y", "a\0b@v1")]

    def _belongings(self, caller: Caller, name: str) -> list[str]:
        mark = f"{MARK}{name}"
        task = caller.do("requestTask", "task { id }", langs=["en"], kind="INITIAL_PROMPT")["task"]["id"]
        caller.do("saveDraft", taskId=task, text=f"{mark} draft")
        chat = caller.do("createChat", "chat { id }", title=f"{mark} chat", systemPrompt=mark)["chat"]["id"]
        said = caller.do("sendMessage", "prompt { id } reply { id }", chatId=chat, text=f"{mark} said")
        caller.do("stopReply", messageId=said["reply"]["id"])
        return [task, chat, said["prompt"]["id"], said["reply"]["id"]]

    def _published(self, caller: Caller) -> str:
        task = caller.do("requestTask", "task { id }", langs=["en"], kind="INITIAL_PROMPT")["task"]["id"]
        return caller.do("submitPrompt", "message { id }", taskId=task, text="A prompt?")["message"]["id"]

    def known_to(self, name: str) -> tuple[str, ...]:
        """Ids that `name` tries: what is everybody's, who there is, and what is others'; not their own marked things,
        which they could give away. Who may ban people and take their roles is told of people who do nothing here."""
        others = [each for owner, ids in self.ids.items() if owner != name for each in ids]
        people = [caller.user_id for caller in self.callers.values() if caller.user_id]
        people = self.victims if name in ("max", "root") else people
        return (*self.public, *others, *people)


@pytest.fixture(scope="module")
def crowd(request):
    mine = request.getfixturevalue("settings")
    # A subscription that has nothing to say ends soon.
    own = replace(mine, mongodb_database=f"{mine.mongodb_database}_fuzz", subscription_seconds=0.5)
    with serving(own) as url:
        found = Crowd(Caller(url))
        yield found
        print(f"\n{sum(found.seen.values())} operations: {dict(found.seen.most_common())}")


@pytest.mark.filterwarnings("ignore:Do not use the `random` module")  # the API in this process does
@pytest.mark.timeout(60 + OPERATIONS)
@settings(
    max_examples=OPERATIONS,
    deadline=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
    derandomize="FUZZ_OPERATIONS" not in os.environ,
    database=None,
)
@given(data=st.data())
def test_random_operations_are_answered_without_a_defect_and_without_what_is_others(crowd, data):
    name = data.draw(st.sampled_from(sorted(crowd.callers)))
    if name == "carol":
        name = "ada"  # she only has things
    body = data.draw(operations(SCHEMA, crowd.known_to(name), WITHOUT))
    caller = crowd.callers[name]
    ask = followed if body["query"].startswith("subscription") else asked
    for answer in ask(caller, body):
        text = json.dumps(answer, ensure_ascii=False)
        codes = [error["extensions"]["code"] for error in answer.get("errors") or []]
        assert set(codes) <= set(CODES), answer
        assert {key for error in answer.get("errors") or [] for key in error["extensions"]} <= EXTENSIONS, answer
        assert "INTERNAL" not in codes, answer
        assert "UNAVAILABLE" not in codes, answer
        assert "Traceback" not in text
        # Texts that were sent come back in errors; marks are sent by nobody.
        leaks = [owner for owner in crowd.ids if owner != name and f"{MARK}{owner}" in text]
        assert leaks == [], answer
        crowd.seen[codes[0] if codes else f"event for {name}" if ask is followed else refused(answer)] += 1


def asked(caller: Caller, body: dict) -> list[dict]:
    """The answer to a query or mutation."""
    response = caller.http.post(f"{caller.base}/graphql", json=body, headers=caller.headers)
    assert response.status_code in STATUS, response.text
    return [response.json()]


def followed(caller: Caller, body: dict) -> list[dict]:
    """The first answers of a subscription, over server-sent events."""
    answers: list[dict] = []
    headers = {**caller.headers, "accept": "text/event-stream"}
    with caller.http.stream("POST", f"{caller.base}/graphql", json=body, headers=headers) as response:
        assert response.status_code in STATUS
        if response.headers["content-type"].startswith("application/json"):
            return [json.loads(response.read())]
        for line in response.iter_lines():
            if line.startswith("data: {"):
                answers.append(json.loads(line[6:]))
            if len(answers) == EVENTS:
                break
    return answers


def refused(answer: dict) -> str:
    """`OK`, or the first code of a payload, where it was asked for."""
    text = json.dumps(answer["data"])
    return "OK" if '"code"' not in text else "userErrors"


OWN = "{ viewer { tasks { draft } } chats(first: 50) { nodes { title systemPrompt } } }"


def test_after_all_that_everybody_still_has_their_own(crowd):
    for name, caller in crowd.callers.items():
        if name != "nobody":
            mine = json.dumps(
                caller.ask("{ viewer { tasks { draft } } chats(first: 50) { nodes { title systemPrompt } } }")
            )
            assert f"{MARK}{name} draft" in mine
            assert f"{MARK}{name} chat" in mine
    assert crowd.seen["OK"] > OPERATIONS // 20, "most never reached a resolver"
