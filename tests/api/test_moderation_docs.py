"""The operations of docs/moderation.md, executed over HTTP against a running API, in the page's order."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest
from command_counting import counting
from doc_pages import Page
from running_api import Caller, eventually, serving

from core.config import CollectionConfig
from core.pools import DEFAULT
from graphql_schema.relay import global_id

RULES = CollectionConfig(mode="parity", num_reviews_initial_prompt=1, num_reviews_reply=1, num_required_rankings=1)


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with counting() as counts:
        yield Page("moderation.md", counts=counts)


@pytest.fixture(scope="module")
def api(settings, page):
    """An API whose messages need one review."""
    mine = replace(settings, mongodb_database=settings.mongodb_database + "_moderation", collection=RULES)
    with serving(mine) as url:
        yield Caller(url)


def prompt_of(caller: Caller, text: str, lang: str = "en") -> str:
    task = caller.do("requestTask", "task { id }", langs=[lang], kind="INITIAL_PROMPT")["task"]
    return caller.do("submitPrompt", "message { id }", taskId=task["id"], text=text)["message"]["id"]


def review(caller: Caller, lang: str, spam: float) -> None:
    task = caller.do("requestTask", "task { id }", langs=[lang], kind="LABEL_INITIAL_PROMPT")["task"]
    caller.do("submitReview", "", taskId=task["id"], labels=[{"name": "SPAM", "value": spam}])


def test_a_report_goes_through_the_queue(api, page):
    ann, bob, mod = api.sign_in("ann"), api.sign_in("bob"), api.sign_in("mod", "MODERATOR")
    message = prompt_of(ann, "Buy my watches!")
    tree = ann.ask("query ($id: ID!) { node(id: $id) { ... on Message { tree { id } } } }", id=message)
    tree_id = tree["node"]["tree"]["id"]
    bob.do("report", "", messageId=message, reason="advertising")
    page.run("LabelMessage", bob, messageId=message, labels=[{"name": "SPAM", "value": 1}])
    seen = page.run("FreeLabels", mod, id=message)
    assert seen == {"freeLabels": [{"name": "SPAM", "value": 1, "count": 1}], "labels": []}
    assert page.run("FreeLabels", bob, id=message)["freeLabels"] is None
    (item,) = page.run("Queue", mod, first=10, lang="en", kind="REPORT")["nodes"]
    assert item["message"] == {
        "id": message, "text": "Buy my watches!", "state": "PENDING", "deleted": False,
        "author": {"id": ann.user_id, "displayName": "ann"},
    }  # fmt: skip
    assert item["evidence"] == [{"reason": "advertising", "details": {}, "by": {"displayName": "bob"}}]
    claimed = page.run("Claim", mod, itemIds=[item["id"]])
    assert claimed["items"][0]["claimedBy"] == {"displayName": "mod"}
    decided = page.run("Moderate", mod, input={"action": "DELETE", "reason": "spam", "itemIds": [item["id"]]})
    assert decided["results"] == [{"id": item["id"], "done": True, "error": None}]
    assert page.run("Queue", mod, first=10, lang="en")["nodes"] == []
    assert page.run("Restore", mod, messageId=message, reason="let peers judge")["message"]["deleted"] is False
    assert page.run("Halt", mod, treeId=tree_id, reason="wait")["tree"]["state"] == "HALTED_BY_MODERATOR"
    assert page.run("Resume", mod, treeId=tree_id)["tree"]["state"] == "INITIAL_PROMPT_REVIEW"
    acts = page.run("Journal", mod, first=50, actorId=mod.user_id)["nodes"]
    assert [act["kind"] for act in acts] == ["halt_tree", "halt_tree", "restore_message", "delete_message"]
    assert acts[-1]["details"]["reason"] == "spam"
    assert [act["aboutId"] for act in acts] == [tree_id, tree_id, message, message]
    assert acts == page.run("Journal", mod, first=50, subjectId=tree_id, actorId=mod.user_id)["nodes"]
    for name, variables in (("Queue", {"first": 1}), ("Journal", {"first": 1})):
        assert bob.refused(page.operations[name], **variables)["extensions"]["code"] == "FORBIDDEN"
    node = "query ($id: ID!) { node(id: $id) { id } }"
    assert mod.ask(node, id=item["id"])["node"] == {"id": item["id"]}
    assert bob.ask(node, id=item["id"])["node"] is None


def test_authors_see_what_came_of_their_work_and_appeal(api, page):
    ann, bob, mod = api.sign_in("ann"), api.sign_in("bob"), api.sign_in("mod", "MODERATOR")
    message = prompt_of(ann, "Wie hoch ist der Brocken", "de")
    assert page.run("Edit", ann, messageId=message, text="Wie hoch ist der Brocken?")["message"]["editedAt"]
    review(bob, "de", 1)
    mine = page.run("Mine", ann, first=5)["contributions"]["nodes"][0]
    assert mine["message"]["state"] == "REFUSED"
    assert mine["reasons"] == [{"name": "SPAM", "value": 1.0, "count": 1}]
    assert (mine["mayChange"], mine["mayAppeal"], mine["appeal"]) == (False, True, None)
    assert [each["text"][-1] for each in mine["message"]["revisions"]] == ["n", "?"]
    late = ann.attempt("editContribution", messageId=message, text="Wie hoch?")
    assert [error["code"] for error in late["userErrors"]] == ["CONFLICT"]
    appeal = page.run("Appeal", ann, messageId=message, text="It is a question.")["appeal"]
    (item,) = page.run("Queue", mod, first=5, kind="APPEAL")["nodes"]
    assert item["message"]["id"] == message
    assert item["appeal"] == {"id": appeal["id"], "text": "It is a question."}
    decided = page.run("DecideAppeal", mod, appealId=item["appeal"]["id"], uphold=True, reason="So it is.")["appeal"]
    assert decided == {"state": "UPHELD", "answer": "So it is.", "message": {"state": "ACCEPTED"}}
    node = "query ($id: ID!) { node(id: $id) { id } }"
    assert ann.ask(node, id=appeal["id"])["node"] == {"id": appeal["id"]}
    assert bob.ask(node, id=appeal["id"])["node"] is None
    second = prompt_of(ann, "Noch eine Frage?", "de")
    assert page.run("Withdraw", ann, messageId=second)["message"]["removed"] == "AUTHOR"
    feedback = page.run("Feedback", bob, first=5)
    assert feedback["reliability"] is None
    assert feedback["rankingFeedback"]["nodes"] == []
    assert feedback["agreement"][0]["reviews"] == 1
    assert (feedback["trust"]["trusted"], feedback["trust"]["withheld"]) == (False, None)
    needs = {each["need"]: each for each in feedback["trust"]["needs"]}
    assert needs["SETTLED_JUDGEMENTS"] == {"need": "SETTLED_JUDGEMENTS", "have": 0, "needed": 20, "met": False}
    assert needs["GOOD_STANDING"]["met"]


def test_people_are_looked_after(api, page):
    ann, mod, root = api.sign_in("ann-banned"), api.sign_in("mod", "MODERATOR"), api.sign_in("root", "ADMIN")
    people = page.run("People", mod, first=100)["nodes"]
    assert ann.user_id in {each["user"]["id"] for each in people}
    worst = page.run("Trollboard", mod, first=20)
    assert [each["share"] for each in worst] == sorted((each["share"] for each in worst), reverse=True)
    assert ann.refused(page.operations["Trollboard"], first=1)["extensions"]["code"] == "FORBIDDEN"
    assert page.run("SetConsent", ann, allow=False)["allowsTraining"] is False
    assert page.run("Consent", ann)["allowsTraining"] is False
    assert page.run("Unconsented", root, first=5) == {"snapshots": {"nodes": []}, "models": {"nodes": []}}
    assert page.run("SetNotes", mod, userId=ann.user_id, notes="floods")["person"]["notes"] == "floods"
    banned = page.run("Ban", mod, userId=ann.user_id, reason="floods us", lift=False)["person"]
    assert banned == {"enabled": False, "disabledReason": "floods us"}
    answer = ann.post("{ viewer { user { id } } }")
    assert "floods us" in answer.text
    (refused,) = api.attempt("developmentSignIn", name="ann-banned")["userErrors"]
    assert (refused["code"], refused["message"]) == (
        "FORBIDDEN",
        "this account is disabled: floods us; ask a moderator",
    )
    assert page.run("Ban", mod, userId=ann.user_id, reason="", lift=True)["person"]["enabled"]
    given = page.run("SetTrusted", mod, userId=ann.user_id, trusted=True, reason="")["person"]
    assert given == {"roles": ["CONTRIBUTOR", "TRUSTED"], "trustWithheld": None}
    taken = page.run("SetTrusted", mod, userId=ann.user_id, trusted=False, reason="floods again")["person"]
    assert taken == {"roles": ["CONTRIBUTOR"], "trustWithheld": "floods again"}
    assert page.run("SetRoles", root, userId=ann.user_id, roles=["MODERATOR"])["person"]["roles"] == ["MODERATOR"]
    changed = page.run("SetLanguages", root, userId=ann.user_id, langs=["nl"])["person"]
    assert changed["moderates"] == ["nl"]
    again = api.sign_in("ann-banned", "MODERATOR")
    assert again.refused(page.operations["Queue"], first=5, lang="de")["extensions"]["code"] == "FORBIDDEN"


def test_all_of_ones_data_and_leaving(api, page):
    ann, root = api.sign_in("ann-leaves"), api.sign_in("root", "ADMIN")
    message = prompt_of(ann, "Qui a inventé le vélo ?", "fr")
    assert page.run("RequestExport", ann)["dataExport"] == {"state": "WAITING"}
    ready = eventually(lambda: page.run("Export", ann)["dataExport"]["url"])
    data = json.loads(gzip.decompress(httpx.get(ready).content))
    assert [each["text"] for each in data["messages"]] == ["Qui a inventé le vélo ?"]
    wrong = ann.attempt("deleteAccount", confirmName="somebody")
    assert [error["path"] for error in wrong["userErrors"]] == [["confirmName"]]
    assert page.run("Leave", ann, name="ann-leaves", withdraw=True)["left"]
    assert ann.post("{ viewer { user { id } } }").status_code == 401
    node = "query ($id: ID!) { node(id: $id) { ... on Message { text removed author { id } } } }"
    gone = {"text": "", "removed": "ACCOUNT", "author": None}
    eventually(lambda: root.ask(node, id=message)["node"] == gone)
    eventually(lambda: httpx.get(ready).status_code == 404)
    assert api.sign_in("ann-leaves").user_id != ann.user_id
    assert page.run("Gone", root, first=5) == {"snapshots": {"nodes": []}, "models": {"nodes": []}}


def test_a_purge_does_what_was_previewed(api, page):
    ann, mod, root = api.sign_in("ann-purged"), api.sign_in("mod", "MODERATOR"), api.sign_in("root", "ADMIN")
    message = prompt_of(ann, "Buy! Buy! Buy!", "pl")
    seen = page.run("PurgePreview", root, userId=ann.user_id)
    assert (seen["trees"], seen["messages"], seen["byOthers"]) == (1, 1, 0)
    wanted = {"userId": ann.user_id, "token": seen["token"], "reason": "a flood of advertising"}
    late = root.attempt("purge", **wanted | {"token": "old"})
    assert [(error["code"], error["path"]) for error in late["userErrors"]] == [("CONFLICT", ["token"])]
    assert page.run("Purge", root, input=wanted)["done"]
    assert root.ask("query ($id: ID!) { node(id: $id) { id } }", id=message)["node"] is None
    assert mod.refused(page.operations["PurgePreview"], userId=ann.user_id)["extensions"]["code"] == "FORBIDDEN"


def test_the_queue_and_the_board_are_followed(api, page):
    ann, bob, mod = api.sign_in("ann-follow"), api.sign_in("bob-follow"), api.sign_in("mod", "MODERATOR")
    message = prompt_of(ann, "Wat is een fuga?", "nl")
    queue = page.follow("FollowQueue", mod, first=3, lang="nl", collection=global_id("Collection", DEFAULT))
    assert next(queue)["moderationQueue"] == []
    bob.do("report", "", messageId=message, reason="a copy")
    seen = next(each for each in queue if each["moderationQueue"])
    assert {item["kind"] for item in seen["moderationQueue"]} <= {"REPORT", "RED_FLAG"}
    elsewhere = page.follow("FollowQueue", mod, first=3, lang="nl", collection=global_id("Collection", "other"))
    assert next(elsewhere)["moderationQueue"] == []
    board = page.follow("FollowBoard", ann, first=100)
    names = {each["user"]["displayName"] for each in next(board)["leaderboard"]}
    assert "bob-follow" not in names
    review(bob, "nl", 0)
    found = next(each for each in board if "bob-follow" in str(each))
    assert {each["points"] for each in found["leaderboard"] if each["user"]["displayName"] == "bob-follow"} == {2}
    places = page.run("Board", bob, first=3)
    assert places["best"][0]["rank"] == 1
    assert places["best"][0]["total"] < places["best"][0]["nextLevelAt"]
    seen, after, more = [], None, True
    while more:
        part = page.run("WholeBoard", bob, first=1, after=after)
        seen += part["nodes"]
        after, more = part["pageInfo"]["endCursor"], part["pageInfo"]["hasNextPage"]
    names = ("rank", "points", "user")
    assert seen == [{name: each[name] for name in names} for each in page.run("Board", bob, first=100)["best"]]
    assert page.run("ShowMe", bob, shown=False)["shown"] is False
    assert "bob-follow" not in str(page.run("Board", ann, first=100))
    assert "bob-follow" in {each["user"]["displayName"] for each in places["around"]}
    assert api.refused(page.operations["Board"], first=1)["extensions"]["code"] == "UNAUTHENTICATED"


def test_every_operation_of_the_page_was_executed(page):
    assert page.executed == set(page.operations)
    page.counts.check("moderation")
