"""The records of collection: users, trees, messages, tasks, reviews, rankings, reactions, reports, open work.

Knows their fields and how each becomes a document and comes back; among a document's fields are ordered scalar keys
(`by_time`, `by_lang`, ...), made here, that pages are read by. Knows no driver and no rule.

Times are aware datetimes in UTC, cut to milliseconds, which is what the document store keeps.
"""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from core.base_record import Record as Record
from core.pools import DEFAULT, pool_of
from core.times import milliseconds as milliseconds
from core.times import moment as moment
from core.times import now as now
from core.times import time_key as time_key

ROLES = ("prompter", "assistant")
MESSAGE_STATES = ("pending", "accepted", "refused")
REMOVED = ("moderator", "flags", "author", "account", "parent")
"""What takes a message out: a moderator, red flags, its author, its author's leaving, the message above it."""
TREE_STATES = (
    "initial_prompt_review", "prompt_lottery_waiting", "growing", "ranking", "ready_for_scoring", "ready_for_export",
    "scoring_failed", "aborted_low_grade", "halted_by_moderator", "backlog_ranking",
)  # fmt: skip
TASK_KINDS = (
    "initial_prompt", "prompter_reply", "assistant_reply", "rank_prompter_replies", "rank_assistant_replies",
    "label_initial_prompt", "label_prompter_reply", "label_assistant_reply",
)  # fmt: skip
TASK_STATES = ("open", "answered", "done", "skipped", "expired")
USER_ROLES = ("contributor", "trusted", "moderator", "admin", "service")
EMOJIS = (
    "+1", "-1", "red_flag", "100", "rofl", "clap", "diamond", "heart_eyes", "disappointed", "poop", "skull",
    "_skip_reply", "_skip_ranking", "_skip_labeling",
)  # fmt: skip
"""Open-Assistant's codes; those with an underscore are set by skipping a task, never by hand."""
GOLD = "gold"
"""Origin of trees that hold a question with a known answer (`core.gold_records`)."""
COPY = "gold:"
"""Start of the content hashes of the messages in them, which are copies."""
IMPORTED = "import|"
"""Start of the ids of rankings that came with an import."""


@dataclass(frozen=True, kw_only=True)
class User(Record):
    """A contributor.

    Attributes:
        auth_method, subject: how the person signed in and who they are there; unique together.
        linked: more sign-ins of the same person, each as `identity` writes it.
        linked_rev: grows with every change of how the person signs in.
        terms_version: the terms of use that the person accepted last; None before.
        roles: of `USER_ROLES`.
        streak_started_at: when the present run of active days began; None before the first task.
        streak_days: whole days of that run.
        moderates: languages that a moderator looks after; empty for all.
        disabled_reason: what a disabled person was told.
        notes: what moderators know of the person; for moderators alone.
        trusted_at: when work earned the role `trusted` (milliseconds since 1970); None where it did not.
        no_training_since: when the person said that nothing of theirs may be learned from (milliseconds since 1970).
        consent_key: random; names the person's marks on snapshots (`core.consent`). None before the first.
        consent_due: when those are to be set or lifted (milliseconds since 1970); None when that is done.
        trust_withheld: why somebody took that role back; it is not earned by work then.
    """

    auth_method: str
    subject: str
    display_name: str
    roles: tuple[str, ...] = ("contributor",)
    enabled: bool = True
    deleted: bool = False
    show_on_leaderboard: bool = True
    created_at: datetime = field(default_factory=now)
    last_activity_at: datetime | None = None
    streak_started_at: datetime | None = None
    streak_days: int = 0
    linked: tuple[str, ...] = ()
    linked_rev: int = 0
    terms_version: str | None = None
    moderates: tuple[str, ...] = ()
    disabled_reason: str | None = None
    notes: str = ""
    trusted_at: int | None = None
    trust_withheld: str | None = None
    no_training_since: int | None = None
    consent_key: str | None = None
    consent_due: int | None = None

    def _keys(self) -> dict[str, Any]:
        when = time_key(self.created_at, self.id)
        return {"identity": identity(self.auth_method, self.subject), "by_time": when} | self.listed()

    def listed(self) -> dict[str, Any]:
        """The keys by which moderators find the person: by name, by highest role, by what keeps them out."""
        when = time_key(self.created_at, self.id)
        out = "left" if self.deleted else "banned"
        return {
            "by_name": None if self.deleted else named(self.display_name, self.id),
            "by_rank": f"{max((USER_ROLES.index(role) for role in self.roles), default=0)}|{when}",
            "by_state": None if self.enabled and not self.deleted else f"{out}|{when}",
        }

    def listed_with(self, **changes: Any) -> dict[str, Any]:
        """Those of `listed` that these changes of fields change."""
        was, following = self.listed(), replace(self, **changes).listed()
        return {name: value for name, value in following.items() if value != was[name]}

    @property
    def identities(self) -> tuple[str, ...]:
        """All sign-ins of the person, the first one first."""
        return (identity(self.auth_method, self.subject), *self.linked)

    def has_role(self, *roles: str) -> bool:
        """Whether the user has at least one of `roles`."""
        return any(role in self.roles for role in roles)


