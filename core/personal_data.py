"""Every place that names people or holds their words: what its person gets of it, and what becomes of it when they go.

The one list that the export of one's own data (`core.own_data`) and the deletion of an account (`core.departures`) read
and are tested against: a collection, a record's field or a family of objects that is not in it fails a test. Taking one
message back (`core.own_messages.withdraw`) takes it out of its tree and leaves the text to moderators until a purge;
leaving with everything (`along`) takes the texts too. Pure: names only.

What somebody did as a moderator, admin or operator stays, by the id of an account that says nothing any more.
"""

from __future__ import annotations

from dataclasses import dataclass

OFFICE = "what was done in office stays, by an account that says nothing any more"
SOON = "goes by itself within two days"
NOTES = "what moderators and the machinery noted is for moderators"
CUT = "stays, nobody's"
DELETED = "deleted"
UNKNOWN = "stays under a name that nobody can trace"


@dataclass(frozen=True, kw_only=True)
class Holding:
    """What one collection of the document store holds of people.

    Attributes:
        people: fields that name somebody.
        words: fields that hold what somebody wrote.
        by: the field by which one person's documents are found; it is the id, or with `ordered` begins with it and `|`.
        part: of the export of one's own data; empty where it is in none, and `unexported` says why.
        leaving: what becomes of it when its person deletes the account; what is `DELETED` and has a `by` is found so.
        along: what more, when they take everything along.
    """

    people: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    by: str = ""
    ordered: bool = False
    part: str = ""
    unexported: str = ""
    leaving: str = ""
    along: str = ""


