"""The operations of docs/api/rebuild-the-site.md, run over HTTP by real users as a site's screens would run them."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from command_counting import Counts, counting
from counting_node import Node
from running_api import Caller, eventually, serving

from api.settings import Settings
from core.config import CollectionConfig
from oa.client import GraphQLClient

PAGE = Path(__file__).parents[2] / "docs" / "api" / "rebuild-the-site.md"
BLOCKS = re.findall(r"```graphql\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
FRAGMENT, *OPERATIONS = BLOCKS
DOCUMENTS = {re.findall(r"\w+ (\w+)", text)[0]: text for text in OPERATIONS}
# One review, one ranking, two levels: 1 + 2 + 4 messages, and every kind of task.
RULES = CollectionConfig(
    goal_tree_size=7, max_tree_depth=2, max_children_count=2, num_prompter_replies=2, rank_prompter_replies=True,
    num_reviews_initial_prompt=1, num_reviews_reply=1, num_required_rankings=1,
)  # fmt: skip


@dataclass
class Site:
    """Runs the page's operations; remembers which, and how many commands each takes."""

    base: str
    counts: Counts
    ran: set[str] = field(default_factory=set)

    def run(self, person: Caller, name: str, **variables: Any) -> Any:
        """The first field of the answer, which has no errors of either sort."""
        self.ran.add(name)
        text = DOCUMENTS[name] + (FRAGMENT if "...Problem" in DOCUMENTS[name] else "")
        answer = self.counts.ask(name, person, text, variables)
        assert "errors" not in answer, (name, answer["errors"])
        data = answer["data"]
        value = next(iter(data.values()))
        if isinstance(value, dict) and "userErrors" in value:
            assert value["userErrors"] == [], (name, value["userErrors"])
        return value

    def follow(self, person: Caller, name: str, **variables: Any) -> Iterator[Any]:
        """The first field of each event."""
        self.ran.add(name)
        if name != "FollowReply":  # which is counted when the reply has ended: until then it looks and waits
            self.counts.first_event(name, person, DOCUMENTS[name], variables)
        client = GraphQLClient(f"{self.base}/graphql", person.token)
        for data in client.subscribe(DOCUMENTS[name], **variables):
            yield next(iter(data.values()))

    def sign_in(self, name: str, *roles: str) -> Caller:
        """Somebody, signed in and agreed to the terms."""
        asked = {"name": name, "roles": list(roles) or ["CONTRIBUTOR"]}
        signed = self.run(Caller(self.base), "SignIn", input=asked)
        person = Caller(self.base, signed["token"], signed["user"]["id"])
        terms = self.run(person, "Header")["terms"]
        assert not terms["accepted"]
        assert self.run(person, "AcceptTerms", input={"version": terms["version"]})["terms"]["accepted"]
        return person


@pytest.fixture(scope="module")
def site(settings: Settings) -> Iterator[Site]:
    """A running API with terms of use, small trees and a node to chat with."""
    node = Node("--delay", "0")
    own = replace(
        settings, mongodb_database=f"test_site_{uuid.uuid4().hex[:12]}", collection=RULES,
        serving_urls=(node.url,), terms_version="1", terms_url="https://example.org/terms",
    )  # fmt: skip
    try:
        with counting() as counts, serving(own) as url:
            yield Site(url, counts)
    finally:
        node.kill()


def work(site: Site, person: Caller, kind: str, seen: set[str]) -> bool:
    """Take a task and do what its screen does; false where there is none."""
    site.ran.add("TakeTask")
    wanted = {"input": {"kind": kind, "langs": ["en"]}}
    payload = site.counts.ask("TakeTask", person, DOCUMENTS["TakeTask"] + FRAGMENT, wanted)["data"]["requestTask"]
    if (task := payload["task"]) is None:
        assert [error["code"] for error in payload["userErrors"]] == ["NOTHING_TO_DO"]
        return False
    screen, about = task["__typename"], {"taskId": task["id"]}
    if screen == "InitialPromptTask" and kind == "RANDOM":
        return not site.run(person, "Skip", input=about | {"reason": "one tree is enough"})
    if screen == "InitialPromptTask":
        site.run(person, "KeepDraft", input=about | {"text": "What is"})
        site.run(person, "WritePrompt", input=about | {"text": "What is a canon?"})
    elif screen in ("PrompterReplyTask", "AssistantReplyTask"):
        site.run(person, "WriteReply", input=about | {"text": f"A melody that follows itself. ({uuid.uuid4()})"})
    elif screen.startswith("Label"):
        labels = [{"name": each["name"], "value": 0} for each in task["labels"] if each["mandatory"]]
        site.run(person, "Review", input=about | {"labels": [*labels, {"name": "QUALITY", "value": 1}]})
    else:
        site.run(person, "Rank", input=about | {"ranking": [reply["id"] for reply in task["replies"]]})
    seen.add(screen)
    return True


