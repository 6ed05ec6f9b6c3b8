"""What goes into a snapshot, out of the document store: trees, one after the other, as lines of rows and their sources.

Trees are listed at the beginning and read in order of id, each once, as it is then; one that no longer passes the
filters by then is left out. Lines go into parts (`core.freezes`), and with each whole part it is kept what was counted
so far, so a freeze that was killed counts what one does that was not. A batch of trees is in memory.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

import orjson

from core import consent
from core.agreement import PooledAlpha
from core.ballots import Ballot
from core.consent import Consent
from core.database import Database
from core.freezes import IDS, UnderWay, part
from core.ids import canonical_json, content_hash
from core.opinions import Ranking, Review
from core.packed_lines import PackedLines, packed_lines
from core.records import Message, Tree
from core.snapshot_filters import Filters
from core.snapshot_rows import Row, message_ids, rows_of, split_place
from core.sorted_ids import SortedIds
from core.tree_reading import TREES_PER_READ, among, read_trees, tree_ids

STEP = 50_000
"""Lines and trees, about, that a killed freeze reads again."""
ROW, SOURCE = b"r", b"s"
"""What a line begins with."""

Read = tuple[Tree, list[Message], list[Ranking], list[Review]]


@dataclass
class Tally:
    """What is counted on the way.

    Attributes:
        rows, trees: that go in, and trees that gave some.
        lowest, place: of these trees the one with the lowest hash, and where that falls (`split_place`).
        rankings, alpha: of replies to messages that are in.
        messages, reviews: messages that are in, and how many reviews they had.
        refused, chats: left out for want of consent.
    """

    rows: int = 0
    trees: int = 0
    lowest: str = ""
    place: int = 0
    rankings: int = 0
    messages: int = 0
    reviews: int = 0
    refused: int = 0
    chats: int = 0
    alpha: PooledAlpha = field(default_factory=PooledAlpha)

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> Tally:
        """From its stored form, `asdict`."""
        return cls(**{**kept, "alpha": PooledAlpha(**kept["alpha"])}) if kept else cls()

    def held_out(self, threshold: float) -> str | None:
        """The tree to hold out where hashes below `threshold` hold out none, and another is left to train on; else
        None."""
        return self.lowest if threshold and self.trees > 1 and self.place >= threshold else None

    def agreement(self) -> dict[str, Any]:
        """How far people agreed about what is in; `ranking_alpha` is Krippendorff's, ordinal, of the rankings."""
        alpha = self.alpha.value
        return {
            "rankings": self.rankings,
            "ranking_alpha": None if alpha is None else round(alpha, 4),
            "reviews_per_message": round(self.reviews / self.messages, 4) if self.messages else None,
        }

    def count(self, read: Read, rows: list[Row], place: int, used: set[str]) -> None:
        """Take a tree that gave `rows`, with `used` messages in them; `place` is where its hash falls."""
        tree, messages, rankings, _ = read
        self.rows += len(rows)
        if not self.trees or (place, tree.id) < (self.place, self.lowest):
            self.place, self.lowest = place, tree.id
        self.trees += 1
        for message in messages:
            if message.id in used:
                self.messages += 1
                self.reviews += message.review_count
        ballots: dict[str, list[Ballot]] = {}
        for ranking in rankings:
            if ranking.parent_id in used and not ranking.not_rankable and ranking.ranking:
                ballots.setdefault(ranking.parent_id, []).append(Ballot(ranking.groups))
        for each in ballots.values():
            self.rankings += len(each)
            self.alpha.add(each)


async def list_trees(run: UnderWay, database: Database, filters: Filters) -> None:
    """Keep the ids of the trees that are to be looked at, in order."""
    with SortedIds() as ids:
        async for identity in tree_ids(database, filters.states, filters.langs):
            ids.add(identity)
        path = run.folder / IDS
        file = PackedLines(path)
        for each in ids:
            file.add(orjson.dumps(each))
        file.close()
        await run.bring(path)
        await run.keep(total=len(ids))


