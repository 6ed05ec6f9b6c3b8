"""Replies that wait to be ranked are scored by the reward model of the version that serves, by themselves."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from stage_kit import ContextFactory, as_output, synthetic_rows, write_snapshot

from core import job_objects, layout, manifest, waiting_replies
from core.active_ranking import SOON, USUAL, priority, scores
from core.collection import Collection
from core.config import CollectionConfig
from core.errors import BadInput, Unavailable
from core.ids import new_id
from core.jobspec import JobSpec, RewardStage, ScoreStage, SftStage, SnapshotRef, parse_spec
from core.journal import events_page
from core.models import promote
from core.objects import ObjectStore
from core.records import Message, milliseconds, now
from core.reply_scores import STATE, find_judge, go_on
from core.waiting_replies import unscored, waiting
from jobs import reward, score
from jobs.claims import Claimant
from jobs.context import StageStopped, World
from jobs.scoring import scorer
from jobs.walk import Alone, Run, walk
from jobs.weights import load_reward, load_tokenizer
from jobs.worker import make_result

REWARD = RewardStage(
    dataset=SnapshotRef(name="preference", version="v1"), max_steps=12, learning_rate=1e-2, max_length=64, bf16=False
)
CONFIG = CollectionConfig(max_pending_tasks=1000)
WORDS = ("red", "blue", "green")


def rows(count: int) -> list[dict[str, Any]]:
    return [
        {"message_id": f"m{n}", "prompt": [{"role": "user", "content": f"say {WORDS[n % 3]}"}], "reply": "word " * n}
        for n in range(1, count + 1)
    ]


@pytest.fixture
def judging(make_context: ContextFactory, tmp_path: Path) -> Any:
    """Makes a context of a score stage with ten replies and a trained reward model."""
    outputs = {"reward": as_output("reward", reward.run(make_context("01-reward"), REWARD))}
    given = tmp_path / "replies.jsonl"
    given.write_text("".join(json.dumps(row) + "\n" for row in rows(10)))
    return lambda **changes: make_context("00-score", outputs, **{"replies": given, **changes})


def test_the_scores_are_those_of_the_reward_model(judging: Any) -> None:
    context = judging()
    result = score.run(context, ScoreStage(reward_job="j", save_every=4, bf16=False))
    found = json.loads((result.folder / layout.SCORES).read_text())
    model, facts = load_reward(context)
    judge = scorer(model.eval(), load_tokenizer(context.base), facts["max_length"])
    expected = judge([row["prompt"] for row in rows(10)], [row["reply"] for row in rows(10)])
    assert list(found) == [f"m{n}" for n in range(1, 11)]
    assert list(found.values()) == pytest.approx(expected, abs=1e-4)
    assert len(set(expected)) > 5
    assert (result.metrics["replies"], context.checkpoints.saved) == (10, [4, 8, 10])


def test_scoring_that_was_cut_short_goes_on(judging: Any) -> None:
    config, seen = ScoreStage(reward_job="j", save_every=4, bf16=False), []

    def stop() -> None:
        seen.append(1)
        if len(seen) == 2:
            raise StageStopped("killed")

    straight = score.run(judging(folder="straight"), config)
    with pytest.raises(StageStopped):
        score.run(judging(folder="cut", check_stop=stop), config)
    again = judging(folder="cut")
    result = score.run(again, config)
    assert again.checkpoints.saved == [8, 10], "the first four are not scored again"
    one, other = (json.loads((each.folder / layout.SCORES).read_text()) for each in (straight, result))
    assert one == pytest.approx(other, abs=1e-5)


def test_a_job_without_replies_or_of_more_stages_is_refused(judging: Any) -> None:
    with pytest.raises(BadInput, match="no replies to score"):
        score.run(judging(replies=None), ScoreStage(reward_job="j"))
    stages = [{"kind": "score", "reward_job": "j"}, {"kind": "export"}]
    with pytest.raises(BadInput, match="stage 'score' must be the only one of its job"):
        parse_spec({"name": "x", "base": "tiny", "stages": stages})


# With both stores: the API's part, and a worker's walk in this process.


def take_turn(store: ObjectStore, cache: Path) -> list[str]:
    """A worker does what is in the queue, as `jobs.worker` does it; the ids of the jobs."""
    done = []
    for item in list(store.list("queue/")):
        job_id = item.key.removeprefix("queue/").removesuffix(".json")
        attempt = Claimant(store).try_claim(job_id)
        assert attempt is not None
        spec = job_objects.read_spec(store, job_id)
        walk(Run(store, job_id, attempt, spec, cache), World(), Alone())
        outcome = store.get_json(layout.outcome(job_id, attempt))
        store.put_json(layout.result(job_id), make_result(store, job_id, attempt, outcome), if_absent=True)
        store.delete(item.key)
        done.append(job_id)
    return done


@dataclass(frozen=True)
class Trained:
    """A reward model that a job trained on a few steps, and a version whose manifest names the job, as objects."""

    job_id: str
    version: str
    objects: dict[str, bytes]

    def serve(self, store: ObjectStore) -> None:
        """Publish the version in a store, and promote it."""
        for key, data in self.objects.items():
            store.put(key, data)
        promote(store, "assistant", self.version, by="test")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("machine")


@pytest.fixture(scope="session")
def trained(s3_endpoint: str, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Trained]:
    """Version v1 of a reward model on the base, and v2 of one on what fine-tuning left."""
    sft = SftStage(dataset=SnapshotRef(name="sft", version="v1"), max_steps=2, max_length=64, bf16=False)
    return [
        _trained(s3_endpoint, cache, tmp_path_factory.mktemp(version), version, stages)
        for version, stages in (("v1", (REWARD,)), ("v2", (sft, REWARD)))
    ]


def _trained(endpoint: str, cache: Path, folder: Path, version: str, stages: tuple[Any, ...]) -> Trained:
    store = ObjectStore(f"trained-{new_id()}", endpoint)
    store.ensure_bucket()
    for stage in stages:
        kind = stage.dataset.name
        made = write_snapshot(folder / kind, kind, synthetic_rows(kind))
        about = json.loads((made / "manifest.json").read_text())
        (made / "manifest.json").unlink()
        manifest.publish(store, made, layout.dataset(kind, "v1"), about)
    job_id = new_id()
    job_objects.submit(store, JobSpec(name="assistant", base="tiny", seed=3, stages=stages), job_id, by=None)
    assert take_turn(store, cache) == [job_id]
    (folder / version).mkdir()
    (folder / version / "weights").write_text(version)
    checks = {"onnx_parity": {"passed": True}}
    about = {"format": 1, "name": "assistant", "version": version, "job_id": job_id, "checks": checks}
    manifest.publish(store, folder / version, layout.model("assistant", version), about)
    return Trained(job_id, version, {item.key: store.get(item.key) for item in store.list("")})


@dataclass(frozen=True)
class Said:
    """One turn."""

    role: str
    text: str
    model_version: str | None = None


async def ranked_tree(collection: Collection, key: str, replies: int = 3) -> str:
    """A tree in ranking, of a question and models' replies; its id."""
    drafts = [Said("assistant", f"{WORDS[n % 3]} {WORDS[n % 3]} {'x' * 5 * n}") for n in range(replies)]
    await collection.add_synthetic_tree([Said("user", "say red")], drafts, key=key, lang="en")
    tree = await collection.activate_backlog("en")
    assert tree is not None
    return tree.id


