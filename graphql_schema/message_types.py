"""A message of a conversation tree, and what of it is nobody's business until its tree is done.

While a tree still collects, whoever may be asked to review or rank must not learn who wrote a message, whether a model
did, or what others thought of it: so author, model and label averages are null until the tree has ended, but for
moderators (and one's own authorship).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar

import strawberry

from core.records import Message, Tree
from core.verdicts import counts_against

from .context import Context, Info, needed
from .enums import LabelName, MessageState, Removal, Role, TaskKind
from .loaders import once_read
from .nodes import reads
from .permissions import moderates
from .relay import Node, global_id
from .user_types import UserNode

if TYPE_CHECKING:
    from .tree_types import TreeNode

ENDED = frozenset({"ready_for_export", "aborted_low_grade", "halted_by_moderator"})
"""Tree states in which nobody reviews or ranks any more."""
OF_CHAT = "chat"
"""Origin of trees that were made from somebody's chat."""


@strawberry.type(description="How many people set an emoji.")
class EmojiCount:
    """One emoji of a message."""

    emoji: str = strawberry.field(description="Its code, such as +1 or red_flag.")
    count: int = strawberry.field(description="People who set it.")


@strawberry.type(description="What reviewers answered on average.")
class LabelAverage:
    """One label of a message."""

    name: LabelName = strawberry.field(description="The label.")
    value: float = strawberry.field(description="Mean of the answers, from 0 to 1.")
    count: int = strawberry.field(description="Answers.")


@strawberry.type(description="How sure the order of two neighbours in a consensus is (Bradley and Terry, 1952).")
class ConsensusStep:
    """One step down."""

    first_id: strawberry.ID = strawberry.field(description="The better one.")
    second_id: strawberry.ID = strawberry.field(description="The one below it.")
    probability: float = strawberry.field(description="That one more ranker would put them so.")
    low: float = strawberry.field(description="Lower end of its 95 % interval.")
    high: float = strawberry.field(description="Upper end of it.")
    sure: float = strawberry.field(description="Probability that the order is right.")


@strawberry.type(description="How much more weight puts one reply before another than the other way round.")
class Margin:
    """One pair; level pairs are left out."""

    winner_id: strawberry.ID = strawberry.field(description="The one that more weight puts first.")
    loser_id: strawberry.ID = strawberry.field(description="The other.")
    margin: float = strawberry.field(description="Weight for it less weight against it; an expert's ranking weighs 1.")


@strawberry.type(description="What the rankings of the replies to a message say together.")
class ReplyConsensus:
    """A consensus by ranked pairs (Tideman, 1987) over weighted rankings."""

    order: list[strawberry.ID] = strawberry.field(description="The replies, best first.")
    rankings: int = strawberry.field(description="Rankings that compared something.")
    alpha: float | None = strawberry.field(description="Krippendorff's alpha: 1 full agreement, 0 chance.")
    all_wrong: float = strawberry.field(description="Part of the weight that says that all are factually wrong.")
    steps: list[ConsensusStep] = strawberry.field(description="For each two neighbours, how sure their order is.")
    margins: list[Margin] = strawberry.field(description="For each pair that is not level.")

    @classmethod
    def of(cls, kept: dict[str, Any]) -> ReplyConsensus:
        """The consensus as it is kept with a message."""

        def named(identity: str) -> strawberry.ID:
            return global_id("Message", identity)

        return cls(
            order=[named(each) for each in kept["order"]],
            rankings=kept["rankings"],
            alpha=kept["alpha"],
            all_wrong=kept.get("all_wrong", 0.0),
            steps=[
                ConsensusStep(
                    first_id=named(step["first"]), second_id=named(step["second"]), probability=step["probability"],
                    low=step["low"], high=step["high"], sure=step["sure"],
                )
                for step in kept["steps"]
            ],
            margins=[Margin(winner_id=named(a), loser_id=named(b), margin=by) for a, b, by in kept["margins"]],
        )  # fmt: skip


@strawberry.type(description="A task about a message that somebody gave back, and why.")
class Skip:
    """One skip."""

    kind: TaskKind = strawberry.field(description="What they were asked for.")
    reason: str = strawberry.field(description="Why they gave it back, in their words.")
    taken_at: datetime = strawberry.field(description="When they took it.")


@strawberry.type(description="A text that a message had.")
class Revision:
    """One of them."""

    number: int = strawberry.field(description="From 0, the first text.")
    text: str = strawberry.field(description="The text.")
    at: datetime = strawberry.field(description="From when on.")