async def read_all(
    run: UnderWay, database: Database, settings: Mapping[str, Any], filters: Filters,
    told: Callable[[int, int], None],
) -> Tally:  # fmt: skip
    """Read the trees that are left, part after part.

    Args:
        settings: `kind`, `seed` and `validation_percent`.
        told: called with trees looked at and rows found, at first and after each batch.

    Returns:
        what was counted, in all parts.
    """
    tally = Tally.of(run.at.tally)
    people = await consent.asked(database)
    people.messages, people.chats = tally.refused, tally.chats
    ids = islice(map(orjson.loads, packed_lines(await run.ids())), run.at.looked, None)
    looked = run.at.looked
    waiting = _Part(run)
    told(looked, tally.rows)
    while batch := list(islice(ids, TREES_PER_READ)):
        async for read in _read(database, batch, filters, people):
            _add(waiting, tally, read, settings, filters)
        looked += len(batch)
        tally.refused, tally.chats = people.messages, people.chats
        if waiting.lines + looked - run.at.looked >= STEP:
            await waiting.close(looked, tally)
        told(looked, tally.rows)
    if looked > run.at.looked:
        await waiting.close(looked, tally)
    return tally


class _Part:
    """Lines on their way into the next part."""

    def __init__(self, run: UnderWay) -> None:
        self._run, self.lines = run, 0
        self._file: PackedLines | None = None

    def add(self, mark: bytes, row: Row) -> None:
        """Take one line."""
        if self._file is None:
            self._path = self._run.folder / part(self._run.at.parts)
            self._file = PackedLines(self._path)
        self._file.add(mark + canonical_json(row))
        self.lines += 1

    async def close(self, looked: int, tally: Tally) -> None:
        """Bring what there is to the parts, if anything, and keep how far it is."""
        parts = self._run.at.parts
        if self._file is not None:
            self._file.close()
            self._file, self.lines = None, 0
            await self._run.bring(self._path)
            self._path.unlink()
            parts += 1
        await self._run.keep(looked=looked, parts=parts, tally=asdict(tally))


def _add(waiting: _Part, tally: Tally, read: Read, settings: Mapping[str, Any], filters: Filters) -> None:
    tree, kind = read[0], settings["kind"]
    place = split_place(settings["seed"], tree.id)
    split = "validation" if place < settings["validation_percent"] * 10_000 else "train"
    rows = rows_of(kind, tree, read[1], split, filters)
    if not rows:
        return
    used = message_ids(kind, rows)
    for row in rows:
        waiting.add(ROW, row)
    for row in _sources(read, used):
        waiting.add(SOURCE, row)
    tally.count(read, rows, place, used)


async def _read(database: Database, ids: list[str], filters: Filters, people: Consent) -> AsyncIterator[Read]:
    reviews: dict[str, list[Review]] = {}
    async for document in database["reviews"].find({"tree_id": among(ids)}):
        reviews.setdefault(document["tree_id"], []).append(Review.from_document(document))
    read = [each async for each in read_trees(database, ids) if _wanted(each[0], filters)]
    refused = await people.taken_back(database, [tree for tree, _, _ in read])
    for tree, messages, rankings in read:
        if tree.id not in refused:
            yield tree, people.allowed(messages), rankings, reviews.get(tree.id, [])


def _wanted(tree: Tree, filters: Filters) -> bool:
    """Whether a tree still is one of those that were listed, and passes the other filters."""
    listed = tree.state in filters.states and (filters.langs is None or tree.lang in filters.langs)
    return listed and filters.takes_tree(tree)


def _sources(read: Read, used: set[str]) -> Iterable[Row]:
    """What the rows of a tree come from: the tree, the messages in the rows, what was ranked under them, reviewed of
    them."""
    tree, messages, rankings, reviews = read
    yield _source("tree", tree.id, [tree.id, tree.state, tree.lang, tree.origin])
    for message in sorted((each for each in messages if each.id in used), key=lambda each: each.id):
        facts = [message.parent_id, message.role, message.lang, message.text, message.rank, message.model_version]
        yield _source("message", message.id, facts)
    for ranking in sorted(rankings, key=lambda each: each.id):
        if ranking.parent_id in used:
            ties = [list(ranking.tiers)] if ranking.tiers else []
            said: list[Any] = [ranking.parent_id, list(ranking.ranking), ranking.not_rankable, *ties]
            yield _source("ranking", ranking.id, said)
    for review in sorted(reviews, key=lambda each: each.id):
        if review.message_id in used:
            yield _source("review", review.id, [review.message_id, review.labels])


def _source(kind: str, identity: str, facts: list[Any]) -> Row:
    return {"kind": kind, "id": identity, "hash": content_hash(facts)}
