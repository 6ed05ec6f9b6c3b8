"""Anything that people may do, in any order and at once, through the public API over the real store; and what must be
true of the store after each step, and at the end, when willing people have done all that was left.

`OA_MACHINE_STEPS=10000 make test TESTS=tests/api/test_collection_machine.py` takes that many steps.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import httpx
import pytest
from collected import Leeway, Picture, check, owed, picture, settled, standing, without_times
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from running_api import DEADLINE, Caller, serving

from core.advance import ENDED
from core.config import MODES, CollectionConfig
from core.database import Database, aware, connect
from core.errands import run_once
from core.pools import DEFAULT
from core.records import TASK_KINDS, Message, deadline_key, moment
from core.rules import collections, rules_of
from core.sweeper import sweep_once
from core.work_records import Work
from graphql_schema.relay import global_id, raw_id

STEPS = int(os.environ.get("OA_MACHINE_STEPS", "0")) or 100
STEPS_EACH = 50
RULES = CollectionConfig(
    mode="parity", suspicious_reviews=0,
    goal_tree_size=5, max_tree_depth=2, max_children_count=3, num_reviews_initial_prompt=2, num_reviews_reply=2,
    num_required_rankings=2, p_activate_backlog_tree=0.0, max_pending_tasks=1000, max_active_trees=3,
    auto_mod_red_flags=3, auto_mod_max_skip_reply=4,
)  # fmt: skip
TASK = """task { __typename id state ... on ConversationTask { thread { id } }
  ... on RankingTask { replies { id } } }"""
WIPED = ("trees", "messages", "tasks", "reviews", "rankings", "reactions", "reports", "tree_credits", "scores", "work",
         "moderation_items", "events", "lessons", "raters", "appeals", "purges", "departures", "revisions",
         "text_checks", "text_bands", "message_words", "tree_agreement", "agreement_periods")  # fmt: skip
CHANGES: tuple[dict[str, Any], ...] = (
    *({"mode": mode} for mode in MODES),
    {"reviews_least": 1, "reviews_quorum": 0.5, "reviews_most": 3}, {"reviews_least": 3, "reviews_most": 4},
    {"reviews_least": None, "reviews_quorum": None, "reviews_most": None},
)  # fmt: skip
"""Changes of rules; those of parity mode are limits of each tree, and do not change with them."""
LIMITS = {"goalSize": 6, "maxDepth": 3, "maxChildren": 4, "numRankings": 3, "numReviewsPrompt": 3, "numReviewsReply": 3}
"""Limits of a tree, and the highest that they become."""
GOOD = [{"name": "SPAM", "value": 0}, {"name": "QUALITY", "value": 0.75}]
BAD = [{"name": "SPAM", "value": 1}]
CALM = ("TASK_GONE", "NOTHING_TO_DO", "CONFLICT", "DUPLICATE_TEXT", "TOO_MANY", "BUSY", "UNAVAILABLE")
"""Codes with which the API may answer an act that came too late or at a bad moment."""


def shapes_of(order: list[str], weighted: bool) -> list[dict[str, Any]]:
    """Every form in which an order of replies may be told: in parity mode all of them in a row, with or without the
    word that all are wrong, or that word alone; by weight also some of them, and with ties. `cannotJudge` tells none.
    """
    rows = [[[each] for each in order]]
    if weighted:
        rows += [[[each] for each in order[:2]], [[each] for each in order[-2:]], [order], [order[:2]], [order[-2:]]]
        rows += [[order[:1], order[1:]], [order[:2], *([each] for each in order[2:])]]
    said: list[dict[str, Any]] = [
        {"ranking": [each for (each,) in rows[0]]},
        {"notRankable": True},
        {"cannotJudge": True},
    ]
    return said + [{"tiers": row, "notRankable": wrong} for row in rows for wrong in (False, True)]


def meaning(answer: dict[str, Any]) -> object:
    """The answer, a ranking by what it says rather than by how it is told."""
    if answer.keys() & {"ranking", "tiers", "notRankable"}:
        tiers = answer.get("tiers") or [[each] for each in answer.get("ranking", ())]
        return [tuple(tier) for tier in tiers], answer.get("notRankable", False)
    return answer


KINDS_BUT_PROMPTS = [kind.upper() for kind in TASK_KINDS if kind != "initial_prompt"]
WHICH = st.integers(0, 99)
"""Which of some things; taken modulo their number, since draws may not depend on what the store did."""
EAGER = ["RANDOM", "ASSISTANT_REPLY", "LABEL_ASSISTANT_REPLY", "LABEL_PROMPTER_REPLY", "RANK_ASSISTANT_REPLIES"]


@dataclass
class Held:
    """A task in somebody's hands."""

    person: int
    task: dict[str, Any]

    @property
    def id(self) -> str:
        """The task's global id."""
        return str(self.task["id"])


