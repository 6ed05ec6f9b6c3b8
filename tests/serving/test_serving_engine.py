"""The continuous batcher on a real graph: equal to one at a time and to transformers, and sound when disturbed."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from serving_kit import wait_for

from core.errors import BadInput, TooMany, Unavailable
from serving.engine import Engine
from serving.options import EngineOptions
from serving.requests import GREEDY, Request, Sampling

LONG = 6000


@pytest.fixture(scope="module")
def prompts(files):
    """Ragged prompts of 9 to about 300 tokens."""
    texts = [
        "Hello",
        "What is the capital of France?",
        "A fox. " * 40,
        "Grüße, 你好!",
        "dog " * 90,
        "ask",
        "Ça va? " * 9,
    ]
    return [
        tuple(files.tokenizer.encode(files.template.render([{"role": "user", "content": text}])).ids) for text in texts
    ]


@pytest.fixture(scope="module")
def expected(tiny, prompts):
    """transformers' greedy tokens, one prompt at a time."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(tiny / "hf", dtype=torch.float32).eval()
    made = []
    for index, prompt in enumerate(prompts):
        ids = torch.tensor([prompt])
        out = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=20 + 7 * index, do_sample=False,
            eos_token_id=None, pad_token_id=2,
        )  # fmt: skip
        made.append(out[0, len(prompt) :].tolist())
    return made


def tokens_of(reader):
    """Token ids of a reply that was asked with `logprobs`."""
    return [item.token for event in reader.events for item in event.logprobs]


def greedy(prompt, count, **more):
    return Request(prompt, count, logprobs=0, ignore_eos=True, **more)


@pytest.mark.parametrize("options", [{}, {"chunk": 7}, {"slots": 2}, {"chunk": 7, "prefix_bytes": 0}, {"slots": 1}])
def test_staggered_replies_equal_transformers_one_at_a_time(make_engine, ask, prompts, expected, options):
    engine = make_engine(**options)
    readers = []
    for prompt, tokens in zip(prompts, expected, strict=True):
        readers.append(ask(engine, greedy(prompt, len(tokens))))
        if len(readers) % 2:
            wait_for(readers[-1].began)
    for reader in readers:
        assert reader.wait().finish == "length"
    assert [tokens_of(reader) for reader in readers] == expected


def test_a_repeated_prompt_comes_from_the_prefix_cache_and_gives_the_same(make_engine, ask, prompts, expected):
    engine = make_engine()
    for turn in range(2):
        reader = ask(engine, greedy(prompts[2], len(expected[2])))
        usage = reader.wait().usage
        assert tokens_of(reader) == expected[2]
        assert (usage.cached > len(prompts[2]) - 64) == bool(turn)


def test_text_is_the_tokenizers_text(make_engine, ask, files, prompts, expected):
    reader = ask(make_engine(), Request(prompts[1], len(expected[1]), ignore_eos=True))
    reader.wait()
    assert reader.text == files.tokenizer.decode(expected[1]).rstrip("�")


def test_cancelling_frees_the_slot_for_the_next(make_engine, ask, prompts):
    engine = make_engine(slots=1)
    first, second = ask(engine, greedy(prompts[0], LONG)), ask(engine, greedy(prompts[1], 5))
    wait_for(first.began)
    first.ticket.cancel()
    assert first.wait().finish == "cancelled"
    assert second.wait().finish == "length"
    assert engine.load().active == engine.load().reserved == 0


def test_cancelling_while_waiting(make_engine, ask, prompts):
    engine = make_engine(slots=1)
    first, second = ask(engine, greedy(prompts[0], LONG)), ask(engine, greedy(prompts[1], 5))
    second.ticket.cancel()
    assert second.wait().finish == "cancelled"
    assert second.events[-1].usage.generated == 0
    first.ticket.cancel()
    first.wait()


def test_a_deadline_ends_replies_under_way_and_waiting(make_engine, ask, prompts):
    engine = make_engine(slots=1)
    soon = time.monotonic() + 0.2
    readers = [ask(engine, greedy(prompts[0], LONG, deadline=soon)), ask(engine, greedy(prompts[1], 5, deadline=soon))]
    for reader in readers:
        error = reader.wait().error
        assert error.code == "DEADLINE"
    assert engine.load().active == engine.load().waiting == 0
    assert ask(engine, greedy(prompts[0], 3)).wait().finish == "length"


