"""Finding people and messages on a real store, against what going through all of them finds."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import replace

import pytest
from faults import Crashed, crash_after
from pymongo.errors import OperationFailure

from core import message_search, message_words, pages, text_migrations
from core.accounts import Accounts
from core.config import CollectionConfig
from core.database import migrate
from core.errors import BadInput
from core.message_search import find, phrase, words_in
from core.migrations import MIGRATIONS
from core.people import People
from core.pools import DEFAULT
from core.promotion import set_trusted
from core.records import MESSAGE_STATES, USER_ROLES, Message, Task, Tree, User, folded
from core.similar_texts import among
from core.sketches import packed, sketch
from core.skips import skips_of
from core.surroundings import look_around
from core.text_rows import bands_row, words_row
from core.user_admin import set_enabled, set_roles
from core.wanted import WantedMessages as Messages
from core.wanted import WantedPeople as Wanted

NAMES = ("Ann", "anna", "ANNE", "An n", "Bob", "Öde", "öd|e", "ＡＮＮ", "}", "猫")
ROLES = [("contributor",), ("contributor", "trusted"), ("contributor", "moderator"), ("admin",), ("service",)]


async def all_people(accounts: Accounts, wanted: Wanted, size: int = 3) -> list[User]:
    """Page by page."""
    found: list[User] = []
    after = None
    while page := await accounts.page(after, size, wanted):
        found += [user for _, user in page]
        after = page[-1][0]
    return found


def fits(user: User, wanted: Wanted) -> bool:
    state = "left" if user.deleted else "active" if user.enabled else "banned"
    named = not user.deleted and folded(user.display_name).startswith(folded(wanted.name or ""))
    return (
        (wanted.name is None or named) and wanted.role in (None, *user.roles) and wanted.state in (None, state)
    )  # fmt: skip


async def test_people_are_found_by_name_role_and_state_whatever_was_done_to_them(database, accounts, person) -> None:
    chance, config = random.Random(3), CollectionConfig()
    admin = await person("root", "admin")
    made = [await accounts.ensure_user("test", f"{n}", chance.choice(NAMES), chance.choice(ROLES)) for n in range(30)]
    for user in made:
        match chance.randrange(8):
            case 0:
                await set_enabled(database, config, admin, user.id, False, "rude")
            case 1:
                await accounts.set_enabled(user.id, False)
                await accounts.set_enabled(user.id, True)
            case 2:
                await accounts.set_display_name(user.id, chance.choice(NAMES))
            case 3:
                await set_roles(database, admin, user.id, chance.choice(ROLES))
            case 4:
                await set_trusted(database, admin, user.id, chance.random() < 0.5, "a reason")
            case 5:
                await People(database, config).depart(user, withdraw=False)
            case 6:
                await accounts.set_roles(user.id, chance.choice(ROLES))
    everybody = await all_people(accounts, Wanted(), 7)
    assert len(everybody) == 31
    for name in (None, "a", "AN", "an ", "ann", "öd", "öd|", "}", "猫", "x"):
        for role in (None, *USER_ROLES):
            for state in (None, "active", "banned", "left"):
                wanted = Wanted(name, role, state)
                found = await all_people(accounts, wanted)
                expected = {each.id for each in everybody if fits(each, wanted)}
                assert ({each.id for each in found}, len(found)) == (expected, len(expected)), wanted
    names = [folded(each.display_name) for each in await all_people(accounts, Wanted(name="a"))]
    assert names == sorted(names)
    stored = [(document, User.from_document(document)) async for document in database["users"].find({})]
    assert [user.listed() for _, user in stored] == [{key: row[key] for key in user.listed()} for row, user in stored]


@pytest.mark.parametrize("wanted", [Wanted(name="  "), Wanted(role="boss"), Wanted(state="asleep")])
async def test_what_cannot_be_looked_for_is_refused(accounts, wanted) -> None:
    with pytest.raises(BadInput):
        await accounts.page(None, 1, wanted)


async def test_what_was_there_before_is_found_after_the_migrations(database, accounts) -> None:
    user = await accounts.ensure_user("test", "1", "Ann", ("contributor", "moderator"))
    task = Task(
        id="t", kind="label_initial_prompt", user_id=user.id, lang="en", work_id="w", target_id="m", state="skipped",
        skip_reason="too long",
    )  # fmt: skip
    await database["tasks"].insert_one({k: v for k, v in task.to_document().items() if k != "skipped"})
    await database["users"].update_one({"_id": user.id}, {"$unset": dict.fromkeys(user.listed(), "")})
    assert await all_people(accounts, Wanted(name="a")) == []
    await database["migrations"].delete_many({})
    assert {"what people and texts are found by", "index of the reasons of skips"} < set(await migrate(database))
    assert [each.id for each in await all_people(accounts, Wanted(name="a", role="moderator"))] == [user.id]
    assert [each.reason for each in (await skips_of(database, ["m", "n"]))["m"]] == ["too long"]


async def fill(database, size: int) -> list[Message]:
    """Messages of all sorts."""
    chance = random.Random(5)
    made = [
        Message(
            id=f"m{number:03d}", tree_id=f"m{number:03d}", parent_id=None,
            role=chance.choice(("prompter", "assistant")),
            lang=chance.choice(("en", "de", "fi")), text=chance.choice(("The blue sky", "a RED sky", "Grüße: 猫")),
            author_id=chance.choice(("u1", "u2")), state=chance.choice(MESSAGE_STATES), deleted=chance.random() < 0.2,
            collection=(DEFAULT, "poems", "poems2")[number % 3],
        )
        for number in range(size)
    ]  # fmt: skip
    await database["messages"].insert_many([each.to_document() for each in made])
    await database["message_words"].insert_many([words_row(each) for each in made])
    return made


async def rewritten(database, message: Message, text: str) -> Message:
    """`message` with another text, as it is stored then."""
    after = replace(message, text=text, revision=message.revision + 1, deleted=False)
    document = after.to_document()
    await database["messages"].update_one({"_id": document.pop("_id")}, {"$set": document})
    return after


async def alike(database, text: str, least: float):
    return among(text, (await look_around(database, text)).rows, least)


async def names(database, words: str) -> list[str]:
    return [each.id for each in (await find(database, Messages(words=words), None, 5)).items]


WANTED = [
    Messages(state="pending"), Messages(role="assistant", lang="de"), Messages(author_id="u1", deleted=True),
    Messages(author_id="u2", langs=("de", "fi"), lang="de"), Messages(state="refused", langs=("fi",), deleted=True),
    Messages(words="SKY blue"), Messages(words="sky", langs=("de",), deleted=True, author_id="u1"),
    Messages(words="sky -blue"), Messages(words="grüße", lang="en"), Messages(lang="de", langs=("fi",), words="sky"),
    Messages(collection="poems"), Messages(collection=DEFAULT, lang="en"), Messages(collection="poems2", lang="de"),
    Messages(collection="poems", author_id="u1", deleted=True), Messages(collection="poems", words="sky"),
    Messages(collection="none"),
]  # fmt: skip
TEXTS = {"SKY blue": "The blue sky", "sky -blue": "The blue sky", "grüße": "Grüße: 猫"}


def is_wanted(message: Message, wanted: Messages) -> bool:
    return (
        (wanted.deleted or not message.deleted)
        and wanted.lang in (None, message.lang)
        and (wanted.langs is None or message.lang in wanted.langs)
        and wanted.author_id in (None, message.author_id)
        and wanted.state in (None, message.state)
        and wanted.role in (None, message.role)
        and wanted.collection in (None, message.collection)
        and (wanted.words is None or TEXTS.get(wanted.words, message.text) == message.text)
        and (wanted.words is None or wanted.words != "sky" or "sky" in message.text)
    )


async def test_messages_are_found_however_few_a_page_looks_at(database, monkeypatch) -> None:
    made = await fill(database, 90)
    monkeypatch.setattr(pages, "SCANNED", 7)
    for wanted in [*WANTED, *(replace(each, newest_first=True) for each in WANTED)]:
        expected = [each.id for each in made if is_wanted(each, wanted)]
        found: list[str] = []
        after, more = None, True
        while more:
            page = await find(database, wanted, after, 5)
            found += [each.id for each in page.items]
            after, more = page.end or (page.key(page.items[-1]) if page.items else None), page.has_next
        assert sorted(found) == sorted(expected), wanted
        assert len(page.items) <= 5
    monkeypatch.undo()
    mine = await find(database, Messages(author_id="u1", deleted=True, newest_first=True), None, 100)
    assert {each.id for each in mine.items} == {each.id for each in made if each.author_id == "u1"}
    keys = [mine.key(each) for each in mine.items]
    assert keys == sorted(keys, reverse=True)


async def test_messages_of_before_get_their_collection_however_often_that_breaks_off(database, monkeypatch) -> None:
    made = await fill(database, 24)
    for each in made:
        tree = Tree(id=each.tree_id, state="growing", lang=each.lang, collection=each.collection)
        await database["trees"].insert_one(tree.to_document())
    keys = ("collection", "by_collection")
    await database["messages"].update_many({}, {"$unset": dict.fromkeys(keys, "")})
    ((name, _),) = [each for each in MIGRATIONS if each[0] == "collections of messages"]
    await database["migrations"].delete_one({"_id": name})
    read = {each["_id"]: each["rev"] async for each in database["messages"].find()}
    for limit in (0, 5, 9):
        with crash_after(limit), pytest.raises(Crashed):
            await migrate(database)
    assert await migrate(database) == [name]
    for key in (DEFAULT, "poems", "poems2"):
        found = await find(database, Messages(collection=key, deleted=True), None, 100)
        assert [each.id for each in found.items] == [each.id for each in made if each.collection == key]
    stored = [each async for each in database["messages"].find()]
    wanted = {each["_id"]: Message.from_document(each).to_document().get("by_collection") for each in stored}
    assert {each["_id"]: each.get("by_collection") for each in stored} == wanted
    # Who read a message without its collection loses the guard, and does not write it back without.
    assert {each["_id"] for each in stored if each["rev"] != read[each["_id"]]} == {
        each.id for each in made if each.collection != DEFAULT
    }


async def test_an_edited_text_is_found_by_its_new_words_alone(database) -> None:
    (message, *_) = await fill(database, 1)
    assert message.text == "a RED sky"
    await database["messages"].update_one({"_id": message.id}, {"$set": {"deleted": False}})
    await message_words.widen(database, message, "Zébra crossing")
    # Whether it is written by now or not, only what it says finds it: a process may have ended anywhere.
    assert (await names(database, "zebra"), await names(database, "red")) == ([], [message.id])
    edited = await rewritten(database, message, "Zébra crossing")
    assert (await names(database, "zebra"), await names(database, "red")) == ([message.id], [])
    await message_words.keep(database, edited)
    assert (await names(database, "zebra"), await names(database, "red")) == ([message.id], [])
    # Whoever comes late with what was there before changes nothing.
    await message_words.widen(database, message, "giraffe")
    await message_words.keep(database, message)
    assert (await names(database, "zebra"), await names(database, "giraffe")) == ([message.id], [])
    assert (await database["message_words"].find_one({"_id": message.id}))["text"] == "Zébra crossing"


async def test_those_that_fit_are_found_among_many_that_do_not(database, monkeypatch) -> None:
    monkeypatch.setattr(message_search, "TOGETHER", 4)
    made = await fill(database, 60)
    expected = [each.id for each in made if each.text == "a RED sky" and each.state == "pending" and not each.deleted]
    found = await find(database, Messages(words="red", state="pending"), None, 100)
    assert [each.id for each in found.items] == expected
    monkeypatch.setattr(message_search, "FOUND", 6)
    found = await find(database, Messages(words="red", state="pending"), None, 2)
    assert (len(found.items), {each.id for each in found.items} <= set(expected)) == (2, True)
    # Few of the first that have the word, so more are looked at, but no more than that.
    assert len((await find(database, Messages(words="red", state="pending"), None, 5)).items) >= 5
    monkeypatch.setattr(message_search, "LOOKED", 8)
    assert 1 <= len((await find(database, Messages(words="red", state="pending"), None, 8)).items) < len(expected)


async def test_words_and_sketches_of_before_are_moved_however_often_that_breaks_off(database, monkeypatch) -> None:
    monkeypatch.setattr(text_migrations, "BATCH", 5)
    made = await fill(database, 23)
    moved = (text_migrations.words_beside_messages, text_migrations.one_row_a_text)
    names = {name for name, apply in MIGRATIONS if apply in moved}
    assert len(names) == 2
    await database["message_words"].delete_many({"_id": {"$nin": [made[3].id, made[20].id]}})
    await text_migrations.text_index(database, "messages")
    for each in made:
        mine = sketch(f"{each.text} of {each.id} and of nothing else in the world")
        common = {"sketch": packed(mine), "message_id": each.id, "tree_id": each.tree_id, "user_id": "ann", "at": 1,
                  "lang": "en"}  # fmt: skip
        olds = [{"_id": f"{each.id}|{number}", "band": f"{number}|{each.id}", **common} for number in range(8)]
        await database["text_bands"].insert_many(olds)

    added = text_migrations._add

    async def broken_off(database, name, rows) -> None:
        monkeypatch.setattr(text_migrations, "_add", added)
        await added(database, name, rows[:2])
        raise OperationFailure("the store went away")

    for apply in moved:
        monkeypatch.setattr(text_migrations, "_add", broken_off)
        with pytest.raises(OperationFailure):
            await apply(database)
    await database["migrations"].delete_many({"_id": {"$in": list(names)}})
    assert set(await migrate(database)) == names
    found = await find(database, Messages(words="sky", deleted=True), None, 100)
    assert {each.id for each in found.items} == {each.id for each in made if "sky" in each.text}
    rows = {row["_id"]: row async for row in database["text_bands"].find()}
    for each in made:
        text = f"{each.text} of {each.id} and of nothing else in the world"
        assert [one.message_id for one in await alike(database, text, 0.99)] == [each.id]
        assert rows.pop(each.id) == bands_row(replace(each, text=text, author_id="ann", lang="en")) | {"at": 1}
    assert rows == {}
    left = [index async for index in await database["messages"].list_indexes()]
    with suppress(OperationFailure):
        left += [index async for index in await database["messages"].aggregate([{"$listSearchIndexes": {}}])]
    assert not [index for index in left if "text" in str(index["key"]) or "parent_id" in index["key"]]


async def test_trees_of_a_collection_are_found_by_state_and_language(database, collection, monkeypatch) -> None:
    monkeypatch.setattr(pages, "SCANNED", 4)
    chance = random.Random(9)
    made = [
        Tree(
            id=f"t{number:02d}", state=chance.choice(("growing", "ranking")), lang=chance.choice(("en", "de")),
            collection=chance.choice(("default", "poems")),
        )
        for number in range(30)
    ]  # fmt: skip
    await database["trees"].insert_many([each.to_document() for each in made])
    for state, newest in ((None, False), ("growing", False), ("growing", True)):
        for lang in (None, "de"):
            found: list[str] = []
            after, more = None, True
            while more:
                page = await collection.trees_page(state, lang, after, 3, newest, "poems")
                found += [each.id for each in page.items]
                after, more = page.end or (page.key(page.items[-1]) if page.items else None), page.has_next
            expected = [
                each.id for each in made
                if each.collection == "poems" and state in (None, each.state) and lang in (None, each.lang)
            ]  # fmt: skip
            assert sorted(found) == expected, (state, lang)


@pytest.mark.parametrize("words", ["", " - ", "a " * 11, "x" * 201])
def test_a_search_has_words_and_not_too_many(words) -> None:
    with pytest.raises(BadInput, match="search has"):
        words_in(words)


def test_no_word_is_read_as_an_operator() -> None:
    assert phrase(words_in('sky -blue "red OR (x*')) == '"sky" "blue" "red" "OR" "x"'


@pytest.mark.parametrize("text", ["नमस्ते हिन्दी", "สวัสดี ครับ", "cafe\u0301 noir", "שָׁלוֹם לכם"])
async def test_words_with_marks_are_found_whole(database, text) -> None:
    (message,) = await fill(database, 1)
    await message_words.keep(database, await rewritten(database, message, text))
    first, _ = text.split()
    assert phrase(words_in(text)) == " ".join(f'"{word}"' for word in text.split())
    for words in (text, first):
        assert [each.id for each in (await find(database, Messages(words=words), None, 5)).items] == [message.id]
