"""How many commands each act asks of the document store: what a hand-out or a submission costs must not creep up."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from core_people import GOOD, SMALL, until_growing, until_ranking, write_prompt
from pymongo import monitoring

from core.accounts import Accounts
from core.collection import Collection
from core.database import connect
from core.errors import NothingToDo
from core.leaderboard import board_page, leaderboard

MOST_TO_TAKE = 4
"""One more finds who calls."""
MOST_TO_SUBMIT = 6
FIRST_SCORES = 1
"""More for whose first credit it is: whether they have an account."""
MOVING_ON = 5
"""More when the tree moves on: its state, the journal, its messages, how far its rankers agree."""


class Commands(monitoring.CommandListener):
    """The names of the commands sent, those of opening a connection left out."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.names.append(event.command_name)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass

    async def during(self, act) -> tuple[object, list[str]]:
        """The act's result, and the commands that it sent."""
        self.names.clear()
        result = await act
        return result, list(self.names)


@pytest.fixture
async def counted(database, mongodb_uri: str) -> AsyncIterator[tuple[Collection, Commands]]:
    """A collection, and the commands that it sends."""
    commands = Commands()
    monitored = monitoring._LISTENERS.command_listeners
    monitored.append(commands)  # `connect` takes no listeners: it has the settings that the API uses
    client = connect(mongodb_uri)
    monitored.remove(commands)
    yield Collection(client[database.name], replace(SMALL, num_required_rankings=4), random.Random(3)), commands
    await client.close()


async def people_of(collection: Collection, count: int):
    accounts = Accounts(collection.database)
    return [await accounts.ensure_user("test", f"p{number}", f"p{number}") for number in range(count)]


async def test_a_hand_out_takes_four_commands_at_most_whatever_the_kind(counted) -> None:
    collection, commands = counted
    people = await people_of(collection, 4)
    await until_growing(collection, people)
    await write_prompt(collection, people[0], "Another question?")
    for kind in ("initial_prompt", "assistant_reply", "label_initial_prompt", "random", "random"):
        task, sent = await commands.during(collection.request_task(people[3], kind, ["en", "de"]))
        assert task.state == "open"
        assert len(sent) <= MOST_TO_TAKE, (kind, sent)


async def test_the_number_of_commands_does_not_depend_on_how_much_work_is_open(counted) -> None:
    collection, commands = counted
    people = await people_of(collection, 3)
    sent = []
    for rounds in range(4):
        for number in range(5 * rounds):
            await write_prompt(collection, people[0], f"Question {rounds} {number}?")
        await write_prompt(collection, people[1], f"Question {rounds}?")
        _, names = await commands.during(collection.request_task(people[2], "label_initial_prompt", ["en"]))
        sent.append(len(names))
    assert max(sent) == min(sent) <= MOST_TO_TAKE, sent


async def test_finding_nothing_takes_few_commands(counted) -> None:
    collection, commands = counted
    (ann,) = await people_of(collection, 1)
    asked = collection.request_task(ann, "assistant_reply", ["en", "de", "fr"])
    commands.names.clear()
    with pytest.raises(NothingToDo):
        await asked
    assert len(commands.names) <= MOST_TO_TAKE, commands.names


async def test_a_submission_takes_few_commands_whatever_it_is(counted) -> None:
    collection, commands = counted
    people = await people_of(collection, 6)
    task = await collection.request_task(people[0], "initial_prompt", ["en"])
    _, sent = await commands.during(collection.submit_prompt(people[0], task.id, "Why is it so?", "en"))
    assert len(sent) <= MOST_TO_SUBMIT, sent
    task = await collection.request_task(people[1], "label_initial_prompt", ["en"])
    _, sent = await commands.during(collection.submit_review(people[1], task.id, GOOD))
    assert len(sent) <= MOST_TO_SUBMIT + FIRST_SCORES, sent
    await until_ranking(collection, people)
    counts = []
    for person in people:
        try:
            task = await collection.request_task(person, "rank_assistant_replies", ["en"])
        except NothingToDo:
            continue
        _, sent = await commands.during(collection.submit_ranking(person, task.id, task.served))
        counts.append(len(sent))
    assert counts
    assert max(counts) <= MOST_TO_SUBMIT + FIRST_SCORES + MOVING_ON, counts
    assert min(counts) <= MOST_TO_SUBMIT, counts


async def test_a_leaderboard_takes_the_same_commands_for_few_and_for_many(counted) -> None:
    collection, commands = counted
    people = await people_of(collection, 12)
    await write_prompt(collection, people[0])
    sent, further = [], []
    for person in people[1:]:
        await write_prompt(collection, person, f"A question by {person.id}?")
        task = await collection.request_task(person, "label_initial_prompt", ["en"])
        await collection.submit_review(person, task.id, GOOD)
        _, names = await commands.during(leaderboard(collection.database, "total", 100))
        sent.append(len(names))
        if places := (await board_page(collection.database, "total", None, 1)).places:
            _, names = await commands.during(board_page(collection.database, "total", places[0][0], 100))
            further.append(len(names))
    assert sent == [sent[0]] * len(sent)
    assert further == [further[0]] * len(further)
    assert sent[0] <= 2
    assert further[0] <= 4