def test_a_full_queue_refuses_and_says_when_to_come_back(make_engine, ask, prompts):
    engine = make_engine(slots=1, queue=1)
    readers = [ask(engine, greedy(prompts[0], LONG)) for _ in range(2)]
    with pytest.raises(TooMany) as caught:
        ask(engine, greedy(prompts[0], 1))
    assert caught.value.code == "QUEUE_FULL"
    assert caught.value.retry_after >= 1
    for reader in readers:
        reader.ticket.cancel()
        reader.wait()
    assert ask(engine, greedy(prompts[0], 1)).wait().finish == "length"


def test_several_are_queued_together_or_not_at_all(make_engine, ask, prompts):
    engine = make_engine(slots=1, queue=1)
    with pytest.raises(TooMany):
        engine.submit_all([greedy(prompts[0], 1)] * 3, [lambda event: None] * 3)
    assert engine.load().waiting == 0


def test_stop_strings_across_token_borders(make_engine, ask, files, prompts, expected):
    pieces = [files.tokenizer.decode([token]) for token in expected[6]]
    # Two neighbouring tokens of plain text: the stop string is the end of the one and the start of the other.
    index = next(at for at in range(8, len(pieces)) if all(piece.isascii() for piece in pieces[at - 1 : at + 1]))
    stop = pieces[index - 1][-2:] + pieces[index][:2]
    whole = files.tokenizer.decode(expected[6])
    reader = ask(make_engine(), Request(prompts[6], len(expected[6]), stop=(stop, "never"), ignore_eos=True))
    assert reader.wait().finish == "stop"
    assert reader.text == whole[: whole.index(stop)]


def test_seeds_repeat_alone_and_in_company(make_engine, ask, prompts):
    engine = make_engine()
    drawn = Sampling(temperature=1.0, top_p=0.9, seed=42)

    def once(company):
        others = [ask(engine, greedy(prompts[index], 50)) for index in range(company)]
        reader = ask(engine, Request(prompts[1], 40, drawn, logprobs=0, ignore_eos=True))
        for other in [*others, reader]:
            other.wait()
        return tokens_of(reader)

    alone = once(0)
    assert once(3) == alone
    other = ask(engine, Request(prompts[1], 40, Sampling(temperature=1.0, top_p=0.9, seed=43), logprobs=0))
    other.wait()
    assert tokens_of(other) != alone


def test_log_probabilities_are_the_models(make_engine, ask, tiny, prompts, expected):
    import torch
    from transformers import AutoModelForCausalLM

    reader = ask(make_engine(), Request(prompts[0], 12, logprobs=3, ignore_eos=True))
    reader.wait()
    items = [item for event in reader.events for item in event.logprobs]
    model = AutoModelForCausalLM.from_pretrained(tiny / "hf", dtype=torch.float32).eval()
    with torch.inference_mode():
        logits = model(torch.tensor([[*prompts[0], *expected[0][:12]]])).logits[0, len(prompts[0]) - 1 : -1]
    theirs = torch.log_softmax(logits.double(), -1)
    for item, row in zip(items, theirs, strict=True):
        assert item.logprob == pytest.approx(float(row[item.token]), abs=1e-3)
        assert [token for token, _ in item.top] == row.topk(3).indices.tolist()


def test_end_of_sequence_ends_the_reply_unseen(make_engine, ask, files, prompts, expected, monkeypatch):
    engine = make_engine()
    end = expected[0][4]
    monkeypatch.setattr(engine._files, "geometry", _with_eos(files.geometry, end))
    reader = ask(engine, Request(prompts[0], 20, logprobs=0))
    assert reader.wait().finish == "stop"
    assert tokens_of(reader) == expected[0][: expected[0].index(end)]


def _with_eos(geometry, token):
    from dataclasses import replace

    return replace(geometry, eos=frozenset([token]))


def test_a_prompt_that_leaves_no_room_is_refused(make_engine, ask):
    engine = make_engine(context=64)
    with pytest.raises(BadInput) as caught:
        ask(engine, Request((5,) * 64, 1))
    assert caught.value.code == "CONTEXT_TOO_LONG"
    assert "64" in caught.value.message
    reader = ask(engine, Request((5,) * 60, 100, ignore_eos=True))
    assert reader.wait().usage.generated == 4
    with pytest.raises(BadInput, match="empty"):
        ask(engine, Request((), 1))


def test_a_small_cache_admits_as_many_as_fit(make_engine, ask, prompts, files):
    per_token = 2 * 2 * 2 * 16 * 4
    engine = make_engine(kv_bytes=per_token * 200, prefix_bytes=0)
    assert engine.context == 200
    readers = [ask(engine, greedy(prompts[0], 90)) for _ in range(6)]
    most = 0
    while not all(reader.done.is_set() for reader in readers):
        load = engine.load()
        assert load.reserved <= load.budget == 200
        most = max(most, load.active)
    assert most in (1, 2)
    assert len({reader.text for reader in readers}) == 1


