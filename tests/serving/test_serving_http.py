"""The HTTP door with the real `openai` client, and with callers who do it wrong."""

from __future__ import annotations

import threading
import uuid

import httpx
import openai
import orjson
import pytest
from serving_kit import SMALL, promote, publish, running, wait_for

from core.objects import ObjectStore
from serving.settings import ServingSettings

HELLO = [{"role": "user", "content": "Hello"}]
LONG = [{"role": "user", "content": "x " * 9000}]


@pytest.fixture(scope="module")
def node(s3_endpoint, tiny, tmp_path_factory):
    """One node that serves `assistant@v1` to every test of this module that does not start its own."""
    store = ObjectStore(f"test-{uuid.uuid4().hex[:12]}", s3_endpoint)
    store.ensure_bucket()
    publish(store, tiny, "assistant", "v1")
    promote(store, "assistant", "v1")
    settings = ServingSettings(cache=tmp_path_factory.mktemp("node"), poll_seconds=0.05, engine=SMALL)
    with running(settings, store) as node:
        node.wait_ready("assistant@v1")
        yield node


def client_of(node, key="none"):
    return openai.OpenAI(base_url=node.url + "/v1", api_key=key, max_retries=0, timeout=60)


@pytest.fixture
def client(node):
    return client_of(node)


def greedy(client, **more):
    more = {"model": "assistant", "messages": HELLO, "max_tokens": 20, "temperature": 0, **more}
    extra = {"ignore_eos": True, **more.pop("extra_body", {})}
    return client.chat.completions.create(**more, extra_body=extra)


def test_whole_and_streamed_answers_are_the_same(client):
    whole = greedy(client)
    chunks = list(greedy(client, stream=True, stream_options={"include_usage": True}))
    assert {chunk.model for chunk in chunks} == {whole.model} == {"assistant@v1"}
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content != ""
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == whole.choices[0].finish_reason == "length"
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens == 20
    assert len(chunks) > 8, "the text came in pieces"


def test_a_named_version(client):
    assert greedy(client, model="assistant@v1").model == "assistant@v1"
    with pytest.raises(openai.NotFoundError) as caught:
        greedy(client, model="assistant@v2")
    assert caught.value.code == "NO_MODEL"
    assert "assistant@v1" in caught.value.message


def test_the_list_of_models(client):
    (model,) = client.models.list().data
    assert model.id == "assistant"
    assert model.version == "v1"


