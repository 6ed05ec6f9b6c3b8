"""Files of lines: names, compression, limits, and what a failure leaves behind."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pytest

from core import jsonl
from core.errors import BadInput, BadRecord
from core.jsonl import Lines, parse_object, writer


@pytest.mark.parametrize("name", ["plain.jsonl", "packed.jsonl.gz"])
def test_what_is_written_is_read_with_numbers_and_empty_lines_count(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with writer(path) as out:
        out.write(b'{"a":1}\n\n{"a":2}')
    lines = Lines(path)
    assert [(number, parse_object(line)) for number, line in lines] == [(1, {"a": 1}), (3, {"a": 2})]
    assert lines.total == lines.consumed == path.stat().st_size


def test_the_same_lines_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one.gz", "two.gz"):
        with writer(str(tmp_path / name)) as out:
            out.write(b"x" * 100)
    assert (tmp_path / "one.gz").read_bytes() == (tmp_path / "two.gz").read_bytes()
    assert gzip.decompress((tmp_path / "one.gz").read_bytes()) == b"x" * 100


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("before")
    with pytest.raises(TypeError), writer(path) as out:
        out.writelines([b"half", "no bytes"])  # type: ignore[list-item]
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_standard_input_and_output(monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"{}\n[]\n")))
    assert [line for _, line in Lines("-")] == [b"{}\n", b"[]\n"]
    with writer("-") as out:
        out.write(b"here\n")
    assert capsysbinary.readouterr().out == b"here\n"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"{", "no JSON"),
        (b'{"a": NaN}', "no JSON"),
        (b'{"a": "\xff"}', "no JSON"),
        (b'{"a": "\\ud800"}', "no JSON"),
        (b"[" * 5000, "no JSON"),
        (b"[1]", "a list"),
        ("5", "an? int"),
    ],
)
def test_a_line_that_is_no_object_is_refused(line: bytes, says: str) -> None:
    with pytest.raises(BadRecord, match=says):
        parse_object(line)


def test_a_file_that_is_not_there_or_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"missing\.jsonl.*No such file"):
        Lines(tmp_path / "missing.jsonl")
    with pytest.raises(BadInput, match="cannot write"), writer(tmp_path / "no" / "folder.jsonl"):
        pass


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-20], lambda data: b"no gzip", lambda data: data[:30] + data[40:]]
)
def test_a_broken_gzip_stream_is_refused_with_the_line_where_it_breaks(tmp_path: Path, damage: object) -> None:
    path = tmp_path / "broken.jsonl.gz"
    path.write_bytes(damage(gzip.compress(b'{"a": 1}\n' * 5000)))  # type: ignore[operator]
    with pytest.raises(BadRecord, match=r"line \d+: the gzip stream is broken"):
        list(Lines(path))


def test_a_line_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "MAX_LINE_BYTES", 1 << 20)
    path = tmp_path / "endless.jsonl"
    path.write_bytes(b"{}\n" + b" " * (1 << 21))
    with pytest.raises(BadRecord, match="line 2: longer than 1 MiB"):
        list(Lines(path))
