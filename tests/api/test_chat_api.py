"""Chat through the API, as a client meets it: the real app, a real node, HTTP, WebSocket and server-sent events."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest
from counting_node import MODEL, Node, counted
from running_api import Caller, eventually, serving

from api.settings import Settings
from core.config import CollectionConfig
from oa.client import GraphQLClient

REPLY = "reply { id state text }"
MESSAGE = "id role text state seq model modelVersion score draft treeId parentId error { code message }"
FOLLOW = f"subscription ($id: ID!, $after: Int!) {{ chatReply(messageId: $id, after: $after) {{ seq text message {{ {MESSAGE} }} }} }}"  # noqa: E501


@pytest.fixture(scope="module")
def slow_node() -> Iterator[Node]:
    node = Node("--delay", "0.02")
    yield node
    node.kill()


@pytest.fixture(scope="module")
def base(settings: Settings, slow_node: Node) -> Iterator[str]:
    """The running API's address, with a node to chat with."""
    own = replace(
        settings,
        collection=CollectionConfig(min_active_rankings_per_lang=1),
        serving_urls=(slow_node.url,),
        mongodb_database=f"test_chat_{uuid.uuid4().hex[:12]}",
        sweep_seconds=0.2,
    )
    with serving(own) as url:
        yield url


@pytest.fixture
def ada(somebody: Callable[..., Caller]) -> Caller:
    return somebody()


def new_chat(person: Caller, **settings: Any) -> str:
    return person.do("createChat", "chat { id }", **settings)["chat"]["id"]


def say(person: Caller, chat: str, text: str, **more: Any) -> str:
    """The id of the reply that began."""
    return person.do("sendMessage", f"prompt {{ id }} {REPLY}", chatId=chat, text=text, **more)["reply"]["id"]


def follow(person: Caller, reply: str, after: int = 0) -> Iterator[dict[str, Any]]:
    client = GraphQLClient(f"{person.base}/graphql", person.token)
    for data in client.subscribe(FOLLOW, id=reply, after=after):
        yield data["chatReply"]


def ended(person: Caller, reply: str) -> dict[str, Any]:
    *_, last = follow(person, reply)
    return last["message"]


def messages(person: Caller, chat: str) -> list[dict[str, Any]]:
    document = f"query ($id: ID!) {{ chat(id: $id) {{ messages(first: 100) {{ nodes {{ {MESSAGE} }} }} }} }}"
    return person.ask(document, id=chat)["chat"]["messages"]["nodes"]


def test_a_chat_from_prompt_to_reply(ada):
    chat = new_chat(ada, title="Numbers", systemPrompt="Be brief.")
    payload = ada.do("sendMessage", f"prompt {{ id role text }} {REPLY}", chatId=chat, text="count to 5")
    assert (payload["prompt"]["role"], payload["reply"]["state"]) == ("PROMPTER", "STREAMING")
    seen = list(follow(ada, payload["reply"]["id"]))
    assert [each["seq"] for each in seen[:-1]] == [1, 2, 3, 4, 5]
    assert "".join(each["text"] for each in seen) == counted(5)
    message = seen[-1]["message"]
    assert (message["state"], message["text"], message["modelVersion"]) == ("COMPLETE", counted(5), MODEL)
    assert [each["role"] for each in messages(ada, chat)] == ["PROMPTER", "ASSISTANT"]


def test_two_readers_at_once_and_one_who_comes_back_have_the_same(ada):
    reply = say(ada, new_chat(ada), "count to 50")
    with ThreadPoolExecutor(3) as pool:
        whole, other = (pool.submit(lambda: list(follow(ada, reply))) for _ in range(2))
        first = list(islice(follow(ada, reply), 7))  # then the socket is closed
        rest = list(follow(ada, reply, after=first[-1]["seq"]))
    assert whole.result() == other.result() == first + rest
    assert "".join(each["text"] for each in whole.result()) == counted(50)