def folded(name: str) -> str:
    """A name as it is looked for: whatever its case, its width and the blanks in it."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def named(name: str, user_id: str) -> str:
    """A key that sorts by name; the tab, which no folded name has, comes before all that a longer name goes on with."""
    return f"{folded(name)}\t{user_id}"


def identity(auth_method: str, subject: str) -> str:
    """The unique scalar key of a sign-in."""
    return f"{auth_method}:{subject}"


@dataclass(frozen=True, kw_only=True)
class Tree(Record):
    """A conversation tree; its id is that of its root message.

    Attributes:
        state: of `TREE_STATES` (Open-Assistant's wire names).
        goal_size: accepted messages, root included, at which growth ends.
        max_depth: deepest level at which a message may stand; the root is 0.
        max_children: replies wanted under one prompter message.
        num_reviews_prompt, num_reviews_reply: reviews wanted of a root, of a reply.
        num_rankings: rankings wanted of each set of siblings.
        author_id: of the root.
        version: grows with every change of the tree or of a fact about it.
        dirty: a fact has come that the tree's state, counts and work do not show yet.
        enough: message id -> rankings of its replies that are enough, since nobody gave more (`core.patience`).
        heard: message id -> reviews of it that are enough, likewise.
        ranked_in: the mode in which its replies got their order; None before its end, and where an import gave it.
        halt: set while a moderator has stopped it: {"from": the state before, "reason", "by"}.
        source: values of an import that these fields cannot express.
    """

    state: str
    lang: str
    collection: str = DEFAULT
    origin: str | None = None
    goal_size: int = 15
    max_depth: int = 5
    max_children: int = 3
    num_reviews_prompt: int = 3
    num_reviews_reply: int = 3
    num_rankings: int = 3
    author_id: str | None = None
    version: int = 0
    dirty: bool = False
    created_at: datetime = field(default_factory=now)
    won_lottery_at: datetime | None = None
    enough: dict[str, int] = field(default_factory=dict)
    heard: dict[str, int] = field(default_factory=dict)
    ranked_in: str | None = None
    halt: dict[str, Any] | None = None
    source: dict[str, Any] | None = None

    def _keys(self) -> dict[str, Any]:
        if self.origin == GOLD:  # these stand in no list, and count for no pool
            return dict.fromkeys(("by_time", "by_lang", "by_state", "by_state_lang"))
        when = time_key(self.created_at, self.id)
        return {
            "by_time": when,
            "by_lang": f"{self.lang}|{when}",
            "by_state": f"{self.state}|{when}",
            "by_state_lang": f"{self.state}|{self.pool}|{when}",
        }

    @property
    def pool(self) -> str:
        """The pool of work that it belongs to."""
        return pool_of(self.collection, self.lang)


@dataclass(frozen=True, kw_only=True)
class Message(Record):
    """One message of a tree.

    `review_count`, `ranking_count`, `emojis` and `labels` follow from the reviews, rankings and reactions stored about
    the message, on top of `base`. An importer sets `base` by `core.treeform.as_imported`, or its counts are
    lost when the tree next moves.

    Attributes:
        collection: that of its tree.
        ancestors: ids from the root to the parent; empty for a root.
        depth: `len(ancestors)`.
        state: the peers' verdict, of `MESSAGE_STATES` (review_result null, true, false).
        deleted: taken out; descendants of a deleted message are deleted too.
        removed: what took it out, of `REMOVED`; None while it is in, and where an import does not say.
        ruling: the latest act of a moderator on it: {"act", "verdict" (of `MESSAGE_STATES`, or None to leave it to the
            peers), "reason", "by", "at" (milliseconds since 1970), "number" (from 1)}.
        cleared: emoji code -> number of those that a moderator has dealt with; only further ones count.
        judgement: what its reviews said when they decided it, in weighted mode (`core.verdicts.kept_judgement`).
        reward: {"model_version", "score"}: what a reward model said of it last, for choosing what to rank next.
        no_training: nobody may learn from it; its author, or the owner of the chat it is from, said so and left.
        consensus: what the rankings of its replies say together, in weighted mode (`core.verdicts.agreed`).
        rank: place among its siblings by consensus, 0 the best; None where there is none.
        emojis: code -> number of people.
        labels: name -> {"value": mean in [0, 1], "count": answers}.
        author_id: None where unknown or withheld.
        model_version: `name@version` of the model that wrote it, None for people.
        extra_reviews: wanted beyond the usual number, since something about the text was suspicious.
        base: counts that an import brought, for which there are no documents of their own.
        source: values of an import that these fields cannot express exactly.
        rev: grows with every change.
        revision: how often the text was changed, by its author or a moderator; `edited_at` is when last.
        edit: who changed it last: {"act", "by", "reason" (of a moderator)}; see `core.text_changes`.
    """

    tree_id: str
    parent_id: str | None
    role: str
    lang: str
    text: str
    collection: str = DEFAULT
    ancestors: tuple[str, ...] = ()
    depth: int = 0
    content_hash: str = ""
    author_id: str | None = None
    model_version: str | None = None
    synthetic: bool = False
    state: str = "pending"
    deleted: bool = False
    removed: str | None = None
    ruling: dict[str, Any] | None = None
    cleared: dict[str, int] = field(default_factory=dict)
    review_count: int = 0
    ranking_count: int = 0
    judgement: dict[str, Any] | None = None
    consensus: dict[str, Any] | None = None
    reward: dict[str, Any] | None = None
    rank: int | None = None
    emojis: dict[str, int] = field(default_factory=dict)
    labels: dict[str, dict[str, float]] = field(default_factory=dict)
    created_at: datetime = field(default_factory=now)
    extra_reviews: int = 0
    rev: int = 0
    revision: int = 0
    edited_at: datetime | None = None
    base: dict[str, Any] | None = None
    no_training: bool = False
    edit: dict[str, Any] | None = None
    source: dict[str, Any] | None = None

    def _keys(self) -> dict[str, Any]:
        if self.content_hash.startswith(COPY):
            return dict.fromkeys(("by_time", "by_lang", "by_author"))
        when = time_key(self.created_at, self.id)
        keys = {"by_time": when, "by_lang": f"{self.lang}|{when}", "by_author": f"{self.author_id or ''}|{when}"}
        return keys if self.collection == DEFAULT else keys | {"by_collection": f"{self.collection}|{when}"}

    @property
    def usable(self) -> bool:
        """Accepted and not deleted: it may be handed out, ranked and exported."""
        return self.state == "accepted" and not self.deleted

    @property
    def replies_wrong(self) -> bool:
        """Most of the weight of those who ranked its replies says that all are factually wrong, in weighted mode."""
        return bool((self.consensus or {}).get("all_wrong", 0.0) > 0.5)


@dataclass(frozen=True, kw_only=True)
class Task(Record):
    """A piece of work in someone's hands. The answer is decided here, by one write, and applied from here.

    What the answer makes (a message, a review, a ranking) has the task's id.

    Attributes:
        kind: of `TASK_KINDS`.
        state: `open`; `answered` (decided, not yet applied everywhere); `done`; `skipped`; `expired`.
        work_id: the piece of work that it holds a place of.
        target_id: the message to reply to, to label, or whose replies to rank; None for an initial prompt.
        thread: message ids from the root to the target.
        served: replies to rank, in the order shown.
        expires_at: after this the place may go to another.
        draft: kept while the task is open, and for its person to come back to if it has expired.
        answer: what was submitted, as given; of a text that has become a message, its hash under `text_hash`.
    """

    kind: str
    user_id: str
    lang: str
    work_id: str
    collection: str = DEFAULT
    state: str = "open"
    tree_id: str | None = None
    target_id: str | None = None
    thread: tuple[str, ...] = ()
    served: tuple[str, ...] = ()
    created_at: datetime = field(default_factory=now)
    expires_at: datetime = field(default_factory=now)
    answered_at: datetime | None = None
    draft: str | None = None
    skip_reason: str | None = None
    answer: dict[str, Any] | None = None

    def _keys(self) -> dict[str, Any]:
        keys = {"holder": holder_key(self.user_id, self.state), "deadline": deadline_key(self.state, self.expires_at)}
        with_reason = self.state == "skipped" and self.skip_reason and self.target_id
        return keys | {"skipped": self.target_id} if with_reason else keys

    @property
    def result_id(self) -> str:
        """Id of the message, review or ranking that the answer makes."""
        return self.id


def holder_key(user_id: str, state: str) -> str:
    """Scalar key by which a user's tasks of one state are read."""
    return f"{user_id}|{state}"


def deadline_key(state: str, expires_at: datetime) -> str:
    """Scalar key by which tasks of one state are read in order of expiry (15 digits of milliseconds)."""
    return f"{state}|{milliseconds(expires_at):015d}"


def text_hash(text: str) -> str:
    """The `content_hash` of a message: SHA-256 of its text in UTF-8, 64 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()