async def run_until_idle(collection: Collection, store: ObjectStore, cache: Path) -> list[str]:
    """Both go on until there is nothing to do; the scoring jobs that ran."""
    jobs: list[str] = []
    for _ in range(20):
        await due(collection)
        await go_on(collection.database, collection.config, store, seconds=3600)
        jobs += take_turn(store, cache)
        state = await collection.database["reply_scoring"].find_one({"_id": STATE})
        if state["due"] > milliseconds(now()) + 3_000_000:
            return jobs
    raise AssertionError("it never comes to rest")


async def due(collection: Collection) -> None:
    """What waits for a clock waits no longer."""
    state = {"$set": {"due": 0}}
    await collection.database["reply_scoring"].update_one({"_id": STATE}, state, upsert=True)


def judged(messages: list[Message]) -> dict[str, dict[str, Any]]:
    return {each.id: each.reward for each in messages if each.reward}


async def test_replies_are_scored_and_scored_again_by_the_next_model(
    database: Any, store: ObjectStore, cache: Path, trained: list[Trained]
) -> None:
    collection = Collection(database, CONFIG)
    first = await ranked_tree(collection, "one")
    assert await run_until_idle(collection, store, cache) == [], "there is no judge"
    trained[0].serve(store)
    judge = find_judge(store)
    assert judge is not None
    assert (judge.label, judge.job_id) == ("assistant@v1", trained[0].job_id)
    (job,) = await run_until_idle(collection, store, cache)
    replies = [each for each in await collection.messages_of(first) if each.role == "assistant"]
    assert {each["model_version"] for each in judged(replies).values()} == {"assistant@v1"}
    assert len(scores(replies)) == 3
    work = await database["work"].find_one({"target_id": first})
    assert work["priority"] == priority(scores(replies), []) in (SOON, USUAL)
    assert not store.exists(layout.replies(job)), "texts are gone with the end of the job"
    assert (await database["jobs"].find_one({"_id": job}))["name"] == "reply-scores"
    # What comes later is scored alone, and the job before goes.
    second = await ranked_tree(collection, "two", replies=2)
    (later,) = await run_until_idle(collection, store, cache)
    assert job_objects.read_result(store, later)["stages"][0]["metrics"]["replies"] == 2
    assert not list(store.list(layout.job(job)))
    assert await database["jobs"].find_one({"_id": job}) is None
    assert await run_until_idle(collection, store, cache) == [], "all is scored"
    # A new judge scores all, in place of the old one.
    trained[1].serve(store)
    await run_until_idle(collection, store, cache)
    anew = [each for tree in (first, second) for each in await collection.messages_of(tree)]
    assert {each["model_version"] for each in judged(anew).values()} == {"assistant@v2"}
    assert len(judged(anew)) == 5
    old = judged(replies)
    assert any(judged(anew)[each]["score"] != old[each]["score"] for each in old)


