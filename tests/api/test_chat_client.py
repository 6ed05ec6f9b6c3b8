"""What a serving node's answers mean to the relay, and which node it picks; no network."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.chat_client import NodeBusy, NodeLost, refusal
from api.chat_nodes import SLACK, Nodes
from core.errors import BadInput, OaError, Unavailable

URLS = ["http://a", "http://b", "http://c"]
urls = st.sampled_from(URLS)


def body(code: str, message: str = "no") -> bytes:
    return f'{{"error": {{"message": "{message}", "code": "{code}"}}}}'.encode()


@pytest.mark.parametrize(
    ("status", "answer", "kind", "code"),
    [
        (429, body("QUEUE_FULL"), NodeBusy, "QUEUE_FULL"),
        (404, body("NO_MODEL"), NodeBusy, "NO_MODEL"),
        (503, b"upstream down", NodeBusy, "QUEUE_FULL"),
        (400, body("CONTEXT_TOO_LONG"), OaError, "CONTEXT_TOO_LONG"),
        (400, body("something_else"), OaError, "BAD_INPUT"),
        (401, body("UNAUTHENTICATED"), Unavailable, "UNAVAILABLE"),
        (500, body("INTERNAL"), NodeLost, None),
        (502, b"<html>", NodeLost, None),
        (504, body("DEADLINE"), NodeLost, None),
        (404, b"[1]", OaError, "BAD_INPUT"),
        (400, b'{"error": "text"}', OaError, "BAD_INPUT"),
    ],
)
def test_each_refusal_has_one_meaning(status: int, answer: bytes, kind: type[Exception], code: str | None) -> None:
    error = refusal(status, {}, answer)
    assert type(error) is kind
    assert getattr(error, "code", None) == code


@pytest.mark.parametrize(
    ("header", "seconds"), [(None, 1.0), ("2", 2.0), ("0", 0.1), ("-5", 0.1), ("9999", 30.0), ("soon", 1.0)]
)
def test_retry_after_is_heeded_within_reason(header: str | None, seconds: float) -> None:
    error = refusal(429, {} if header is None else {"retry-after": header}, b"")
    assert isinstance(error, NodeBusy)
    assert error.seconds == seconds


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), min_size=3, max_size=3), st.text(max_size=8), st.none() | urls, st.sets(urls))
def test_the_pick_is_ready_untried_and_not_much_busier_than_another(
    loads: list[int], chat_id: str, last: str | None, tried: set[str]
) -> None:
    nodes = Nodes(URLS)
    nodes.load = dict(zip(URLS, loads, strict=True))
    picked = nodes.pick(chat_id, last, tried)
    ready = [url for url in URLS if url not in tried]
    if not ready:
        assert picked is None
        return
    least = min(nodes.load[url] for url in ready)
    assert picked in ready
    assert nodes.load[picked] <= least + (SLACK if picked == last else 0)
    assert picked == last or last not in ready or nodes.load[last] > least + SLACK
    assert nodes.pick(chat_id, last, tried) == picked


def test_chats_spread_over_idle_nodes_and_each_stays() -> None:
    nodes = Nodes(URLS)
    picks = [nodes.pick(str(chat), None) for chat in range(300)]
    assert {url: picks.count(url) > 50 for url in URLS} == dict.fromkeys(URLS, True)
    assert picks == [Nodes(URLS).pick(str(chat), None) for chat in range(300)]


def test_a_resting_node_is_picked_again_when_it_has_rested() -> None:
    clock = Clock()
    nodes = Nodes(["http://a"], clock)
    nodes.rest("http://a", 3.0)
    assert nodes.pick("c", "http://a") is None
    clock.now = 3.0
    assert nodes.pick("c", None) == "http://a"


def test_a_request_counts_while_it_lasts_even_when_it_fails() -> None:
    nodes = Nodes(URLS)

    def fail() -> None:
        with nodes.using("http://a"):
            assert nodes.load["http://a"] == 1
            raise NodeLost

    with pytest.raises(NodeLost):
        fail()
    assert nodes.load["http://a"] == 0


@pytest.mark.parametrize("urls", [[], ["127.0.0.1:8100"], ["http://a", "ftp://b"]])
def test_nodes_that_are_no_urls_are_refused(urls: list[str]) -> None:
    with pytest.raises(BadInput, match="serving node"):
        Nodes(urls)
