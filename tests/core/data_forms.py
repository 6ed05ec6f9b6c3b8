"""What the tests of data in and out share: trees as they stand in files, and ways to look at them."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.targets import Plan
from core.tree_export import Choice, export_trees

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
Node = dict[str, Any]


def read(path: Path) -> dict[str, Node]:
    """The trees of a file by id."""
    content = gzip.decompress(path.read_bytes()) if path.name.endswith(".gz") else path.read_bytes()
    return {tree["message_tree_id"]: tree for tree in map(json.loads, content.splitlines())}


async def exported(database: Any, **options: Any) -> dict[str, Node]:
    """The trees of a database by id."""
    out = io.BytesIO()
    await export_trees(database, out, Choice(**options), Plan(form="trees"))
    return {tree["message_tree_id"]: tree for tree in map(json.loads, out.getvalue().splitlines())}


def nodes(tree: Node) -> Iterator[Node]:
    """Every message of a tree, depth first."""
    waiting = [tree["prompt"]]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(reversed(node.get("replies") or []))


def message(identity: str, *replies: Node, role: str = "prompter", **fields: Any) -> Node:
    """A message with the fewest fields; replies take the other role and their parent."""
    other = "assistant" if role == "prompter" else "prompter"
    for reply in replies:
        turn(reply, other)
    return {"message_id": identity, "text": f"text of {identity}", "role": role, **fields, "replies": list(replies)}


def turn(node: Node, role: str) -> None:
    """Give a message `role`, and its descendants theirs."""
    node["role"] = role
    for reply in node["replies"]:
        turn(reply, "assistant" if role == "prompter" else "prompter")


def tree(root: Node, state: str = "ready_for_export", **fields: Any) -> Node:
    """A tree of a root message."""
    return {"message_tree_id": root["message_id"], "tree_state": state, "prompt": root, **fields}
