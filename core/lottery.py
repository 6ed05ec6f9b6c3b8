"""Which waiting prompts get to grow, and how many new prompts a language can take. Pure, but for the chance given."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from core.config import CollectionConfig
from core.records import Tree


def draw(waiting: Sequence[Tree], first_places: Mapping[str, int], chance: random.Random) -> Tree | None:
    """One of `waiting`: first an author, then evenly one of the author's prompts.

    Args:
        waiting: trees in `prompt_lottery_waiting`, of one language.
        first_places: author id -> times that a reply of theirs was ranked first this month; an author's weight is
            this plus one.
        chance: where the draw comes from.

    Returns:
        None when nothing waits.
    """
    by_author: dict[str, list[Tree]] = {}
    for tree in sorted(waiting, key=lambda tree: tree.id):
        by_author.setdefault(tree.author_id or "", []).append(tree)
    if not by_author:
        return None
    authors = sorted(by_author)
    author = chance.choices(authors, [first_places.get(author, 0) + 1 for author in authors])[0]
    return chance.choice(by_author[author])


def missing_prompts(counts: Mapping[str, int], lang: str, config: CollectionConfig) -> int:
    """How many new prompts a language can take.

    Args:
        counts: trees of the language by state.
    """
    if lang in config.init_prompt_disabled_langs:
        return 0
    room_to_grow = max(0, config.max_active_trees - counts.get("growing", 0))
    room_in_review = max(0, config.max_initial_prompt_review - counts.get("initial_prompt_review", 0))
    room_to_wait = max(0, config.max_prompt_lottery_waiting - counts.get("prompt_lottery_waiting", 0))
    return min(room_to_grow + room_in_review, room_to_wait)
