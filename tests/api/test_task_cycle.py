"""The whole way of a tree over HTTP: all eight kinds of task, from a prompt to ranked replies."""

from __future__ import annotations

from dataclasses import replace

import pytest
from running_api import Caller, eventually, serving

from core.config import CollectionConfig

# One review and one ranking each, two replies under every message, two levels: 1 + 2 + 4 messages, every kind needed.
RULES = CollectionConfig(
    mode="parity",
    goal_tree_size=7, max_tree_depth=2, max_children_count=2, num_prompter_replies=2, rank_prompter_replies=True,
    num_reviews_initial_prompt=1, num_reviews_reply=1, num_required_rankings=1,
)  # fmt: skip
TASK = """task { __typename id kind lang state expiresAt
  ... on ConversationTask { thread { id text role author { id } synthetic labels { name } } }
  ... on ReviewTask { message { id text author { id } } labels { name widget mandatory } }
  ... on RankingTask { replies { id text } } }"""
KINDS = {
    "InitialPromptTask", "PrompterReplyTask", "AssistantReplyTask", "RankPrompterRepliesTask",
    "RankAssistantRepliesTask", "LabelInitialPromptTask", "LabelPrompterReplyTask", "LabelAssistantReplyTask",
}  # fmt: skip


@pytest.fixture(scope="module")
def small(settings, tmp_path_factory):
    """An API whose trees are soon done."""
    mine = replace(settings, mongodb_database=settings.mongodb_database + "_small", collection=RULES)
    with serving(mine) as url:
        yield Caller(url)


def answer(caller, task, seen):
    """Do what the task asks; checks that it shows what it should and hides what it must."""
    kind, task_id = task["__typename"], task["id"]
    for message in task.get("thread", []):
        assert message["synthetic"] is None
        assert message["labels"] is None
        assert message["author"] in (None, {"id": caller.user_id})
    if kind == "InitialPromptTask":
        return caller.do("submitPrompt", "message { id }", taskId=task_id, text="What is a fugue?")
    if kind in ("PrompterReplyTask", "AssistantReplyTask"):
        last = task["thread"][-1]["role"]
        assert last == ("PROMPTER" if kind == "AssistantReplyTask" else "ASSISTANT")
        return caller.do("submitReply", "message { id mine }", taskId=task_id, text=f"Reply number {len(seen)}.")
    if kind.startswith("Label"):
        assert task["message"]["author"] is None
        assert {"name": "SPAM", "widget": "YES_NO", "mandatory": True} in task["labels"]
        labels = [{"name": "SPAM", "value": 0}, {"name": "QUALITY", "value": 0.75}]
        return caller.do("submitReview", "task { state }", taskId=task_id, labels=labels)
    assert len(task["replies"]) == 2
    order = [reply["id"] for reply in sorted(task["replies"], key=lambda reply: reply["text"])]
    twice = caller.attempt("submitRanking", "task { state }", taskId=task_id, ranking=[order[0], order[0]])
    assert [(error["code"], error["path"]) for error in twice["userErrors"]] == [("BAD_RANKING", ["ranking"])]
    assert twice["task"] is None
    return caller.do("submitRanking", "task { state }", taskId=task_id, ranking=order)


def test_every_kind_of_task_from_a_prompt_to_ranked_replies(small):
    people = [small.sign_in(f"person-{number}") for number in range(4)]
    seen = []

    def work_once():
        """Everybody takes and does one task if there is one; true when the tree is done."""
        for person in people:
            payload = person.attempt("requestTask", TASK, langs=["en"], kind="RANDOM" if seen else "INITIAL_PROMPT")
            task = payload["task"]
            if task is None:
                assert [error["code"] for error in payload["userErrors"]] == ["NOTHING_TO_DO"]
            elif task["__typename"] == "InitialPromptTask" and seen:
                person.do("skipTask", "task { state }", taskId=task["id"], reason="one tree is enough")
            else:
                answer(person, task, seen)
                seen.append(task["__typename"])
        return people[0].ask("{ trees(first: 5, state: READY_FOR_EXPORT) { nodes { id } } }")["trees"]["nodes"]

    (tree,) = eventually(work_once)
    assert set(seen) == KINDS
    check_finished(people[0], tree["id"])


MESSAGES = """query ($id: ID!, $after: String) { node(id: $id) { ... on Tree { lang state
  messages(first: 3, after: $after) { pageInfo { hasNextPage endCursor }
    nodes { id text rank depth role state reviewCount synthetic labels { name value count } author { displayName }
      parent { id } } } } } }"""


def check_finished(caller, tree_id):
    messages, after = [], None
    while True:
        page = caller.ask(MESSAGES, id=tree_id, after=after)["node"]["messages"]
        messages += page["nodes"]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert len(messages) == 7
    children = {}
    for message in messages:
        assert message["state"] == "ACCEPTED"
        assert message["author"]["displayName"].startswith("person-"), "revealed once the tree has ended"
        assert message["synthetic"] is False
        assert {"name": "QUALITY", "value": 0.75, "count": 1} in message["labels"]
        children.setdefault(message["parent"] and message["parent"]["id"], []).append(message)
    for parent, siblings in children.items():
        if parent is not None:
            assert [sibling["rank"] for sibling in siblings] == [0, 1]
            assert siblings[0]["text"] < siblings[1]["text"], "ranked by text, as the annotator did"
    thread = caller.ask(
        "query ($id: ID!) { thread(messageId: $id, first: 10) { nodes { id depth } } }", id=messages[-1]["id"]
    )["thread"]["nodes"]
    assert [message["depth"] for message in thread] == [0, 1, 2]


