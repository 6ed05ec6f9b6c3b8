"""Trust by work: what it needs, that it is given once, whatever crashes, and that a person's word stands."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

import pytest
from core_people import SMALL, review_all, until_growing, write_prompt
from faults import Crashed, crash_after
from hypothesis import given, settings
from hypothesis import strategies as st

from core import promotion, rules
from core.collection import Collection
from core.config import CollectionConfig
from core.errors import BadInput, Forbidden, NotFound
from core.journal import events_page
from core.moderation_queue import close_about, enqueue
from core.moderators import Moderators
from core.people import People
from core.records import User, now
from core.scoring import POINTS
from core.sweeper import sweep_once
from core.trust import earned, enough_work, requirements, roles_set
from core.voices import Voice

EASY = replace(SMALL, trust_messages=1, trust_judgements=0, trust_account_seconds=0)
MOMENT = now()
COUNTS = st.dictionaries(st.sampled_from(sorted(POINTS)), st.integers(0, 40))
VOICES = st.lists(st.floats(0, 50), min_size=6, max_size=6).map(Voice.of)
RULES = st.builds(
    CollectionConfig, trust_messages=st.integers(0, 9), trust_judgements=st.integers(0, 30),
    trust_reliability=st.floats(0, 1), trust_account_seconds=st.integers(0, 100), trust_by_work=st.booleans(),
)  # fmt: skip
USERS = st.builds(
    lambda age, enabled, withheld: User(
        id="u", auth_method="test", subject="u", display_name="u", enabled=enabled, trust_withheld=withheld,
        created_at=MOMENT - timedelta(seconds=age),
    ),
    st.integers(0, 200), st.booleans(), st.sampled_from([None, None, "why"]),
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(USERS, COUNTS, VOICES, st.booleans(), RULES, st.sampled_from(sorted(POINTS)), st.integers(0, 500))
def test_trust_needs_all_of_it_and_more_good_work_never_loses_it(
    user, counts, voice, asked, config, act, later
) -> None:
    needs = requirements(user, counts, voice, asked, config, MOMENT)
    have = earned(needs, config)
    if have:
        assert config.trust_by_work
        assert user.enabled
        assert user.trust_withheld is None
        assert not asked
        assert enough_work(counts, config), "the cheap look at work never passes over who has earned it"
        assert MOMENT - user.created_at >= timedelta(seconds=config.trust_account_seconds)
    more = counts | {act: counts.get(act, 0) + 1}
    after = requirements(user, more, voice, asked, config, MOMENT + timedelta(seconds=later))
    assert earned(after, config) >= have
    assert {each.name for each in needs if each.met} <= {each.name for each in after if each.met}
    assert not earned(requirements(replace(user, trust_withheld="x"), counts, voice, asked, config, MOMENT), config)
    assert not earned(requirements(user, counts, voice, True, config, MOMENT), config)


def test_who_loses_the_role_keeps_the_reason() -> None:
    user = User(id="u", auth_method="test", subject="u", display_name="u", roles=("contributor", "trusted"))
    assert roles_set(user, ("contributor",), "why") == {"roles": ["contributor"], "trust_withheld": "why"}
    assert roles_set(user, ("trusted",), "why") == {"roles": ["trusted"], "trust_withheld": None}
    assert roles_set(replace(user, roles=("contributor",)), ("moderator",), "why") == {"roles": ["moderator"]}


@pytest.fixture
def easy(database) -> Collection:
    return Collection(database, EASY, random.Random(7))


async def acts(collection, user) -> list[str]:
    found, _ = await events_page(collection.database, subject=user.id)
    return [each.kind for each in found]


async def again(collection, user) -> None:
    """Let the sweeper look at the person now, not in an hour."""
    await collection.database["scores"].update_one({"_id": user.id}, {"$set": {"trust_due": 0}})


async def test_accepted_work_makes_trusted_once(easy, accounts, person) -> None:
    ann, bob, cid = [await person(name) for name in ("ann", "bob", "cid")]
    people = People(easy.database, EASY)
    assert not (await people.trust(ann)).trusted
    await until_growing(easy, [ann, bob, cid])
    await sweep_once(easy.database, EASY)
    assert (await accounts.get(ann.id)).roles == ("contributor", "trusted")
    progress = await people.trust(await accounts.get(ann.id))
    assert progress.trusted
    assert {each.name: (each.have, each.met) for each in progress.needs if each.name != "account_seconds"} == {
        "accepted_messages": (1, True), "settled_judgements": (0, True), "good_standing": (1, True),
        "reliability": (pytest.approx(0.6), True),
    }  # fmt: skip
    assert (await accounts.get(bob.id)).roles == ("contributor",), "reviews alone are too little here"
    assert (await sweep_once(easy.database, EASY)).trusted == 0
    assert await acts(easy, ann) == ["trust_by_work"]


@pytest.mark.parametrize("writes", [0, 1, 2])
async def test_a_crash_between_any_two_writes_gives_it_once_and_tells_it_once(easy, accounts, person, writes) -> None:
    ann, bob, cid = [await person(name) for name in ("ann", "bob", "cid")]
    await write_prompt(easy, ann)
    await review_all(easy, [bob, cid], "label_initial_prompt")
    with crash_after(writes), pytest.raises(Crashed):
        await promotion.sweep(easy.database, EASY)
    with crash_after(None) as left:
        await promotion.sweep(easy.database, EASY)
    assert left.asked == max(2, 3 - writes), "role, journal, when to look again"
    assert (await accounts.get(ann.id)).has_role("trusted")
    assert await acts(easy, ann) == ["trust_by_work"]


async def test_what_was_taken_back_is_not_earned_again(easy, accounts, person) -> None:
    ann, bob, cid, mod = [await person(name) for name in ("ann", "bob", "cid")] + [await person("mod", "moderator")]
    moderators = Moderators(easy.database, EASY)
    await until_growing(easy, [ann, bob, cid])
    await sweep_once(easy.database, EASY)
    with pytest.raises(BadInput):
        await moderators.set_trusted(mod, ann.id, False, "  ")
    taken = await moderators.set_trusted(mod, ann.id, False, "sells her account")
    assert (taken.roles, taken.trust_withheld) == (("contributor",), "sells her account")
    await again(easy, ann)
    second = await write_prompt(easy, ann, "Another good question?")
    await review_all(easy, [bob, cid], "label_initial_prompt")
    assert (await easy.message(second)).state == "accepted"
    await again(easy, ann)
    assert (await sweep_once(easy.database, EASY)).trusted == 0
    assert not (await accounts.get(ann.id)).has_role("trusted")
    progress = await People(easy.database, EASY).trust(await accounts.get(ann.id))
    assert progress.withheld == "sells her account"
    assert [each.name for each in progress.needs if not each.met] == ["good_standing"]
    given = await moderators.set_trusted(mod, ann.id, True, "")
    assert (given.roles, given.trust_withheld) == (("contributor", "trusted"), None)
    assert await acts(easy, ann) == ["set_trusted", "set_trusted", "trust_by_work"]
    root = await person("root", "admin")
    assert (await moderators.set_roles(root, ann.id, ["contributor"])).trust_withheld == "an admin set other roles"
    for who, whom in ((ann, bob), (mod, mod), (mod, root)):
        with pytest.raises(Forbidden):
            await moderators.set_trusted(who, whom.id, False, "because")
    with pytest.raises(NotFound):
        await moderators.set_trusted(mod, "nobody", True, "")


async def test_it_waits_for_age_for_an_open_question_and_for_the_rules(easy, accounts, person) -> None:
    ann, bob, cid = [await person(name) for name in ("ann", "bob", "cid")]
    root = await person("root", "admin")
    await easy.update_collection(root, "default", 0, config={"trust_account_seconds": 3600})
    await enqueue(easy.database, f"user:{ann.id}", "flood", 3, {"by": None})
    await until_growing(easy, [ann, bob, cid])

    async def look() -> bool:
        await again(easy, ann)
        await sweep_once(easy.database, EASY)
        return (await accounts.get(ann.id)).has_role("trusted")

    assert not await look()
    await easy.update_collection(root, "default", 1, config={"trust_account_seconds": 0})
    assert not await look()
    await close_about(easy.database, f"user:{ann.id}", "dismiss", "", root.id)
    await easy.update_collection(root, "default", 2, config={"trust_by_work": False})
    assert not await look()
    (mine,) = [each async for each in easy.database["scores"].find({"_id": ann.id})]
    assert "trust_due" not in mine, "the next credit asks again"
    await easy.update_collection(root, "default", 3, config={"trust_by_work": True})
    assert await look()


async def test_other_collections_do_not_say_who_is_trusted(easy, person) -> None:
    root = await person("root", "admin")
    with pytest.raises(BadInput, match="trust_messages holds in all collections"):
        await easy.create_collection(root, "poems", "Poems", [], {"trust_messages": 0})
    with pytest.raises(BadInput, match="trust_reliability is 2"):
        await easy.update_collection(root, "default", 0, config={"trust_reliability": 2})
    assert rules.SHARED == "trust_"