@dataclass
class World:
    """The running API, people who call it, and the store behind it, in one event loop."""

    url: str
    database: Database
    runner: asyncio.Runner
    http: httpx.AsyncClient
    caller: Caller
    base: CollectionConfig
    weighted: bool
    names: list[str] = field(default_factory=lambda: [f"person-{number}" for number in range(5)])
    people: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    willing: list[str] = field(default_factory=list)
    moderator: str = ""
    admin: str = ""
    texts: Iterator[int] = field(default_factory=count)
    steps: int = 0

    def run(self, act: Coroutine[Any, Any, Any]) -> Any:
        """The act's result."""
        return self.runner.run(act)

    async def ask(self, token: str, name: str, fields: str, /, **input: Any) -> dict[str, Any]:
        """The payload of a mutation; its errors are of those that people may meet."""
        kind = name[0].upper() + name[1:] + "Input!"
        document = f"mutation ($i: {kind}) {{ p: {name}(input: $i) {{ userErrors {{ code message }} {fields} }} }}"
        headers = {"authorization": f"Bearer {token}"}
        body = {"query": document, "variables": {"i": input}}
        answer = (await self.http.post(f"{self.url}/graphql", json=body, headers=headers)).json()
        assert "errors" not in answer, answer["errors"]
        payload: dict[str, Any] = answer["data"]["p"]
        assert all(error["code"] in CALM for error in payload["userErrors"]), payload["userErrors"]
        return payload

    async def preview(self, message_id: str) -> str:
        """The token of a purge of the message."""
        document = "query ($m: [ID!]) { purgePreview(messageIds: $m) { token } }"
        body = {"query": document, "variables": {"m": [global_id("Message", message_id)]}}
        headers = {"authorization": f"Bearer {self.admin}"}
        answer = (await self.http.post(f"{self.url}/graphql", json=body, headers=headers)).json()
        assert "errors" not in answer, answer["errors"]
        return str(answer["data"]["purgePreview"]["token"])

    async def take(self, token: str, kind: str) -> dict[str, Any] | None:
        """A task of the kind, if there is one."""
        task: dict[str, Any] | None = (await self.ask(token, "requestTask", TASK, langs=["en"], kind=kind))["task"]
        return task

    def answer(self, task: dict[str, Any], good: bool = True, shape: int = 0) -> tuple[str, dict[str, Any]]:
        """The mutation that answers a task, and its input; `shape` tells which of the forms a ranking has."""
        kind = task["__typename"]
        if kind.startswith("Label"):
            return "submitReview", {"labels": GOOD if good else BAD}
        if kind.startswith("Rank"):
            order = sorted(reply["id"] for reply in task["replies"])
            shapes = shapes_of(order if good else order[::-1], self.weighted)
            return "submitRanking", shapes[shape % len(shapes)]
        name = "submitPrompt" if kind.startswith("Initial") else "submitReply"
        return name, {"text": f"Something that nobody wrote before, number {next(self.texts)}."}

    async def submit(self, token: str, task: dict[str, Any], good: bool = True, shape: int = 0) -> dict[str, Any]:
        """The payload of the task's answer."""
        name, answer = self.answer(task, good, shape)
        return await self.ask(token, name, "task { id state }", taskId=task["id"], **answer)

    def sign_in(self) -> None:
        """Everybody, anew: the run takes longer than a token lives."""
        people = [self.caller.sign_in(name) for name in self.names]
        self.people, self.ids = [str(each.token) for each in people], [str(each.user_id) for each in people]
        self.willing = [str(self.caller.sign_in(f"willing-{number}").token) for number in range(8)]
        self.moderator = str(self.caller.sign_in("moderator", "MODERATOR", "CONTRIBUTOR").token)
        self.admin = str(self.caller.sign_in("admin", "ADMIN").token)

    async def wipe(self) -> None:
        """Take everything out but the people."""
        for name in WIPED:
            await self.database[name].delete_many({})
        await self.change_rules({name: None for change in CHANGES for name in change})

    async def rules(self) -> CollectionConfig:
        """Those in force now, here and in the API."""
        await collections(self.database, fresh=True)
        return await rules_of(self.database, self.base)

    async def change_rules(self, config: dict[str, Any]) -> None:
        """As an admin does it, through the API."""
        version = (await collections(self.database, fresh=True))[DEFAULT].version
        wanted = {"collectionId": global_id("Collection", DEFAULT), "version": version, "config": config}
        payload = await self.ask(self.admin, "updateCollection", "collection { version }", **wanted)
        assert payload["userErrors"] == [], payload
        self.weighted = (await self.rules()).weighted

    async def sweep(self) -> None:
        """One round of the background step."""
        swept = await sweep_once(self.database, self.base, random.Random(1))
        assert swept.failures == []

    async def replace_person(self, person: int) -> None:
        """Somebody new in the place of one who left; what is left to do for those who leave is done."""
        await run_once(self.database, self.base, None)
        assert await self.database["departures"].count_documents({"state": "open"}) == 0
        self.names[person] = f"instead-{next(self.texts)}"
        newcomer = self.caller.sign_in(self.names[person])
        self.people[person], self.ids[person] = str(newcomer.token), str(newcomer.user_id)

    async def give_up(self, which: int | None = None) -> int:
        """Nobody has ranked some siblings or, in weighted mode, reviewed some message (or any at all) for long, as far
        as the store can tell; how many wait."""
        kinds = ["rank_assistant_replies"]
        kinds += ["label_initial_prompt", "label_assistant_reply", "label_prompter_reply"] if self.weighted else []
        found = self.database["work"].find({"kind": {"$in": kinds}}).sort("_id")
        works = [Work.from_document(document) async for document in found]
        chosen = works if which is None or not works else [works[which % len(works)]]
        for work in chosen:
            late = replace(work, lapses_at=1)
            await self.database["work"].update_one({"_id": work.id}, {"$set": {"lapses_at": 1, **late.keys()}})
        return len(chosen)

    async def expire(self, task_id: str) -> None:
        """Let a task's time run out, as far as the store can tell; nothing where the task is gone."""
        document = await self.database["tasks"].find_one({"_id": task_id})
        if document is None:
            return
        past = moment("2020-01-01T00:00:00+00:00")
        changes = {"expires_at": past, "deadline": deadline_key(document["state"], past)}
        await self.database["tasks"].update_one({"_id": task_id}, {"$set": changes})
        hold = f"holds.{task_id}"
        guard = {"_id": document["work_id"], hold: {"$exists": True}}
        await self.database["work"].update_one(guard, {"$set": {f"{hold}.until": 1, "check_at": 1}, "$inc": {"rev": 1}})