def test_a_cache_too_small_for_anything_is_refused(files):
    with pytest.raises(BadInput, match="give more"):
        Engine(files, EngineOptions(kv_bytes=512))


def test_a_failing_step_fails_those_under_way_and_not_the_next(make_engine, ask, prompts, expected, monkeypatch):
    engine = make_engine()
    decode, calls = engine._graph.decode, itertools.count()

    def failing(ids, lengths):
        if next(calls) == 3:
            raise RuntimeError("no memory")
        return decode(ids, lengths)

    monkeypatch.setattr(engine._graph, "decode", failing)
    broken = ask(engine, greedy(prompts[0], 20))
    assert isinstance(broken.wait().error, Unavailable)
    after = ask(engine, greedy(prompts[0], len(expected[0])))
    after.wait()
    assert tokens_of(after) == expected[0]
    assert engine.alive


def test_a_reader_that_fails_harms_only_itself(make_engine, ask, prompts, expected):
    engine = make_engine()

    def bad(event):
        raise RuntimeError("gone")

    engine.submit(greedy(prompts[0], LONG), bad)
    good = ask(engine, greedy(prompts[1], len(expected[1])))
    good.wait()
    assert tokens_of(good) == expected[1]
    wait_for(lambda: engine.load().active == 0)


def test_closing_fails_what_is_left_and_refuses_more(make_engine, ask, prompts):
    engine = make_engine(slots=1)
    readers = [ask(engine, greedy(prompts[0], LONG)) for _ in range(2)]
    engine.close()
    assert all(isinstance(reader.wait().error, Unavailable) for reader in readers)
    with pytest.raises(Unavailable):
        ask(engine, greedy(prompts[0], 1))
    assert not engine.alive


def test_random_arrivals_cancellations_and_lengths_leave_nothing_behind(make_engine, ask, prompts, expected):
    engine, random = make_engine(slots=3, chunk=16), np.random.default_rng(3)
    readers = []
    for _ in range(60):
        which = int(random.integers(len(prompts)))
        request = greedy(prompts[which], len(expected[which]))
        readers.append((which, ask_patiently(ask, engine, request)))
        if random.random() < 0.3:
            readers[int(random.integers(len(readers)))][1].ticket.cancel()
    for which, reader in readers:
        last = reader.wait()
        made = tokens_of(reader)
        assert made == expected[which][: len(made)]
        assert last.finish == "cancelled" or made == expected[which]
    load = engine.load()
    assert (load.active, load.waiting, load.reserved) == (0, 0, 0)


def ask_patiently(ask, engine, request):
    """Try again while the queue is full."""

    def attempt():
        try:
            return ask(engine, request)
        except TooMany:
            return None

    return wait_for(attempt)


def test_penalties_act_on_the_reply(make_engine, ask, prompts):
    settings = Sampling(temperature=0.0, frequency_penalty=2.0, presence_penalty=2.0, repetition_penalty=5.0)
    engine = make_engine()
    plain = ask(engine, Request(prompts[4], 60, GREEDY, logprobs=0, ignore_eos=True))
    varied = ask(engine, Request(prompts[4], 60, settings, logprobs=0, ignore_eos=True))
    plain.wait(), varied.wait()
    assert len(set(tokens_of(varied))) > len(set(tokens_of(plain)))


def test_a_device_that_is_not_there_is_named(files):
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this machine has the device")
    with pytest.raises(Unavailable, match="serving-gpu"):
        Engine(files, EngineOptions(device="cuda"))


def test_the_device_cache_gives_the_same_replies(make_engine, ask, prompts, expected, monkeypatch):
    """The addresses and copies of the device's cache, on main memory."""
    from test_serving_cache import on_main_memory

    monkeypatch.setattr("serving.graph.KvCache", on_main_memory)
    engine = make_engine(slots=3, chunk=16, context=512)
    readers = [ask(engine, greedy(prompt, len(tokens))) for prompt, tokens in zip(prompts, expected, strict=True)]
    for reader in readers:
        reader.wait()
    assert [tokens_of(reader) for reader in readers] == expected
    again = ask(engine, greedy(prompts[2], len(expected[2])))
    assert again.wait().usage.cached > 0
    assert tokens_of(again) == expected[2]