def test_several_choices_with_seeds(client):
    ask = {"n": 3, "seed": 5, "temperature": 1.0}
    one, two = (greedy(client, **ask) for _ in range(2))
    texts = [choice.message.content for choice in one.choices]
    assert texts == [choice.message.content for choice in two.choices]
    assert len(set(texts)) == 3
    assert one.usage.completion_tokens == 60
    streamed = ["", "", ""]
    for chunk in greedy(client, stream=True, **ask):
        streamed[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert streamed == texts


def test_log_probabilities(client):
    ask = {"logprobs": True, "top_logprobs": 2}
    items = greedy(client, **ask).choices[0].logprobs.content
    assert len(items) == 20
    assert all(item.top_logprobs[0].logprob == item.logprob <= 0 for item in items), "greedy takes the likeliest"
    chunks = greedy(client, stream=True, **ask)
    streamed = [item for c in chunks for item in (c.choices[0].logprobs.content if c.choices[0].logprobs else [])]
    assert [item.token for item in streamed][: len(items)] == [item.token for item in items][: len(streamed)]


def test_stop(client):
    whole = greedy(client).choices[0].message.content
    stop = whole[4:7]
    cut = greedy(client, stop=stop).choices[0]
    assert (cut.message.content, cut.finish_reason) == (whole[: whole.index(stop)], "stop")


def test_a_partial_answer_is_continued(client):
    """What a chat relay does when a node is lost in mid-stream."""
    sent = "Assistants answer "
    partial = [*HELLO, {"role": "assistant", "content": sent}]
    whole = greedy(client, messages=partial, extra_body={"continue_final_message": True}).choices[0].message.content
    first = greedy(client, messages=partial, max_tokens=8, extra_body={"continue_final_message": True})
    assert whole.startswith(first.choices[0].message.content)
    fresh = greedy(client, messages=partial).choices[0].message.content
    assert fresh != whole, "without the extension a new message begins"


@pytest.mark.parametrize(
    ("content", "headers", "status", "code"),
    [
        (b"{", {}, 400, "BAD_INPUT"),
        (b"{}", {"content-type": "text/plain"}, 400, "BAD_INPUT"),
        (b'"' + b"x" * (1 << 20) + b'"', {}, 400, "BAD_INPUT"),
        (orjson.dumps({"model": "other", "messages": HELLO}), {}, 404, "NO_MODEL"),
        (orjson.dumps({"model": "assistant", "messages": HELLO, "n": 99}), {}, 400, "BAD_INPUT"),
        (orjson.dumps({"model": "assistant", "messages": LONG}), {}, 400, "CONTEXT_TOO_LONG"),
    ],
)
def test_a_wrong_request_is_answered_in_openais_form(node, content, headers, status, code):
    answer = httpx.post(
        node.url + "/v1/chat/completions", content=content, headers={"content-type": "application/json", **headers}
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.json()["error"]["message"]
    assert node.loads()[0]["active"] == 0
    assert all(load["reserved"] == 0 for load in node.loads())


def test_unknown_paths_and_methods(node):
    assert node.get("/v2").status_code == 404
    assert node.get("/v1/chat/completions").status_code == 405


def test_request_ids(node):
    assert node.get("/healthz").headers["x-request-id"]
    kept = httpx.get(node.url + "/healthz", headers={"x-request-id": "abc-1"})
    assert kept.headers["x-request-id"] == "abc-1"
    forged = httpx.get(node.url + "/healthz", headers={"x-request-id": "a b"})
    assert forged.headers["x-request-id"] != "a b"


def test_a_key_is_asked_for(store, tiny, start_node):
    publish(store, tiny, "assistant", "v1")
    promote(store, "assistant", "v1")
    node = start_node(key="secret")
    node.wait_ready("assistant@v1")
    for wrong in ("wrong", "sécret"):
        answer = httpx.get(node.url + "/v1/models", headers={"authorization": f"Bearer {wrong}".encode()})
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "UNAUTHENTICATED")
    assert node.get("/metrics").status_code == 401
    assert node.get("/healthz").status_code == 200
    assert greedy(client_of(node, "secret")).choices


def test_a_full_node_says_when_to_come_back(store, tiny, start_node):
    publish(store, tiny, "assistant", "v1")
    promote(store, "assistant", "v1")
    node = start_node(engine={"slots": 1, "queue": 1})
    node.wait_ready("assistant@v1")
    client = client_of(node)
    streams = [greedy(client, stream=True, max_tokens=8000) for _ in range(2)]
    with pytest.raises(openai.RateLimitError) as caught:
        greedy(client)
    assert caught.value.code == "QUEUE_FULL"
    assert int(caught.value.response.headers["retry-after"]) >= 1
    for stream in streams:
        stream.close()
    wait_for(lambda: node.loads()[0]["active"] == node.loads()[0]["waiting"] == 0, what="slots free")
    assert greedy(client).choices


def test_hanging_up_cancels(node, client):
    line = 'oa_serving_replies_total{model="assistant@v1",outcome="cancelled"}'
    before = node.count(line)
    stream = greedy(client, stream=True, max_tokens=8000)
    next(iter(stream))
    stream.close()
    wait_for(lambda: node.count(line) == before + 1, what="cancellation")
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            node.url + "/v1/chat/completions", timeout=0.2,
            json={"model": "assistant", "messages": HELLO, "max_tokens": 8000, "ignore_eos": True},
        )  # fmt: skip
    wait_for(lambda: node.count(line) == before + 2, what="the second cancellation")
    assert node.loads()[0]["reserved"] == 0


def test_a_deadline_is_told_in_both_forms(node, client):
    ask = {"max_tokens": 8000, "extra_body": {"timeout": 0.2}}
    with pytest.raises(openai.InternalServerError) as caught:
        greedy(client, **ask)
    assert (caught.value.status_code, caught.value.code) == (504, "DEADLINE")
    with pytest.raises(openai.APIError) as streamed:
        list(greedy(client, stream=True, **ask))
    assert streamed.value.code == "DEADLINE"


def test_eight_users_at_once_get_what_one_gets(node, client):
    alone = [greedy(client, messages=[{"role": "user", "content": f"Tell {index}"}]) for index in range(8)]
    texts = [""] * 8

    def user(index):
        answer = greedy(client, messages=[{"role": "user", "content": f"Tell {index}"}])
        texts[index] = answer.choices[0].message.content

    threads = [threading.Thread(target=user, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert texts == [answer.choices[0].message.content for answer in alone]


def test_metrics_count_what_happened(node, client):
    grown = {
        'oa_serving_tokens_total{kind="generated",model="assistant@v1"}': 40,
        'oa_serving_first_token_seconds_count{model="assistant@v1"}': 2,
        'oa_serving_next_token_seconds_count{model="assistant@v1"}': 38,
        'oa_serving_replies_total{model="assistant@v1",outcome="length"}': 2,
        'oa_serving_requests_total{status="200"}': 2,
    }
    before = {line: node.count(line) for line in grown}
    greedy(client)
    greedy(client)
    assert {line: node.count(line) - before[line] for line in grown} == grown
    assert node.count('oa_serving_active{model="assistant@v1"}') == 0
    assert node.count('oa_serving_cache_tokens{model="assistant@v1"}') > 0


def test_a_defect_is_masked(node, client, monkeypatch):
    def broken(*args, **more):
        raise RuntimeError("secret detail")

    monkeypatch.setattr("serving.server.to_requests", broken)
    with pytest.raises(openai.InternalServerError) as caught:
        greedy(client)
    assert "secret" not in caught.value.message
    assert caught.value.response.headers["x-request-id"] in caught.value.message