def test_server_sent_events_say_the_same(ada):
    reply = say(ada, new_chat(ada), "count to 8")
    headers = {**ada.headers, "accept": "text/event-stream"}
    body = {"query": FOLLOW, "variables": {"id": reply, "after": 3}}
    with ada.http.stream("POST", f"{ada.base}/graphql", json=body, headers=headers) as response:
        lines = [line[6:] for line in response.iter_lines() if line.startswith("data: ") and line[6:]]
    seen = [json.loads(line)["data"]["chatReply"] for line in lines]
    assert [each["text"] for each in seen] == ["4 ", "5 ", "6 ", "7 ", "8 ", ""]
    assert seen[-1]["message"]["text"] == counted(8)


def test_chats_are_listed_newest_first_for_their_owner_only(ada, somebody):
    made = [new_chat(ada, title=str(number)) for number in range(3)]
    new_chat(somebody())
    document = (
        "query ($after: String) { chats(first: 2, after: $after) { nodes { id } pageInfo { hasNextPage endCursor } } }"
    )
    first = ada.ask(document)["chats"]
    rest = ada.ask(document, after=first["pageInfo"]["endCursor"])["chats"]
    assert [node["id"] for node in first["nodes"] + rest["nodes"]] == made[::-1]
    assert (first["pageInfo"]["hasNextPage"], rest["pageInfo"]["hasNextPage"]) == (True, False)


def test_a_chat_is_nobody_elses(ada, somebody, anyone):
    chat, eve = new_chat(ada), somebody("ADMIN")
    reply = say(ada, chat, "count to 3")
    ended(ada, reply)
    assert eve.refused("query ($id: ID!) { chat(id: $id) { id } }", id=chat)["extensions"]["code"] == "NOT_FOUND"
    for node in (chat, reply):
        assert eve.ask("query ($id: ID!) { node(id: $id) { id } }", id=node) == {"node": None}
        assert ada.ask("query ($id: ID!) { node(id: $id) { id } }", id=node) == {"node": {"id": node}}
    for name, input in (
        ("sendMessage", {"chatId": chat, "text": "x"}),
        ("updateChat", {"chatId": chat, "title": "x"}),
        ("editMessage", {"messageId": reply, "text": "x"}),
        ("regenerate", {"messageId": reply}),
        ("stopReply", {"messageId": reply}),
        ("rateReply", {"messageId": reply, "score": 1}),
    ):
        assert [error["code"] for error in eve.attempt(name, **input)["userErrors"]] == ["NOT_FOUND"], name
    with pytest.raises(Exception, match="there is no message"):
        list(follow(eve, reply))
    with pytest.raises(Exception, match="sign in first"):
        list(follow(anyone, reply))
    assert anyone.refused("{ chats(first: 1) { nodes { id } } }")["extensions"]["code"] == "UNAUTHENTICATED"


def test_stop_regenerate_and_edit(ada):
    chat = new_chat(ada)
    reply = say(ada, chat, "count to 400")
    list(islice(follow(ada, reply), 3))
    stopped = ada.do("stopReply", REPLY, messageId=reply)["reply"]
    assert stopped["state"] == "STOPPED"
    assert counted(400).startswith(stopped["text"])
    prompt = messages(ada, chat)[0]["id"]
    edited = ada.do("editMessage", f"prompt {{ parentId }} {REPLY}", messageId=prompt, text="count to 2")
    assert edited["prompt"]["parentId"] is None
    assert ended(ada, edited["reply"]["id"])["text"] == counted(2)
    again = ada.do("regenerate", REPLY, messageId=edited["reply"]["id"])["reply"]["id"]
    assert ended(ada, again)["parentId"] == ended(ada, edited["reply"]["id"])["parentId"]


def test_a_repeated_request_counts_once(ada):
    chat = new_chat(ada, idempotencyKey="c")
    assert new_chat(ada, idempotencyKey="c") == chat
    assert len({say(ada, chat, "count to 2", idempotencyKey="m") for _ in range(3)}) == 1
    wrong = ada.attempt("sendMessage", chatId=chat, text="other", idempotencyKey="m")
    assert wrong["userErrors"][0]["code"] == "CONFLICT"


