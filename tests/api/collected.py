"""What must be true of a store of collection at any moment, whatever people did: read all of it, and check."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from core.advance import ENDED, RANKING, advance
from core.config import CollectionConfig
from core.database import Database
from core.facts import Facts
from core.learning import voices
from core.records import Message, Ranking, Reaction, Review, Task, Tree, Work
from core.review_agreement import by_rules
from core.scoring import Credit, credits_of
from core.settle import settle
from core.snapshot_rows import BUILDERS, Filters, message_ids, rows_of
from core.voices import Voice

KINDS = {
    "messages": Message, "reviews": Review, "rankings": Ranking, "reactions": Reaction, "credits": Credit, "work": Work,
}  # fmt: skip
REPLIES = ("assistant_reply", "prompter_reply")


@dataclass(frozen=True)
class Picture:
    """Everything stored, by tree; and tasks and scores.

    Attributes:
        scores: user id -> counts since the beginning.
        voices: what is known of reviewers and rankers.
    """

    trees: Mapping[str, Facts]
    tasks: Mapping[str, Task]
    scores: Mapping[str, Mapping[str, int]]
    voices: Mapping[str, Voice] = field(default_factory=dict)


async def picture(database: Database) -> Picture:
    """Read everything."""
    found: dict[str, dict[str, list]] = {name: defaultdict(list) for name in KINDS}
    for name, kind in KINDS.items():
        async for document in database[name].find():
            record = kind.from_document(document)
            found[name][record.tree_id].append(record)
    trees = {}
    async for document in database["trees"].find():
        tree = Tree.from_document(document)
        parts = {name: tuple(sorted(found[name][tree.id], key=lambda record: record.id)) for name in KINDS}
        trees[tree.id] = Facts(tree=tree, **parts)
    tasks = {document["_id"]: Task.from_document(document) async for document in database["tasks"].find()}
    totals = database["scores"].find({"key": "total|all"})
    scores = {document["user_id"]: document["counts"] async for document in totals}
    people = [each["_id"] async for each in database["raters"].find({}, {"_id": 1})]
    return Picture(trees, tasks, scores, await voices(database, people))


async def settled(database: Database, config: CollectionConfig) -> None:
    """Settle every tree until nothing moves: in weighted mode one tree's end changes people's weights in another."""
    for _ in range(10):
        before = (await picture(database)).trees
        for tree_id in before:
            await settle(database, config, tree_id)
        if (await picture(database)).trees == before:
            return
    raise AssertionError("settling goes on for ever")


def check(found: Picture, config: CollectionConfig, slack: Mapping[str, int]) -> None:
    """Raise AssertionError where a property does not hold.

    Args:
        found: with nothing under way.
        slack: tree id -> answers that may come in beyond what is wanted: tasks in people's hands when a moderator or
            flags changed what is wanted.
    """
    for facts in found.trees.values():
        if not facts.tree.dirty:
            _settled(facts, config, found.voices)
            _wanted(facts)
        _not_too_many(facts, found, config, slack.get(facts.tree.id, 0))
        _ranks(facts, config)
        _exported(facts)
    if not any(facts.tree.dirty for facts in found.trees.values()):
        _scores(found, config)


def _settled(facts: Facts, config: CollectionConfig, known: Mapping[str, Voice]) -> None:
    """The tree is what its facts make it: settling it again would change nothing."""
    again = advance(facts.tree, facts.messages, facts.reviews, facts.rankings, config, facts.reactions, known)
    assert again.state == facts.tree.state, (facts.tree.id, facts.tree.state, again.state)
    assert again.messages == facts.messages
    wanted = {f"{opening.kind}:{opening.target_id}": opening for opening in again.work}
    assert {work.id for work in facts.work} == wanted.keys(), (facts.tree.state, facts.work)
    for work in facts.work:
        # Less may be wanted than is in people's hands already, once rules change; nothing is free then.
        assert work.free <= max(0, wanted[work.id].places - len(work.holds)), (work, wanted[work.id])


def _wanted(facts: Facts) -> None:
    """Work is open only for what may be shown and is still wanted."""
    messages = {message.id: message for message in facts.messages}
    for work in facts.work:
        shown = [messages[identity] for identity in (*work.thread, *work.served)]
        target = messages[work.target_id or ""]
        assert work.thread[-1] == target.id
        assert not any(message.deleted for message in shown), work
        for message in shown:
            assert message.usable or (message == target and work.kind.startswith("label_")), work
        if work.kind.startswith("label_"):
            assert target.state == "pending"
        states = {"label": ("initial_prompt_review", "growing"), "rank": RANKING}
        assert facts.tree.state in states.get(work.kind.split("_")[0], ("growing",)), work
    assert facts.tree.state not in ENDED or not facts.work


def _not_too_many(facts: Facts, found: Picture, config: CollectionConfig, slack: int) -> None:
    tree = facts.tree
    held = Counter(
        (task.kind, task.target_id)
        for work in facts.work for identity in work.holds
        if (task := found.tasks.get(identity)) is not None and task.state == "open"
    )  # fmt: skip
    reviews, rankings = Counter(each.message_id for each in facts.reviews), Counter(e.parent_id for e in facts.rankings)
    for message in facts.messages:
        wanted = tree.num_reviews_prompt if message.parent_id is None else tree.num_reviews_reply
        wanted = config.reviews_most if config.weighted else wanted
        kind = "label_initial_prompt" if message.parent_id is None else f"label_{message.role}_reply"
        assert reviews[message.id] + held[kind, message.id] <= wanted + slack, message
        ranking = rankings[message.id] + held["rank_assistant_replies", message.id]
        assert ranking <= tree.num_rankings + slack, message
        standing = [m for m in facts.messages if m.parent_id == message.id and m.state != "refused" and not m.deleted]
        most = tree.max_children if message.role == "prompter" else config.num_prompter_replies
        assert len(standing) + sum(held[kind, message.id] for kind in REPLIES) <= most + slack, message
        people = [each.user_id for each in facts.reviews if each.message_id == message.id]
        assert len(people) == len(set(people))
        assert message.author_id not in people
    size = sum(message.state != "refused" and not message.deleted for message in facts.messages)
    assert size + sum(held[kind, message.id] for kind in REPLIES for message in facts.messages) <= (
        tree.goal_size + slack
    ), tree


def _ranks(facts: Facts, config: CollectionConfig) -> None:
    if facts.tree.state != "ready_for_export":
        assert all(message.rank is None for message in facts.messages)
        return
    for parent_id in {message.parent_id for message in facts.messages} - {None}:
        siblings = [each for each in facts.messages if each.parent_id == parent_id]
        usable = [each for each in siblings if each.usable and each.role == "assistant"]
        assert all(each.rank is None for each in siblings if not each.usable)
        given = [each for each in facts.rankings if each.parent_id == parent_id]
        given = [each for each in given if not (config.weighted and each.not_rankable)]
        kept = [{one.id for one in usable if one.id in each.ranking} for each in given]
        votes = [each for each in kept if len(each) > 1]
        if votes:
            ranks = {each.id: each.rank for each in usable if each.rank is not None}
            assert ranks.keys() == set.union(*votes)
            assert sorted(ranks.values()) == list(range(len(ranks)))


def _exported(facts: Facts) -> None:
    usable = {message.id for message in facts.messages if message.usable}
    for kind in BUILDERS:
        rows = rows_of(kind, facts.tree, facts.messages, "train", Filters(top_k=3))
        assert message_ids(kind, rows) <= usable


def _scores(found: Picture, config: CollectionConfig) -> None:
    """Scores are what a recount of everything from scratch gives."""
    recount: dict[str, Counter[str]] = defaultdict(Counter)
    for facts in found.trees.values():
        for credit in credits_of(facts.messages, facts.reviews, facts.rankings, by_rules(config)):
            recount[credit.user_id][credit.what] += 1
    kept = {user: {what: count for what, count in counts.items() if count} for user, counts in found.scores.items()}
    assert {user: counts for user, counts in kept.items() if counts} == {u: dict(c) for u, c in recount.items()}


def without_times(found: Picture) -> Picture:
    """The same but for what every act may touch: version numbers."""
    trees = {
        identity: replace(facts, tree=replace(facts.tree, version=0),
                          work=tuple(replace(work, rev=0) for work in facts.work))
        for identity, facts in found.trees.items()
    }  # fmt: skip
    return Picture(trees, found.tasks, found.scores, found.voices)
