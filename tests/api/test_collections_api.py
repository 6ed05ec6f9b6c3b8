"""Collections over HTTP: an admin makes one, a contributor works in it, everybody else is told no."""

from __future__ import annotations

import uuid
from contextlib import closing

from running_api import Caller

from oa.client import GraphQLClient

COLLECTIONS = "{ collections { id name langs open version config changes } }"
TASK = "task { id kind ... on ReviewTask { message { tree { collectionId } } } }"


def first_of(person: Caller, document: str, **variables: object) -> dict[str, object]:
    """What a subscription says first."""
    client = GraphQLClient(f"{person.base}/graphql", person.token)
    with closing(client.subscribe(document, **variables)) as said:
        return next(said)


def test_an_admin_makes_a_collection_and_people_work_in_it(somebody) -> None:
    admin, ada, ben = somebody("ADMIN"), somebody(), somebody()
    key = f"c-{uuid.uuid4().hex[:8]}"
    made = admin.do(
        "createCollection", "collection { id version config }", key=key, name="Code", langs=["en"],
        config={
            "reviews_least": 1, "reviews_quorum": 0.5, "max_text_length": 300, "max_initial_prompt_review": 2,
            "max_active_trees": 2,
        },
    )["collection"]  # fmt: skip
    assert (made["version"], made["config"]["reviews_least"]) == (1, 1)
    assert made["id"] in [each["id"] for each in ada.ask(COLLECTIONS)["collections"]]

    wanted = {"kind": "INITIAL_PROMPT", "langs": ["en"], "collectionId": made["id"]}
    asked = "task { id collectionId ... on WritingTask { maxCharacters } }"
    task = ada.do("requestTask", asked, **wanted)["task"]
    assert (task["collectionId"], task["maxCharacters"]) == (made["id"], 300)
    follow = 'subscription ($id: ID) { taskAvailable(langs: ["en"], collectionId: $id) { kind count } }'
    assert first_of(ada, follow, id=made["id"]) == {"taskAvailable": [{"kind": "INITIAL_PROMPT", "count": 3}]}
    prompt = ada.do("submitPrompt", "message { id }", taskId=task["id"], text=f"What is {key}?")["message"]["id"]
    find = "query ($id: ID!) { messages(first: 5, collectionId: $id) { nodes { id } pageInfo { hasNextPage } } }"
    assert ada.ask(find, id=made["id"])["messages"] == {
        "nodes": [{"id": prompt}], "pageInfo": {"hasNextPage": False}
    }  # fmt: skip
    review = ben.do("requestTask", TASK, **{**wanted, "kind": "LABEL_INITIAL_PROMPT"})["task"]
    assert review["message"]["tree"]["collectionId"] == made["id"]
    ben.do("submitReview", "", taskId=review["id"], labels=[{"name": "SPAM", "value": 0}])
    shown = "query ($id: ID!) { node(id: $id) { ... on Message { state refusedFor } } }"
    assert ada.ask(shown, id=prompt)["node"] == {"state": "ACCEPTED", "refusedFor": []}

    page = "agreement(period: WEEK, first: 5) { nodes { period alpha trees } pageInfo { hasNextPage } }"
    document = f"query ($id: ID!) {{ node(id: $id) {{ ... on Collection {{ {page} }} }} }}"
    empty = {"nodes": [], "pageInfo": {"hasNextPage": False}}
    assert ada.ask(document, id=made["id"])["node"] == {"agreement": empty}, "no tree of it has ended"

    change = {"collectionId": made["id"], "version": 1, "config": {"reviews_least": 7}}
    (error,) = admin.attempt("updateCollection", "", **change)["userErrors"]
    assert (error["code"], error["path"]) == ("BAD_INPUT", ["config", "reviews_least"])
    assert "it must be from 1 to reviews_most, 5" in error["message"]
    fields = "collection { version changes }"
    changed = admin.do("updateCollection", fields, **{**change, "config": {"reviews_least": 2, "reviews_quorum": None}})
    left = {"max_text_length": 300, "max_initial_prompt_review": 2, "max_active_trees": 2}
    assert changed["collection"] == {"version": 2, "changes": {"reviews_least": 2} | left}
    (error,) = admin.attempt("updateCollection", "", **change)["userErrors"]
    assert error["code"] == "CONFLICT"
    fields = "tree { goalSize maxDepth }"
    tree = ada.ask("query ($id: ID!) { node(id: $id) { ... on Message { tree { id } } } }", id=prompt)["node"]["tree"]
    limited = admin.do("limitTree", fields, treeId=tree["id"], goalSize=2, maxDepth=1)["tree"]
    assert limited == {"goalSize": 2, "maxDepth": 1}


def test_contributors_and_moderators_change_no_rules(somebody) -> None:
    for role in ("CONTRIBUTOR", "MODERATOR"):
        document = "mutation ($input: CreateCollectionInput!) { createCollection(input: $input) { collection { id } } }"
        error = somebody(role).refused(document, input={"key": "mine", "name": "Mine"})
        assert error["extensions"]["code"] == "FORBIDDEN"


def test_a_moderator_makes_and_retires_gold_and_contributors_see_none_of_it(somebody) -> None:
    ada, moderator = somebody(), somebody("MODERATOR")
    task = ada.do("requestTask", "task { id }", kind="INITIAL_PROMPT", langs=["fr"])["task"]
    message = {"text": f"Achetez nos montres {uuid.uuid4().hex} !", "taskId": task["id"]}
    prompt = ada.do("submitPrompt", "message { id }", **message)["message"]["id"]
    made = moderator.do(
        "createGoldReview", "gold { id kind labels { name applies } message { id text } }", messageId=prompt,
        labels=[{"name": "SPAM", "applies": True}], reason="An advertisement.",
    )["gold"]  # fmt: skip
    assert made["labels"] == [{"name": "SPAM", "applies": True}]
    assert made["message"]["text"] == message["text"]
    assert made["message"]["id"] != prompt
    listed = "{ gold(first: 5) { nodes { id } } }"
    assert made["id"] in [each["id"] for each in moderator.ask(listed)["gold"]["nodes"]]
    assert ada.refused(listed)["extensions"]["code"] == "FORBIDDEN"
    assert moderator.do("retireGold", "retired", goldId=made["id"])["retired"]
    assert made["id"] not in [each["id"] for each in moderator.ask(listed)["gold"]["nodes"]]