def test_settings_change_one_by_one(ada):
    chat = new_chat(ada, lang="de", allowTraining=True)
    fields = "chat { lang model temperature topP maxTokens systemPrompt allowTraining title }"
    changed = ada.do("updateChat", fields, chatId=chat, temperature=0.1, allowTraining=False, title="T")["chat"]
    assert changed == {
        "lang": "de", "model": "assistant", "temperature": 0.1, "topP": 0.95, "maxTokens": 512, "systemPrompt": "",
        "allowTraining": False, "title": "T",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "input", "code", "path"),
    [
        ("createChat", {"temperature": 3.0}, "BAD_INPUT", ["temperature"]),
        ("createChat", {"model": "No Such"}, "BAD_INPUT", ["model"]),
        ("createChat", {"lang": "Englisch"}, "BAD_INPUT", ["lang"]),
        ("createChat", {"title": "x" * 101}, "TEXT_TOO_LONG", ["title"]),
        ("createChat", {"idempotencyKey": ""}, "BAD_INPUT", ["idempotencyKey"]),
        ("sendMessage", {"text": " "}, "TEXT_EMPTY", ["text"]),
        ("sendMessage", {"text": "x" * 8001}, "TEXT_TOO_LONG", ["text"]),
        ("sendMessage", {"text": "x", "chatId": "nonsense"}, "BAD_INPUT", ["chatId"]),
        ("sendMessage", {"text": "x", "parentId": "nonsense"}, "BAD_INPUT", ["parentId"]),
        ("rateReply", {"messageId": "nonsense", "score": 1}, "BAD_INPUT", ["messageId"]),
    ],
)
def test_bad_input_names_its_field(ada, name, input, code, path):
    if name == "sendMessage":
        input = {"chatId": new_chat(ada), **input}
    (error,) = ada.attempt(name, **input)["userErrors"]
    assert (error["code"], error["path"]) == (code, path)


def test_a_negative_place_in_a_stream_is_refused(ada):
    reply = say(ada, new_chat(ada), "count to 2")
    with pytest.raises(Exception, match="after is -1"):
        list(follow(ada, reply, after=-1))


def test_a_thumb_down_with_consent_comes_back_as_a_ranking_task(ada, somebody):
    chat = new_chat(ada, allowTraining=True, lang="fy")
    reply = say(ada, chat, "sing")
    ended(ada, reply)
    rated = ada.do("rateReply", f"reply {{ {MESSAGE} }}", messageId=reply, score=-1, reason="dull")["reply"]
    assert (rated["score"], rated["treeId"]) == (-1, None)  # one reply: a second is made first
    tree = eventually(lambda: next((each["treeId"] for each in messages(ada, chat) if each["treeId"]), None))
    assert [each["draft"] for each in messages(ada, chat)] == [False, False, True]

    # The sweeper brings the backlog into play; then somebody else is asked to rank what the model said.
    bob = somebody()
    task = "task { id ... on RankAssistantRepliesTask { replies { id text } } }"

    def given() -> Any:
        return bob.attempt("requestTask", task, langs=["fy"], kind="RANK_ASSISTANT_REPLIES")["task"]

    ranking = eventually(given)
    assert len(ranking["replies"]) == 2
    assert all(each["text"].startswith("I only count, ") for each in ranking["replies"])
    bob.do("submitRanking", taskId=ranking["id"], ranking=[each["id"] for each in ranking["replies"]])
    assert ada.ask("query ($id: ID!) { node(id: $id) { ... on Tree { lang } } }", id=tree)["node"]["lang"] == "fy"


def ranking_of_chat(ada: Caller, bob: Caller, lang: str) -> tuple[str, dict[str, Any]]:
    """A chat of `ada` that has become ranking work, in `bob`'s hands: the tree's id, the task."""
    chat = new_chat(ada, allowTraining=True, lang=lang)
    reply = say(ada, chat, "sing")
    ended(ada, reply)
    ada.do("rateReply", messageId=reply, score=-1)
    tree = eventually(lambda: next((each["treeId"] for each in messages(ada, chat) if each["treeId"]), None))
    task = "task { id ... on RankAssistantRepliesTask { replies { id text } } }"
    asked = {"langs": [lang], "kind": "RANK_ASSISTANT_REPLIES"}
    return tree, eventually(lambda: bob.attempt("requestTask", task, **asked)["task"])


