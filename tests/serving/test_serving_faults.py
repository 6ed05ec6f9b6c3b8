"""The real command as a process of its own: killed, restarted, drained, and asked for what it must refuse."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import openai
import pytest
from serving_kit import promote, publish, wait_for

from oa.embedded import free_port

HELLO = [{"role": "user", "content": "Hello"}]


def command(port, *more):
    return [sys.executable, "-m", "oa", "serve", "--port", str(port), "--threads", "1", *more]


def environment(store, tmp_path, **more):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OA_")}
    own = {"OA_S3_ENDPOINT": store.endpoint, "OA_S3_BUCKET": store.bucket, "OA_VAR": str(tmp_path)}
    return {**kept, **own, "OA_SERVE_POLL_MS": "100", "OA_SERVE_KV_MB": "32", "OMP_NUM_THREADS": "1", **more}


@pytest.fixture
def start(store, tiny, tmp_path):
    """Start `oa serve` on a port, and wait until it is ready."""
    publish(store, tiny, "assistant", "v1")
    promote(store, "assistant", "v1")
    running = []

    def begin(port):
        with (tmp_path / "serve.log").open("ab") as log:
            process = subprocess.Popen(
                command(port), env=environment(store, tmp_path), stdout=log, stderr=log, cwd=Path(__file__).parents[2]
            )
        running.append(process)

        def ready():
            assert process.poll() is None, (tmp_path / "serve.log").read_text()[-2000:]
            try:
                return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
            except httpx.TransportError:
                return False

        wait_for(ready, 30, "the node")
        return process

    yield begin
    for process in running:
        if process.poll() is None:
            process.kill()
        process.wait(10)


def stream_of(port, tokens):
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0, timeout=60)
    return client.chat.completions.create(
        model="assistant",
        messages=HELLO,
        max_tokens=tokens,
        temperature=0,
        stream=True,
        extra_body={"ignore_eos": True},
    )


def test_a_killed_node_is_seen_by_the_client_and_a_restart_serves_what_it_served(start):
    port = free_port()
    process = start(port)
    whole = "".join(chunk.choices[0].delta.content or "" for chunk in stream_of(port, 200))
    stream = stream_of(port, 8000)
    got = ""

    def read():
        nonlocal got
        for chunk in stream:
            got += chunk.choices[0].delta.content or ""
            if len(got) > 10 and process.poll() is None:
                process.send_signal(signal.SIGKILL)
                process.wait(10)

    with pytest.raises((httpx.TransportError, openai.APIConnectionError)):
        read()
    assert got.startswith(whole[:10])
    start(port)
    again = "".join(chunk.choices[0].delta.content or "" for chunk in stream_of(port, 200))
    assert again == whole


def test_sigterm_lets_replies_end(start):
    port = free_port()
    process = start(port)
    stream = stream_of(port, 1500)
    chunks = iter(stream)
    next(chunks)
    process.send_signal(signal.SIGTERM)
    finishes = [chunk.choices[0].finish_reason for chunk in chunks]
    assert finishes[-1] == "length"
    # uvicorn ends as the signal asks, once its replies have ended.
    assert process.wait(20) in (0, -signal.SIGTERM)


def refused(arguments, env):
    done = subprocess.run(arguments, env=env, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    return done.stderr


def test_an_open_address_without_a_key_is_refused(store, tmp_path):
    said = refused(command(free_port(), "--host", "0.0.0.0"), environment(store, tmp_path))
    assert "BAD_INPUT" in said
    assert "OA_SERVING_KEY" in said


def test_a_taken_port_and_a_wrong_setting_are_named(store, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "PORT_IN_USE" in refused(command(taken.getsockname()[1]), environment(store, tmp_path))
    said = refused(command(free_port()), environment(store, tmp_path, OA_SERVE_SLOTS="none"))
    assert "OA_SERVE_SLOTS" in said
