"""Following what is promoted: switching under load, refusing what is not whole, and living without the store."""

from __future__ import annotations

import threading
import time

import openai
import pytest
from serving_kit import promote, publish, wait_for

from core import layout
from core.errors import BadInput, Corrupt
from core.objects import ObjectStore
from oa.embedded import free_port
from serving.sync import pointed, verify

HELLO = [{"role": "user", "content": "Hello"}]


def stream_of(node, tokens):
    client = openai.OpenAI(base_url=node.url + "/v1", api_key="none", max_retries=0, timeout=60)
    return client.chat.completions.create(
        model="assistant", messages=HELLO, max_tokens=tokens, temperature=0, stream=True,
        extra_body={"ignore_eos": True}, stream_options={"include_usage": True},
    )  # fmt: skip


def test_nothing_is_served_until_something_is_promoted(store, tiny, start_node):
    node = start_node()
    ready = node.get("/readyz")
    assert (ready.status_code, ready.json()["code"]) == (503, "NO_MODEL")
    assert node.get("/healthz").status_code == 200
    answer = node.post({"model": "assistant", "messages": HELLO})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "NO_MODEL")
    assert int(answer.headers["retry-after"]) > 0
    publish(store, tiny, "assistant", "v1")
    assert node.get("/readyz").status_code == 503, "published is not promoted"
    promote(store, "assistant", "v1")
    node.wait_ready("assistant@v1")
    assert node.post({"model": "assistant", "messages": HELLO, "max_tokens": 2}).status_code == 200


def test_a_bucket_that_is_made_late_is_found(store, tiny, start_node, caplog):
    later = ObjectStore(f"{store.bucket}-later", store.endpoint)
    node = start_node(follow=later)
    wait_for(lambda: "bucket" in caplog.text, what="the missing bucket in the log")
    assert f"bucket '{later.bucket}' does not exist" in caplog.text
    assert node.get("/readyz").status_code == 503
    later.ensure_bucket()
    publish(later, tiny, "assistant", "v1")
    promote(later, "assistant", "v1")
    node.wait_ready("assistant@v1")


def test_only_the_onnx_form_is_fetched(node, tmp_path):
    folder = tmp_path / "models" / "assistant" / "v1"
    assert {path.name for path in folder.iterdir()} == {"onnx", "manifest.json"}


def test_a_new_version_is_switched_to_without_losing_a_stream(store, tiny, node, tmp_path):
    """Closed-loop users throughout: every stream ends whole under one version, and some lived through the switch."""
    publish(store, tiny, "assistant", "v2")
    spans, stop = [], threading.Event()

    def user():
        while not stop.is_set():
            began, count, labels = time.monotonic(), 0, set()
            for chunk in stream_of(node, 1500):
                labels.add(chunk.model)
                count = chunk.usage.completion_tokens if chunk.usage else count
            spans.append((began, time.monotonic(), labels, count))

    users = [threading.Thread(target=user) for _ in range(3)]
    for thread in users:
        thread.start()
    wait_for(lambda: node.loads()[0]["active"] == 3, what="three streams")
    promote(store, "assistant", "v2")
    node.wait_ready("assistant@v2")
    switched = time.monotonic()
    wait_for(lambda: any("assistant@v2" in labels for *_, labels, _ in list(spans)), what="a stream of v2")
    stop.set()
    for thread in users:
        thread.join(60)
    assert all(count == 1500 and len(labels) == 1 for *_, labels, count in spans)
    assert any(began < switched < ended and labels == {"assistant@v1"} for began, ended, labels, _ in spans)
    assert any(labels == {"assistant@v2"} for *_, labels, _ in spans)
    assert len(node.loads()) == 1
    publish(store, tiny, "assistant", "v3")
    promote(store, "assistant", "v3")
    node.wait_ready("assistant@v3")
    folder = tmp_path / "models" / "assistant"
    wait_for(lambda: {item.name for item in folder.iterdir() if item.is_dir()} == {"v2", "v3"}, what="pruning")