def test_whoever_ranks_what_models_said_cannot_find_out_that_they_did(ada, somebody):
    bob, moderator = somebody(), somebody("MODERATOR")
    tree, task = ranking_of_chat(ada, bob, "gd")
    secrets = "author { id } synthetic modelVersion labels { name } rank"
    inside = f"origin messages(first: 9) {{ nodes {{ {secrets} tree {{ origin }} parent {{ {secrets} }} }} }}"
    document = f"query ($id: ID!) {{ node(id: $id) {{ ... on Tree {{ {inside} }} }} }}"
    for person in (ada, bob):
        seen = person.ask(document, id=tree)["node"]
        assert seen["origin"] is None
        for message in seen["messages"]["nodes"]:
            mine = {"id": ada.user_id} if person is ada else None
            assert message["author"] in (None, mine)
            assert (message["synthetic"], message["modelVersion"], message["labels"]) == (None, None, None)
            assert message["tree"] == {"origin": None}
    told = moderator.ask(document, id=tree)["node"]
    assert told["origin"] == "chat"
    assert [message["synthetic"] for message in told["messages"]["nodes"]] == [False, True, True]
    bob.do("skipTask", taskId=task["id"])


def test_whose_chat_it_was_stays_unknown_after_the_ranking(ada, somebody):
    bob = somebody()
    tree, _ = ranking_of_chat(ada, bob, "ga")
    asked = {"langs": ["ga"], "kind": "RANK_ASSISTANT_REPLIES"}
    for judge in (bob, somebody(), somebody()):
        if judge is bob:
            task = judge.ask("{ viewer { tasks { id ... on RankingTask { replies { id } } } } }")["viewer"]["tasks"][0]
        else:
            task = judge.do("requestTask", "task { id ... on RankingTask { replies { id } } }", **asked)["task"]
        judge.do("submitRanking", taskId=task["id"], ranking=[reply["id"] for reply in task["replies"]])
    inside = "state origin root { author { id } synthetic }"
    document = f"query ($id: ID!) {{ node(id: $id) {{ ... on Tree {{ {inside} }} }} }}"
    eventually(lambda: bob.ask(document, id=tree)["node"]["state"] == "READY_FOR_EXPORT")
    seen = bob.ask(document, id=tree)["node"]
    assert (seen["origin"], seen["root"]) == ("chat", {"author": None, "synthetic": False})
    for person in (ada, somebody("MODERATOR")):
        assert person.ask(document, id=tree)["node"]["root"]["author"] == {"id": ada.user_id}


def test_a_reply_taken_out_is_not_in_the_ranking_task_any_more(ada, somebody):
    bob, moderator = somebody(), somebody("MODERATOR")
    _, task = ranking_of_chat(ada, bob, "cy")
    gone, stays = (reply["id"] for reply in task["replies"])
    moderator.do("deleteMessage", "message { deleted }", messageId=gone)
    document = "query ($id: ID!) { node(id: $id) { ... on RankingTask { replies { id text } } } }"
    texts = {reply["id"]: reply["text"] for reply in bob.ask(document, id=task["id"])["node"]["replies"]}
    assert texts[gone] == ""
    assert texts[stays].startswith("I only count, ")


def test_without_consent_a_thumb_down_stays_here(ada):
    chat = new_chat(ada)
    reply = say(ada, chat, "sing")
    ended(ada, reply)
    assert ada.do("rateReply", "reply { score treeId }", messageId=reply, score=-1)["reply"]["score"] == -1
    assert len(messages(ada, chat)) == 2


def test_the_lineage_of_an_unpublished_model_is_unknown(ada):
    reply = say(ada, new_chat(ada), "count to 1")
    ended(ada, reply)
    document = "query ($id: ID!) { node(id: $id) { ... on ChatMessage { lineage { jobId } } } }"
    assert ada.ask(document, id=reply) == {"node": {"lineage": None}}
