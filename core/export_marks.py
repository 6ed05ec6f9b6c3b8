"""How far an export is, kept beside what it has written, so that one that was killed goes on where it was.

Knows places (a folder, or a prefix of the object store) and the mark in them: settings, how many parts are whole, and
the last tree in them. A part is there before the mark counts it, so what was being written is written again. Secrets
are kept as digests that only their holder can make again.
"""

from __future__ import annotations

import hmac
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from core.errors import BadInput, Conflict, NotFound
from core.ids import new_id
from core.records import now

if TYPE_CHECKING:
    from core.objects import ObjectStore

NAME = ".export.json"
KEPT = timedelta(hours=12)
"""For how long an export can go on: what was written of trees that have changed since must not become much older."""
_PART = re.compile(r"^\.?part-\d{5}(\.[a-z.]+)?$")


@dataclass(frozen=True)
class Mark:
    """How far an export is.

    Attributes:
        run: of the process that goes on with it; another one takes it over by its own.
        settings: what decides the content, secrets as digests.
        began, told: when it began, and when this was written, RFC 3339.
        parts: of them are whole.
        after: name of the last tree in them.
        trees, messages: in them.
    """

    run: str = field(default_factory=new_id)
    settings: dict[str, Any] = field(default_factory=dict)
    began: str = field(default_factory=lambda: now().isoformat())
    told: str = field(default_factory=lambda: now().isoformat())
    parts: int = 0
    after: str = ""
    trees: int = 0
    messages: int = 0

    def forward(self, after: str, trees: int, messages: int) -> Mark:
        """The mark with one more part, which ends with the tree `after`."""
        return replace(
            self, told=now().isoformat(), parts=self.parts + 1, after=after, trees=self.trees + trees,
            messages=self.messages + messages,
        )  # fmt: skip


class Place(Protocol):
    """Where parts and the mark lie.

    Attributes:
        title: as people name it.
        scratch: the folder in which parts are written.
    """

    title: str
    scratch: Path

    def names(self) -> list[str]:
        """What lies in it."""

    def read(self, name: str) -> bytes | None:
        """The content of something small; None where it is not there."""

    def write(self, name: str, data: bytes) -> None:
        """Put something small in it, whole."""

    def take(self, path: Path) -> None:
        """Put a part in it that was written to `scratch`."""

    def remove(self, names: list[str]) -> None:
        """Remove those that are there."""

    def at_hand(self, name: str) -> Any:
        """A context: the path of a part on this machine."""