@pytest.fixture(scope="module", params=MODES)
def world(request, settings, mongodb_uri) -> Iterator[World]:
    """An API with small trees and no sweeper of its own."""
    rules = replace(RULES, mode=request.param)
    name = f"{settings.mongodb_database}_machine_{request.param}"
    mine = replace(settings, mongodb_database=name, collection=rules, sweep_seconds=0)
    with serving(mine) as url, asyncio.Runner() as runner:

        async def opened() -> tuple[Any, httpx.AsyncClient]:
            return connect(mongodb_uri), httpx.AsyncClient(timeout=DEADLINE)

        client, http = runner.run(opened())
        yield World(url, aware(client[mine.mongodb_database]), runner, http, Caller(url), rules, rules.weighted)
        runner.run(http.aclose())
        runner.run(client.close())


class Collecting(RuleBasedStateMachine):
    """See the module."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.world.sign_in()
        self.world.run(self.world.wipe())
        self.held: list[Held] = []
        self.answered: list[tuple[Held, str, dict[str, Any]]] = []
        self.leeway = Leeway(most_reviews=RULES.reviews_most if self.world.weighted else 0)

    @initialize(prompts=st.integers(1, 3), rounds=st.integers(0, 9))
    def begin_somewhere(self, prompts: int, rounds: int) -> None:
        """Trees at some point of their way."""

        async def begin() -> None:
            for token in self.world.people[:prompts]:
                task = await self.world.take(token, "INITIAL_PROMPT")
                assert task is not None
                await self.world.submit(token, task)
            for turn in range(rounds):
                await self.world.sweep()
                for shape, token in enumerate(self.world.people):
                    kind = "LABEL_INITIAL_PROMPT" if turn == 0 else EAGER[1 + turn % 4]
                    if task := await self.world.take(token, kind):
                        await self.world.submit(token, task, shape=shape + turn)

        self.world.run(begin())

    # Contributors.

    @rule(person=st.integers(0, 4), kind=st.sampled_from(["RANDOM", *(kind.upper() for kind in TASK_KINDS)]))
    def take(self, person: int, kind: str) -> None:
        if task := self.world.run(self.world.take(self.world.people[person], kind)):
            self.held.append(Held(person, task))

    @rule(kind=st.sampled_from(EAGER), answer=st.booleans(), shape=WHICH)
    def everybody_at_once(self, kind: str, answer: bool, shape: int) -> None:
        async def rush() -> list[dict[str, Any] | None]:
            tasks = await asyncio.gather(*(self.world.take(token, kind) for token in self.world.people))
            if answer:
                pairs = zip(self.world.people, tasks, strict=True)
                given = enumerate((token, task) for token, task in pairs if task)
                acts = (self.world.submit(token, task, shape=shape + turn) for turn, (token, task) in given)
                await asyncio.gather(*acts)
            return tasks

        for person, task in enumerate(self.world.run(rush())):
            if task and not answer:
                self.held.append(Held(person, task))

    @rule(which=WHICH, good=st.sampled_from([True, True, True, False]), times=st.integers(1, 3), shape=WHICH)
    def submit(self, which: int, good: bool, times: int, shape: int) -> None:
        """Submit a task; more than once at the same moment, as from a phone on a bad network."""
        if not self.held:
            return
        held = self.held.pop(which % len(self.held))
        name, answer = self.world.answer(held.task, good, shape)
        token = self.world.people[held.person]

        async def deliver() -> list[dict[str, Any]]:
            sent = (self.world.ask(token, name, "task { id state }", taskId=held.id, **answer) for _ in range(times))
            return await asyncio.gather(*sent)

        answers = self.world.run(deliver())
        # Of deliveries at once some may come while the first is being applied; what they are told is the same.
        assert len({(each["task"] or {}).get("id") for each in answers}) == 1, answers
        if answers[0]["task"] and "cannotJudge" not in answer:
            self.answered.append((held, name, answer))

    @rule(which=WHICH, same=st.booleans())
    def submit_again(self, which: int, same: bool) -> None:
        """The same answer again is taken, another one or one to what was purged is refused; neither changes a thing."""
        if not self.answered:
            return
        held, name, given = self.answered[which % len(self.answered)]
        answer = given if same else self.world.answer(held.task, good=False)[1]
        same, token = meaning(answer) == meaning(given), self.world.people[held.person]
        before = self.look()
        payload = self.world.run(self.world.ask(token, name, "task { id state }", taskId=held.id, **answer))
        same = same and raw(held.id) in before.tasks
        assert (payload["task"] is not None) == same, payload
        if same:
            assert payload["task"]["state"] == "DONE"
        assert without_times(self.look()) == without_times(before)

    @rule(which=WHICH)
    def skip(self, which: int) -> None:
        if not self.held:
            return
        held = self.held.pop(which % len(self.held))
        task = self.world.run(self.world.database["tasks"].find_one({"_id": raw(held.id)})) or {}
        self.loosen(str(task.get("tree_id")))  # skips may halt a tree, as a moderator might
        self.world.run(self.world.ask(self.world.people[held.person], "skipTask", "task { state }", taskId=held.id))

    @rule(which=WHICH)
    def save_draft(self, which: int) -> None:
        if not self.held:
            return
        held = self.held[which % len(self.held)]
        token = self.world.people[held.person]
        self.world.run(self.world.ask(token, "saveDraft", "task { draft }", taskId=held.id, text="so far"))

    # Time.

    @rule(which=WHICH)
    def time_runs_out(self, which: int) -> None:
        if not self.held:
            return
        held = self.held.pop(which % len(self.held))
        task_id = raw(held.id)

        async def pass_time() -> str:
            await self.world.expire(task_id)
            await self.world.sweep()
            found = await self.world.database["tasks"].find_one({"_id": task_id})
            return str(found["state"]) if found else "purged"

        assert self.world.run(pass_time()) in ("expired", "skipped", "done", "purged")

    @rule(which=WHICH)
    def nobody_judges(self, which: int) -> None:
        """Some siblings go on with the rankings that they have, or a message with its reviews."""

        async def pass_time() -> None:
            await self.world.give_up(which)
            await self.world.sweep()

        self.world.run(pass_time())

    @rule()
    def sweep(self) -> None:
        self.world.run(self.world.sweep())
        assert not any(facts.tree.dirty for facts in self.look().trees.values())

    # Moderation.

    @rule(which=WHICH, act=st.sampled_from(["deleteMessage", "restoreMessage", "haltTree", "resumeTree"]))
    def moderate(self, which: int, act: str) -> None:
        messages = sorted((message.id, message.tree_id) for message in self.messages())
        if not messages:
            return
        message_id, tree_id = messages[which % len(messages)]
        what = {"treeId": global_id("Tree", tree_id)} if act.endswith("Tree") else {}
        what = what or {"messageId": global_id("Message", message_id)}
        self.overrule(tree_id, self.world.ask(self.world.moderator, act, "__typename", **what))

    def overrule(self, tree_id: str, act: Coroutine[Any, Any, Any]) -> Any:
        """What somebody in office does to a tree: what comes back with it takes places that others may have by now."""
        self.loosen(tree_id)
        before = standing(self.messages(tree_id=tree_id))
        payload = self.world.run(act)
        self.leeway.slack[tree_id] += max(0, standing(self.messages(tree_id=tree_id)) - before)
        self.loosen(tree_id)
        return payload

    @rule(which=WHICH, uphold=st.booleans())
    def appeal(self, which: int, uphold: bool) -> None:
        """An author appeals against what was decided, and an admin decides."""
        decided = self.mine(lambda message: message.deleted or message.state == "refused")
        if not decided:
            return
        token, message = decided[which % len(decided)]
        identity = global_id("Message", message.id)
        made = self.world.run(self.world.ask(token, "appeal", "appeal { id state }", messageId=identity, text="Why?"))
        if made["appeal"] is None or made["appeal"]["state"] != "OPEN":
            return
        answer = {"appealId": made["appeal"]["id"], "uphold": uphold, "reason": "Looked at again."}
        act = self.world.ask(self.world.admin, "decideAppeal", "appeal { state }", **answer)
        payload = self.overrule(message.tree_id, act)
        after = next(each for each in self.messages() if each.id == message.id)
        assert not uphold or payload["userErrors"] or (not after.deleted and after.state != "refused")

    @rule(which=WHICH, name=st.sampled_from(sorted(LIMITS)), value=st.integers(1, 5))
    def limit_tree(self, which: int, name: str, value: int) -> None:
        """An admin changes a limit of one tree; the sweeper then comes by."""
        trees = self.trees()
        if not trees:
            return
        tree_id = trees[which % len(trees)]
        wanted = {"treeId": global_id("Tree", tree_id), name: min(value, LIMITS[name])}
        payload = self.overrule(tree_id, self.world.ask(self.world.admin, "limitTree", "tree { id }", **wanted))
        assert payload["userErrors"] == [], payload
        self.sweep()

    @rule(which=WHICH)
    def purge(self, which: int) -> None:
        """An admin erases a message and all that follows it; who worked on that keeps the points."""
        messages = sorted((message.id, message.tree_id) for message in self.messages())
        if not messages:
            return
        self.sweep()
        message_id, tree_id = messages[which % len(messages)]
        going = self.look().trees[tree_id]
        # Its siblings have been ranked more often than it has.
        self.leeway.slack[tree_id] += len(going.messages) * going.tree.num_rankings

        async def erase() -> Any:
            token = await self.world.preview(message_id)
            named = {"messageIds": [global_id("Message", message_id)], "token": token, "reason": "asked for"}
            return await self.world.ask(self.world.admin, "purge", "done", **named)

        payload = self.overrule(tree_id, erase())
        assert payload["done"], payload
        assert all(message.id != message_id for message in self.messages())
        self.sweep()
        self.come_to_rest()
        self.leeway.owed = owed(self.look(), self.world.run(self.world.rules()))
        assert all(min(counts.values()) > 0 for counts in self.leeway.owed.values()), self.leeway.owed

    @rule(which=WHICH, person=st.integers(0, 4), emoji=st.sampled_from(["red_flag", "+1", "100"]), on=st.booleans())
    def react(self, which: int, person: int, emoji: str, on: bool) -> None:
        messages = sorted((message.id, message.tree_id) for message in self.messages())
        if not messages:
            return
        message_id, tree_id = messages[which % len(messages)]
        self.loosen(tree_id)
        token = self.world.people[person]
        identity = global_id("Message", message_id)
        if emoji == "red_flag" and on:
            act = self.world.ask(token, "report", "__typename", messageId=identity, reason="bad")
        else:
            act = self.world.ask(token, "react", "__typename", messageId=identity, emoji=emoji, on=on)
        self.world.run(act)

    # One's own.

    def mine(self, fits: Callable[[Message], bool]) -> list[tuple[str, Message]]:
        """Messages of the people here that fit, each with its author's token."""
        ids = [raw_id(each, "User", path=("id",)) for each in self.world.ids]
        tokens = dict(zip(ids, self.world.people, strict=True))
        found = sorted(self.messages(), key=lambda message: message.id)
        return [(tokens[each.author_id], each) for each in found if each.author_id in tokens and fits(each)]

    @rule(which=WHICH, act=st.sampled_from(["editContribution", "withdrawContribution"]))
    def change_own(self, which: int, act: str) -> None:
        """Somebody changes a message of their own, or takes it back; refused where others have been at it."""
        written = self.mine(lambda message: message.state == "pending" and not message.deleted)
        if not written:
            return
        token, message = written[which % len(written)]
        text = {"text": f"Said better, number {next(self.world.texts)}."} if act.startswith("edit") else {}
        identity = global_id("Message", message.id)
        touched = any(each.message_id == message.id for each in self.look().trees[message.tree_id].reviews)
        act_on = self.world.ask(token, act, "message { id }", messageId=identity, **text)
        payload = self.overrule(message.tree_id, act_on)
        assert not (touched and payload["message"]), payload

    @rule(person=st.integers(0, 4), withdraw=st.booleans())
    def leave(self, person: int, withdraw: bool) -> None:
        """Somebody deletes the account, and somebody new comes."""
        self.loosen(*self.trees())
        token, gone = self.world.people[person], raw_id(self.world.ids[person], "User", path=("id",))
        wanted = {"confirmName": self.world.names[person], "withdrawContributions": withdraw}

        async def go() -> None:
            payload = await self.world.ask(token, "deleteAccount", "left", **wanted)
            assert payload["left"], payload
            await self.world.replace_person(person)
            await self.world.sweep()

        self.world.run(go())
        self.held = [held for held in self.held if held.person != person]
        self.answered = [each for each in self.answered if each[0].person != person]
        self.leeway.owed.pop(gone, None)
        assert gone not in self.look().scores
        assert all(message.author_id != gone for message in self.messages())

    @rule(config=st.sampled_from(CHANGES))
    def change_rules(self, config: dict[str, Any]) -> None:
        """An admin changes the rules while all goes on; the sweeper then comes by."""
        self.loosen(*self.trees())

        async def change() -> None:
            await self.world.change_rules(config)
            await self.world.sweep()

        self.world.run(change())
        if self.world.weighted:
            self.leeway.most_reviews = RULES.reviews_most

    # What must hold.

    def look(self) -> Picture:
        """Everything stored."""
        found: Picture = self.world.run(picture(self.world.database))
        return found

    def come_to_rest(self) -> None:
        """Let weights follow from what was decided."""
        if self.world.weighted:
            self.world.run(settled(self.world.database, self.world.base))

    def check(self) -> None:
        """All that must be true, once weights have come to rest."""
        self.come_to_rest()
        found = self.look()
        for facts in found.trees.values():
            highest = self.leeway.limits.setdefault(facts.tree.id, {})
            for name in ("goal_size", "max_children", "num_rankings", "num_reviews_prompt", "num_reviews_reply"):
                highest[name] = max(highest.get(name, 0), getattr(facts.tree, name))
        check(found, self.world.run(self.world.rules()), self.leeway)

    def messages(self, **fits: str) -> list[Message]:
        """All messages, or those that fit."""

        async def read() -> list[Message]:
            return [Message.from_document(each) async for each in self.world.database["messages"].find(fits)]

        found: list[Message] = self.world.run(read())
        return found

    def trees(self) -> list[str]:
        """The ids of all trees, in order."""
        return sorted(message.id for message in self.messages() if message.parent_id is None)

    def loosen(self, *tree_ids: str) -> None:
        """What is in people's hands for trees now may come in although it is wanted no more."""

        async def held() -> list[str]:
            return [str(each["tree_id"]) async for each in self.world.database["tasks"].find({"state": "open"})]

        self.leeway.slack.update(tree_id for tree_id in self.world.run(held()) if tree_id in tree_ids)

    @invariant()
    def all_is_well(self) -> None:
        self.check()
        self.world.steps += 1

    def teardown(self) -> None:
        """Willing people do what is left; then no tree waits."""
        self.world.run(drained(self.world))
        self.check()
        words = self.world.run(words_of_all(self.world.database))
        assert words == {each.id: (each.text, each.author_id) for each in self.messages() if each.removed != "account"}
        found = self.look()
        waiting = {facts.tree.id: facts.tree.state for facts in found.trees.values() if facts.tree.state not in ENDED}
        assert waiting == {}, [facts for facts in found.trees.values() if facts.tree.id in waiting]


