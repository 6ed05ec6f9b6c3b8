"""Answers to requests that carry an idempotency key: the same key of the same caller gets the same answer for a day.

A request claims its key by inserting one document, so of any number of copies that race one runs and the others wait
for its answer. What happens when things go wrong:

    the caller hangs up        the request goes on; the retry gets its answer
    the process dies           the claim runs out after `lease` seconds; the next copy takes it over and runs again
    the request was refused    the key is free again: nothing was done

So a request can run twice only where a process died between its write and its answer; the rules' own guards (a task is
answered once, a message reported once by each person) are what holds there. Times are whole milliseconds; knows texts
and no GraphQL.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from pymongo.errors import DuplicateKeyError

from core.database import Database, Document
from core.errors import OaError
from core.ids import new_id, sha256_hex
from core.records import milliseconds, now

LIFETIME = timedelta(hours=24)
"""How long an answer is kept, from when it was first asked for."""
PAUSES = (0.02, 0.05, 0.1, 0.2)
"""Seconds between two looks for the answer of a copy that runs; the last one from then on."""


@dataclass(frozen=True)
class Claim:
    """The right to run a request, and to keep its answer."""

    id: str
    holder: str


class IdempotentAnswers:
    """The keys and answers.

    Args:
        database: holds them, in `idempotent_answers`.
        lease: seconds after which a request that has neither an answer nor was given up is taken for dead; longer than
            any request may run.
    """

    def __init__(self, database: Database, lease: float) -> None:
        self._answers = database["idempotent_answers"]
        self._lease_ms = round(lease * 1000)

    async def begin(self, caller: str, key: str, fingerprint: str) -> Claim | str | None:
        """Claim `key`, or wait for the answer of the copy that has it.

        Args:
            caller: who asks; keys of different callers have nothing to do with each other.
            key: as the caller made it.
            fingerprint: of what is asked.

        Returns:
            a claim: run the request, then `keep` or `drop`; a text: the answer that was kept; None: it was done, and
            its answer was not to be kept.

        Raises:
            OaError: the key was used for something else (`IDEMPOTENCY_CONFLICT`).
        """
        claim = Claim(sha256_hex(f"{caller}|{key}".encode()), new_id())
        for turn in range(1_000_000):
            if await self._insert(claim, fingerprint):
                return claim
            found = await self._answers.find_one({"_id": claim.id})
            if found is None or await self._outlived(found):
                continue
            if found["fingerprint"] != fingerprint:
                raise OaError(
                    "this idempotency key was used for another document or other variables; make a new key for each "
                    "request, and send the same request with the same key",
                    code="IDEMPOTENCY_CONFLICT",
                )
            if found["done"]:
                return None if found["answer"] is None else str(found["answer"])
            if await self._take_over(found, claim):
                return claim
            await asyncio.sleep(PAUSES[min(turn, len(PAUSES) - 1)])
        raise AssertionError("a key was waited for without end")

    async def keep(self, claim: Claim, answer: str | None) -> None:
        """The request is done; `answer` goes to whoever asks with the same key, None where it must not be kept."""
        held = {"_id": claim.id, "holder": claim.holder}
        await self._answers.update_one(held, {"$set": {"done": True, "answer": answer}})

    async def drop(self, claim: Claim) -> None:
        """Nothing was done: the key is free again."""
        await self._answers.delete_one({"_id": claim.id, "holder": claim.holder, "done": False})

    async def _insert(self, claim: Claim, fingerprint: str) -> bool:
        present = now()
        document: Document = {
            "_id": claim.id, "holder": claim.holder, "fingerprint": fingerprint, "done": False, "answer": None,
            "lease_until": milliseconds(present) + self._lease_ms, "until": milliseconds(present + LIFETIME),
            "expires_at": present + LIFETIME,
        }  # fmt: skip
        try:
            await self._answers.insert_one(document)
        except DuplicateKeyError:
            return False
        return True

    async def _outlived(self, found: Document) -> bool:
        """Whether a day has passed, and the store had not noticed yet; it is then gone."""
        if found["until"] > milliseconds(now()):
            return False
        await self._answers.delete_one({"_id": found["_id"], "until": found["until"]})
        return True

    async def _take_over(self, found: Document, claim: Claim) -> bool:
        """Whether the copy that ran is dead and its key now ours."""
        present = milliseconds(now())
        if found["lease_until"] > present:
            return False
        dead = {"_id": claim.id, "holder": found["holder"], "done": False}
        ours = {"holder": claim.holder, "lease_until": present + self._lease_ms}
        return (await self._answers.update_one(dead, {"$set": ours})).matched_count == 1
