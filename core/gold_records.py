"""Gold items: questions with a known answer, slipped in among others to learn how far people can be trusted. Pure.

A gold item is a copy of messages whose answer somebody knows, in a tree of its own (`origin` is `GOLD`) that is never
decided, exported or learned from. To who gets it, it is work like any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from core.adaptive_reviews import CRITICAL
from core.ballots import Ballot
from core.ids import new_id
from core.lessons import Said
from core.opinions import Ranking, Reaction, Review
from core.ranking_reliability import against_gold
from core.records import COPY, GOLD, Message, Record, Tree, now, time_key
from core.reliability import tallies
from core.transition import Opening
from core.verdicts import ballot
from core.voices import Voice

PLACES = 1000
"""People who may answer one item."""
STATES = {"label_initial_prompt": "initial_prompt_review", "rank_assistant_replies": "ranking"}
"""What state its tree shows while it is used; `growing` for other kinds."""


@dataclass(frozen=True, kw_only=True)
class GoldItem(Record):
    """One item; the id is that of its tree.

    Attributes:
        kind: of `TASK_KINDS`: a review or a ranking.
        target_id: the copy to review, or whose copied replies to rank.
        sources: ids of the messages that were copied; it goes when one of them goes.
        answers: of a review: critical label -> whether it applies.
        order: of a ranking: groups of copies, best first.
        reason: why the answer is known, for moderators.
    """

    kind: str
    lang: str
    collection: str
    target_id: str
    sources: tuple[str, ...] = ()
    answers: dict[str, bool] = field(default_factory=dict)
    order: tuple[Sequence[str], ...] = ()
    reason: str = ""
    by: str | None = None
    created_at: datetime = field(default_factory=now)

    @property
    def by_time(self) -> str:
        """Its place among all items."""
        return time_key(self.created_at, self.id)

    def _keys(self) -> dict[str, Any]:
        return {"by_time": self.by_time}


def copies(
    tree: Tree, thread: Sequence[Message], replies: Sequence[Message], kind: str
) -> tuple[Tree, list[Message], dict[str, str]]:
    """A tree with copies of `thread` (root first) and of the `replies` to its last message.

    Returns:
        the tree, its messages, and source id -> id of the copy.
    """
    names = {message.id: new_id() for message in (*thread, *replies)}
    root = names[thread[0].id]
    made = [_copy(message, names, root) for message in (*thread, *replies)]
    if kind.startswith("label_"):
        made[len(thread) - 1] = replace(made[len(thread) - 1], state="pending", review_count=0)
    held = replace(
        tree, id=root, state=STATES.get(kind, "growing"), origin=GOLD, author_id=None, version=0, dirty=True,
        created_at=now(), won_lottery_at=None, source=None,
    )  # fmt: skip
    return held, made, names


def _copy(message: Message, names: Mapping[str, str], root: str) -> Message:
    return Message(
        id=names[message.id], tree_id=root, parent_id=names.get(message.parent_id or ""), role=message.role,
        lang=message.lang, text=message.text, collection=message.collection,
        ancestors=tuple(names[each] for each in message.ancestors),
        depth=message.depth, content_hash=f"{COPY}{message.content_hash}", state="accepted",
        # What tells a copy from what people reviewed would tell what it is for.
        created_at=message.created_at, review_count=message.review_count, ranking_count=message.ranking_count,
    )  # fmt: skip


def opening(
    item: GoldItem, tree: Tree, messages: Mapping[str, Message], answered: Iterable[str | None],
    reactions: Sequence[Reaction],
) -> Opening:  # fmt: skip
    """The work that an item should have open: none once its tree was halted or a copy taken out.

    Args:
        answered: users who did it.
    """
    skip = "_skip_labeling" if item.kind.startswith("label_") else "_skip_ranking"
    done = {user for user in answered if user} | {each.user_id for each in reactions if each.emoji == skip}
    target = messages[item.target_id]
    served = tuple(sorted(each for tier in item.order for each in tier))
    usable = not any(messages[each].deleted for each in (*target.ancestors, target.id, *served))
    going = usable and tree.state == STATES.get(item.kind, "growing")
    return Opening(
        kind=item.kind, target_id=item.target_id, lang=item.lang, places=max(0, PLACES - len(done)) if going else 0,
        excluded=frozenset(done), served=served, thread=(*target.ancestors, target.id),
    )  # fmt: skip


def said(item: GoldItem, reviews: Sequence[Review], rankings: Sequence[Ranking]) -> Said:
    """What the answers to an item say of those who gave them."""
    voices: dict[str, Voice] = {}
    for review in reviews:
        given = {
            label: review.labels[label] >= CRITICAL[label].counts_from
            for label in item.answers
            if label in review.labels
        }
        for label, yes in given.items():
            if review.user_id is not None:
                tally = tallies({review.user_id: yes}, float(item.answers[label]))[review.user_id]
                voices[review.user_id] = voices.get(review.user_id, Voice()) + Voice(tally)
    right = Ballot(tuple(tuple(tier) for tier in item.order))
    for ranking in rankings:
        if ranking.user_id is not None and ranking.ranking and not ranking.not_rankable:
            voices[ranking.user_id] = Voice(agreement=against_gold(ballot(ranking), right))
    return {user: list(voice.parts) for user, voice in voices.items()}


def decided(item: GoldItem, message: Message) -> Message:
    """The copy as the known answer decides it, by which its reviewers and rankers earn their points."""
    right = Ballot(tuple(tuple(tier) for tier in item.order))
    if message.id in right.ids:
        return replace(message, rank=right.ids.index(message.id))
    if message.id != item.target_id:
        return message
    if item.order:
        return replace(message, consensus={"margins": [[*pair, 1.0] for pair in right.preferences()]})
    return replace(message, state="refused" if any(item.answers.values()) else "accepted")