class Cut(ObjectStore):
    """The store, until a write of a certain key: then it is gone, as the process that wrote would be."""

    at = "/"

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
        if self.at in key:
            raise Unavailable("killed")
        super().put(key, data, if_absent=if_absent)


async def test_a_step_that_was_cut_short_is_taken_again(
    database: Any, store: ObjectStore, cache: Path, trained: list[Trained]
) -> None:
    collection = Collection(database, CONFIG)
    tree = await ranked_tree(collection, "one")
    trained[0].serve(store)
    for at in ("/replies.jsonl", "/spec.json", "queue/"):
        cut = Cut(store.bucket, store.endpoint)
        cut.at = at
        with pytest.raises(Unavailable):
            await run_until_idle(collection, cut, cache)
    assert len(await run_until_idle(collection, store, cache)) == 1
    assert len(judged(await collection.messages_of(tree))) == 3
    assert not [item.key for item in store.list("jobs/") if item.key.endswith("replies.jsonl")]


async def test_several_processes_ask_once_and_take_once(
    database: Any, store: ObjectStore, cache: Path, trained: list[Trained]
) -> None:
    collection = Collection(database, CONFIG)
    tree = await ranked_tree(collection, "one")
    trained[0].serve(store)
    await go_on(database, CONFIG, store, seconds=0)
    for did in (1, 1):
        await due(collection)
        went = await asyncio.gather(*(go_on(database, CONFIG, store, seconds=0) for _ in range(4)))
        assert sum(went) == did
        assert len(take_turn(store, cache)) <= 1
    found = judged(await collection.messages_of(tree))
    assert len(found) == 3
    assert (await database["reply_scoring"].find_one({"_id": STATE}))["asked"] is None