async def words_of_all(database: Database) -> dict[str, tuple[str, str | None]]:
    """What messages are found by."""
    return {each["_id"]: (each["text"], each["author_id"]) async for each in database["message_words"].find()}


async def drained(world: World) -> None:
    """Let the tasks that nobody came back to run out, and willing people do all that is open but for new prompts."""
    async for task in world.database["tasks"].find({"state": "open"}):
        await world.expire(task["_id"])
    for _ in range(60):
        await world.sweep()
        if await world.database["trees"].count_documents({"state": {"$nin": list(ENDED)}}) == 0:
            return
        did = 0
        for token in world.willing:
            for kind in KINDS_BUT_PROMPTS:
                while task := await world.take(token, kind):
                    await world.submit(token, task, shape=did)
                    did += 1
        if not did and await world.give_up() == 0:
            return
    raise AssertionError("willing people find ever more to do")


def raw(identity: str) -> str:
    """The stored id of a task's global one."""
    return raw_id(identity, "Task", path=("id",))


@pytest.mark.timeout(300 + STEPS)
def test_nothing_that_people_do_breaks_a_rule(world: World) -> None:
    Collecting.world = world
    while world.steps < STEPS:  # a history may be shorter than it might be
        run_state_machine_as_test(
            Collecting,
            settings=settings(
                max_examples=max(1, (STEPS - world.steps) // STEPS_EACH), stateful_step_count=STEPS_EACH,
                deadline=None, suppress_health_check=list(HealthCheck),
                phases=[Phase.explicit, Phase.reuse, Phase.generate],  # making a failure smaller takes minutes
            ),
        )  # fmt: skip
    print(f"{world.steps} steps, none broke a rule")
