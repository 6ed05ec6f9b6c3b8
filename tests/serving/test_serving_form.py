"""The door's form: what is taken, what is refused and how, settings and files of the wrong form."""

from __future__ import annotations

import re
import shutil
from contextlib import suppress
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BadInput, OaError, Unavailable
from serving.metrics import Counter, Histogram, render
from serving.model_files import ModelFiles
from serving.openai_form import parse, to_requests
from serving.settings import check_host, check_onnxruntime, free_cores, settings_from

USER = {"role": "user", "content": "Hi"}


def body(**fields):
    return orjson.dumps({"model": "assistant", "messages": [USER], **fields})


@pytest.mark.parametrize(
    ("fields", "path", "says"),
    [
        ({"model": ""}, "model", "at least 1"),
        ({"messages": []}, "messages", "at least 1"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role", "assistant"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content", "a string or"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages.0.content", "text"),
        ({"temperature": -1}, "temperature", "greater than or equal to 0"),
        ({"temperature": "hot"}, "temperature", "number"),
        ({"top_p": 0}, "top_p", "greater than 0"),
        ({"n": 0}, "n", "greater than or equal to 1"),
        ({"n": 17}, "n", "less than or equal to 16"),
        ({"max_tokens": 0}, "max_tokens", "greater than or equal to 1"),
        ({"seed": 1.5}, "seed", "integer"),
        ({"stop": [""]}, "stop.0", "at least 1"),
        ({"stop": ["x"] * 9}, "stop", "at most 8"),
        ({"top_logprobs": 2}, "", "needs logprobs"),
        ({"tools": []}, "tools", "not permitted"),
        ({"continue_final_message": True}, "", "last message of assistant"),
        ({"timeout": 0}, "timeout", "greater than 0"),
    ],
)
def test_a_wrong_field_is_named(fields, path, says):
    with pytest.raises(BadInput, match=says) as caught:
        parse(body(**fields))
    assert ".".join(caught.value.path).startswith(path)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b'"x"', b"\xff", b'{"model": "a", "messages": "x"}', b'{"model": NaN}']
)
def test_what_is_no_request_is_refused(data):
    with pytest.raises(BadInput):
        parse(data)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["model", "messages", "role", "content", "stop", "n", "seed", "stream"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=8,
    )
)
def test_any_json_is_taken_or_refused_as_bad_input(value):
    with suppress(BadInput):
        parse(orjson.dumps(value))


def test_what_is_asked_reaches_the_engine(files):
    chat = parse(
        body(
            n=2, seed=7, temperature=0.5, top_p=0.9, top_k=5, min_p=0.1, stop="end", max_completion_tokens=9,
            presence_penalty=1, frequency_penalty=-1, repetition_penalty=1.2, logprobs=True, top_logprobs=2,
            timeout=5, user="someone",
            messages=[{"role": "developer", "content": [{"type": "text", "text": "a"}]}, USER],
        )
    )  # fmt: skip
    first, second = to_requests(chat, files, max_tokens=100, most_seconds=60)
    assert (first.sampling.seed, second.sampling.seed) == (7, 8)
    assert (first.sampling.temperature, first.sampling.top_p, first.sampling.top_k, first.sampling.min_p) == (
        0.5, 0.9, 5, 0.1,
    )  # fmt: skip
    assert (first.sampling.presence_penalty, first.sampling.frequency_penalty) == (1, -1)
    assert first.sampling.repetition_penalty == 1.2
    assert (first.max_tokens, first.stop, first.logprobs) == (9, ("end",), 2)
    assert files.tokenizer.decode(list(first.prompt)).startswith("system\na")


def test_defaults(files):
    (request,) = to_requests(parse(body()), files, max_tokens=33, most_seconds=60)
    assert (request.max_tokens, request.logprobs, request.sampling.temperature) == (33, None, 1.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OA_SERVE_SLOTS", "0"),
        ("OA_SERVE_SLOTS", "many"),
        ("OA_SERVE_KV_MB", "-1"),
        ("OA_SERVE_POLL_MS", "1.5"),
        ("OA_SERVE_MODELS", " , "),
        ("OA_SERVE_DEVICE", "tpu"),
    ],
)
def test_a_wrong_setting_is_named(name, value):
    with pytest.raises(BadInput, match=name):
        settings_from({name: value})


