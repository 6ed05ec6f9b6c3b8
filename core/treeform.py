"""Conversation trees in the form of Open-Assistant's exports (`ExportMessageTree`, `ExportMessageNode`) and as records.

Knows both forms and how one becomes the other without loss. Pure: no store, no files.

What an export says and our records cannot express exactly (microseconds, contributors unknown here, detoxify scores,
events, which keys were there, a sibling order that is not that of the ranks) is kept in `source` of the message or
tree: `{"kept": <JSON text>}` of `at` (place among its siblings), `rank`, `leaf` (what stood for no replies), `absent`
(keys that were not there), `values` (originals), and `made` (what our fields gave for those keys at the import). On
export an original is used as long as our field still gives what it gave at the import; so what has changed since
shows, and all else is as it came.
"""

from __future__ import annotations

import hmac
import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import orjson

from core.errors import BadRecord
from core.opinions import Ranking
from core.pools import DEFAULT
from core.records import IMPORTED, Message, Tree, text_hash
from core.treecheck import MAX_DEPTH, MAX_MESSAGES, check_message, check_tree

Node = dict[str, Any]

VERDICTS = {None: "pending", True: "accepted", False: "refused"}
RESULTS = {state: result for result, state in VERDICTS.items()}
WAITING = ("initial_prompt_review", "growing", "ranking", "ready_for_scoring")
"""States in which a tree has work for contributors: the sweeper looks at such a tree after its import."""


@dataclass(frozen=True)
class ImportedTree:
    """A tree as records: parents before their replies, rankings from the events under `ranking`."""

    tree: Tree
    messages: list[Message]
    rankings: list[Ranking]


def parse_tree(
    value: Mapping[str, Any], *, origin: str | None, imported_at: datetime, collection: str = DEFAULT
) -> ImportedTree:
    """The records of one exported tree.

    Args:
        value: the parsed line.
        origin: where the tree comes from, unless it says so itself.
        imported_at: stands for the dates of messages that have none.
        collection: which one the tree becomes part of.

    Raises:
        BadRecord: naming the field, the value and the right form.
    """
    check_tree(value)
    messages: list[Message] = []
    rankings: list[Ranking] = []
    seen: set[str] = set()
    waiting: list[tuple[Node, Message | None, int]] = [(value["prompt"], None, 0)]
    while waiting:
        node, parent, place = waiting.pop()
        message = _message(node, parent, place, value["message_tree_id"], imported_at, collection)
        if message.id in seen:
            raise BadRecord(f"message_id {message.id!r} occurs twice in tree {message.tree_id!r}")
        if len(seen) >= MAX_MESSAGES or message.depth > MAX_DEPTH:
            raise BadRecord(f"tree {message.tree_id!r} is larger than {MAX_MESSAGES} messages or {MAX_DEPTH} levels")
        seen.add(message.id)
        messages.append(message)
        rankings.extend(_rankings(node, message))
        replies = node.get("replies") or []
        waiting.extend((reply, message, index) for index, reply in reversed(list(enumerate(replies))))
    return ImportedTree(_tree(value, messages[0], origin, collection), _counted(messages, rankings), rankings)


def _message(
    node: Node, parent: Message | None, place: int, tree_id: str, imported_at: datetime, collection: str
) -> Message:  # fmt: skip
    check_message(node, None if parent is None else parent.id, None if parent is None else parent.role)
    message = Message(
        id=node["message_id"],
        tree_id=tree_id,
        parent_id=None if parent is None else parent.id,
        ancestors=() if parent is None else (*parent.ancestors, parent.id),
        depth=0 if parent is None else parent.depth + 1,
        role=node["role"],
        lang=node.get("lang") or ("und" if parent is None else parent.lang),
        text=node["text"],
        collection=collection,
        content_hash=text_hash(node["text"]),
        model_version=node.get("model_name"),
        synthetic=bool(node.get("synthetic")),
        state=VERDICTS[_verdict(node)],
        deleted=bool(node.get("deleted")) or (parent is not None and parent.deleted),
        review_count=node.get("review_count") or 0,
        rank=node.get("rank"),
        emojis=dict(node.get("emojis") or {}),
        labels=_labels(node.get("labels") or {}),
        created_at=_moment(node.get("created_date")) or imported_at,
    )
    kept = {"at": place, "rank": message.rank, **_remember(node, plain_node(message))}
    if not isinstance(node.get("replies"), list):
        kept["leaf"] = "null" if "replies" in node else "absent"
    return replace(message, source={"kept": orjson.dumps(kept).decode()})


def _verdict(node: Node) -> bool | None:
    """`review_result`; a message of which nothing at all is said of reviews counts as accepted, as an import does in
    Open-Assistant, while an export of its own leaves a null out and tells `review_count`."""
    if "review_result" in node or "review_count" in node:
        result: bool | None = node.get("review_result")
        return result
    return True


