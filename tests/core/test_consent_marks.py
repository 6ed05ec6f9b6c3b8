"""What is frozen already says that consent was taken back for some of it, until it is given again."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from core_people import review_all, until_growing, write_prompt
from faults import Crashed, crash_after

from core import layout, manifest, propagation, snapshots
from core.chat_records import ChatSettings
from core.chats import Chats
from core.departures import depart
from core.errands import run_once
from core.models import Models
from core.objects import ObjectStore
from core.people import People
from core.propagation import WITHDRAWN, marked_snapshots
from core.records import User
from core.snapshots import freeze
from core.sweeper import sweep_once
from graphql_schema.context import Context, Services
from graphql_schema.schema import build_schema

SCHEMA = build_schema()
FREEZE = """mutation ($name: String!) { freezeSnapshot(input: {
    kind: "prompts", name: $name, filters: {states: ["growing"]}
}) { userErrors { message } snapshot { name version rows withdrawnConsent containsWithdrawnConsent } } }"""
SET = """mutation ($allow: Boolean!) {
    setTrainingConsent(input: {allow: $allow}) { allowsTraining userErrors { message } }
}"""
SEEN = """query ($without: Boolean) {
    snapshots(first: 9, containsWithdrawnConsent: $without) { nodes {
        name withdrawnConsent containsWithdrawnConsent deletedContributions
    } }
    models(first: 9, containsWithdrawnConsent: $without) { nodes {
        version withdrawnConsent containsWithdrawnConsent containsDeletedContributions
    } }
}"""
PROMPTS: dict[str, Any] = {"kind": "prompts", "filters": {"states": ["growing"]}}


class Api:
    """The schema as one person after the other uses it, and the background as it goes by."""

    def __init__(self, collection: Any, store: ObjectStore) -> None:
        self.database, self.config, self.store = collection.database, collection.config, store
        self.services = Services(
            collection=collection, database=collection.database, store=store, models=Models(collection.database, store),
            people=People(collection.database, collection.config, store),
        )  # fmt: skip

    async def ask(self, document: str, user: User, **variables: Any) -> dict[str, Any]:
        context = Context(services=self.services, viewer=user, roles=frozenset(user.roles))
        result = await SCHEMA.execute(document, variable_values=variables, context_value=context)
        assert not result.errors, result.errors
        return result.data  # type: ignore[return-value]

    async def set_consent(self, user: User, allow: bool) -> None:
        """As the person does, who is read anew as each request does."""
        document = await self.database["users"].find_one({"_id": user.id})
        done = await self.ask(SET, User.from_document(document), allow=allow)
        assert done["setTrainingConsent"] == {"allowsTraining": allow, "userErrors": []}

    async def background(self) -> int:
        return await run_once(self.database, self.config, self.store)


@pytest.fixture
def api(collection: Any, store: ObjectStore) -> Api:
    return Api(collection, store)


@pytest.fixture
async def people(person: Any) -> list[User]:
    return [await person(name) for name in ("ann", "bob", "cid")]


async def two_trees(collection: Any, people: list[User]) -> tuple[str, str]:
    """Growing ones, of a prompt of ann's and of one of bob's."""
    ann, bob, cid = people
    mine = await until_growing(collection, people)
    other = await write_prompt(collection, bob, "Why is grass green?")
    await review_all(collection, [ann, cid], "label_initial_prompt")
    await sweep_once(collection.database, collection.config)
    return mine, other


async def test_snapshots_and_models_say_that_consent_was_taken_back(
    api: Api, collection: Any, people: list[User], person: Any, tmp_path: Path
) -> None:
    ann, admin = people[0], await person("root", "admin")
    await two_trees(collection, people)
    frozen = (await api.ask(FREEZE, admin, name="before"))["freezeSnapshot"]["snapshot"]
    assert (frozen["rows"], frozen["withdrawnConsent"], frozen["containsWithdrawnConsent"]) == (2, 0, False)
    publish(api.store, tmp_path / "a", "v1", "tiny", frozen)
    publish(api.store, tmp_path / "b", "v2", "assistant@v1")
    publish(api.store, tmp_path / "c", "v3", "tiny")

    await api.set_consent(ann, False)
    assert await api.background() == 1
    seen = await api.ask(SEEN, admin, without=True)
    told = {"withdrawnConsent": 1, "containsWithdrawnConsent": True}
    assert seen["snapshots"]["nodes"] == [{"name": "before", **told, "deletedContributions": 0}]
    models = [{"version": version, **told, "containsDeletedContributions": False} for version in ("v2", "v1")]
    assert seen["models"]["nodes"] == models
    later = (await api.ask(FREEZE, admin, name="later"))["freezeSnapshot"]["snapshot"]
    assert (later["rows"], later["withdrawnConsent"]) == (1, 0)
    others = await api.ask(SEEN, admin, without=False)
    assert [each["name"] for each in others["snapshots"]["nodes"]] == ["later"]
    assert [each["version"] for each in others["models"]["nodes"]] == ["v3"]
    assert ann.id not in str([each async for each in api.database["deleted_contributions"].find()])

    await api.set_consent(ann, True)
    await api.background()
    assert (await api.ask(SEEN, admin, without=True))["snapshots"]["nodes"] == []
    await api.set_consent(ann, False)
    await api.background()
    assert await marked_snapshots(api.database, WITHDRAWN) == {f"before@{frozen['version']}": 1}
    assert await api.background() == 0, "nothing is left to do"


def publish(store: ObjectStore, folder: Path, version: str, base: str, *used: dict[str, Any]) -> None:
    folder.mkdir()
    (folder / "weights").write_bytes(version.encode())
    datasets = [{"name": each["name"], "version": each["version"], "kind": "prompts"} for each in used]
    about = {"format": 1, "name": "assistant", "version": version, "created_at": f"2026-01-01T00:00:0{version[-1]}Z",
             "base": base, "checks": {}, "datasets": datasets}  # fmt: skip
    manifest.publish(store, folder, layout.model("assistant", version), about)


async def test_what_is_taken_back_while_one_is_frozen_is_found_by_the_freeze(
    api: Api, collection: Any, people: list[User], monkeypatch: pytest.MonkeyPatch
) -> None:
    await two_trees(collection, people)
    real = snapshots._read

    async def written(*arguments: Any) -> Any:
        done = await real(*arguments)
        await api.set_consent(people[0], False)
        await api.background()
        return done

    monkeypatch.setattr(snapshots, "_read", written)
    about = await freeze(api.database, api.store, name="p", **PROMPTS)
    assert await marked_snapshots(api.database, WITHDRAWN) == {f"p@{about['version']}": 1}
    assert await marked_snapshots(api.database) == {}


async def test_a_crash_anywhere_is_made_good(api: Api, collection: Any, people: list[User]) -> None:
    await two_trees(collection, people)
    about = await freeze(api.database, api.store, name="p", **PROMPTS)
    await api.set_consent(people[0], False)
    crashes = 0
    for limit in range(1, 20):
        try:
            with crash_after(limit):
                await api.background()
            break
        except Crashed:
            crashes += 1
            await api.database["users"].update_one({"_id": people[0].id}, {"$set": {"consent_due": 0}})
    assert 0 < crashes < 19
    assert await marked_snapshots(api.database, WITHDRAWN) == {f"p@{about['version']}": 1}


async def test_said_anew_while_it_is_followed_is_followed_again(
    api: Api, collection: Any, people: list[User], monkeypatch: pytest.MonkeyPatch
) -> None:
    await two_trees(collection, people)
    await freeze(api.database, api.store, name="p", **PROMPTS)
    await api.set_consent(people[0], False)
    real = propagation.holding

    async def meanwhile(*arguments: Any) -> Any:
        monkeypatch.undo()
        await api.set_consent(people[0], True)
        await api.background()  # another process is done with the new word before this one has marked
        return await real(*arguments)

    monkeypatch.setattr(propagation, "holding", meanwhile)
    await api.background()
    assert await marked_snapshots(api.database, WITHDRAWN) != {}
    await api.background()
    assert await marked_snapshots(api.database, WITHDRAWN) == {}


async def test_who_refuses_and_leaves_has_still_refused(api: Api, collection: Any, people: list[User]) -> None:
    mine, other = await two_trees(collection, people)
    await api.set_consent(people[0], False)
    left = User.from_document(await api.database["users"].find_one({"_id": people[0].id}))
    await depart(api.database, left, withdraw=False)
    await depart(api.database, people[1], withdraw=False)
    await api.background()
    messages = [await collection.message(each) for each in (mine, other)]
    assert [(each.author_id, each.no_training) for each in messages] == [(None, True), (None, False)]
    about = await freeze(api.database, api.store, name="p", **PROMPTS)
    assert (about["counts"]["rows"], about["consent"]["left_out"]["messages"]) == (1, 1)


@pytest.mark.parametrize("leaves", [False, True])
async def test_a_chat_for_which_it_is_taken_back_is_marked(
    api: Api, collection: Any, person: Any, leaves: bool
) -> None:
    ann, chats, database = await person("ann"), Chats(api.database), api.database
    chat = await chats.create(ann.id, ChatSettings(title="c", allow_training=True))
    tree_id = await tree_of_chat(collection, ann.id, "c")
    await database["chat_messages"].insert_one({"_id": "reply", "chat_id": chat.id, "tree_id": tree_id})
    chosen: dict[str, Any] = {"kind": "trees", "filters": {"states": ["backlog_ranking"]}}
    about = await freeze(database, api.store, name="p", **chosen)
    await chats.update(ann.id, chat.id, ChatSettings(title="renamed", allow_training=True))
    assert await api.background() == 0, "nothing was said of consent"
    await chats.update(ann.id, chat.id, ChatSettings(title="renamed"))
    assert await api.background() == 1
    assert await marked_snapshots(database, WITHDRAWN) == {f"p@{about['version']}": 3}
    if leaves:
        await depart(database, ann, withdraw=False)
        await api.background()
        await tree_of_chat(collection, None, "another")
        later = await freeze(database, api.store, name="later", **chosen)
        assert later["counts"]["trees"] == 1
    else:
        await chats.update(ann.id, chat.id, ChatSettings(title="renamed", allow_training=True))
        await api.background()
        assert await marked_snapshots(database, WITHDRAWN) == {}


async def tree_of_chat(collection: Any, owner_id: str | None, key: str) -> str:
    tree = await collection.add_synthetic_tree(
        [turn("prompter", f"What is {key}?")], [turn("assistant", "one"), turn("assistant", "two")],
        key=f"chat:{key}", lang="en", author_id=owner_id,
    )  # fmt: skip
    return str(tree.id)


def turn(role: str, text: str) -> SimpleNamespace:
    return SimpleNamespace(role=role, text=text, model_version="m@1")
