"""Rendering, truncation, padding tokens, snapshots: what every stage stands on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stage_kit import synthetic_rows, write_snapshot

from core.errors import BadInput, NotFound, Unavailable
from core.jobspec import SnapshotRef
from jobs import base, data, stats
from jobs.chat_format import Rendered, fit, render, render_prompt, reply_text, scored_ids
from jobs.weights import load_tokenizer

TOKENIZER = base.tiny_tokenizer()
PROMPT = [{"role": "user", "content": "hello"}]
TEXT = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=40).filter(lambda text: "<|" not in text)


def test_a_reply_ends_at_the_end_of_turn_where_the_template_goes_on() -> None:
    found = render(TOKENIZER, PROMPT, "hi")
    whole = TOKENIZER.apply_chat_template([*PROMPT, {"role": "assistant", "content": "hi"}], return_dict=False)
    assert found.reply[-1] == TOKENIZER.eos_token_id
    assert whole[: len(found.ids)] == found.ids
    assert len(whole) == len(found.ids) + 1  # the newline after the end of turn


@given(TEXT, TEXT)
@settings(max_examples=50, deadline=None)
def test_a_sampled_reply_is_scored_as_the_same_reply_was_trained(question: str, answer: str) -> None:
    prompt = [{"role": "user", "content": question}]
    trained = scored_ids(TOKENIZER, prompt, answer, 512)
    sampled = render_prompt(TOKENIZER, prompt), trained.reply
    assert sampled[0] + sampled[1] == trained.ids
    assert scored_ids(TOKENIZER, prompt, reply_text(TOKENIZER, sampled[1]), 512).ids == trained.ids


@given(st.integers(0, 80), st.integers(1, 80), st.integers(16, 64), st.booleans())
def test_what_does_not_fit_loses_the_prompts_left_first(prompt: int, reply: int, room: int, close: bool) -> None:
    whole = Rendered(list(range(prompt)), list(range(1000, 1000 + reply)))
    found = fit(whole, room, close=close)
    assert len(found.ids) == min(room, prompt + reply)
    assert found.prompt == whole.prompt[found.cut_prompt :]
    assert len(found.reply) == reply - found.cut_reply
    if found.cut_reply:
        assert len(found.prompt) == min(prompt, room // 4)
        assert found.reply[-1] == (whole.reply[-1] if close else whole.reply[len(found.reply) - 1])
    else:
        assert found.reply == whole.reply


@pytest.mark.parametrize("messages", [[], [{"role": "assistant", "content": "x"}]])
def test_a_prompt_must_end_in_a_user_turn(messages: list[dict[str, Any]]) -> None:
    with pytest.raises(BadInput, match="user turn"):
        render_prompt(TOKENIZER, messages)


def test_a_template_that_changes_the_prompt_is_refused() -> None:
    tokenizer = base.tiny_tokenizer()
    tokenizer.chat_template = "{{ messages | length }}{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}"
    with pytest.raises(BadInput, match="changes the prompt"):
        render(tokenizer, PROMPT, "hi")


def test_a_template_that_closes_no_turn_is_refused() -> None:
    tokenizer = base.tiny_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    with pytest.raises(BadInput, match="does not close"):
        render(tokenizer, PROMPT, "hi")


# ---- base models ---------------------------------------------------------------------------------------------------


def test_the_tiny_base_is_made_once_and_is_ready(tmp_path: Path) -> None:
    first = base.materialise("tiny", tmp_path)
    stamp = (first / "model.safetensors").stat().st_mtime_ns
    assert base.materialise("tiny", tmp_path) == first
    assert (first / "model.safetensors").stat().st_mtime_ns == stamp
    tokenizer = load_tokenizer(first)
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert base.about(first)["licence"] == "Apache-2.0"
    assert not list(tmp_path.glob(".tiny*"))


def test_two_makers_of_the_same_base_leave_one_whole_folder(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: base.materialise("tiny", tmp_path), range(4)))
    assert found == {tmp_path / "tiny"}
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_the_tiny_tokenizer_keeps_every_text() -> None:
    text = "naïve 日本語 🙂\n\ttabs"
    assert reply_text(TOKENIZER, TOKENIZER(text)["input_ids"]) == text


def _with_pad(source: Path, target: Path, pad: str | None) -> Path:
    shutil.copytree(source, target)
    settings_file = target / "tokenizer_config.json"
    settings_ = json.loads(settings_file.read_text())
    settings_["pad_token"] = pad
    settings_file.write_text(json.dumps(settings_))
    return target


def test_a_folder_is_used_as_it_is(tiny_base: Path, tmp_path: Path) -> None:
    assert base.materialise(str(tiny_base), tmp_path) == tiny_base


def test_a_folder_whose_pad_is_its_end_token_gets_a_pad_of_its_own(tiny_base: Path, tmp_path: Path) -> None:
    source = _with_pad(tiny_base, tmp_path / "source", "<|im_end|>")
    before = (source / "tokenizer_config.json").read_text()
    with pytest.raises(BadInput, match="same as its end token"):
        load_tokenizer(source)
    found = base.materialise(str(source), tmp_path / "cache")
    assert load_tokenizer(found).pad_token == "<|endoftext|>"
    assert json.loads((found / "config.json").read_text())["pad_token_id"] == 0
    assert (source / "tokenizer_config.json").read_text() == before


@pytest.mark.parametrize("name", ["no-such-model", "./nowhere", ""])
def test_an_unknown_base_says_what_there_is(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="tiny") as caught:
        base.materialise(name or "?", tmp_path)
    assert caught.value.path == ("base",)


def test_a_hub_that_cannot_be_reached_is_said_to_be_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(Unavailable, match="open-assistant/none"):
        base.materialise("open-assistant/none", tmp_path)
    assert not (tmp_path / "open-assistant--none").exists()


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"config\.json"):
        base.materialise(str(tmp_path), tmp_path)


# ---- snapshots -----------------------------------------------------------------------------------------------------


def test_rows_by_split_without_the_sources(snapshots: dict[str, Path]) -> None:
    found = data.read(snapshots["sft/v1"], "sft", "sft/v1")
    assert len(found.train) == 18
    assert len(found.validation) == 6
    assert found.train[0]["messages"][-1]["role"] == "assistant"


def test_a_snapshot_of_another_kind_is_refused(snapshots: dict[str, Path]) -> None:
    with pytest.raises(BadInput, match="'prompts'; this stage needs 'sft'"):
        data.read(snapshots["prompts/v1"], "sft", "prompts/v1")


def test_a_snapshot_without_held_out_rows_is_refused(tmp_path: Path) -> None:
    rows = [{**row, "split": "train"} for row in synthetic_rows("sft")]
    with pytest.raises(BadInput, match="no 'validation' rows"):
        data.read(write_snapshot(tmp_path / "s", "sft", rows), "sft", "s/v1")


def test_a_snapshot_that_lacks_a_column_is_refused(tmp_path: Path) -> None:
    rows = [{name: value for name, value in row.items() if name != "messages"} for row in synthetic_rows("sft")]
    with pytest.raises(BadInput, match="lacks the columns messages"):
        data.read(write_snapshot(tmp_path / "s", "sft", rows), "sft", "s/v1")


def test_a_snapshot_that_the_job_does_not_have_is_named(make_context: Any) -> None:
    with pytest.raises(NotFound, match="nowhere/v9"):
        data.load(make_context("00-sft"), SnapshotRef(name="nowhere", version="v9"), "sft")


# ---- statistics ----------------------------------------------------------------------------------------------------


def test_wilson_by_hand() -> None:
    low, high = stats.wilson(8, 10)
    assert low == pytest.approx(0.4902, abs=1e-4)
    assert high == pytest.approx(0.9433, abs=1e-4)
    assert stats.wilson(0, 0) == (0.0, 1.0)


@given(st.integers(1, 500), st.data())
def test_wilson_holds_the_share_and_stays_between_0_and_1(count: int, draw: st.DataObject) -> None:
    won = draw.draw(st.integers(0, count))
    low, high = stats.wilson(won, count)
    assert 0 <= low <= won / count + 1e-12
    assert won / count - 1e-12 <= high <= 1


def test_ties_count_one_half() -> None:
    assert stats.share_won([1.0, 2.0, 3.0], [1.0, 1.0, 4.0]) == 1.5


def test_repetition_of_a_loop_and_of_distinct_tokens() -> None:
    assert stats.repetition(list(range(20))) == 0
    assert stats.repetition([1, 2] * 20) > 0.9
    assert stats.repetition([1]) == 0
    assert stats.mean_std([1.0, 3.0]) == (2.0, 1.0)
    assert stats.mean_std([]) == (0.0, 1.0)