def _labels(labels: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    return {
        name: {"value": item["value"], "count": item["count"]}
        for name, item in labels.items()
        if item.get("value") is not None
    }


def _moment(text: str | None) -> datetime | None:
    """A date of the export, in UTC, cut to the milliseconds that the store keeps."""
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _rankings(node: Node, parent: Message) -> Iterable[Ranking]:
    """Rankings among the events that order at least two of the replies at hand, or say that all that were served are
    wrong; others stay in `source` alone."""
    replies = {reply.get("message_id") for reply in node.get("replies") or [] if isinstance(reply, dict)}
    for index, event in enumerate((node.get("events") or {}).get("ranking") or []):
        order, wrong = event.get("ranked_message_ids"), event.get("not_rankable") is True
        if not (_distinct(order) and replies.issuperset(order)):
            continue
        served = _served(event, order, replies)
        if len(order) > 1 or (wrong and not order and len(served) > 1):
            yield Ranking(
                id=f"{IMPORTED}{parent.id}|{index}",
                tree_id=parent.tree_id,
                parent_id=parent.id,
                ranking=tuple(order),
                served=served,
                not_rankable=wrong,
                tiers=_tiers(event.get("tiers"), len(order)),
                created_at=parent.created_at,
            )


def _distinct(ids: Any) -> bool:
    return isinstance(ids, list) and all(isinstance(each, str) for each in ids) and len(set(ids)) == len(ids)


def _tiers(sizes: Any, ranked: int) -> tuple[int, ...]:
    """Sizes of the groups of equally good replies, a key of our own; empty where it does not say."""
    right = isinstance(sizes, list) and all(type(size) is int and size > 0 for size in sizes) and sum(sizes) == ranked
    return tuple(sizes) if right and len(sizes) < ranked else ()


def _served(event: Mapping[str, Any], order: list[str], replies: Collection[Any]) -> tuple[str, ...]:
    """The replies as they were shown; empty where it does not say.

    Named by `served_message_ids`, a key of our own, where some were not ranked. Else `ranking[k]` is the place of the
    one ranked k-th.
    """
    named = event.get("served_message_ids")
    if isinstance(named, list) and _distinct(named) and set(order) <= set(named):
        return tuple(each for each in named if each in replies)
    places = event.get("ranking")
    if not isinstance(places, list) or sorted(map(str, places)) != sorted(map(str, range(len(order)))):
        return ()
    shown = dict(zip(map(int, places), order, strict=True))
    return tuple(shown[place] for place in range(len(order)))


def as_imported(message: Message) -> Message:
    """`message` with its counts as the base that later reviews, rankings and reactions add to."""
    base = {
        "review_count": message.review_count,
        "ranking_count": message.ranking_count,
        "emojis": message.emojis,
        "labels": message.labels,
    }
    return replace(message, base=base)


def _counted(messages: list[Message], rankings: list[Ranking]) -> list[Message]:
    """Messages with what the file counted as their base; rankings have records of their own and are not in it."""
    counts: dict[str, int] = {}
    for ranking in rankings:
        for each in ranking.served or ranking.ranking:
            counts[each] = counts.get(each, 0) + 1
    return [replace(as_imported(message), ranking_count=counts.get(message.id, 0)) for message in messages]


def _tree(value: Mapping[str, Any], root: Message, origin: str | None, collection: str) -> Tree:
    tree = Tree(
        id=root.id,
        state=value.get("tree_state") or "backlog_ranking",
        lang=root.lang,
        collection=collection,
        origin=value.get("origin") or origin,
        created_at=root.created_at,
        dirty=value.get("tree_state") in WAITING,
    )
    own = {key: item for key, item in value.items() if key != "prompt"}
    return replace(tree, source={"kept": orjson.dumps(_remember(own, plain_tree(tree))).decode()})


def plain_node(message: Message) -> Node:
    """A message in export form from its fields alone, without replies."""
    return {
        "message_id": message.id,
        "parent_id": message.parent_id,
        "user_id": message.author_id,
        "created_date": message.created_at.isoformat(),
        "text": message.text,
        "role": message.role,
        "lang": message.lang,
        "review_count": message.review_count,
        "review_result": RESULTS[message.state],
        "deleted": message.deleted,
        "rank": message.rank,
        "synthetic": message.synthetic,
        "model_name": message.model_version,
        "emojis": message.emojis,
        "labels": message.labels,
    }


def plain_tree(tree: Tree) -> Node:
    """A tree in export form from its fields alone, without its prompt."""
    return {"message_tree_id": tree.id, "tree_state": tree.state, "origin": tree.origin}


def _remember(original: Mapping[str, Any], plain: Node) -> Node:
    """What is needed to give `original` again from fields that say `plain`."""
    absent = [key for key in plain if key not in original]
    values = {
        key: value for key, value in original.items() if key != "replies" and (key not in plain or plain[key] != value)
    }
    made = {key: plain[key] for key in (*absent, *values) if key in plain}
    return {"absent": absent, "values": values, "made": made}


def _said(plain: Node) -> Node:
    """`plain` without nulls, which Open-Assistant's own export leaves out too."""
    return {key: value for key, value in plain.items() if value is not None}


def _restore(plain: Node, kept: Mapping[str, Any]) -> Node:
    """`plain` with the originals of all keys whose value is still what it was at the import."""
    made, values = kept["made"], kept["values"]
    unchanged = {key for key in made if made[key] == plain[key]}
    now = {
        key: values[key] if key in unchanged and key in values else value
        for key, value in plain.items()
        if not (key in unchanged and key in kept["absent"])
    }
    return now | {key: value for key, value in values.items() if key not in plain}


def _kept(source: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not source or "kept" not in source:
        return None
    kept: dict[str, Any] = orjson.loads(source["kept"])
    return kept


def export_tree(tree: Tree, messages: Iterable[Message], rankings: Iterable[Ranking] = ()) -> Node:
    """One tree in export form.

    Args:
        tree: its record.
        messages: those to export; one whose parent is not among them is left out with its replies.
        rankings: of its messages; they become events under the message replied to. Those that an import brought are
            among the events kept with the message and are not given twice.

    Raises:
        BadRecord: the root is not among the messages.
    """
    children: dict[str | None, list[Message]] = {}
    for message in messages:
        children.setdefault(message.parent_id, []).append(message)
    if not children.get(None):
        raise BadRecord(f"tree {tree.id!r} has no root message")
    events: dict[str, list[Ranking]] = {}
    for ranking in rankings:
        if not ranking.id.startswith(IMPORTED):
            events.setdefault(ranking.parent_id, []).append(ranking)
    kept = _kept(tree.source)
    own = _said(plain_tree(tree)) if kept is None else _restore(plain_tree(tree), kept)
    return {**own, "prompt": _nested(children[None][0], children, events)}


def _nested(root: Message, children: Mapping[str | None, list[Message]], events: Mapping[str, list[Ranking]]) -> Node:
    top: list[Node] = []
    waiting = [(root, top)]
    while waiting:
        message, siblings = waiting.pop()
        kept = _kept(message.source)
        node = _said(plain_node(message)) if kept is None else _restore(plain_node(message), kept)
        _add_events(node, events.get(message.id, []))
        _add_replies(node, kept)
        siblings.append(node)
        below = _in_order(children.get(message.id, []))
        if below:
            node["replies"] = []
            waiting.extend((reply, node["replies"]) for reply in reversed(below))
    return top[0]


def _add_replies(node: Node, kept: Mapping[str, Any] | None) -> None:
    """A list, or what a message without replies had instead when it came."""
    instead = (kept or {}).get("leaf")
    if instead is None:
        node["replies"] = []
    elif instead == "null":
        node["replies"] = None


def _add_events(node: Node, rankings: list[Ranking]) -> None:
    if rankings:
        known = node.get("events") or {}
        new = [_event(ranking) for ranking in sorted(rankings, key=lambda each: (each.created_at, each.id))]
        node["events"] = {**known, "ranking": [*(known.get("ranking") or []), *new]}


def _event(ranking: Ranking) -> Node:
    return {
        "type": "ranking",
        "user_id": ranking.user_id,
        "ranking": [ranking.served.index(each) for each in ranking.ranking if each in ranking.served],
        "ranked_message_ids": list(ranking.ranking),
        "ranking_parent_id": ranking.parent_id,
        "message_tree_id": ranking.tree_id,
        "not_rankable": ranking.not_rankable,
        **({"tiers": list(ranking.tiers)} if ranking.tiers else {}),
        **({"served_message_ids": list(ranking.served)} if set(ranking.served) > set(ranking.ranking) else {}),
    }


def _in_order(siblings: list[Message]) -> list[Message]:
    """Siblings as they came, while all came with an import and no rank has changed; else by rank, then by time."""
    kept = {message.id: _kept(message.source) for message in siblings}
    if all((past := kept[message.id]) is not None and past["rank"] == message.rank for message in siblings):
        return sorted(siblings, key=lambda message: (kept[message.id] or {})["at"])
    return sorted(siblings, key=by_rank)


def by_rank(message: Message) -> tuple[bool, int, datetime, str]:
    """Sort key of siblings: best rank first, unranked last, older before newer."""
    return (message.rank is None, message.rank or 0, message.created_at, message.id)


def pseudonymous(tree: Node, salt: str) -> Node:
    """`tree`, with the `user_id` of every message and event replaced (in place) by a UUID made of it and `salt`.

    Threat: someone who has the file and knows contributors' ids here. Without the salt the two cannot be matched; with
    the same salt a contributor has the same pseudonym in every export. What people wrote in texts is not changed.
    """
    waiting = [tree["prompt"]]
    while waiting:
        node = waiting.pop()
        events = [event for kind in (node.get("events") or {}).values() for event in kind]
        for each in (node, *events):
            if isinstance(each.get("user_id"), str):
                digest = hmac.digest(salt.encode(), each["user_id"].encode(), "sha256")
                each["user_id"] = str(uuid.UUID(bytes=digest[:16], version=4))
        waiting.extend(node.get("replies") or [])
    return tree