def ben_reviews(site: Site, ben: Caller) -> str:
    """A review in ben's hands."""
    return str(site.run(ben, "TakeTask", input={"kind": "LABEL_INITIAL_PROMPT", "langs": ["en"]})["task"]["id"])


def test_every_screen_of_the_site(site: Site) -> None:
    assert site.run(Caller(site.base), "Landing") == []
    ada, ben = site.sign_in("ada"), site.sign_in("ben")
    more = [site.sign_in(f"person-{number}") for number in range(2)]
    mod, admin = site.sign_in("mod", "CONTRIBUTOR", "MODERATOR"), site.sign_in("root", "ADMIN")

    # Dashboard and tasks, until the tree is done.
    open_work = next(site.follow(ada, "OpenWork", langs=["en"]))
    assert "INITIAL_PROMPT" in {each["kind"] for each in open_work if each["count"]}
    seen: set[str] = set()
    assert work(site, ada, "INITIAL_PROMPT", seen)
    own = site.run(ada, "MyMessages")["contributions"]["nodes"][0]
    assert own["mayChange"]
    root = own["message"]["id"]
    site.run(ben, "Skip", input={"taskId": ben_reviews(site, ben), "reason": "I know nothing of music"})
    (skip,) = site.run(mod, "MessageAdmin", id=root)["skips"]
    assert (skip["kind"], skip["reason"]) == ("LABEL_INITIAL_PROMPT", "I know nothing of music")
    tree = site.run(mod, "MessagePage", id=root)["tree"]["id"]
    assert site.run(mod, "StopTree", input={"treeId": tree})["tree"]["state"] == "HALTED_BY_MODERATOR"
    assert site.run(mod, "RestartTree", input={"treeId": tree})["tree"]["state"] == "INITIAL_PROMPT_REVIEW"

    def done() -> Any:
        for person in (ada, ben, *more):
            work(site, person, "RANDOM", seen)
        return site.run(ada, "MessagePage", id=root)["tree"]["state"] == "READY_FOR_EXPORT"

    eventually(done)
    assert len(seen) == 8
    dashboard = site.run(ada, "Dashboard", langs=["en"])
    assert dashboard["standing"]["points"] > 0
    places = site.run(ada, "Leaderboard", frame="DAY", around="ME")
    assert ada.user_id in [place["user"]["id"] for place in places]

    # Messages.
    page = site.run(ben, "MessagePage", id=root)
    nodes = page["tree"]["messages"]["nodes"]
    assert page["author"] == {"displayName": "ada"}
    assert len(nodes) == 7
    assert {node["parent"]["id"] for node in nodes if node["parent"]} < {node["id"] for node in nodes}
    recent = site.run(ben, "RecentMessages", lang="en")["nodes"]
    assert {node["id"] for node in recent} >= {root}
    reacted = site.run(ben, "React", input={"messageId": root, "emoji": "+1"})
    assert {"emoji": "+1", "count": 1} in reacted["message"]["emojis"]
    site.run(ben, "Report", input={"messageId": root, "reason": "it is about fugues"})

    counted = eventually(lambda: site.run(ben, "Statistics"))
    assert {each["lang"] for each in counted["messages"]} <= {"en"}
    assert counted["people"]["banned"] == 0

    moderation(site, mod, admin, ben, root)
    chat(site, ada)
    account(site, ben)
    assert site.ran == set(DOCUMENTS)
    site.counts.check("rebuild-the-site")


