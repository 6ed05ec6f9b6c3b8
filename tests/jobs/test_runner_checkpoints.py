"""Checkpoints on the real object store: complete or not there, verified, two kept, never another stage's."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import layout
from core.errors import OaError
from core.ids import new_id
from core.objects import ObjectStore
from jobs.checkpoints import MANIFEST, StoreCheckpoints
from jobs.claims import LeaseLost

STAGE = "00-sft"


class Shelf:
    """Makes checkpoints of one job and keeps count."""

    def __init__(self, store: ObjectStore, folder: Path) -> None:
        self.store, self.folder, self.job_id = store, folder, new_id()
        self.said: list[str] = []

    def checkpoints(self, attempt: int = 1, key: str = "k1", **other: object) -> StoreCheckpoints:
        cache = self.folder / f"cache-{attempt}-{key}"
        return StoreCheckpoints(
            self.store,
            self.job_id,
            STAGE,
            attempt,
            key,
            cache,
            on_broken=self.said.append,
            **other,  # type: ignore[arg-type]
        )

    def content(self, step: int) -> Path:
        folder = self.folder / f"made-{step}"
        (folder / "deep").mkdir(parents=True, exist_ok=True)
        (folder / "weights").write_text(f"weights {step}")
        (folder / "deep" / "rng").write_text(f"rng {step}")
        return folder

    def names(self) -> list[str]:
        return [item.key for item in self.store.list(layout.checkpoints(self.job_id, STAGE))]


@pytest.fixture
def shelf(store: ObjectStore, tmp_path: Path) -> Shelf:
    return Shelf(store, tmp_path)


def test_the_newest_comes_back_whole_and_two_are_kept(shelf: Shelf) -> None:
    assert shelf.checkpoints().latest() is None
    for step in (2, 4, 6):
        shelf.checkpoints().save(step, shelf.content(step))
    step, folder = shelf.checkpoints(attempt=2).latest() or (0, Path())
    assert step == 6
    assert (folder / "weights").read_text() == "weights 6"
    assert (folder / "deep" / "rng").read_text() == "rng 6"
    assert {key.split("/")[4] for key in shelf.names()} == {"00000004-000001", "00000006-000001"}


def test_a_step_saved_again_under_a_later_attempt_wins(shelf: Shelf) -> None:
    shelf.checkpoints(attempt=1).save(4, shelf.content(4))
    shelf.checkpoints(attempt=2).save(4, shelf.content(5))
    _, folder = shelf.checkpoints(attempt=3).latest() or (0, Path())
    assert (folder / "weights").read_text() == "weights 5"


def test_without_its_manifest_a_checkpoint_is_not_there(shelf: Shelf) -> None:
    for step in (2, 4):
        shelf.checkpoints().save(step, shelf.content(step))
    shelf.store.delete(layout.checkpoint(shelf.job_id, STAGE, 4, 1) + MANIFEST)
    assert (shelf.checkpoints(attempt=2).latest() or (0,))[0] == 2


@pytest.mark.parametrize("harm", ["changed", "missing"])
def test_a_broken_one_is_passed_over_for_the_one_before(shelf: Shelf, harm: str) -> None:
    for step in (2, 4):
        shelf.checkpoints().save(step, shelf.content(step))
    key = layout.checkpoint(shelf.job_id, STAGE, 4, 1) + "weights"
    if harm == "changed":
        shelf.store.put(key, b"weights 5")
    else:
        shelf.store.delete(key)
    assert (shelf.checkpoints(attempt=2).latest() or (0,))[0] == 2
    assert "step 4 is broken" in shelf.said[0]


def test_a_checkpoint_of_other_settings_is_refused(shelf: Shelf) -> None:
    shelf.checkpoints(key="k1").save(2, shelf.content(2))
    with pytest.raises(OaError, match="other settings") as caught:
        shelf.checkpoints(key="k2").latest()
    assert caught.value.code == "STAGE_CHANGED"


def test_who_lost_the_claim_or_is_not_first_writes_nothing(shelf: Shelf) -> None:
    def check() -> None:
        raise LeaseLost("claim 2 follows")

    with pytest.raises(LeaseLost):
        shelf.checkpoints(check=check).save(2, shelf.content(2))
    shelf.checkpoints(writes=False).save(2, shelf.content(2))
    shelf.checkpoints(writes=False).clear()
    assert shelf.names() == []


def test_cleared_nothing_is_left(shelf: Shelf) -> None:
    shelf.checkpoints().save(2, shelf.content(2))
    shelf.checkpoints().clear()
    assert shelf.names() == []
