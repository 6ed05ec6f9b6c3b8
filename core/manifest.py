"""Folders in the object store that are whole or not there: files first, a hashed manifest last.

Knows how to publish, verify and fetch such a folder; used for dataset snapshots, checkpoints, stage outputs and
models alike. A reader never sees a half-written folder, because without its manifest it does not exist.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from core.errors import Corrupt
from core.ids import content_hash
from core.objects import ObjectStore, file_sha256


@dataclass(frozen=True)
class FileEntry:
    """One file of a folder: its path in it (with `/`), its size in bytes, its SHA-256 as 64 hex digits."""

    path: str
    bytes: int
    sha256: str


def describe(folder: Path) -> list[FileEntry]:
    """Every file under `folder`, sorted by path, hashed."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [FileEntry(path.relative_to(folder).as_posix(), path.stat().st_size, file_sha256(path)) for path in files]


def publish(
    store: ObjectStore, folder: Path, prefix: str, about: dict[str, Any], *, name: str = "manifest.json"
) -> dict[str, Any]:
    """Send every file of `folder` under `prefix`, then the manifest; returns the manifest.

    The manifest is `about` plus `files` and `content_hash` (of the list of files). Sending the same folder again
    writes the same bytes.
    """
    files = [entry for entry in describe(folder) if entry.path != name]  # a manifest left there by `fetch` is no file
    for entry in files:
        store.upload(folder / entry.path, prefix + entry.path)
    listed = [asdict(entry) for entry in files]
    manifest = {**about, "files": listed, "content_hash": content_hash(listed)}
    store.put_json(prefix + name, manifest)
    return manifest


def fetch(
    store: ObjectStore, prefix: str, folder: Path, *, name: str = "manifest.json", only: str = ""
) -> dict[str, Any]:
    """Bring the folder published under `prefix` to `folder`, each file checked by hash; returns the manifest.

    Files that are there already with the right hash are not fetched again, so an interrupted fetch goes on. The
    manifest is written to the folder last, so a local folder with a manifest is whole too.

    Args:
        store: where from.
        prefix: with its last `/`.
        folder: where to.
        name: the manifest's name.
        only: fetch just the files whose path starts so, and no manifest.

    Raises:
        NotFound: there is no manifest, hence no such folder.
        Corrupt: a file does not match its hash.
    """
    manifest: dict[str, Any] = store.get_json(prefix + name)
    for entry in entries(manifest):
        if not entry.path.startswith(only):
            continue
        target = _inside(folder, entry.path)
        if target.is_file() and target.stat().st_size == entry.bytes and file_sha256(target) == entry.sha256:
            continue
        store.download(prefix + entry.path, target, sha256=entry.sha256)
    if not only:
        write_whole(folder / name, orjson.dumps(manifest, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS))
    return manifest


def write_whole(path: Path, data: bytes) -> None:
    """Write a file by way of another beside it, so that `path` is whole or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    partial.write_bytes(data)
    partial.replace(path)


def entries(manifest: dict[str, Any]) -> Iterable[FileEntry]:
    """The files that a manifest lists."""
    return [FileEntry(item["path"], item["bytes"], item["sha256"]) for item in manifest["files"]]


def _inside(folder: Path, path: str) -> Path:
    """Threat: a forged manifest whose paths climb out of the folder."""
    target = (folder / path).resolve()
    if not target.is_relative_to(folder.resolve()):
        raise Corrupt(f"manifest names {path!r}, which is outside its folder")
    return target
