"""Idempotency keys against the store: one of many runs, the others get its answer, and the dead are followed."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from core.errors import OaError
from core.idempotency import Claim, IdempotentAnswers


@pytest.fixture
def answers(database):
    return IdempotentAnswers(database, lease=60)


async def test_of_copies_that_race_one_runs_and_all_get_its_answer(answers):
    ran = []

    async def ask() -> str:
        claim = await answers.begin("ada", "k", "f")
        if not isinstance(claim, Claim):
            return claim
        ran.append(claim)
        await asyncio.sleep(0)
        await answers.keep(claim, '{"n":1}')
        return '{"n":1}'

    assert await asyncio.gather(*(ask() for _ in range(20))) == ['{"n":1}'] * 20
    assert len(ran) == 1


async def test_keys_are_their_callers_own_and_belong_to_one_request(answers):
    claim = await answers.begin("ada", "k", "f")
    assert isinstance(await answers.begin("bob", "k", "other"), Claim)
    with pytest.raises(OaError, match="another document") as refused:
        await answers.begin("ada", "k", "other")
    assert refused.value.code == "IDEMPOTENCY_CONFLICT"
    await answers.keep(claim, None)
    assert await answers.begin("ada", "k", "f") is None


async def test_what_was_refused_leaves_the_key_free_and_what_was_done_does_not(answers):
    claim = await answers.begin("ada", "k", "f")
    await answers.drop(claim)
    again = await answers.begin("ada", "k", "other")
    await answers.keep(again, "1")
    await answers.drop(again)
    assert await answers.begin("ada", "k", "other") == "1"


async def test_a_process_that_died_is_followed_by_one_and_cannot_speak_any_more(database, answers):
    hasty = IdempotentAnswers(database, lease=0)
    key = uuid.uuid4().hex
    dead = await hasty.begin("ada", key, "f")
    claims = await asyncio.gather(*(answers.begin("ada", key, "f") for _ in range(1)))
    (alive,) = [each for each in claims if isinstance(each, Claim)]
    await hasty.keep(dead, '"of the dead"')
    await hasty.drop(dead)
    await answers.keep(alive, '"alive"')
    assert await answers.begin("ada", key, "f") == '"alive"'


async def test_after_a_day_a_key_is_new(database, answers):
    claim = await answers.begin("ada", "k", "f")
    await answers.keep(claim, "1")
    await database["idempotent_answers"].update_one({"_id": claim.id}, {"$set": {"until": 1}})
    assert isinstance(await answers.begin("ada", "k", "other"), Claim)
