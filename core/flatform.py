"""Flat messages, one a line or row: Open-Assistant's message files and its 18-column releases, from trees and to trees.

Knows the two flat forms: labels and emojis as objects, or as columns (`{"name": [...], "count": [...]}`). Holds one
tree at a time, so the rows of a tree must follow each other, parents first; that is how both forms are written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from core.errors import BadRecord
from core.treecheck import check_message

Node = dict[str, Any]

TREE_KEYS = ("message_tree_id", "tree_state", "origin")


def nested_row(row: Mapping[str, Any]) -> Node:
    """A row as a message node: columns of labels and emojis become objects, dates text; tree keys are left out."""
    node = {key: value for key, value in row.items() if key not in TREE_KEYS and key != "replies"}
    if isinstance(node.get("created_date"), datetime):
        node["created_date"] = node["created_date"].isoformat()
    for key, fields in (("labels", ("value", "count")), ("emojis", ("count",))):
        if _is_columnar(node.get(key), fields):
            node[key] = _objects(node[key], fields)
    node["replies"] = []
    return node


def _is_columnar(value: Any, fields: tuple[str, ...]) -> bool:
    return isinstance(value, dict) and set(value) == {"name", *fields} and isinstance(value["name"], list)


def _objects(columns: Mapping[str, Any], fields: tuple[str, ...]) -> Node:
    """`{"name": ["spam"], "value": [0.0], "count": [3]}` as `{"spam": {"value": 0.0, "count": 3}}`; with one field the
    entries are its bare values.

    Raises:
        BadRecord: the columns differ in length.
    """
    lists = [columns[each] for each in ("name", *fields)]
    if not all(isinstance(each, list) and len(each) == len(lists[0]) for each in lists):
        raise BadRecord(f"columns name, {', '.join(fields)} differ in length: {columns!r:.80}")
    rows = zip(*lists, strict=True)
    if len(fields) == 1:
        return dict(rows)
    return {name: dict(zip(fields, values, strict=True)) for name, *values in rows}


def flat_messages(tree: Mapping[str, Any]) -> Iterator[Node]:
    """The messages of an exported tree, depth first, each without its replies and with its tree's id and state: a flat
    file of Open-Assistant."""
    about = {key: tree[key] for key in ("message_tree_id", "tree_state") if tree.get(key) is not None}
    waiting = [(tree["prompt"], None)]
    while waiting:
        node, parent_id = waiting.pop()
        own = {key: value for key, value in node.items() if key != "replies"}
        if parent_id is not None:
            own["parent_id"] = parent_id  # a nested file may leave it to the nesting
        yield own | about
        waiting.extend((reply, node["message_id"]) for reply in reversed(node.get("replies") or []))


class Gatherer:
    """Makes trees of consecutive rows."""

    def __init__(self) -> None:
        self._tree: Node | None = None
        self._nodes: dict[str, Node] = {}

    def add(self, row: Mapping[str, Any]) -> Node | None:
        """Take a row; returns the tree before it when this row begins another.

        Raises:
            BadRecord: the row is wrong, repeats an id, or its parent is not in the tree being read. The row is left
                out, and the tree goes on without it.
        """
        node = nested_row(row)
        if row.get("parent_id") is None:
            check_message(node, None, None)
            return self._begin(row, node)
        parent = self._nodes.get(str(row["parent_id"]))
        if parent is None or row.get("message_tree_id") not in (None, (self._tree or {}).get("message_tree_id")):
            raise BadRecord(
                f"message {row.get('message_id')!r}: its parent {row['parent_id']!r} is not among the rows of its tree "
                "before it; the rows of a tree must follow each other, parents first"
            )
        check_message(node, parent["message_id"], parent["role"])
        if node["message_id"] in self._nodes:
            raise BadRecord(f"message_id {node['message_id']!r} occurs twice")
        self._nodes[node["message_id"]] = node
        parent["replies"].append(node)
        return None

    def _begin(self, row: Mapping[str, Any], node: Node) -> Node | None:
        done = self.finish()
        self._tree = {key: row[key] for key in TREE_KEYS if key in row} | {"prompt": node}
        self._tree["message_tree_id"] = row.get("message_tree_id") or node["message_id"]
        self._nodes = {node["message_id"]: node}
        return done

    def finish(self) -> Node | None:
        """The tree being read, which is complete when no rows are left; None where there is none."""
        done, self._tree, self._nodes = self._tree, None, {}
        return done
