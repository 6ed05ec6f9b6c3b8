"""`oa models` against a real object store."""

from __future__ import annotations

import json

import pytest
from serving_kit import publish
from typer.testing import CliRunner

from core import layout
from core.errors import BadInput, Corrupt, NotFound, OaError
from oa.models import app


@pytest.fixture
def run(store, monkeypatch):
    monkeypatch.setenv("OA_S3_ENDPOINT", store.endpoint)
    monkeypatch.setenv("OA_S3_BUCKET", store.bucket)

    def invoke(*arguments):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return invoke


@pytest.fixture
def published(store, tiny):
    """v1 passed its check, v2 did not, v3 was never checked."""
    for version, checks in (("v1", {"parity": {"passed": True}}), ("v2", {"parity": {"passed": False}}), ("v3", {})):
        publish(store, tiny, "assistant", version)
        key = layout.model_manifest("assistant", version)
        store.put_json(key, {**store.get_json(key), "created_at": f"2026-01-0{version[1]}T00:00:00Z", "checks": checks})


def test_listing_and_promoting(store, published, run):
    assert [item["promoted"] for item in json.loads(run("list", "--json").stdout)] == [False, False, False]
    assert "assistant@v1 serves now" in run("promote", "assistant@v1").stdout
    assert store.get_json(layout.promoted("assistant"))["version"] == "v1"
    shown = json.loads(run("list", "assistant", "--json").stdout)
    assert [(item["version"], item["promoted"]) for item in shown] == [("v3", False), ("v2", False), ("v1", True)]
    table = run("list").stdout
    assert "assistant@v1" in table
    assert "1 of 1 passed" in table


@pytest.mark.parametrize(
    ("label", "code"),
    [
        ("assistant", "BAD_INPUT"),
        ("assistant@v2", "GATE_FAILED"),
        ("assistant@v3", "GATE_FAILED"),
        ("assistant@v9", "NO_MODEL"),
    ],
)
def test_what_may_not_serve_is_not_promoted(store, published, run, label, code):
    with pytest.raises(OaError) as caught:
        run("promote", label)
    assert caught.value.code == code
    with pytest.raises(NotFound):
        store.get(layout.promoted("assistant"))


def test_pulling_brings_verified_files(store, tiny, published, run, tmp_path):
    run("pull", "assistant@v1", tmp_path / "copy", "--form", "onnx")
    names = {path.name for path in (tmp_path / "copy" / "onnx").iterdir()}
    assert names == {path.name for path in (tiny / "onnx").iterdir()}
    assert not (tmp_path / "copy" / "card.md").exists()
    run("pull", "assistant@v1", tmp_path / "copy")
    assert (tmp_path / "copy" / "card.md").is_file()
    with pytest.raises(BadInput, match="no form 'hf'"):
        run("pull", "assistant@v1", tmp_path / "other", "--form", "hf")


def test_pulling_refuses_a_wrong_hash_and_a_file_as_folder(store, published, run, tmp_path):
    store.put(layout.model("assistant", "v1") + "onnx/model.onnx", b"other")
    with pytest.raises(Corrupt, match=r"model\.onnx"):
        run("pull", "assistant@v1", tmp_path / "copy")
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="is a file"):
        run("pull", "assistant@v1", tmp_path / "file")