async def test_a_job_that_fails_is_told_and_one_that_nobody_takes_is_taken_back(
    database: Any, store: ObjectStore, cache: Path, trained: list[Trained]
) -> None:
    collection = Collection(database, CONFIG)
    await ranked_tree(collection, "one")
    trained[0].serve(store)
    for _ in range(2):
        await due(collection)
        await go_on(database, CONFIG, store, seconds=0)
    state = await database["reply_scoring"].find_one({"_id": STATE})
    await database["reply_scoring"].update_one({"_id": STATE}, {"$set": {"asked.at": 1, "due": 0}})
    await go_on(database, CONFIG, store, seconds=0)
    assert not list(store.list(layout.job(state["asked"]["job_id"])))
    assert not list(store.list("queue/"))
    for _ in range(2):
        await due(collection)
        await go_on(database, CONFIG, store, seconds=0)
    (item,) = store.list("queue/")
    job_id = item.key.removeprefix("queue/").removesuffix(".json")
    outcome = {"state": "failed", "error": {"code": "STAGE_FAILED", "message": "no memory"}, "stage": None}
    store.put_json(layout.result(job_id), make_result(store, job_id, 1, outcome))
    await due(collection)
    await go_on(database, CONFIG, store, seconds=0)
    (told,), _ = await events_page(database, kind="reply_scoring_failed")
    assert (told.subject, told.details["error"]["message"]) == (job_id, "no memory")
    assert not store.exists(layout.replies(job_id))
    state = await database["reply_scoring"].find_one({"_id": STATE})
    assert state["due"] > milliseconds(now()) + 1_000_000, "it is not tried again and again"


# Which replies.


def message(identity: str, parent: Message | None = None, **fields: Any) -> Message:
    above = () if parent is None else (*parent.ancestors, parent.id)
    role = "assistant" if len(above) % 2 else "prompter"
    known = {"state": "accepted", "text": identity, "role": role, "parent_id": above[-1] if above else None, **fields}
    return Message(id=identity, tree_id="a", ancestors=above, lang="en", **known)


def test_replies_wait_whose_siblings_can_be_ranked_and_that_this_model_has_not_scored() -> None:
    root = message("a")
    old, new = ({"model_version": f"m@{n}", "score": 0.5} for n in (1, 2))
    one, two, gone = message("b", root), message("c", root, reward=old), message("d", root, deleted=True)
    pending, again = message("e", root, state="pending"), message("f", two)
    alone = message("g", again)
    told = [root, one, two, gone, pending, again, alone]
    (first,) = unscored(told, "m@2")
    assert [row["message_id"] for row in first] == ["b", "c"]
    assert [(turn["role"], turn["content"]) for turn in first[0]["prompt"]] == [("user", "a")]
    assert [[row["message_id"] for row in each] for each in unscored(told, "m@1")] == [["b"]]
    below = message("h", again)
    assert [turn["role"] for turn in unscored([*told, below], "m@2")[1][0]["prompt"]] == ["user", "assistant", "user"]
    off = [replace(each, reward=new) if each.id in "bc" else each for each in told]
    assert unscored(off, "m@2") == [[]]
    assert unscored([replace(root, state="refused"), *told[1:]], "m@2") == []


async def test_trees_are_looked_through_in_pages(database: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    collection = Collection(database, CONFIG)
    trees = [await ranked_tree(collection, f"t{n}", replies=2) for n in range(5)]
    for name, value in (("PAGE", 2), ("PAGES", 1), ("BATCH", 3)):
        monkeypatch.setattr(waiting_replies, name, value)
    found, after, rounds = [], None, 0
    while rounds == 0 or after is not None:
        rows_found, after = await waiting(database, "m@1", after)
        found += [row["message_id"] for row in rows_found]
        rounds += 1
    replies = [each.id for tree in trees for each in await collection.messages_of(tree) if each.parent_id]
    assert sorted(found) == sorted(replies)
    assert rounds == 3