def test_settings_from_the_environment():
    settings = settings_from({"OA_SERVE_MODELS": "a, b", "OA_VAR": "x", "OA_SERVE_KV_MB": "2", "OA_SERVING_KEY": ""})
    assert settings.models == ("a", "b")
    assert settings.cache.as_posix() == "x/models"
    assert settings.engine.kv_bytes == 2 << 20
    assert settings.key is None


def test_an_open_port_needs_a_key():
    check_host("127.0.0.1", None)
    check_host("::1", None)
    check_host("localhost", None)
    check_host("0.0.0.0", "key")
    for host in ("0.0.0.0", "::", "10.0.0.1", "example.org"):
        with pytest.raises(BadInput, match="OA_SERVING_KEY"):
            check_host(host, None)


def test_exactly_one_onnxruntime():
    check_onnxruntime()
    check_onnxruntime(frozenset({"onnxruntime-gpu"}))
    for installed in (frozenset(), frozenset({"onnxruntime", "onnxruntime-gpu"})):
        with pytest.raises(Unavailable, match="exactly one"):
            check_onnxruntime(installed)


@pytest.mark.parametrize(("quota", "most"), [("50000 100000", 1), ("max 100000", 10**6), ("nonsense", 10**6)])
def test_cores_are_those_of_the_container(tmp_path, quota, most):
    (tmp_path / "cpu.max").write_text(quota)
    assert 1 <= free_cores(tmp_path / "cpu.max") <= most


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("genai_config.json", b"{}"),
        ("genai_config.json", b"no"),
        ("tokenizer.json", b"{}"),
        ("model.onnx", None),
        ("tokenizer.json", None),
    ],
)
def test_a_broken_folder_is_named(tiny, tmp_path, name, data):
    folder = tmp_path / "onnx"
    shutil.copytree(tiny / "onnx", folder)
    if data is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(data)
    with pytest.raises(OaError, match=name):
        ModelFiles(folder)


def test_cutting_left_over_from_training_is_switched_off(files, tiny, tmp_path):
    from tokenizers import Tokenizer

    folder = tmp_path / "onnx"
    shutil.copytree(tiny / "onnx", folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=64)
    tokenizer.save(str(folder / "tokenizer.json"))
    text = "The quick brown fox jumps."
    assert ModelFiles(folder).tokenizer.encode(text).ids == files.tokenizer.encode(text).ids


def test_a_model_without_a_template_cannot_chat(tiny, tmp_path):
    folder = tmp_path / "onnx"
    shutil.copytree(tiny / "onnx", folder)
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(BadInput, match="cannot chat"):
        _ = ModelFiles(folder).template


def test_prometheus_text():
    counter, histogram = Counter("c", "Counts."), Histogram("h", "Spread.", (1, 2))
    counter.add(2, name='a"b\\c\nd')
    for value in (0.5, 1, 1.5, 9):
        histogram.observe(value)
    assert render([counter, histogram]).splitlines() == [
        "# HELP c Counts.",
        "# TYPE c counter",
        'c{name="a\\"b\\\\c\\nd"} 2.0',
        "# HELP h Spread.",
        "# TYPE h histogram",
        'h_bucket{le="1"} 2.0',
        'h_bucket{le="2"} 3.0',
        'h_bucket{le="+Inf"} 4.0',
        "h_sum 12.0",
        "h_count 4.0",
    ]


def test_the_handbook_names_every_setting_metric_and_extension():
    root = Path(__file__).parents[2]
    handbook = (root / "docs" / "serving.md").read_text()
    source = "".join(path.read_text() for path in (root / "serving").glob("*.py"))
    names = set(re.findall(r"OA_[A-Z_]+|oa_serving_[a-z_]+", source)) | {"top_k", "min_p", "timeout", "ignore_eos"}
    assert len(names) > 20
    assert not [name for name in names if f"`{name}" not in handbook]