def moderation(site: Site, mod: Caller, admin: Caller, ben: Caller, root: str) -> None:
    """The admin screens."""
    default = site.run(mod, "FindTrees")["nodes"][0]["collectionId"]
    items = eventually(lambda: site.run(mod, "Queue", collection=default)["nodes"])
    item = next(each for each in items if each["message"] and each["message"]["id"] == root)
    assert site.run(mod, "Claim", input={"itemIds": [item["id"]]})["items"][0]["claimedUntil"]
    site.run(mod, "Decide", input={"action": "DISMISS", "itemIds": [item["id"]], "reason": "it is fine"})
    leaf = site.run(mod, "MessagePage", id=root)["tree"]["messages"]["nodes"][-1]["id"]
    assert site.run(mod, "TakeOut", input={"messageId": leaf})["message"]["removed"] == "MODERATOR"
    assert not site.run(mod, "PutBack", input={"messageId": leaf})["message"]["deleted"]
    mended = site.run(mod, "Correct", input={"messageId": leaf, "text": "A round.", "reason": "it named somebody"})
    assert [each["text"] for each in mended["message"]["revisions"]][1:] == ["A round."]
    found = site.run(mod, "FindMessages", search="CANON, what", author=root_author(site, mod, root), role="PROMPTER")
    assert [each["id"] for each in found["nodes"]] == [root]
    assert site.run(mod, "FindMessages", search="canon", collection=default) == found
    assert site.run(mod, "FindMessages", search="canonical")["nodes"] == []
    trees = site.run(mod, "FindTrees", state="READY_FOR_EXPORT", lang="en")["nodes"]
    assert [each["root"]["text"] for each in trees] == ["What is a canon?"]
    asked = {"collection": trees[0]["collectionId"]}
    assert trees[0] in site.run(mod, "FindTrees", **asked)["nodes"]
    assert [each["user"]["id"] for each in site.run(mod, "People", named="BE")["nodes"]] == [ben.user_id]
    page = site.run(admin, "PersonPage", id=ben.user_id)
    assert (page["person"]["user"]["displayName"], page["signsInWith"]) == ("ben", ["development"])
    assert page["standing"]["points"] > 0
    assert {each["role"] for each in page["messages"]["nodes"]} <= {"PROMPTER", "ASSISTANT"}
    assert site.run(mod, "PersonPage", id=ben.user_id)["signsInWith"] is None
    people = site.run(mod, "People")["nodes"]
    assert {"ada", "ben", "mod", "root"} <= {each["user"]["displayName"] for each in people}
    assert site.run(mod, "Notes", input={"userId": ben.user_id, "notes": "careful"})["person"]["notes"] == "careful"
    someone = next(each["user"]["id"] for each in people if each["user"]["displayName"] == "person-1")
    roles = site.run(admin, "Roles", input={"userId": someone, "roles": ["CONTRIBUTOR", "TRUSTED"]})["person"]["roles"]
    assert set(roles) == {"CONTRIBUTOR", "TRUSTED"}
    assert not site.run(mod, "Ban", input={"userId": someone, "reason": "only a test"})["person"]["enabled"]
    assert [each["user"]["id"] for each in site.run(mod, "People", state="BANNED")["nodes"]] == [someone]
    journal = site.run(mod, "Journal", about=someone)["nodes"]
    assert journal[0]["by"] is not None


def root_author(site: Site, mod: Caller, root: str) -> str:
    """The author of a prompt, as moderators see them in a list."""
    nodes = site.run(mod, "FindMessages", state="ACCEPTED")["nodes"]
    return next(each["author"]["id"] for each in nodes if each["id"] == root)


def chat(site: Site, ada: Caller) -> None:
    """The chat screens."""
    made = site.run(ada, "NewChat", input={"title": "Numbers"})["chat"]["id"]
    said = site.run(ada, "Say", input={"chatId": made, "text": "count to 3", "idempotencyKey": str(uuid.uuid4())})
    *_, last = site.follow(ada, "FollowReply", id=said["reply"]["id"], after=0)
    assert last["message"] == {"state": "COMPLETE", "text": "1 2 3 "}
    site.counts.first_event("FollowReply", ada, DOCUMENTS["FollowReply"], {"id": said["reply"]["id"], "after": 0})
    assert site.run(ada, "Vote", input={"messageId": said["reply"]["id"], "score": 1})["reply"]["score"] == 1
    again = site.run(ada, "Regenerate", input={"messageId": said["reply"]["id"]})["reply"]["id"]
    list(site.follow(ada, "FollowReply", id=again, after=0))
    edited = site.run(ada, "EditPrompt", input={"messageId": said["prompt"]["id"], "text": "count to 5000"})
    assert site.run(ada, "Stop", input={"messageId": edited["reply"]["id"]})["reply"]["state"]
    settings = {"chatId": made, "title": "Counting", "allowTraining": False}
    assert site.run(ada, "ChatSettings", input=settings)["chat"]["title"] == "Counting"
    assert len(site.run(ada, "ChatPage", id=made)["messages"]["nodes"]) == 5
    assert [each["id"] for each in site.run(ada, "Chats")["nodes"]] == [made]


def account(site: Site, ben: Caller) -> None:
    """The account screens; the last one ends the account."""
    assert site.run(ben, "Rename", input={"displayName": "Benedikt"})["user"]["displayName"] == "Benedikt"
    assert site.run(ben, "ExportMyData", input={})["dataExport"]["state"]
    assert [each["current"] for each in site.run(ben, "Account")["sessions"]] == [True]
    site.run(ben, "SignOutElsewhere", input={"butThisOne": True})
    assert site.run(ben, "Leave", input={"confirmName": "Benedikt"})["left"]
    assert ben.refused("{ viewer { roles } }")["extensions"]["code"] == "UNAUTHENTICATED"