def test_points_are_on_the_leaderboard(small):
    def board():
        return small.ask("{ leaderboard(frame: TOTAL, first: 10) { rank points user { displayName } } }")["leaderboard"]

    ada, bob = small.sign_in("ada-board"), small.sign_in("bob-board")
    task = ada.do("requestTask", "task { id }", langs=["nl"], kind="INITIAL_PROMPT")["task"]
    ada.do("submitPrompt", "message { id }", taskId=task["id"], text="Waarom is de lucht blauw?")
    review = bob.do("requestTask", "task { id }", langs=["nl"], kind="LABEL_INITIAL_PROMPT")["task"]
    bob.do("submitReview", "", taskId=review["id"], labels=[{"name": "SPAM", "value": 0}])
    best = eventually(lambda: [each for each in board() if each["user"]["displayName"] == "bob-board"])
    assert best[0]["points"] > 0
    mine = bob.ask("{ viewer { standing(frame: TOTAL) { rank points level } streakDays } }")["viewer"]["standing"]
    assert mine["points"] == best[0]["points"]


def test_a_submission_again_counts_once_and_another_is_a_conflict(small):
    ada = small.sign_in("ada-again")
    task = ada.do("requestTask", "task { id }", langs=["fr"], kind="INITIAL_PROMPT")["task"]
    first = ada.do("submitPrompt", "task { id state } message { id }", taskId=task["id"], text="Une question ?")
    again = ada.do("submitPrompt", "task { id state } message { id }", taskId=task["id"], text="Une question ?")
    assert again == first
    other = ada.attempt("submitPrompt", "message { id }", taskId=task["id"], text="Une autre question ?")
    assert [error["code"] for error in other["userErrors"]] == ["CONFLICT"]
    assert other["message"] is None
    messages = ada.ask('{ messages(first: 10, lang: "fr") { nodes { id } } }')["messages"]["nodes"]
    assert len(messages) == 1


def test_a_draft_is_there_on_another_device_and_a_skipped_task_is_not(small):
    ada = small.sign_in("ada-draft")
    task = ada.do("requestTask", "task { id draft }", langs=["es"], kind="INITIAL_PROMPT")["task"]
    assert task["draft"] is None
    ada.do("saveDraft", "task { draft }", taskId=task["id"], text="Una pregunta a med")
    elsewhere = small.sign_in("ada-draft")
    tasks = elsewhere.ask("{ viewer { tasks { id draft } } }")["viewer"]["tasks"]
    assert tasks == [{"id": task["id"], "draft": "Una pregunta a med"}]
    skipped = elsewhere.do("skipTask", "task { state }", taskId=task["id"], reason="tired")
    assert skipped["task"]["state"] == "SKIPPED"
    assert ada.ask("{ viewer { tasks { id } } }")["viewer"]["tasks"] == []


def test_reactions_reports_and_a_moderators_deletion(small):
    ada, bob = small.sign_in("ada-react"), small.sign_in("bob-react")
    mod = small.sign_in("mod-react", "MODERATOR")
    task = ada.do("requestTask", "task { id }", langs=["de"], kind="INITIAL_PROMPT")["task"]
    prompt = ada.do("submitPrompt", "message { id }", taskId=task["id"], text="Wer war Bach?")["message"]["id"]
    for _ in range(2):
        payload = bob.do("react", "message { emojis { emoji count } myEmojis }", messageId=prompt, emoji="+1")
    assert payload["message"] == {"emojis": None, "myEmojis": ["+1"]}, "counts would sway who reviews it"
    counts = "query ($id: ID!) { node(id: $id) { ... on Message { emojis { emoji count } myEmojis } } }"
    assert mod.ask(counts, id=prompt)["node"] == {"emojis": [{"emoji": "+1", "count": 1}], "myEmojis": []}
    bob.do("react", "message { myEmojis }", messageId=prompt, emoji="+1", on=False)
    bob.do("report", "message { id }", messageId=prompt, reason="a copy of another prompt")
    node = "query ($id: ID!) { node(id: $id) { ... on Message { text deleted emojis { emoji } } } }"
    reported = [{"emoji": "red_flag"}]
    assert bob.ask(node, id=prompt)["node"] == {"text": "Wer war Bach?", "deleted": False, "emojis": None}
    assert mod.ask(node, id=prompt)["node"]["emojis"] == reported
    assert bob.refused("mutation ($i: DeleteMessageInput!) { deleteMessage(input: $i) { userErrors { code } } }",
                       i={"messageId": prompt})["extensions"]["code"] == "FORBIDDEN"  # fmt: skip
    mod.do("deleteMessage", "message { deleted }", messageId=prompt)
    assert bob.ask(node, id=prompt)["node"]["text"] == ""
    assert mod.ask(node, id=prompt)["node"] == {"text": "Wer war Bach?", "deleted": True, "emojis": reported}
