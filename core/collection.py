"""Collection as its callers see it: one object over a database and a configuration.

Every method is safe to repeat. Rules are in `core.advance` and its neighbours; this only brings them together.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from core import (
    agreement_over_time,
    answers,
    free_labels,
    gold,
    growth,
    message_search,
    moderation,
    pages,
    rewards,
    rules,
    rulings,
    skips,
    statistics,
    tasks,
    work,
)
from core.agreement_over_time import Sums
from core.answers import Answered
from core.collection_records import CollectionRecord
from core.config import CollectionConfig
from core.database import Database, aware
from core.errors import BadInput, NothingToDo
from core.gold_records import GoldItem
from core.opinions import Report
from core.pages import Page
from core.pools import DEFAULT
from core.records import TASK_KINDS, Message, Task, Tree, User
from core.rules import find
from core.settle import open_prompts, settle
from core.skips import Skip
from core.statistics import Statistics
from core.texts import check_langs
from core.wanted import WantedMessages


class Collection:
    """The collection in one database.

    Args:
        database: migrated (`core.database.migrate`).
        config: its rules' numbers.
        chance: where draws come from; seeded in tests.
    """

    def __init__(self, database: Database, config: CollectionConfig, chance: random.Random | None = None) -> None:
        self.database = aware(database)
        self.config = config
        self.chance = chance or random.Random()  # noqa: S311 - who gets which work is no secret

    # Tasks.

    async def request_task(self, user: User, kind: str, langs: Sequence[str], collection: str = DEFAULT) -> Task:
        """Hand out a task of `kind`, or `random`, in one of `langs`.

        Raises:
            BadInput: an unknown kind (`UNKNOWN_TASK_KIND`), a malformed language, or one that is not collected.
            NotFound: there is no such collection.
            NothingToDo: no such work is open for this user.
            TooMany: the user holds too many tasks.
        """
        task, _ = await self.hand_out(user, kind, langs, collection)
        return task

    async def hand_out(
        self, user: User, kind: str, langs: Sequence[str], collection: str = DEFAULT
    ) -> tuple[Task, dict[str, Message]]:
        """As `request_task`, with the messages that the task shows, by id."""
        return await tasks.request(self.database, self.config, user, kind, check_langs(langs), self.chance, collection)

    async def available(self, user: User, langs: Sequence[str], collection: str = DEFAULT) -> dict[str, int]:
        """Open work for the user by kind, each counted up to 100; prompts count what the languages can still take.

        Nothing is open in a collection that is closed, or takes none of the languages.
        """
        langs = check_langs(langs)
        try:
            pools = tasks.pools_of(await find(self.database, collection), langs)
        except (NothingToDo, BadInput):
            pools = []
        counts = {kind: await work.available(self.database, kind, pools, user.id) for kind in TASK_KINDS}
        prompts = sum([await open_prompts(self.database, self.config, pool) for pool in pools])
        return counts | {"initial_prompt": min(prompts, work.AVAILABLE_CAP)}

    async def get_task(self, user: User, task_id: str) -> Task:
        """The user's task; raises `TaskGone` for anybody else's."""
        return await tasks.mine(self.database, user, task_id)

    async def open_tasks(self, user: User) -> list[Task]:
        """The user's open tasks, oldest first."""
        return await tasks.open_of(self.database, user)

    async def shown(self, task: Task) -> tuple[list[Message], list[Message]]:
        """What a task shows: the thread down to its target, and the replies to rank as served; authors hidden."""
        return await pages.shown(self.database, task)

    async def skip_task(self, user: User, task_id: str, reason: str | None = None) -> Task:
        """Give the task back; the user is not asked the same again."""
        return await tasks.skip(self.database, self.config, user, task_id, reason)

    async def save_draft(self, user: User, task_id: str, text: str) -> Task:
        """Keep a text for an open task."""
        return await tasks.save_draft(self.database, user, task_id, text, self.config.max_text_length)

    # Answers. Each raises `TaskGone` for a task that is not the user's, was skipped or has expired, and `Conflict` for
    # one that was answered otherwise; the same answer again gives the same task and counts once.

    async def submit_prompt(self, user: User, task_id: str, text: str, lang: str | None = None) -> Task:
        """Answer an `initial_prompt` task; the message's id is the task's `result_id`."""
        return (await self.take_prompt(user, task_id, text, lang)).task

    async def take_prompt(self, user: User, task_id: str, text: str, lang: str | None = None) -> Answered:
        """As `submit_prompt`, with the message."""
        return await answers.submit_prompt(self.database, self.config, user, task_id, text, lang)

    async def submit_reply(self, user: User, task_id: str, text: str) -> Task:
        """Answer a `prompter_reply` or `assistant_reply` task; the message's id is the task's `result_id`."""
        return (await self.take_reply(user, task_id, text)).task

    async def take_reply(self, user: User, task_id: str, text: str) -> Answered:
        """As `submit_reply`, with the message."""
        return await answers.submit_reply(self.database, self.config, user, task_id, text)

    async def submit_review(self, user: User, task_id: str, labels: Mapping[str, float]) -> Task:
        """Answer a `label_*` task."""
        return await answers.submit_review(self.database, self.config, user, task_id, labels)

    async def submit_ranking(
        self, user: User, task_id: str, ranking: Sequence[str], not_rankable: bool = False, tiers: Sequence[int] = ()
    ) -> Task:
        """Answer a `rank_*` task: message ids, best first; `tiers` are the sizes of groups of equally good ones."""
        return await answers.submit_ranking(self.database, self.config, user, task_id, ranking, not_rankable, tiers)

    async def cannot_judge(self, user: User, task_id: str) -> Task:
        """Give a `rank_*` task to somebody who can judge the replies."""
        return await answers.cannot_judge(self.database, self.config, user, task_id)

    # What people say about messages, and what moderators do.

    async def react(self, user: User, message_id: str, emoji: str, on: bool = True) -> Message:
        """Set or take back the user's emoji on a message."""
        return await moderation.react(self.database, self.config, user, message_id, emoji, on)

    async def emojis_of(self, holders: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """The emojis that people set on messages; `holders` and the result are by `message id|user id`."""
        return await moderation.emojis_of(self.database, holders)

    async def report(self, user: User, message_id: str, reason: str) -> Report:
        """Report a message to the moderators."""
        return await moderation.report(self.database, self.config, user, message_id, reason)

    async def set_free_labels(self, user: User, message_id: str, labels: Mapping[str, float]) -> Message:
        """Label a message outside of a task; see `core.free_labels.set_labels`."""
        return await free_labels.set_labels(self.database, user, message_id, labels)

    async def free_labels(self, message_ids: Sequence[str]) -> dict[str, dict[str, dict[str, float]]]:
        """See `core.free_labels.averages_of`."""
        return await free_labels.averages_of(self.database, message_ids)

    async def delete_message(self, moderator: User, message_id: str, reason: str = "") -> Message:
        """Take a message and all that follows it out."""
        return await rulings.delete_message(self.database, self.config, moderator, message_id, reason)

    async def restore_message(self, moderator: User, message_id: str, reason: str = "") -> Message:
        """Put a message back, and what went out with it."""
        return await rulings.restore_message(self.database, self.config, moderator, message_id, reason)

    async def halt_tree(self, moderator: User, tree_id: str, halt: bool = True, reason: str = "") -> Tree:
        """Stop a tree, or let a stopped one go on."""
        return await rulings.halt_tree(self.database, self.config, moderator, tree_id, halt, reason)

    # Reading.

    async def message(self, message_id: str) -> Message:
        """The message; raises `NotFound`."""
        return await pages.one(self.database, "messages", Message, message_id)

    async def tree(self, tree_id: str) -> Tree:
        """The tree; raises `NotFound`."""
        return await pages.one(self.database, "trees", Tree, tree_id)

    async def messages(self, message_ids: Sequence[str]) -> dict[str, Message]:
        """Those messages that exist, by id, in one read."""
        return await pages.many(self.database, "messages", Message, list(message_ids))

    async def trees(self, tree_ids: Sequence[str]) -> dict[str, Tree]:
        """Those trees that exist, by id, in one read."""
        return await pages.many(self.database, "trees", Tree, list(tree_ids))

    async def messages_of(self, tree_id: str, known: bool = False) -> list[Message]:
        """All messages of a tree (looked for unless it is `known`): parents first, siblings by rank, then age."""
        return await pages.messages_of(self.database, tree_id, known)

    async def messages_of_many(self, tree_ids: Sequence[str]) -> dict[str, list[Message]]:
        """All messages of several trees that are known to be there, in one read."""
        return await pages.messages_of_many(self.database, tree_ids)

    async def thread(self, message_id: str) -> list[Message]:
        """The messages from the root to this one."""
        return await pages.thread(self.database, message_id)

    async def trees_page(
        self, state: str | None = None, lang: str | None = None, after: str | None = None, first: int = 20,
        newest_first: bool = False, collection: str | None = None,
    ) -> Page[Tree]:  # fmt: skip
        """Trees, oldest (or newest) first; `after` is `Page.key` of the last one seen."""
        return await pages.trees_page(self.database, state, lang, after, first, newest_first, collection)

    async def find_messages(self, wanted: WantedMessages, after: str | None, first: int) -> Page[Message]:
        """See `core.message_search.find`."""
        return await message_search.find(self.database, wanted, after, first)

    async def messages_page(
        self, lang: str | None = None, author_id: str | None = None, after: str | None = None, first: int = 20,
        include_deleted: bool = False, newest_first: bool = False,
    ) -> Page[Message]:  # fmt: skip
        """Messages, oldest (or newest) first; `after` is `Page.key` of the last one seen."""
        return await pages.messages_page(self.database, lang, author_id, after, first, include_deleted, newest_first)

    async def skips(self, message_ids: Sequence[str]) -> dict[str, list[Skip]]:
        """See `core.skips.skips_of`."""
        return await skips.skips_of(self.database, message_ids)

    async def statistics(self) -> Statistics | None:
        """See `core.statistics.statistics`."""
        return await statistics.statistics(self.database)

    async def register_rewards(self, model_version: str, scores: Mapping[str, float]) -> int:
        """Take a reward model's scores, by message id; see `core.rewards.register`."""
        return await rewards.register(self.database, self.config, model_version, scores)

    async def make_gold_review(
        self, moderator: User, message_id: str, answers: Mapping[str, bool], reason: str
    ) -> GoldItem:
        """A question with a known answer out of a message."""
        made = await gold.make_review(self.database, moderator, message_id, answers, reason)
        await settle(self.database, self.config, made.id)
        return made

    async def make_gold_ranking(self, moderator: User, order: Sequence[Sequence[str]], reason: str) -> GoldItem:
        """A question with a known answer out of replies, in groups, best first."""
        made = await gold.make_ranking(self.database, moderator, order, reason)
        await settle(self.database, self.config, made.id)
        return made

    async def gold_items(self, moderator: User, before: str | None, first: int) -> tuple[list[GoldItem], bool]:
        """See `core.gold.items`."""
        return await gold.items(self.database, moderator, before, first)

    async def retire_gold(self, moderator: User, item_id: str) -> None:
        """Hand a gold item out no more."""
        await gold.retire(self.database, moderator, item_id)

    # Collections and their rules.

    async def collections(self) -> list[CollectionRecord]:
        """All collections, the default one first, then by id."""
        found = await rules.collections(self.database)
        return sorted(found.values(), key=lambda each: (each.id != DEFAULT, each.id))

    async def find_collection(self, key: str) -> CollectionRecord:
        """The collection of that id; raises `NotFound`."""
        return await rules.find(self.database, key)

    def rules_of(self, collection: CollectionRecord) -> CollectionConfig:
        """The rules of a collection."""
        return rules.rules(self.config, collection)

    async def agreement(
        self, key: str, frame: str, before: str | None, first: int
    ) -> tuple[list[tuple[str, Sums]], bool]:
        """See `core.agreement_over_time.periods`."""
        return await agreement_over_time.periods(self.database, key, frame, before, first)

    async def tree_agreement(self, tree_ids: Sequence[str]) -> dict[str, Sums]:
        """See `core.agreement_over_time.of_trees`."""
        return await agreement_over_time.of_trees(self.database, tree_ids)

    async def create_collection(
        self, admin: User, key: str, name: str, langs: Sequence[str], config: Mapping[str, Any]
    ) -> CollectionRecord:
        """A new collection of id `key`; see `core.rules.create`."""
        return await rules.create(self.database, self.config, admin, key, name, langs, config)

    async def update_collection(
        self, admin: User, collection: str, version: int, *, name: str | None = None,
        langs: Sequence[str] | None = None, config: Mapping[str, Any] | None = None, is_open: bool | None = None,
    ) -> CollectionRecord:  # fmt: skip
        """Change a collection while all runs; see `core.rules.update`."""
        return await rules.update(
            self.database, self.config, admin, collection, version, name=name, langs=langs, config=config,
            is_open=is_open,
        )  # fmt: skip

    async def limit_tree(self, admin: User, tree_id: str, limits: Mapping[str, int]) -> Tree:
        """Change limits of one tree and settle it."""
        await rules.limit_tree(self.database, admin, tree_id, limits)
        await settle(self.database, self.config, tree_id)
        return await self.tree(tree_id)

    # Trees that come from elsewhere.

    async def add_synthetic_tree(
        self, thread: Sequence[growth.Turn], replies: Sequence[growth.Turn], *, key: str, lang: str,
        origin: str = "chat", author_id: str | None = None,
    ) -> Tree:  # fmt: skip
        """A tree in `backlog_ranking` made of a chat; the same key, the same tree."""
        return await growth.add_synthetic_tree(
            self.database, self.config, thread, replies, key=key, lang=lang, origin=origin, author_id=author_id
        )

    async def activate_backlog(self, lang: str) -> Tree | None:
        """Bring the oldest backlog tree of a language into ranking; None when there is none."""
        return await growth.activate_backlog(self.database, self.config, lang)

    async def settle(self, tree_id: str) -> Tree | None:
        """Bring a tree up to date now; None where there is none."""
        settled = await settle(self.database, self.config, tree_id)
        return settled.tree if settled else None
