"""Conversation trees out of the document store, streaming: `export_trees`.

Knows which trees and messages are wanted, and their order: by id, so equal content gives equal files, whether the
export was interrupted or not. Where they go is the business of `core.targets`. A batch of trees is in memory; ids are
sorted in temporary files.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

from pymongo.errors import PyMongoError

from core.anonymise import Anonymiser
from core.database import Database, aware, unavailable
from core.errors import BadInput, Conflict
from core.export_marks import digest_of
from core.opinions import Ranking
from core.records import Message, Tree
from core.sorted_ids import SortedIds
from core.targets import Plan, tree_writer
from core.tree_reading import TREES_PER_READ, read_trees, tree_ids
from core.treeform import export_tree, pseudonymous


@dataclass(frozen=True)
class Choice:
    """What to export.

    Attributes:
        states: tree states wanted; None for all.
        langs: languages wanted, of the root; None for all.
        collections: ids of collections wanted; None for all.
        include_deleted: deleted messages too. Otherwise they are left out with their replies.
        accepted_only: leave out messages that are not accepted, with their replies.
        pseudonyms: a secret from which contributors' ids become pseudonyms, the same for the same secret; None leaves
            the ids as they are.
        anonymiser: replaces all ids and what else it is told to.

    Raises:
        BadInput: the secret is empty.
    """

    states: Sequence[str] | None = None
    langs: Sequence[str] | None = None
    collections: Sequence[str] | None = None
    include_deleted: bool = False
    accepted_only: bool = False
    pseudonyms: str | None = None
    anonymiser: Anonymiser | None = None

    def __post_init__(self) -> None:
        if self.pseudonyms == "":
            reason = "the secret of the pseudonyms is empty; give a text that nobody can guess"
            raise BadInput(reason, path=("pseudonyms",))

    def settings(self) -> dict[str, Any]:
        """What decides the content, as JSON values, secrets as digests."""
        hide = self.anonymiser
        return {
            **{name: _sorted(getattr(self, name)) for name in ("states", "langs", "collections")},
            "include_deleted": self.include_deleted,
            "accepted_only": self.accepted_only,
            "pseudonyms": digest_of(self.pseudonyms),
            "salt": None if hide is None else digest_of(hide.salt),
            "dates": None if hide is None else hide.dates,
            "scrub_texts": hide is not None and hide.scrub_texts,
        }

    def name(self, tree_id: str) -> str:
        """What may be written down of a tree's id."""
        return tree_id if self.anonymiser is None else self.anonymiser.message_id(tree_id)

    def wanted(self, messages: list[Message]) -> list[Message]:
        """The messages to export; `messages` has parents before replies."""
        left_out: set[str] = set()
        for message in messages:
            hidden = message.deleted and not self.include_deleted
            if hidden or (self.accepted_only and message.state != "accepted") or message.parent_id in left_out:
                left_out.add(message.id)
        return [message for message in messages if message.id not in left_out]

    def shown(self, tree: Tree, messages: list[Message], rankings: list[Ranking]) -> dict[str, Any]:
        """The tree in export form."""
        node = export_tree(tree, messages, rankings)
        node = node if self.pseudonyms is None else pseudonymous(node, self.pseudonyms)
        return node if self.anonymiser is None else self.anonymiser.tree(node)


def _sorted(values: Sequence[str] | None) -> list[str] | None:
    return None if values is None else sorted(set(values))


@dataclass
class ExportReport:
    """How far an export is.

    Attributes:
        trees, messages: written, by this run and by those before it that were interrupted.
        seen, total: trees looked at, of all of these states, languages and collections; one of which nothing is left
            is seen and not written.
        resumed: trees that were written already when this run began.
        whole: all is where it belongs: the file is made of its parts.
    """

    trees: int = 0
    messages: int = 0
    seen: int = 0
    total: int = 0
    resumed: int = 0
    whole: bool = False

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


async def export_trees(
    database: Database,
    out: str | Path | IO[bytes],
    choice: Choice | None = None,
    plan: Plan | None = None,
    *,
    progress: Callable[[ExportReport], None] | None = None,
) -> ExportReport:
    """Write conversation trees in order of id, in one of the forms of Open-Assistant's exports.

    One that was interrupted goes on when it is run again; into a stream it begins again.

    Args:
        database: where from.
        out: as `core.targets.tree_writer` takes it: a path, a folder, `s3://bucket/key`, `-`, or a binary stream.
        choice: what to export; None for all but what was deleted.
        plan: in which form, and in which parts.
        progress: called with the report as it stands.

    Raises:
        BadInput: an unknown state, `out` cannot be written, or it was begun with other settings.
        Conflict: another export writes to the same place, or the tree that the interrupted one ended with is gone.
    """
    choice, plan = choice or Choice(), plan or Plan()
    plan = replace(plan, settings={**choice.settings(), "database": database.name})
    try:
        with SortedIds() as ids:
            async for identity in tree_ids(aware(database), choice.states, choice.langs, choice.collections):
                ids.add(identity)
            with tree_writer(out, plan) as target:
                mark = target.mark
                report = ExportReport(mark.trees, mark.messages, total=len(ids), resumed=mark.trees)
                left = _after(_counted(ids, report), mark.after, choice)
                async for tree, messages, rankings in _told(read_trees(aware(database), left), report, progress):
                    if wanted := choice.wanted(messages):
                        target.write(choice.shown(tree, wanted, rankings), choice.name(tree.id))
                        report.trees += 1
                        report.messages += len(wanted)
                if progress is not None:
                    progress(report)
    except PyMongoError as error:
        raise unavailable(error) from error
    report.whole = True
    if progress is not None:
        progress(report)
    return report


Read = tuple[Tree, list[Message], list[Ranking]]


async def _told(
    trees: AsyncIterator[Read], report: ExportReport, progress: Callable[[ExportReport], None] | None
) -> AsyncIterator[Read]:
    """`trees`, with word of the progress now and then."""
    looked_at = 0
    async for each in trees:
        if progress is not None and looked_at % TREES_PER_READ == 0:
            progress(report)
        yield each
        looked_at += 1


def _counted(ids: Iterable[str], report: ExportReport) -> Iterator[str]:
    for each in ids:
        report.seen += 1
        yield each


def _after(ids: Iterable[str], name: str, choice: Choice) -> Iterator[str]:
    """Those of `ids` that follow the one of that name; all where none is named.

    Raises:
        Conflict: it is not among them.
    """
    waiting = iter(ids)
    if name and all(choice.name(each) != name for each in waiting):
        raise Conflict("the last tree of the interrupted export is gone, and others may be; begin it again with --anew")
    return waiting
