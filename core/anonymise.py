"""Exported trees without who is who: ids replaced, dates coarsened, personal data taken out of texts.

Threats: someone who holds the file and knows ids, names or times of contributors here, or who looks a message up by
its id. Every id of a user, message or tree becomes a UUID made of it and a secret salt by HMAC-SHA-256, so without the
salt nothing can be matched and, with the same salt, exports fit each other. Only the fields of the format are written:
others may say anything. What people wrote stays recognisable to whoever has the text itself; `scrub` takes personal
data out that has a form (`core.pii`), not names.
"""

from __future__ import annotations

import hmac
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from core.errors import BadInput
from core.pii import scrub
from core.treecheck import FIELDS

Node = dict[str, Any]

MIN_SALT = 16
"""Characters; a short salt can be guessed by trying."""
GRAINS = ("exact", "day", "month")
_EVENT_FIELDS = {
    "emoji": ("type", "emoji"),
    "rating": ("type", "rating"),
    "ranking": (
        "type",
        "ranking",
        "ranked_message_ids",
        "ranking_parent_id",
        "message_tree_id",
        "not_rankable",
        "tiers",
        "served_message_ids",
    ),
    "report": ("type", "report_type", "reason"),
    "score": ("type", "score"),
}


@dataclass(frozen=True)
class Anonymiser:
    """How an export is anonymised.

    Attributes:
        salt: a secret of at least 16 characters.
        dates: of `GRAINS`: how exact dates stay.
        scrub_texts: whether personal data is taken out of texts and reasons.

    Raises:
        BadInput: the salt is too short, or `dates` is none of `GRAINS`.
    """

    salt: str
    dates: str = "exact"
    scrub_texts: bool = False

    def __post_init__(self) -> None:
        if len(self.salt) < MIN_SALT:
            raise BadInput(
                f"the salt has {len(self.salt)} characters; set OA_EXPORT_SALT to at least {MIN_SALT} that nobody can "
                "guess, for instance from `openssl rand -hex 32`, and keep it secret",
                path=("salt",),
            )
        if self.dates not in GRAINS:
            raise BadInput(f"dates is {self.dates!r}; it must be one of {', '.join(GRAINS)}", path=("dates",))

    def tree(self, tree: Mapping[str, Any]) -> Node:
        """An exported tree, anonymised; the one given is not changed."""
        top: list[Node] = []
        waiting = [(tree["prompt"], top)]
        while waiting:
            node, siblings = waiting.pop()
            own = self.message(node)
            siblings.append(own)
            if isinstance(node.get("replies"), list):
                own["replies"] = []
                waiting.extend((reply, own["replies"]) for reply in reversed(node["replies"]))
        state = {"tree_state": tree["tree_state"]} if "tree_state" in tree else {}
        return {"message_tree_id": self.message_id(tree["message_tree_id"]), **state, "prompt": top[0]}

    def message(self, node: Mapping[str, Any]) -> Node:
        """One message without its replies."""
        own = {key: value for key, value in node.items() if key in FIELDS and key not in ("replies", "events")}
        own |= {key: self.message_id(own[key]) for key in ("message_id", "parent_id") if isinstance(own.get(key), str)}
        if isinstance(own.get("user_id"), str):
            own["user_id"] = self.user_id(own["user_id"])
        if isinstance(own.get("created_date"), str):
            own["created_date"] = self.date(own["created_date"])
        own["text"] = self.text(own["text"])
        if node.get("events"):
            own["events"] = {
                kind: [self._event(kind, event) for event in events]
                for kind, events in node["events"].items()
                if kind in _EVENT_FIELDS
            }
        return own

    def _event(self, kind: str, event: Mapping[str, Any]) -> Node:
        own = {key: event[key] for key in _EVENT_FIELDS[kind] if key in event}
        for key in ("ranking_parent_id", "message_tree_id"):
            if isinstance(own.get(key), str):
                own[key] = self.message_id(own[key])
        for key in ("ranked_message_ids", "served_message_ids"):
            if isinstance(own.get(key), list):
                own[key] = [self.message_id(each) for each in own[key] if isinstance(each, str)]
        if isinstance(own.get("reason"), str):
            own["reason"] = self.text(own["reason"])
        user_id = event.get("user_id")
        return {**own, "user_id": self.user_id(user_id)} if isinstance(user_id, str) else own

    def user_id(self, own: str) -> str:
        """What stands for a user."""
        return self._pseudonym("user", own)

    def message_id(self, own: str) -> str:
        """What stands for a message, and for the tree of which it is the root."""
        return self._pseudonym("message", own)

    def _pseudonym(self, kind: str, own: str) -> str:
        digest = hmac.digest(self.salt.encode(), f"{kind}:{own}".encode(), "sha256")
        return str(uuid.UUID(bytes=digest[:16], version=4))

    def date(self, text: str) -> str:
        """A date as exact as asked."""
        if self.dates == "exact":
            return text
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        day = moment.day if self.dates == "day" else 1
        return datetime(moment.year, moment.month, day, tzinfo=UTC).isoformat()

    def text(self, text: str) -> str:
        """A text, scrubbed if asked."""
        return scrub(text) if self.scrub_texts else text