@strawberry.type(name="Message", description="One message of a conversation tree.")
class MessageNode(Node):
    """A message as this caller may see it."""

    record: strawberry.Private[Message]
    role: Role = strawberry.field(description="Who speaks.")
    lang: str = strawberry.field(description="Language, as a BCP 47 tag.")
    text: str = strawberry.field(description="What was said; empty for a message that was taken out.")
    depth: int = strawberry.field(description="Messages before it in its thread; 0 for a root.")
    state: MessageState = strawberry.field(description="What reviewers made of it.")
    deleted: bool = strawberry.field(description="Whether it was taken out.")
    removed: Removal | None = strawberry.field(description="What took it out, where that is known.")
    edited_at: datetime | None = strawberry.field(description="When its text was last changed; null for never.")
    review_count: int = strawberry.field(description="Reviews counted.")
    ranking_count: int = strawberry.field(description="Rankings that it was part of.")
    rank: int | None = strawberry.field(description="Its place among its siblings by consensus, 0 the best.")
    created_at: datetime = strawberry.field(description="When it was written.")

    @strawberry.field(description="Emojis that people set, most frequent first; null until the tree has ended.")
    def emojis(self, info: Info) -> list[EmojiCount] | None:
        """Counts above zero, for whom they may be shown: they would sway who reviews and ranks."""
        return once_known(info.context, self.record, may_know, self._counts)

    def _counts(self) -> list[EmojiCount]:
        counts = sorted(self.record.emojis.items(), key=lambda item: (-item[1], item[0]))
        return [EmojiCount(emoji=code, count=count) for code, count in counts if count > 0]

    @strawberry.field(description="Emojis that you set.")
    def my_emojis(self, info: Info) -> list[str]:
        """The caller's own."""
        viewer, loaders = info.context.viewer, info.context.loaders
        return [] if viewer is None else once_read(loaders.emojis, f"{self.record.id}|{viewer.id}", _listed)

    @strawberry.field(description="What reviewers answered on average; null until the tree has ended.")
    def labels(self, info: Info) -> list[LabelAverage] | None:
        """Averages, for whom they may be shown."""
        return once_known(info.context, self.record, may_know, self._averages)

    def _averages(self) -> list[LabelAverage]:
        return label_averages(self.record.labels)

    @strawberry.field(description="What people labelled it as outside of tasks; null but for moderators.")
    async def free_labels(self, info: Info) -> list[LabelAverage] | None:
        """Averages of free labels, which sway no verdict."""
        if not moderates(info.context, self.record.lang):
            return None
        return label_averages(await info.context.loaders.free_labels.load(self.record.id) or {})

    @strawberry.field(
        description="Why people gave tasks about it back, the latest first, as long as those are kept; null but for "
        "moderators. `emojis` counts all skips."
    )
    async def skips(self, info: Info) -> list[Skip] | None:
        """The skips that came with a reason."""
        if not moderates(info.context, self.record.lang):
            return None
        found = await info.context.loaders.skips.load(self.record.id) or []
        return [Skip(kind=TaskKind(each.kind), reason=each.reason, taken_at=each.taken_at) for each in found]

    @strawberry.field(
        description="What the rankings of its replies say together; null until the tree has ended, and in parity mode."
    )
    def reply_consensus(self, info: Info) -> ReplyConsensus | None:
        """The consensus, for whom it may be shown."""
        if (kept := self.record.consensus) is None:
            return None
        return once_known(info.context, self.record, may_know, lambda: ReplyConsensus.of(kept))

    @strawberry.field(
        description="Why reviewers refused it, likeliest first; null but for author and moderators until the end."
    )
    def refused_for(self, info: Info) -> list[LabelName] | None:
        """Labels that count against it."""
        involved = self._is_mine(info) or moderates(info.context, self.record.lang)
        return self._against() if involved else once_known(info.context, self.record, may_know, self._against)

    def _against(self) -> list[LabelName]:
        return [LabelName(name) for name in counts_against(self.record)]

    @strawberry.field(
        description="Who wrote it; null until the tree has ended (your own excepted), for models and others' chats."
    )
    def author(self, info: Info) -> UserNode | None:
        """The author, for whom it may be shown."""
        if (author_id := self.record.author_id) is None:
            return None
        users = info.context.loaders.users

        def person() -> UserNode | None:
            return once_read(users, author_id, lambda user: None if user is None else UserNode.of(user))

        return person() if self._is_mine(info) else once_known(info.context, self.record, may_name, person)

    @strawberry.field(description="Whether a model wrote it; null until the tree has ended.")
    def synthetic(self, info: Info) -> bool | None:
        """Whether a model wrote it, for whom it may be shown."""
        return once_known(info.context, self.record, may_know, lambda: self.record.synthetic)

    @strawberry.field(description="The model that wrote it, as name@version; null for people, or not to be shown yet.")
    def model_version(self, info: Info) -> str | None:
        """The model, for whom it may be shown."""
        return once_known(info.context, self.record, may_know, lambda: self.record.model_version)

    @strawberry.field(description="Whether you wrote it.")
    def mine(self, info: Info) -> bool:
        """Whether the viewer is the author."""
        return self._is_mine(info)

    @strawberry.field(description="The message it answers; null for a root.")
    def parent(self, info: Info) -> MessageNode | None:
        """The parent."""
        context, parent_id = info.context, self.record.parent_id
        if parent_id is None:
            return None
        context.user()
        return once_read(
            context.loaders.messages, parent_id, lambda it: None if it is None else MessageNode.of(it, context)
        )

    @strawberry.field(description="The texts that it had, the first one first; null but for moderators and its author.")
    async def revisions(self, info: Info) -> list[Revision] | None:
        """The history of an edited message."""
        if not (moderates(info.context, self.record.lang) or self._is_mine(info)):
            return None
        found = await needed(info.context.services.people, "revisions").revisions(self.record.id)
        return [Revision(number=each.number, text=each.text, at=each.at) for each in found]

    @strawberry.field(description="Its tree.")
    async def tree(self, info: Info) -> Annotated[TreeNode, strawberry.lazy(".tree_types")] | None:
        """The tree."""
        from .tree_types import load_tree

        return await load_tree(info.context, self.record.tree_id)

    def _is_mine(self, info: Info) -> bool:
        viewer = info.context.viewer
        return viewer is not None and viewer.id == self.record.author_id

    @classmethod
    def of(cls, record: Message, context: Context, mine: bool = False) -> MessageNode:
        """The message as `context`'s caller may see it, who may be known to be its author."""
        hidden = record.deleted and not mine and not moderates(context, record.lang)
        return cls(
            id=global_id("Message", record.id),
            record=record,
            role=Role(record.role),
            lang=record.lang,
            text="" if hidden else record.text,
            depth=record.depth,
            state=MessageState(record.state),
            deleted=record.deleted,
            removed=None if record.removed is None else Removal(record.removed),
            edited_at=record.edited_at,
            review_count=record.review_count,
            ranking_count=record.ranking_count,
            rank=record.rank,
            created_at=record.created_at,
        )


