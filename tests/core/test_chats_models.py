"""Published models: listing, promotion gates, lineage both ways, over a real object store and a frozen snapshot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core import layout, manifest
from core.errors import BadInput, NotFound, OaError
from core.interchange import import_trees
from core.models import Models, learned_from, list_versions, sources, split_version
from core.objects import ObjectStore
from core.snapshots import freeze

SAMPLES = Path(__file__).resolve().parents[2] / "samples" / "trees.jsonl"


def publish(store: ObjectStore, folder: Path, version: str, **about: Any) -> None:
    """A version as the export stage publishes it, with a stand-in for its graph."""
    (folder / "onnx").mkdir(parents=True, exist_ok=True)
    (folder / "onnx" / "model.onnx").write_bytes(version.encode())
    known = {"format": 1, "name": "assistant", "version": version, "created_at": f"2026-01-01T00:00:0{version[-1]}Z",
             "job_id": "job-1", "checks": {"onnx_parity": {"passed": True}}, "datasets": []}  # fmt: skip
    manifest.publish(store, folder, layout.model("assistant", version), {**known, **about})


@pytest.fixture
def models(database: Any, store: ObjectStore) -> Models:
    return Models(database, store)


async def test_promoting_names_the_version_that_serves(models: Models, tmp_path: Path) -> None:
    for version in ("v1", "v2"):
        publish(models.store, tmp_path, version)
    await models.promote("assistant", "v1", by="root")
    assert (await models.promote("assistant", "v2", by="root")).promoted
    pointer = models.store.get_json(layout.promoted("assistant"))
    assert (pointer["version"], pointer["previous"], pointer["by"]) == ("v2", "v1", "root")
    assert [(each.label, each.promoted) for each in await models.versions()] == [
        ("assistant@v2", True),
        ("assistant@v1", False),
    ]
    entries = [entry["details"] async for entry in models.database.events.find({"kind": "promote_model"})]
    assert entries == [{"version": "v1", "previous": None}, {"version": "v2", "previous": "v1"}]


async def test_promoting_again_changes_nothing(models: Models, tmp_path: Path) -> None:
    publish(models.store, tmp_path, "v1")
    await models.promote("assistant", "v1", by="root")
    before = models.store.get(layout.promoted("assistant"))
    await models.promote("assistant", "v1", by="else")
    assert models.store.get(layout.promoted("assistant")) == before


@pytest.mark.parametrize(
    ("checks", "why"),
    [
        ({}, "was not checked"),
        ({"onnx_parity": {"passed": False}}, "did not pass onnx_parity"),
        ({"a": {"passed": True}, "b": {}}, "did not pass b"),
    ],
)
async def test_what_did_not_pass_its_checks_never_serves(
    models: Models, tmp_path: Path, checks: dict[str, Any], why: str
) -> None:
    publish(models.store, tmp_path, "v1", checks=checks)
    with pytest.raises(OaError, match=why) as refusal:
        await models.promote("assistant", "v1", by="root")
    assert refusal.value.code == "GATE_FAILED"
    assert not models.store.exists(layout.promoted("assistant"))


async def test_an_unknown_version_is_named_with_those_that_there_are(models: Models, tmp_path: Path) -> None:
    publish(models.store, tmp_path, "v1")
    with pytest.raises(NotFound, match="versions of that name: v1") as refusal:
        await models.promote("assistant", "v9", by="root")
    assert refusal.value.code == "NO_MODEL"


def test_a_half_published_version_is_not_listed(store: ObjectStore, tmp_path: Path) -> None:
    publish(store, tmp_path, "v1")
    store.put(f"{layout.model('assistant', 'v2')}onnx/model.onnx", b"x")
    assert [each.version for each in list_versions(store)] == ["v1"]


async def test_lineage_runs_both_ways(models: Models, tmp_path: Path) -> None:
    with SAMPLES.open("rb") as lines:
        await import_trees(models.database, lines, origin="samples")
    frozen = {
        kind: await freeze(models.database, models.store, kind=kind, name=kind, filters={"langs": ["en"]})
        for kind in ("sft", "preference")
    }
    used = [{key: frozen[kind][key] for key in ("name", "version", "kind", "content_hash")} for kind in frozen]
    publish(models.store, tmp_path, "v1", datasets=used[:1])
    publish(models.store, tmp_path, "v2", datasets=used)
    found = await models.lineage_of_reply("assistant@v2")
    assert found is not None
    assert found.job_id == "job-1"
    assert [use.kind for use in found.snapshots] == ["sft", "preference"]
    held = sources(models.store, used[1], first=10_000)
    for kind, count in found.snapshots[1].sources.items():
        assert count == sum(source["kind"] == kind for source in held) > 0
        of_kind = [source for source in held if source["kind"] == kind]
        assert sources(models.store, used[1], first=2, after=1, kind=kind) == of_kind[1:3]
    in_both = {source["id"] for source in sources(models.store, used[0], first=10_000)} & {each["id"] for each in held}
    only_preferred = {source["id"] for source in held if source["kind"] == "message"} - in_both
    assert [each.version for each in await models.learned_from(sorted(in_both)[0])] == ["v2", "v1"]
    assert [each.version for each in await models.learned_from(sorted(only_preferred)[0])] == ["v2"]
    assert learned_from(models.store, "nowhere") == []


async def test_a_removed_snapshot_leaves_the_rest_of_the_lineage(models: Models, tmp_path: Path) -> None:
    gone = {"name": "gone", "version": "v0", "kind": "sft", "content_hash": ""}
    publish(models.store, tmp_path, "v1", datasets=[gone])
    found = await models.lineage("assistant", "v1")
    assert [(use.name, use.sources) for use in found.snapshots] == [("gone", {})]
    assert await models.learned_from("m") == []


@pytest.mark.parametrize("label", [None, "", "other", "assistant@gone"])
async def test_a_reply_of_an_unpublished_model_has_no_lineage(models: Models, label: str | None) -> None:
    assert await models.lineage_of_reply(label) is None


@pytest.mark.parametrize("label", ["", "x", "@v", "x@"])
def test_a_malformed_version_is_refused(label: str) -> None:
    with pytest.raises(BadInput, match="name@version"):
        split_version(label)
