"""The operations of docs/collections.md, consensus.md, abuse.md and data.md, executed over HTTP."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import httpx
import pytest
from doc_pages import Page
from running_api import Caller, eventually, serving

from core.config import CollectionConfig

RULES = CollectionConfig(
    reviews_least=1, reviews_quorum=0.0, goal_tree_size=4, max_tree_depth=1, num_required_rankings=3,
    suspicious_reviews=0, max_pending_tasks=1000, accept_from=0.6, refuse_from=0.6,
)  # fmt: skip
"""One review decides a message, and a prompt with three replies is a whole tree."""
ORDER = "task { id ... on RankingTask { replies { id } } }"


@pytest.fixture(scope="module")
def page() -> Page:
    return Page("collections.md", "consensus.md", "abuse.md", "data.md")


@pytest.fixture(scope="module")
def api(settings):
    mine = replace(settings, mongodb_database=settings.mongodb_database + "_rules", collection=RULES)
    with serving(mine) as url:
        yield Caller(url)


@pytest.fixture(scope="module")
def people(api) -> list[Caller]:
    return [api.sign_in(f"person {number}") for number in range(9)]


def write(caller: Caller, kind: str, text: str, **where: Any) -> str:
    """A message; its id."""
    task = eventually(lambda: caller.attempt("requestTask", "task { id }", kind=kind, **where)["task"])
    name = "submitPrompt" if kind == "INITIAL_PROMPT" else "submitReply"
    return caller.do(name, "message { id }", taskId=task["id"], text=text)["message"]["id"]


def review(caller: Caller, kind: str, **where: Any) -> None:
    task = caller.do("requestTask", "task { id }", kind=kind, **where)["task"]
    caller.do("submitReview", "", taskId=task["id"], labels=[{"name": "SPAM", "value": 0}])


def grown(people: list[Caller], lang: str, **where: Any) -> str:
    """A prompt whose three replies, by the people 1 to 3, wait to be ranked."""
    where = {"langs": [lang], **where}
    prompt = write(people[0], "INITIAL_PROMPT", f"A question in {lang}?", **where)
    review(people[4], "LABEL_INITIAL_PROMPT", **where)
    for number, person in enumerate(people[1:4]):
        write(person, "ASSISTANT_REPLY", f"Answer number {number} in {lang}.", **where)
        review(people[4], "LABEL_ASSISTANT_REPLY", **where)
    return prompt


def served(caller: Caller, lang: str) -> tuple[str, list[str]]:
    """A task to rank, and the ids of its replies."""
    task = caller.do("requestTask", ORDER, kind="RANK_ASSISTANT_REPLIES", langs=[lang])["task"]
    return task["id"], sorted(each["id"] for each in task["replies"])


CONSENSUS = """query ($id: ID!) { node(id: $id) { ... on Message { tree { state agreement }
  replyConsensus { order rankings alpha allWrong margins { winnerId loserId } } } } }"""


def test_an_admin_makes_a_collection_changes_it_and_people_work_in_it(api, page, people):
    admin = api.sign_in("rules-admin", "ADMIN")
    created = page.run("CreateCollection", admin, input={"key": "code", "name": "Code", "langs": ["da"]})["collection"]
    there = {each["id"]: each for each in page.run("Collections", people[0])}
    assert there[created["id"]]["version"] == created["version"] == 1
    change = {"collectionId": created["id"], "version": 1, "config": {"goal_tree_size": 9, "mode": "parity"}}
    changed = page.run("UpdateCollection", admin, input=change)["collection"]
    assert (changed["version"], changed["config"]["goal_tree_size"]) == (2, 9)
    late = page.attempt("UpdateCollection", admin, input=change)
    assert [each["code"] for each in late["userErrors"]] == ["CONFLICT"]
    asked = {"kind": "INITIAL_PROMPT", "langs": ["da"], "collectionId": created["id"]}
    task = page.run("RequestTask", people[0], input=asked)["task"]
    prompt = people[0].do("submitPrompt", "message { id tree { id collectionId } }", taskId=task["id"], text="Hvorfor?")
    tree = prompt["message"]["tree"]
    assert tree["collectionId"] == created["id"]
    limited = page.run("LimitTree", admin, input={"treeId": tree["id"], "goalSize": 3, "numRankings": 1})["tree"]
    assert limited == {"goalSize": 3, "maxDepth": 1, "maxChildren": 3, "numRankings": 1}


def test_ballots_with_ties_of_some_replies_and_from_who_cannot_judge(api, page, people):
    prompt = grown(people, "nl")
    task, order = served(people[5], "nl")
    both = page.attempt("SubmitRanking", people[5], input={"taskId": task, "ranking": order, "cannotJudge": True})
    assert [(each["code"], each["path"]) for each in both["userErrors"]] == [("BAD_RANKING", ["cannotJudge"])]
    skipped = page.run("SubmitRanking", people[5], input={"taskId": task, "cannotJudge": True})["task"]
    assert skipped == {"id": task, "state": "SKIPPED"}
    none = people[5].attempt("requestTask", ORDER, kind="RANK_ASSISTANT_REPLIES", langs=["nl"])
    assert [each["code"] for each in none["userErrors"]] == ["NOTHING_TO_DO"]

    task, order = served(people[6], "nl")
    first, second, third = order
    ballots = [{"tiers": [[first], [second, third]]}, {"ranking": [first, second]}, {"ranking": order}]
    for person, ballot in zip((people[6], people[7], people[8]), ballots, strict=True):
        mine = task if person is people[6] else served(person, "nl")[0]
        done = page.run("SubmitRanking", person, input={"taskId": mine, **ballot})["task"]
        assert done == {"id": mine, "state": "DONE"}
    found = people[0].ask(CONSENSUS, id=prompt)["node"]
    assert found["tree"]["state"] == "READY_FOR_EXPORT"
    consensus = found["replyConsensus"]
    assert found["tree"]["agreement"] == pytest.approx(consensus["alpha"])  # it has one set of siblings
    assert (consensus["order"], consensus["rankings"], consensus["allWrong"]) == (order, 3, 0)
    fields = "{ viewer { rankingFeedback(first: 1) { nodes { mine mineInTiers consensus tau } } } }"
    (feedback,) = people[6].ask(fields)["viewer"]["rankingFeedback"]["nodes"]
    assert (feedback["mineInTiers"], feedback["consensus"]) == ([[first], [second, third]], order)
    assert feedback["tau"] == pytest.approx(2 / 6**0.5)


def test_all_factually_wrong(page, people):
    prompt = grown(people, "sv")
    for person, ballot in zip(people[5:8], [{}, {"ranked": True}, {}], strict=True):
        task, order = served(person, "sv")
        answer = {"taskId": task, "notRankable": True, **({"ranking": order} if ballot else {})}
        page.run("SubmitRanking", person, input=answer)
    found = people[0].ask(CONSENSUS, id=prompt)["node"]
    assert found["tree"]["state"] == "READY_FOR_EXPORT"
    assert found["tree"]["agreement"] is None
    assert found["replyConsensus"] == {"order": [], "rankings": 0, "alpha": None, "allWrong": 1, "margins": []}


def test_agreement_gold_and_what_a_reward_model_says(api, page, people):
    moderator, service = api.sign_in("rules-mod", "MODERATOR"), api.sign_in("rules-admin", "ADMIN")
    prompt = grown(people, "fi")
    task, order = served(people[5], "fi")
    known = {"messageId": prompt, "labels": [{"name": "HATE_SPEECH", "applies": False}], "reason": "A plain question."}
    gold = page.run("CreateGoldReview", moderator, input=known)["gold"]
    assert gold["labels"] == [{"name": "HATE_SPEECH", "applies": False}]
    tiers = {"order": [[order[0]], order[1:]], "reason": "Checked by hand."}
    ranked = page.run("CreateGoldRanking", moderator, input=tiers)["gold"]
    assert (ranked["kind"], ranked["message"]["text"]) == ("RANK_ASSISTANT_REPLIES", "A question in fi?")
    assert {each["id"] for each in page.run("Gold", moderator)["nodes"]} >= {gold["id"], ranked["id"]}
    for each in (gold, ranked):
        assert page.run("RetireGold", moderator, input={"goldId": each["id"]})["retired"]
    scores = [{"messageId": each, "score": float(place)} for place, each in enumerate(order)]
    said = page.run("SubmitRewardScores", service, input={"modelVersion": "rm@1", "scores": scores})
    assert said["trees"] == 1
    people[5].do("submitRanking", "", taskId=task, ranking=order)
    node = page.run("AgreementOverTime", people[0], id=page.run("Collections", people[0])[0]["id"])
    assert "nodes" in node["agreement"]


def test_a_flood_is_seen_and_stopped(api, page, people):
    moderator = api.sign_in("rules-mod", "MODERATOR", "ADMIN")
    text = "Tell me now how one earns a great deal of money at home with the one trick that nobody knows. Variant {}."
    mine = [write(person, "INITIAL_PROMPT", text.format(number), langs=["cy"])
            for number, person in enumerate(people[:5])]  # fmt: skip
    groups = page.run("Flood", moderator, first=5, hours=1, people=4)
    (group,) = [each for each in groups["nodes"] if each["lang"] == "cy"]
    assert {each["id"] for each in group["messages"]} == set(mine)
    alike = page.run("Alike", moderator, messageId=mine[0])
    assert {each["message"]["id"] for each in alike} == set(mine[1:])
    stopped = page.run("StopFlood", moderator, input={"action": "DELETE", "messageIds": mine, "reason": "a flood"})
    assert all(each["done"] for each in stopped["results"])


def test_a_snapshot_is_downloaded_by_signed_addresses(api, page, people):
    admin = api.sign_in("rules-admin", "ADMIN")
    wanted = {"kind": "preference", "name": "pairs", "filters": {"langs": ["nl"]}, "validationPercent": 0}
    snapshot = admin.do("freezeSnapshot", "snapshot { id rows }", **wanted)["snapshot"]
    assert snapshot["rows"] == 3
    files = page.run("Download", admin, snapshotId=snapshot["id"])["files"]
    for each in files:
        content = httpx.get(each["url"]).content
        assert each["sha256"] in (None, hashlib.sha256(content).hexdigest())
    assert {"train.parquet", "manifest.json"} <= {each["path"] for each in files}


def test_every_operation_of_the_pages_was_executed(page):
    assert page.executed == set(page.operations)
