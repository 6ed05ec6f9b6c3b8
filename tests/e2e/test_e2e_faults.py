"""kill -9 of each part in the middle of its work: the worker in training, the node in a stream, the store in writes.

Each is followed by recovery with nothing lost that had been acknowledged.
"""

from __future__ import annotations

import json
import threading
from typing import Any

import psutil
import pytest
from whole_stack import ROOT, Stack, until

from core.errors import OaError
from core.ids import new_id
from oa.client import GraphQLClient
from oa.demo_operations import CREATE_CHAT, FREEZE, JOB, LAUNCH, REPLY_EVENTS, SEND
from oa.demo_people import REQUEST_TASK, SUBMIT_PROMPT, sign_in

JOB_EVENTS = """subscription JobEvents($jobId: ID!) {
  jobEvents(jobId: $jobId) { type stage attempt step message } }"""
MESSAGE = "query Message($id: ID!) { node(id: $id) { ... on Message { text } } }"


@pytest.fixture(scope="session")
def operator(stack: Stack) -> GraphQLClient:
    """An admin, after the sample conversations were imported."""
    stack.oa("import", "samples/trees.jsonl")
    return sign_in(stack.anyone(), "operator", "ADMIN")


def spec(operator: GraphQLClient, steps: int) -> dict[str, Any]:
    """A job of one short stage, long enough to be killed in, and an export."""
    snapshot = operator.mutate(FREEZE, input={"kind": "sft", "name": "threads"})["snapshot"]
    dataset = {"name": snapshot["name"], "version": snapshot["version"]}
    stage = {"kind": "sft", "dataset": dataset, "max_steps": steps, "max_length": 64, "save_every": 5, "eval_rows": 4}
    return {"name": "assistant", "base": "tiny", "stages": [stage, {"kind": "export"}]}


@pytest.fixture(scope="session")
def job_after_kill(stack: Stack, operator: GraphQLClient) -> dict[str, Any]:
    """A job whose worker was killed after a checkpoint; every event seen, and the job at its end."""
    job = operator.mutate(LAUNCH, input={"spec": spec(operator, 200), "idempotencyKey": new_id()})["job"]
    events: list[dict[str, Any]] = []
    killed = False
    for event in operator.subscribe(JOB_EVENTS, jobId=job["id"]):
        events.append(event["jobEvents"])
        if not killed and event["jobEvents"]["type"] == "checkpoint":
            psutil.Process(stack.pid("worker")).kill()
            killed = True
    assert killed
    return {"id": job["id"], "events": events, **operator.execute(JOB, id=job["id"])["node"]}


def test_a_job_whose_worker_is_killed_goes_on_from_its_checkpoint(job_after_kill: dict[str, Any]) -> None:
    assert job_after_kill["state"] == "SUCCEEDED"
    said = [event for event in job_after_kill["events"] if event["stage"] == "00-sft"]
    steps: dict[int, list[int]] = {}
    for event in said:
        if event["type"] == "progress":
            steps.setdefault(event["attempt"], []).append(event["step"])
    first, second = sorted(steps)  # the claim of the worker that was killed, and the one after it
    saved = [event["step"] for event in said if event["type"] == "checkpoint" and event["attempt"] == first]
    resumed = steps[second][0] - 1
    assert resumed >= max(saved) > 0, f"began again at {steps[second][0]} with a checkpoint of {saved}"
    assert f"resumed at step {resumed}" in [event["message"] for event in said]
    assert steps[second][-1] == 200


def test_a_reply_survives_the_node_that_was_speaking_it(
    stack: Stack, operator: GraphQLClient, job_after_kill: dict[str, Any]
) -> None:
    from oa.demo_operations import PROMOTE

    operator.mutate(PROMOTE, input={"name": "assistant", "version": job_after_kill["model"]["version"]})
    reader = sign_in(stack.anyone(), "reader")
    wanted = {"maxTokens": 1500, "temperature": 1.0}
    chat = reader.mutate(CREATE_CHAT, input=wanted)["chat"]
    until(lambda: _serves(reader, chat["id"]), 60, "the node to serve")

    # A model that has learned next to nothing may end a reply after a few words: then it is asked for another.
    killed, end = False, None
    while not killed:
        reply = reader.mutate(SEND, input={"chatId": chat["id"], "text": "Tell me a long story."})["reply"]
        heard = ""
        for event in reader.subscribe(REPLY_EVENTS, messageId=reply["id"]):
            heard += event["chatReply"]["text"]
            end = event["chatReply"]["message"]
            if not killed and end is None and event["chatReply"]["seq"] >= 20:
                stack.kill("serving")
                killed = True
    assert end is not None
    assert end["state"] == "COMPLETE", end["error"]  # the node that came back went on from what had been said
    assert end["text"] == heard
    assert end["seq"] >= 20


def _serves(reader: GraphQLClient, chat: str) -> bool:
    reply = reader.mutate(SEND, input={"chatId": chat, "text": "Hello"})["reply"]
    return _complete(reader, reply["id"])


def _complete(reader: GraphQLClient, reply: str) -> bool:
    *_, last = reader.subscribe(REPLY_EVENTS, messageId=reply)
    return bool(last["chatReply"]["message"]["state"] == "COMPLETE")


def test_no_acknowledged_prompt_is_lost_when_the_store_is_killed(stack: Stack) -> None:
    """Eight people write while the store is killed; what was acknowledged is there, and a retry counts once."""
    acknowledged: dict[str, str] = {}
    halfway = threading.Event()

    def write(person: int) -> None:
        client = sign_in(stack.anyone(), f"writer-{person}")
        for number in range(6):
            text = f"Question {number} of writer {person}: what is {person} times {number}?"
            task = until(lambda: _tried(client, REQUEST_TASK, kind="INITIAL_PROMPT", langs=["en"]), 60, "a task")
            wanted = {"taskId": task["task"]["id"], "text": text}
            # A lost answer is asked for again with the same task: it counts once and is answered the same.
            message = until(lambda: _tried(client, SUBMIT_PROMPT, **wanted), 60, "the answer")["message"]["id"]  # noqa: B023
            acknowledged[message] = text
            if len(acknowledged) >= 16:
                halfway.set()

    threads = [threading.Thread(target=write, args=(person,)) for person in range(8)]
    for thread in threads:
        thread.start()
    assert halfway.wait(60)
    stack.kill("documents")
    for thread in threads:
        thread.join(120)
    reader = sign_in(stack.anyone(), "checker")
    found = {message: reader.execute(MESSAGE, id=message)["node"]["text"] for message in acknowledged}
    assert found == acknowledged
    assert len(set(acknowledged.values())) == 48


def _tried(client: GraphQLClient, document: str, **wanted: Any) -> dict[str, Any] | None:
    """The payload of a mutation; None while the store is away."""
    try:
        return client.mutate(document, input=wanted)
    except OaError as error:
        if error.code != "UNAVAILABLE":
            raise
        return None


def test_the_recipes_are_valid_specifications(operator: GraphQLClient) -> None:
    """Each recipe, with a frozen snapshot in place of its names, is one that the API would take."""
    from core.jobspec import parse_spec

    for path in sorted((ROOT / "jobs" / "configs").glob("*.json")):
        parse_spec(json.loads(path.read_text("utf-8")))