def test_a_wrong_hash_is_refused_and_the_old_version_serves_on(store, tiny, node, caplog):
    publish(store, tiny, "assistant", "v2")
    key = layout.model("assistant", "v2") + "onnx/model.onnx.data"
    good = store.get(key)
    store.put(key, good[:-1] + bytes([good[-1] ^ 1]))
    promote(store, "assistant", "v2")
    wait_for(lambda: "assistant@v2 refused, assistant@v1 goes on serving" in caplog.text, what="the refusal in the log")
    assert "CORRUPT" in caplog.text
    assert node.post({"model": "assistant", "messages": HELLO, "max_tokens": 2}).json()["model"] == "assistant@v1"
    assert 'oa_serving_models_refused_total{model="assistant"}' in node.get("/metrics").text
    store.put(key, good)
    node.wait_ready("assistant@v2")


@pytest.mark.parametrize("broken", ["genai_config.json", "model.onnx", "tokenizer.json"])
def test_a_version_that_does_not_load_is_refused(store, tiny, node, tmp_path, caplog, broken):
    """Hashed and published, but wrong all the same."""
    import shutil

    from core import manifest

    folder = tmp_path / "bad"
    shutil.copytree(tiny / "onnx", folder / "onnx")
    (folder / "onnx" / broken).write_bytes(b"{}")
    manifest.publish(store, folder, layout.model("assistant", "bad"), {})
    promote(store, "assistant", "bad")
    wait_for(lambda: "assistant@bad refused" in caplog.text, what="the refusal")
    assert broken in caplog.text
    assert list(node.get("/readyz").json()["models"]) == ["assistant@v1"]


def test_a_promoted_version_that_is_not_there_is_refused(store, node, caplog):
    promote(store, "assistant", "v9")
    wait_for(lambda: "assistant@v9 refused" in caplog.text, what="the refusal")
    assert list(node.get("/readyz").json()["models"]) == ["assistant@v1"]


def test_going_back_to_the_version_before(store, tiny, node):
    publish(store, tiny, "assistant", "v2")
    for version in ("v2", "v1", "v2"):
        promote(store, "assistant", version)
        node.wait_ready(f"assistant@{version}")


def test_two_models_side_by_side(store, tiny, start_node):
    node = start_node(models=("assistant", "other"))
    for name in ("assistant", "other"):
        publish(store, tiny, name, "v1")
        promote(store, name, "v1")
        node.wait_ready(f"{name}@v1")
    for name in ("assistant", "other"):
        assert node.post({"model": name, "messages": HELLO, "max_tokens": 1}).json()["model"] == f"{name}@v1"


def test_without_the_store_the_local_copy_serves_if_it_is_whole(store, tiny, node, start_node, tmp_path, caplog):
    local = tmp_path / "models" / "assistant"
    wait_for(lambda: (local / "promoted.json").is_file(), what="the local pointer")
    away = ObjectStore("nowhere", f"http://127.0.0.1:{free_port()}")
    second = start_node(follow=away)
    second.wait_ready("assistant@v1")
    assert "serves from the local copy" in caplog.text
    data = local / "v1" / "onnx" / "model.onnx.data"
    good = data.read_bytes()
    data.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    third = start_node(follow=away)
    wait_for(lambda: "cannot serve" in caplog.text, what="the refusal of the local copy")
    assert third.get("/readyz").status_code == 503


@pytest.mark.parametrize(
    "value", [None, [], {}, {"version": 3}, {"version": "../x"}, {"version": ""}, {"version": "a/b"}]
)
def test_a_pointer_that_is_none_is_refused(value):
    with pytest.raises(Corrupt, match="names no version"):
        pointed(value, "assistant")


def test_a_local_copy_without_files_is_not_whole(tmp_path):
    with pytest.raises(BadInput):
        verify(tmp_path)
    (tmp_path / "manifest.json").write_text('{"files": []}')
    with pytest.raises(BadInput, match="lists no file"):
        verify(tmp_path)