class Folder:
    """A folder; made when something is written.

    Args:
        path: where.
        title: what people know of it; None for its path. A folder with another title goes when it is empty.
    """

    def __init__(self, path: Path, title: str | None = None) -> None:
        self.title, self.scratch = title or str(path), path
        self._passing = title is not None

    def names(self) -> list[str]:
        """See `Place`."""
        with self._said("read"):
            return sorted(each.name for each in self.scratch.iterdir()) if self.scratch.exists() else []

    def read(self, name: str) -> bytes | None:
        """See `Place`."""
        path = self.scratch / name
        return path.read_bytes() if path.exists() else None

    def write(self, name: str, data: bytes) -> None:
        """See `Place`."""
        with self._said("write into"):
            self.scratch.mkdir(parents=not self._passing, exist_ok=True)
            partial = self.scratch / f"{name}.part"
            with partial.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self.scratch / name)

    def take(self, path: Path) -> None:
        """See `Place`: it is there."""

    def remove(self, names: list[str]) -> None:
        """See `Place`."""
        for name in names:
            (self.scratch / name).unlink(missing_ok=True)
        if self._passing and self.scratch.exists() and not any(self.scratch.iterdir()):
            self.scratch.rmdir()

    @contextmanager
    def at_hand(self, name: str) -> Iterator[Path]:
        """See `Place`."""
        yield self.scratch / name

    @contextmanager
    def _said(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise BadInput(f"cannot {doing} {self.title!r}: {error.strerror}") from error


class Prefix:
    """All objects of which the keys begin with `prefix`.

    Args:
        store: where.
        prefix: empty, or with its last `/`.
        scratch: a folder of this machine.
        title: what people know of it; None for its address.
    """

    def __init__(self, store: ObjectStore, prefix: str, scratch: Path, title: str | None = None) -> None:
        self.title = title or f"s3://{store.bucket}/{prefix}"
        self.scratch, self._store, self._prefix = scratch, store, prefix

    def names(self) -> list[str]:
        """See `Place`."""
        return [each.key.removeprefix(self._prefix) for each in self._store.list(self._prefix)]

    def read(self, name: str) -> bytes | None:
        """See `Place`."""
        try:
            return self._store.get(self._prefix + name)
        except NotFound as error:
            if error.code == "BUCKET_MISSING":
                raise
            return None

    def write(self, name: str, data: bytes) -> None:
        """See `Place`."""
        self._store.put(self._prefix + name, data)

    def take(self, path: Path) -> None:
        """See `Place`."""
        self._store.upload(path, self._prefix + path.name)
        path.unlink()

    def remove(self, names: list[str]) -> None:
        """See `Place`."""
        for name in names:
            self._store.delete(self._prefix + name)

    @contextmanager
    def at_hand(self, name: str) -> Iterator[Path]:
        """See `Place`."""
        path = self.scratch / name
        self._store.download(self._prefix + name, path)
        yield path
        path.unlink()


def begin(place: Place, settings: Mapping[str, Any], *, anew: bool) -> Mark:
    """The mark of an export into `place`: that of one that was interrupted, or a fresh one, which is written.

    Args:
        settings: what decides the content, JSON values.
        anew: forget one that was interrupted.

    Raises:
        BadInput: something else lies there, or what lies there was begun with other settings or is not whole.
    """
    old = _old(place)
    if old is not None and (anew or not old.parts or _too_old(old)):
        clear(place)
        old = None
    if old is None and (there := [name for name in place.names() if name != f"{NAME}.part"]):
        raise BadInput(f"{place.title!r} is not empty ({there[0]!r}); parts of two exports must not mix")
    if old is not None and (other := _other(old.settings, settings)):
        raise BadInput(
            f"an export to {place.title!r} was interrupted after {old.trees} trees, and had {other}; give it the same "
            "to go on, or --anew to begin again"
        )
    if old is not None and (gone := _gone(place, old)):
        raise BadInput(f"{gone} of the interrupted export to {place.title!r} is gone; begin again with --anew")
    mark = Mark(settings=dict(settings)) if old is None else replace(old, run=new_id())
    place.write(NAME, orjson.dumps(asdict(mark)))
    return mark


def _old(place: Place) -> Mark | None:
    data = place.read(NAME)
    if data is None:
        return None
    try:
        return Mark(**orjson.loads(data))
    except (ValueError, TypeError) as error:
        raise BadInput(f"{NAME!r} in {place.title!r} is not that of an export: {error}; remove it") from error


def _gone(place: Place, mark: Mark) -> str:
    """The first part that the mark counts and that is not there; empty where all are."""
    there = {name.partition(".")[0] for name in place.names()}
    wanted = (f"part-{number:05d}" for number in range(mark.parts))
    return next((name for name in wanted if name not in there), "")


def _too_old(mark: Mark) -> bool:
    return datetime.fromisoformat(mark.began) < now() - KEPT


def _other(before: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """What differs, in words; a secret by its name alone."""
    names = sorted(name for name in {*before, *settings} if before.get(name) != settings.get(name))
    return ", ".join(
        f"another {name}"
        if name in ("salt", "pseudonyms")
        else f"{name} {before.get(name)!r} (now {settings.get(name)!r})"
        for name in names
    )


def keep(place: Place, mark: Mark) -> None:
    """Write how far the export is.

    Raises:
        Conflict: another process goes on with it.
    """
    held = _old(place)
    if held is None or held.run != mark.run:
        raise Conflict(f"another export writes to {place.title!r}; this one has stopped")
    place.write(NAME, orjson.dumps(asdict(mark)))


def give_up(place: Place, mark: Mark) -> None:
    """Leave nothing behind where no part is whole, unless another process has taken over."""
    if not mark.parts and (held := _old(place)) is not None and held.run == mark.run:
        clear(place)


def clear(place: Place) -> None:
    """Remove parts, whole or not, and then the mark."""
    parts = [name for name in place.names() if _PART.match(name)]
    place.remove([*parts, f"{NAME}.part", NAME])


def digest_of(secret: str | None) -> str | None:
    """What only who knows the secret can make again."""
    return None if secret is None else hmac.digest(secret.encode(), b"export", "sha256").hex()
