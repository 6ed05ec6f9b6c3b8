"""Build `trees.jsonl` from the texts in `source/`: `python samples/build.py` from the project's root.

Knows the compact form of the source files and how ids, dates, labels and rankings of the samples are made up. Knows
nothing of the stores. The same texts always give the same bytes.

A source file is named for its language and holds blocks, one a tree:

    @ key
    > what the prompter says
    A: the best reply
    B wrong: a worse one, and what is wrong with it (one of `FLAWS`)
    C short: the worst
    > the prompter goes on from reply A
    A: ...

A line that begins with two spaces continues the text above it. An empty line between blocks is for the eye.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ORIGIN = "open-assistant-samples"
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, f"{ORIGIN}.invalid")
START = datetime(2026, 1, 5, 8, tzinfo=UTC)
CONTRIBUTORS = 12
REVIEWS = 3
RANKINGS = 3

# What reviewers would answer about a reply with that flaw: quality, helpfulness, fails_task.
FLAWS = {
    "best": (0.92, 0.92, 0.0),
    "fine": (0.75, 0.67, 0.0),
    "short": (0.42, 0.5, 0.0),
    "vague": (0.33, 0.25, 0.0),
    "rambling": (0.33, 0.33, 0.0),
    "wrong": (0.25, 0.08, 0.33),
    "off-topic": (0.25, 0.0, 1.0),
}
HARMLESS = ("spam", "lang_mismatch", "pii", "not_appropriate", "hate_speech", "sexual_content")
REPLY = re.compile(r"^([A-C])(?: ([a-z-]+))?: (.*)$")


@dataclass
class Turn:
    """A prompter's text and the replies to it, best first, each with its flaw (`best` for the first)."""

    text: str
    replies: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Source:
    """One tree as written: its key, unique within the language, and its turns; each follows the best reply before."""

    lang: str
    key: str
    turns: list[Turn] = field(default_factory=list)


def parse(lang: str, text: str) -> Iterator[Source]:
    """The trees of one source file.

    Raises:
        ValueError: a line is of none of the known forms; the message has its number.
    """
    tree: Source | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("@ "):
            if tree is not None:
                yield tree
            tree = Source(lang, line[2:].strip())
        elif tree is not None and line:
            _read(tree, line, number)
    if tree is not None:
        yield tree


def _read(tree: Source, line: str, number: int) -> None:
    reply = REPLY.match(line)
    if line.startswith("> "):
        tree.turns.append(Turn(line[2:]))
    elif line.startswith("  ") and tree.turns:
        _continue(tree.turns[-1], line[2:])
    elif reply and tree.turns and (reply[2] or "best") in FLAWS:
        tree.turns[-1].replies.append((reply[2] or "best", reply[3]))
    else:
        raise ValueError(f"source of {tree.lang}, line {number}: {line!r} is neither prompt, reply nor continuation")


def _continue(turn: Turn, more: str) -> None:
    if turn.replies:
        flaw, text = turn.replies[-1]
        turn.replies[-1] = (flaw, f"{text}\n{more}")
    else:
        turn.text += f"\n{more}"


def sources(folder: Path = HERE / "source") -> list[Source]:
    """Every tree of every source file, by language, then as written."""
    return [tree for path in sorted(folder.glob("*.txt")) for tree in parse(path.stem, path.read_text("utf-8"))]


def build(source: Source) -> dict[str, Any]:
    """One tree in the form of Open-Assistant's exports (`ExportMessageTree`)."""
    tree_id = _id(source, "0")
    below: list[dict[str, Any]] = []
    for index in reversed(range(len(source.turns))):
        below = [_prompt_node(source, index, below)]
    return {"message_tree_id": tree_id, "tree_state": "ready_for_export", "prompt": below[0], "origin": ORIGIN}


def _prompt_node(source: Source, index: int, below: list[dict[str, Any]]) -> dict[str, Any]:
    turn = source.turns[index]
    replies = [_reply_node(source, index, rank) for rank in range(len(turn.replies))]
    replies[0]["replies"] = below
    parent = None if index == 0 else _id(source, f"{index - 1}.0")
    node = _node(source, str(index), parent, turn.text, "prompter", 0.75) | {"rank": None, "replies": replies}
    ids = [reply["message_id"] for reply in replies]
    node["events"] = {"ranking": [_ranking(source, node["message_id"], ids, voter) for voter in range(RANKINGS)]}
    return node


def _reply_node(source: Source, index: int, rank: int) -> dict[str, Any]:
    flaw, text = source.turns[index].replies[rank]
    quality, helpfulness, fails = FLAWS[flaw]
    node = _node(source, f"{index}.{rank}", _id(source, str(index)), text, "assistant", quality)
    node["labels"] |= {"fails_task": _label(fails), "helpfulness": _label(helpfulness)}
    return node | {"rank": rank, "replies": []}


def _node(source: Source, path: str, parent: str | None, text: str, role: str, quality: float) -> dict[str, Any]:
    return {
        "message_id": _id(source, path),
        "parent_id": parent,
        "user_id": _author(source, path),
        "created_date": _date(source, path),
        "text": text,
        "role": role,
        "lang": source.lang,
        "review_count": REVIEWS,
        "review_result": True,
        "deleted": False,
        "synthetic": False,
        "model_name": None,
        "emojis": {"+1": 2} if quality > 0.9 else {},
        "labels": {**{name: _label(0.0) for name in HARMLESS}, "quality": _label(quality)},
    }


def _label(value: float) -> dict[str, float]:
    return {"value": value, "count": REVIEWS}


def _ranking(source: Source, parent: str, best_first: list[str], voter: int) -> dict[str, Any]:
    """One contributor's order; the last voter may swap two neighbours, so two of three always agree on every pair."""
    order = list(best_first)
    swap = _number(source, f"swap {parent}") % (len(order) + 1)
    if voter == RANKINGS - 1 and swap < len(order) - 1:
        order[swap], order[swap + 1] = order[swap + 1], order[swap]
    return {
        "type": "ranking",
        "user_id": _person(_number(source, "author") + 4 + voter),
        "ranking": [best_first.index(each) for each in order],
        "ranked_message_ids": order,
        "ranking_parent_id": parent,
        "message_tree_id": _id(source, "0"),
        "not_rankable": False,
    }


def _author(source: Source, path: str) -> str:
    """Prompters are one person a tree, siblings three others; none of the four ranks in the tree."""
    place = 1 + int(path.split(".")[1]) if "." in path else 0
    return _person(_number(source, "author") + place)


def _person(number: int) -> str:
    return f"sample-{number % CONTRIBUTORS + 1:02d}"


def _date(source: Source, path: str) -> str:
    """Hours after `START` by turn, minutes by hash: siblings are not in order of rank."""
    turn = int(path.split(".")[0]) * 2 + ("." in path)
    day = _number(source, "day") % 60
    moment = START + timedelta(days=day, hours=turn * 3, seconds=_number(source, path) % 9000)
    return (moment + timedelta(microseconds=_number(source, f"us {path}") % 1_000_000)).isoformat()


def _id(source: Source, path: str) -> str:
    return str(uuid.uuid5(NAMESPACE, f"{source.lang}/{source.key}/{path}"))


def _number(source: Source, about: str) -> int:
    digest = hashlib.sha256(f"{source.lang}/{source.key}/{about}".encode()).digest()
    return int.from_bytes(digest[:4])


def lines() -> str:
    """The whole of `trees.jsonl`."""
    return "".join(json.dumps(build(source), ensure_ascii=False) + "\n" for source in sources())


if __name__ == "__main__":
    (HERE / "trees.jsonl").write_text(lines(), "utf-8")
