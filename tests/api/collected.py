"""What must be true of a store of collection at any moment, whatever people did: read all of it, and check."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from core.advance import ENDED, RANKING, advance
from core.config import CollectionConfig
from core.database import Database
from core.facts import Facts
from core.learning import voices
from core.opinions import Ranking, Reaction, Review
from core.records import Message, Task, Tree
from core.review_agreement import by_rules
from core.scoring import credits_of
from core.settle import settle
from core.snapshot_rows import BUILDERS, Filters, message_ids, rows_of
from core.voices import Voice
from core.work_records import Work

KINDS = {
    "messages": Message, "reviews": Review, "rankings": Ranking, "reactions": Reaction, "work": Work,
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
    credits = {each["_id"]: tuple(sorted(each["taken"])) async for each in database["tree_credits"].find()}
    trees = {}
    async for document in database["trees"].find():
        tree = Tree.from_document(document)
        parts = {name: tuple(sorted(found[name][tree.id], key=lambda record: record.id)) for name in KINDS}
        trees[tree.id] = Facts(tree=tree, credits=credits.get(tree.id, ()), **parts)
    tasks = {document["_id"]: Task.from_document(document) async for document in database["tasks"].find()}
    scores = {document["_id"]: document["total"]["counts"] async for document in database["scores"].find()}
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


@dataclass
class Leeway:
    """What is allowed although it is more than is wanted now.

    Attributes:
        slack: tree id -> answers that may come in beyond what is wanted: tasks in people's hands when a moderator, an
            admin or flags changed what is wanted; and messages put back, whose places others had taken meanwhile.
        limits: tree id -> the highest limits that it ever had.
        most_reviews: the most that weighted rules ever asked for; 0 where there were none.
        owed: user id -> counts for work on what was purged since, which stay though nothing shows them.
    """

    slack: Counter[str] = field(default_factory=Counter)
    limits: dict[str, dict[str, int]] = field(default_factory=dict)
    most_reviews: int = 0
    owed: dict[str, Counter[str]] = field(default_factory=dict)


def check(found: Picture, config: CollectionConfig, leeway: Leeway) -> None:
    """Raise AssertionError where a property does not hold; `found` with nothing under way."""
    for facts in found.trees.values():
        if not facts.tree.dirty:
            _settled(facts, config, found.voices)
            _wanted(facts)
            _nobody_forgotten(facts)
        _not_too_many(facts, found, config, leeway)
        _ranks(facts, config)
        _exported(facts)
    if not any(facts.tree.dirty for facts in found.trees.values()):
        assert owed(found, config) == leeway.owed


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
        states = {"label": ("initial_prompt_review", "growing", *RANKING), "rank": RANKING}
        assert facts.tree.state in states.get(work.kind.split("_")[0], ("growing",)), work
    assert facts.tree.state not in ENDED or not facts.work


def standing(messages: Iterable[Message]) -> int:
    """Messages that take a place."""
    return sum(message.state != "refused" and not message.deleted for message in messages)


def _nobody_forgotten(facts: Facts) -> None:
    """What is in and undecided is reviewed by somebody, and no tree that is ready holds any of it."""
    usable = {message.id for message in facts.messages if message.usable}
    pending = [each for each in facts.messages if each.state == "pending" and not each.deleted]
    alive = {each.id for each in pending if usable.issuperset(each.ancestors)}
    if facts.tree.state == "ready_for_export":
        assert not alive
    elif facts.tree.state not in ENDED:
        assert alive == {work.target_id for work in facts.work if work.kind.startswith("label_")}


def _not_too_many(facts: Facts, found: Picture, config: CollectionConfig, leeway: Leeway) -> None:
    slack = leeway.slack[facts.tree.id]
    tree = replace(facts.tree, **leeway.limits.get(facts.tree.id, {}))
    held = Counter(
        (task.kind, task.target_id)
        for work in facts.work for identity in work.holds
        if (task := found.tasks.get(identity)) is not None and task.state == "open"
    )  # fmt: skip
    reviews = Counter(each.message_id for each in facts.reviews)
    for message in facts.messages:
        wanted = tree.num_reviews_prompt if message.parent_id is None else tree.num_reviews_reply
        wanted = max(wanted, leeway.most_reviews) if leeway.most_reviews else wanted
        kind = "label_initial_prompt" if message.parent_id is None else f"label_{message.role}_reply"
        assert reviews[message.id] + held[kind, message.id] <= wanted + slack, message
        replies = [each for each in facts.messages if each.parent_id == message.id]
        # One that came late wants rankings of its own, although its siblings have theirs.
        ranking = min((each.ranking_count for each in replies if each.usable or each.ranking_count), default=0)
        assert ranking + held["rank_assistant_replies", message.id] <= tree.num_rankings + slack, message
        most = tree.max_children if message.role == "prompter" else config.num_prompter_replies
        assert standing(replies) + sum(held[kind, message.id] for kind in REPLIES) <= most + slack, message
        people = [each.user_id for each in facts.reviews if each.message_id == message.id and each.user_id]
        assert len(people) == len(set(people))
        assert message.author_id not in people
    assert standing(facts.messages) + sum(held[kind, message.id] for kind in REPLIES for message in facts.messages) <= (
        tree.goal_size + slack
    ), tree


def _ranks(facts: Facts, config: CollectionConfig) -> None:
    """Ranks are a permutation of all that were compared, but where siblings went on without enough rankings."""
    if facts.tree.state != "ready_for_export":
        # A tree that goes on after its end keeps the ranks that it had; no other has any.
        assert facts.tree.ranked_in is not None or all(message.rank is None for message in facts.messages)
        return
    for parent_id in {message.parent_id for message in facts.messages} - {None}:
        siblings = [each for each in facts.messages if each.parent_id == parent_id]
        usable = [each for each in siblings if each.usable and each.role == "assistant"]
        assert all(each.rank is None for each in siblings if not each.usable)
        given = [each for each in facts.rankings if each.parent_id == parent_id]
        weighted = (facts.tree.ranked_in or config.mode) == "weighted"
        given = [each for each in given if not (weighted and each.not_rankable)]
        kept = [{one.id for one in usable if one.id in each.ranking} for each in given]
        votes = [each for each in kept if len(each) > 1]
        ranks = {each.id: each.rank for each in usable if each.rank is not None}
        assert sorted(ranks.values()) == list(range(len(ranks)))
        if votes and parent_id not in facts.tree.enough:
            assert ranks.keys() == set.union(*votes)


def _exported(facts: Facts) -> None:
    usable = {message.id for message in facts.messages if message.usable}
    for kind in BUILDERS:
        rows = rows_of(kind, facts.tree, facts.messages, "train", Filters(top_k=3))
        assert message_ids(kind, rows) <= usable


def owed(found: Picture, config: CollectionConfig) -> dict[str, Counter[str]]:
    """User id -> what scores hold beyond, or lack of, a recount of everything from scratch; only those that differ."""
    recount: dict[str, Counter[str]] = defaultdict(Counter)
    for facts in found.trees.values():
        for credit in credits_of(facts.messages, facts.reviews, facts.rankings, by_rules(config)):
            recount[credit.user_id][credit.what] += 1
    left: dict[str, Counter[str]] = {}
    for user in recount.keys() | found.scores.keys():
        kept = Counter(found.scores.get(user, {}))
        kept.subtract(recount[user])
        if differing := Counter({what: count for what, count in kept.items() if count}):
            left[user] = differing
    return left


def without_times(found: Picture) -> Picture:
    """The same but for what every act may touch: version numbers."""
    trees = {
        identity: replace(facts, tree=replace(facts.tree, version=0),
                          work=tuple(replace(work, rev=0) for work in facts.work))
        for identity, facts in found.trees.items()
    }  # fmt: skip
    return Picture(trees, found.tasks, found.scores, found.voices)
