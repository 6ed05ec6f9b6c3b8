"""Labels outside of tasks: one set a person and message, apart from reviews, exported apart, gone with messages."""

from __future__ import annotations

import io
import json

import pytest
from core_people import BAD, review_all, write_prompt
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.anonymise import Anonymiser
from core.departures import depart
from core.errands import run_once
from core.errors import BadInput, Conflict, NotFound
from core.labels import WIDGETS, averages
from core.moderators import Moderators
from core.records import Message, User
from core.reports import export_free_labels

LABELS = st.dictionaries(st.sampled_from(sorted(WIDGETS)), st.floats(0, 1), max_size=4)
ACTS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("mn"), LABELS), max_size=12)


def user(name: str) -> User:
    return User(id=name, auth_method="test", subject=name, display_name=name)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ACTS)
async def test_the_latest_of_each_person_counts(collection, acts) -> None:
    database = collection.database
    await database["free_labels"].delete_many({})
    for name in "mn":
        fresh = Message(id=name, tree_id=name, parent_id=None, role="prompter", lang="en", text="x").to_document()
        await database["messages"].replace_one({"_id": name}, fresh, upsert=True)
    latest: dict[str, dict[str, dict[str, float]]] = {"m": {}, "n": {}}
    for person, message, labels in acts:
        await collection.set_free_labels(user(person), message, labels)
        latest[message][person] = labels
    wanted = {message: [each for each in sets.values() if each] for message, sets in latest.items()}
    found = await collection.free_labels(["m", "n", "other"])
    assert found == {message: averages(sets, {}) for message, sets in wanted.items() if sets}
    out = io.BytesIO()
    assert await export_free_labels(database, out) == sum(len(sets) for sets in wanted.values())


async def test_they_sway_nothing_and_are_exported_apart(collection, person) -> None:
    ann, bob, cid = [await person(name) for name in ("ann", "bob", "cid")]
    prompt = await write_prompt(collection, ann)
    for each in (bob, cid):
        await collection.set_free_labels(each, prompt, BAD | {"pii": 1})
    before = await collection.message(prompt)
    assert (before.labels, before.review_count, before.state) == ({}, 0, "pending")
    await review_all(collection, [bob, cid], "label_initial_prompt")
    after = await collection.message(prompt)
    assert (after.state, after.labels["spam"]["value"], after.review_count) == ("accepted", 0, 2)
    assert (await collection.free_labels([prompt]))[prompt]["spam"] == {"value": 1, "count": 2}
    hide, out = Anonymiser("a salt of sixteen or more", "day", True), io.BytesIO()
    assert await export_free_labels(collection.database, out, anonymiser=hide) == 2
    first = json.loads(out.getvalue().splitlines()[0])
    assert first["labels"] == {"spam": 1, "pii": 1}
    assert (first["message_id"], first["user_id"]) == (hide.message_id(prompt), hide.user_id(bob.id))


async def test_what_cannot_be_labelled_is_said(collection, person) -> None:
    ann, bob, mod = [await person(name) for name in ("ann", "bob")] + [await person("mod", "moderator")]
    prompt = await write_prompt(collection, ann)
    for labels, word in (({"nice": 1}, "'nice' is not asked"), ({"spam": 2}, "from 0 to 1")):
        with pytest.raises(BadInput, match=word):
            await collection.set_free_labels(bob, prompt, labels)
    with pytest.raises(Conflict, match="your own"):
        await collection.set_free_labels(ann, prompt, BAD)
    with pytest.raises(NotFound):
        await collection.set_free_labels(bob, "nothing", BAD)
    await collection.delete_message(mod, prompt)
    with pytest.raises(Conflict, match="taken out"):
        await collection.set_free_labels(bob, prompt, BAD)


async def test_they_stay_when_their_person_leaves_and_go_with_their_message(collection, person, store) -> None:
    ann, bob, root = [await person(name) for name in ("ann", "bob")] + [await person("root", "admin")]
    prompt = await write_prompt(collection, ann)
    await collection.set_free_labels(bob, prompt, BAD)
    await depart(collection.database, bob, withdraw=False)
    await run_once(collection.database, collection.config, store)
    (left,) = [each async for each in collection.database["free_labels"].find()]
    assert bob.id not in str(left)
    assert (await collection.free_labels([prompt]))[prompt]["spam"]["count"] == 1
    moderators = Moderators(collection.database, collection.config, store)
    seen = await moderators.purge_preview(root, None, [prompt])
    await moderators.purge(root, None, [prompt], seen.token, "spam")
    assert [each async for each in collection.database["free_labels"].find()] == []
