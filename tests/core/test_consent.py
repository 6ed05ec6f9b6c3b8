"""What people, and chats' owners, took their consent back for is in no snapshot that is frozen afterwards."""

from __future__ import annotations

from types import SimpleNamespace

from core_people import until_growing, write_prompt
from hypothesis import given
from hypothesis import strategies as st

from core.chat_records import ChatSettings
from core.chats import Chats
from core.consent import Consent, asked
from core.people import People
from core.records import Message
from core.snapshots import freeze


@given(st.lists(st.sampled_from([None, "ann", "bob", "cid"]), max_size=8), st.sets(st.sampled_from(["ann", "bob"])))
def test_just_the_messages_of_those_who_refuse_are_left_out(authors, people) -> None:
    messages = [
        Message(id=str(number), tree_id="t", parent_id=None, role="prompter", lang="en", text="x", author_id=author)
        for number, author in enumerate(authors)
    ]
    consent = Consent(people=frozenset(people))
    assert consent.allowed(messages) == [each for each in messages if each.author_id not in people]
    assert consent.messages == len([each for each in messages if each.author_id in people])


async def test_who_takes_it_back_is_not_frozen_until_it_is_given_again(collection, person, store) -> None:
    ann, bob, cid = [await person(name) for name in ("ann", "bob", "cid")]
    database, people = collection.database, People(collection.database, collection.config, store)
    await until_growing(collection, [ann, bob, cid])
    await write_prompt(collection, bob, "Why is grass green?")
    chosen = {"kind": "trees", "filters": {"states": ["growing", "initial_prompt_review"]}}
    before = await freeze(database, store, name="all", **chosen)
    assert before["consent"]["left_out"] == {"messages": 0, "chats": 0}
    refused = await people.set_training_consent(ann, False)
    again = await people.set_training_consent(refused, False)
    assert again.no_training_since == refused.no_training_since
    assert (await asked(database)).people == {ann.id}
    await people.set_training_consent(again, True)
    after = await freeze(database, store, name="all", **chosen)
    assert after["version"] == before["version"], "the same words, the same version"


async def test_what_was_left_out_is_in_no_row_and_counted(collection, person, store) -> None:
    ann, bob, cid = [await person(name) for name in ("ann", "bob", "cid")]
    database, people = collection.database, People(collection.database, collection.config, store)
    mine = await until_growing(collection, [ann, bob, cid])
    other = await until_growing_of(collection, bob, [ann, cid])
    await people.set_training_consent(ann, False)
    about = await freeze(database, store, kind="prompts", name="p", filters={"states": ["growing"]})
    assert (about["counts"]["rows"], about["consent"]["left_out"]) == (1, {"messages": 1, "chats": 0})
    held = [each async for each in database["snapshot_members"].find()]
    assert len(held) == 1
    assert mine != other


async def until_growing_of(collection, author, others) -> str:
    from core_people import review_all

    from core.sweeper import sweep_once

    tree_id = await write_prompt(collection, author, "Why is grass green?")
    await review_all(collection, others, "label_initial_prompt")
    await sweep_once(collection.database, collection.config)
    return tree_id


def turn(role: str, text: str) -> SimpleNamespace:
    return SimpleNamespace(role=role, text=text, model_version="m@1")


async def test_a_chat_whose_consent_was_taken_back_is_left_out(collection, person, store) -> None:
    ann = await person("ann")
    database, chats = collection.database, Chats(collection.database)
    labels = {}
    for title in ("kept", "taken back"):
        chat = await chats.create(ann.id, ChatSettings(title=title, allow_training=True))
        tree = await collection.add_synthetic_tree(
            [turn("prompter", f"What is {title}?")], [turn("assistant", "one"), turn("assistant", "two")],
            key=f"chat:{title}", lang="en", author_id=ann.id,
        )  # fmt: skip
        await database["chat_messages"].insert_one({"_id": f"reply {title}", "chat_id": chat.id, "tree_id": tree.id})
        labels[title] = chat
    await database["chats"].update_one({"_id": labels["taken back"].id}, {"$set": {"allow_training": False}})
    about = await freeze(database, store, kind="prompts", name="p", filters={"states": ["backlog_ranking"]})
    assert (about["counts"]["trees"], about["consent"]["left_out"]) == (1, {"messages": 0, "chats": 1})