def label_averages(labels: Mapping[str, Mapping[str, float]]) -> list[LabelAverage]:
    """Means and numbers of the labels that there are names for."""
    known: Any = LabelName._value2member_map_
    return [
        LabelAverage(name=known[name], value=average["value"], count=int(average["count"]))
        for name, average in labels.items()
        if name in known
    ]


def _listed(found: tuple[str, ...] | None) -> list[str]:
    return list(found or ())


Rule: TypeAlias = Callable[[Context, Message, Tree | None], bool]
T = TypeVar("T")


def may_know(context: Context, message: Message, tree: Tree | None) -> bool:
    """Whether this caller may see who wrote `message` and what was thought of it; of one taken out nobody may."""
    return (not message.deleted or moderates(context, message.lang)) and may_reveal(context, tree)


def may_name(context: Context, message: Message, tree: Tree | None) -> bool:
    """Whether this caller may see who wrote `message`. Who lets a chat be learned from lends its words, not a name."""
    of_chat = tree is not None and tree.origin == OF_CHAT and not moderates(context, tree.lang)
    return not of_chat and may_know(context, message, tree)


def once_known(context: Context, message: Message, rule: Rule, tell: Callable[[], T]) -> T | None:
    """What `tell` gives where `rule` allows it, else None.

    Where the message's tree is not at hand (`prefetch` sees to it for lists), this is an awaitable of that, which
    graphql-core waits for: an `async` resolver would cost each message a task of its own, with nothing to wait for.
    """
    return once_read(
        context.loaders.trees, message.tree_id, lambda tree: tell() if rule(context, message, tree) else None
    )


def may_reveal(context: Context, tree: Tree | None) -> bool:
    """Whether this caller may see what would sway who reviews or ranks the messages of `tree`."""
    return tree is not None and (tree.state in ENDED or moderates(context, tree.lang))


@reads("Message")
async def load_message(context: Context, message_id: str) -> MessageNode | None:
    """The message with that id; None if there is none, or the caller is not signed in."""
    context.user()
    record = await context.loaders.messages.load(message_id)
    return None if record is None else MessageNode.of(record, context)