HOLDINGS: dict[str, Holding] = {
    "users": Holding(
        people=("_id", "subject", "linked"),
        words=("display_name", "by_name", "notes", "disabled_reason", "trust_withheld"),
        by="_id",
        part="account",
        leaving="emptied at once; what is left is a number and when it was made",
    ),
    "messages": Holding(
        people=("author_id", "ruling", "edit"),
        words=("text", "source"),
        by="by_author",
        ordered=True,
        part="messages",
        leaving=CUT,
        along="taken out, without its text",
    ),
    "trees": Holding(
        people=("author_id", "halt"),
        words=("source",),
        unexported="its messages are",
        leaving=CUT,
        along="its message is taken out",
    ),
    "revisions": Holding(words=("text",), unexported="with their messages", leaving=DELETED),
    "reviews": Holding(people=("user_id",), by="by_user", ordered=True, part="reviews", leaving=CUT),
    "rankings": Holding(people=("user_id",), by="by_user", ordered=True, part="rankings", leaving=CUT),
    "reactions": Holding(people=("user_id",), by="user_id", part="reactions", leaving=UNKNOWN),
    "reports": Holding(
        people=("user_id",),
        words=("reason",),
        by="user_id",
        part="reports",
        leaving=UNKNOWN,
        along="without words",
    ),
    "free_labels": Holding(people=("user_id",), by="user_id", part="free_labels", leaving=UNKNOWN),
    "tasks": Holding(
        people=("user_id",),
        words=("draft", "answer", "skip_reason"),
        by="holder",
        ordered=True,
        part="tasks",
        leaving=DELETED,
    ),
    "work": Holding(
        people=("holds", "excluded"),
        unexported="tasks, messages, reviews and reactions say the same",
        leaving="follows from what is cut",
    ),
    "appeals": Holding(
        people=("user_id", "decided_by"),
        words=("text", "answer"),
        by="by_user",
        ordered=True,
        part="appeals",
        leaving=DELETED,
    ),
    "moderation_items": Holding(
        people=("subject", "evidence", "claimed_by", "decision"),
        words=("evidence",),
        unexported=NOTES,
        leaving="reports and flags that stand are under a name that nobody can trace; appeals are deleted; " + OFFICE,
        along="without words",
    ),
    "scores": Holding(people=("_id",), by="_id", part="scores", leaving=DELETED),
    "score_marks": Holding(people=("at",), unexported="scores say the same", leaving="made anew every minute"),
    "tree_credits": Holding(people=("taken",), unexported="scores are their sums", leaving=DELETED),
    "raters": Holding(people=("_id",), by="_id", part="reliability", leaving=DELETED),
    "lessons": Holding(people=("said", "following"), unexported="reliability is their sum", leaving=DELETED),
    "events": Holding(
        people=("subject", "by", "details"),
        words=("details",),
        by="by_actor",
        ordered=True,
        part="acts",
        leaving="acts that would tell whose a message was are cut; " + OFFICE,
    ),
    "message_words": Holding(
        people=("author_id",),
        words=("text",),
        unexported="messages say the same",
        leaving=CUT,
        along=DELETED,
    ),
    "text_bands": Holding(people=("user_id",), unexported="made of the text, for machines", leaving=DELETED),
    "text_checks": Holding(words=("pii",), unexported=NOTES, leaving=DELETED),
    "gold": Holding(
        people=("by",),
        words=("reason",),
        unexported=OFFICE,
        leaving=OFFICE,
        along="an item that copied one of the messages goes",
    ),
    "chats": Holding(
        people=("owner_id",),
        words=("title", "system_prompt"),
        by="owner_key",
        ordered=True,
        part="chats",
        leaving=DELETED,
    ),
    "chat_messages": Holding(
        people=("owner_id",), words=("text", "score_reason"), unexported="with their chats", leaving=DELETED
    ),
    "chat_chunks": Holding(words=("tokens",), unexported="pieces of chat messages, for minutes", leaving=DELETED),
    "sessions": Holding(people=("user_id",), by="user_id", part="sessions", leaving=DELETED),
    "oauth_consents": Holding(people=("user_id",), by="user_id", part="consents", leaving=DELETED),
    "api_keys": Holding(
        people=("user_id", "created_by"), words=("name",), by="user_id", part="api_keys", leaving=DELETED
    ),
    "identities": Holding(
        people=("_id", "user_id"), by="user_id", unexported="the account lists them", leaving=DELETED
    ),
    "oauth_codes": Holding(people=("user_id",), unexported=SOON, leaving=SOON),
    "oauth_devices": Holding(people=("user_id",), unexported=SOON, leaving=SOON),
    "sign_in_attempts": Holding(people=("link_user_id", "subject"), unexported=SOON, leaving=SOON),
    "oauth_clients": Holding(
        people=("service_id",), words=("name",), unexported="a service is no person", leaving="a service does not leave"
    ),
    "idempotent_answers": Holding(words=("answer",), unexported=SOON, leaving=SOON),
    "rate_buckets": Holding(people=("_id",), unexported="when one asked last", leaving="goes as others come"),
    "documents": Holding(words=("text",), unexported="operations of apps, nobody's", leaving="nobody's"),
    "data_exports": Holding(people=("_id",), by="_id", unexported="it is the export", leaving=DELETED),
    "departures": Holding(people=("_id",), unexported="it is the end", leaving="stays: that an account was deleted"),
    "purges": Holding(people=("by",), words=("reason",), unexported=OFFICE, leaving=OFFICE),
    "collections": Holding(people=("pending",), words=("name",), unexported=OFFICE, leaving=OFFICE),
    "jobs": Holding(people=("by",), words=("name",), unexported=OFFICE, leaving=OFFICE),
}
"""Collection and what it holds of people."""
NOTHING: frozenset[str] = frozenset({
    "deleted_contributions", "migrations", "tree_agreement", "agreement_periods", "snapshot_members",
    "snapshot_index", "gone_sources", "statistics", "client_assertions", "reply_scoring",
    "text_changes", "freezes",
})  # fmt: skip
"""Collections that hold nothing of anybody: counts, names of snapshots, digests, ids that services made."""
OBJECTS: dict[str, str] = {
    "datasets": "texts, nobody's: a snapshot never changes, so it is marked (`core.propagation`)",
    "freezing": "what goes into a snapshot; gone when that is there, and after half a day at the latest",
    "jobs": "what training said, samples too: made of marked snapshots; goes with its job; replies, until scored",
    "queue": "nothing of anybody",
    "models": "learned from snapshots: a model is marked where one of them is",
    "people": "exports of one's own data: deleted, and after a week at the latest",
}
"""First part of keys in the object store (`core.layout`), what it holds, and what becomes of it."""
EXPORTED: dict[str, Holding] = {holding.part: holding for holding in HOLDINGS.values() if holding.part}


def collection_of_part(part: str) -> str:
    """The collection that a part of the export comes from."""
    return next(name for name, holding in HOLDINGS.items() if holding.part == part)


def personal() -> list[tuple[str, str]]:
    """Collections, and the field that is the person's id, of which what is a person's is deleted as it is."""
    found = [(name, each) for name, each in HOLDINGS.items() if each.leaving == DELETED and each.by]
    return [(name, each.by) for name, each in found if not each.ordered and name != "data_exports"]
