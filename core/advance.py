"""What a tree should be, from everything known of it: one pure function, `advance`.

Knows the state machine, the verdicts on messages, when siblings have their order, and which work should be open. Does
not know who holds a task now (`core.work` subtracts the places held) nor how anything is stored. Called again with its
own result it changes nothing; the order in which facts are given does not matter.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

from core import active_ranking
from core.acceptance import verdict
from core.adaptive_reviews import ReviewPolicy
from core.config import CollectionConfig
from core.consensus import ranked_pairs
from core.imported_ranks import came_at, without_gaps
from core.labels import averages
from core.opinions import Ranking, Reaction, Review
from core.records import IMPORTED, Message, Tree
from core.transition import Opening, Transition
from core.verdicts import agreed, judged, kept_judgement
from core.voices import Voices

Fact = TypeVar("Fact")
ENDED = ("ready_for_export", "aborted_low_grade", "halted_by_moderator")
RANKING = ("ranking", "ready_for_scoring", "scoring_failed")


def advance(
    tree: Tree,
    messages: Sequence[Message],
    reviews: Sequence[Review],
    rankings: Sequence[Ranking],
    config: CollectionConfig,
    reactions: Sequence[Reaction] = (),
    voices: Voices | None = None,
) -> Transition:
    """The next state of `tree`, its messages' verdicts, counts and ranks, and the work that should be open.

    Args:
        messages: all of the tree, the root among them.
        reviews, rankings, reactions: all that are stored about them.
        voices: how far people are trusted, in weighted mode; who is not in it is a newcomer.
    """
    view = _View(tree, config, reviews, rankings, reactions, messages, voices or {})
    state = tree.state
    while (following := view.next_state(state)) != state:
        state = following
    if state == "ready_for_export":
        view.rank()
    view.open_work(state)
    in_order = tuple(view.by_id[message.id] for message in messages)
    return Transition(state=state, messages=in_order, work=tuple(view.work), reply_budget=max(0, view.remaining()))


def has_siblings(tree: Tree, messages: Sequence[Message], config: CollectionConfig) -> bool:
    """Whether anything in the tree could be ranked."""
    return bool(_View(tree, config, (), (), (), messages).sibling_sets())


def unranked(
    tree: Tree, messages: Sequence[Message], rankings: Sequence[Ranking], config: CollectionConfig
) -> set[str]:
    """Ids of messages whose replies still want rankings, whatever the tree's state; not where all came with ranks."""
    view = _View(tree, config, (), rankings, (), messages)
    return {
        parent_id
        for parent_id, replies in view.sibling_sets().items()
        if view.rankings_missing(parent_id) > 0 and any(came_at(view.by_id[each]) is None for each in replies)
    }


def rankings_so_far(
    tree: Tree, messages: Sequence[Message], rankings: Sequence[Ranking], config: CollectionConfig, parent_id: str
) -> int:
    """Rankings that compare all replies to a message that could be ranked now; 0 where there are fewer than two."""
    view = _View(tree, config, (), rankings, (), messages)
    return view.rankings_there(parent_id) if parent_id in view.sibling_sets() else 0


class _View:
    """The facts of one tree, indexed, with its messages as they should be."""

    def __init__(
        self,
        tree: Tree,
        config: CollectionConfig,
        reviews: Sequence[Review],
        rankings: Sequence[Ranking],
        reactions: Sequence[Reaction],
        messages: Sequence[Message],
        voices: Voices | None = None,
    ) -> None:
        self.tree, self.config, self.voices = tree, config, voices or {}
        self.policy = config.review_policy
        self.wanted: dict[str, int] = {}
        self.reviews = _grouped(reviews, "message_id")
        self.rankings = _grouped(rankings, "parent_id")
        self.reactions = _grouped(reactions, "message_id")
        self.ranking_counts = Counter(
            message_id for each in rankings for message_id in set(each.served or each.ranking)
        )
        self.work: list[Opening] = []
        self.by_id: dict[str, Message] = {}
        self.alive: set[str] = set()
        self.children: dict[str, list[Message]] = defaultdict(list)
        for message in sorted(messages, key=lambda message: (message.depth, message.id)):
            self._admit(self._decided(message))

    def _admit(self, message: Message) -> None:
        """Take a message in, its parent being in already. `alive`: not deleted, and all above it usable."""
        parent = self.by_id.get(message.parent_id or "")
        if parent is not None:
            message = _with_parent(message, parent)
        self.by_id[message.id] = message
        if not message.deleted and (parent is None or (parent.usable and parent.id in self.alive)):
            self.alive.add(message.id)
        if message.parent_id is not None:
            self.children[message.parent_id].append(message)

    def _decided(self, message: Message) -> Message:
        """`message` with the counts, averages and verdict that its facts give."""
        base = message.base or {}
        reviews, reactions = self.reviews.get(message.id, []), self.reactions.get(message.id, [])
        emojis = Counter(base.get("emojis", {})) + Counter(sorted(reaction.emoji for reaction in reactions))
        state, judgement = self._verdict(message, reviews)
        changed = message.revised(
            state=state,
            judgement=judgement,
            review_count=base.get("review_count", 0) + len(reviews),
            ranking_count=base.get("ranking_count", 0) + self.ranking_counts[message.id],
            labels=averages((review.labels for review in reviews), base.get("labels", {})),
            emojis={code: count for code, count in emojis.items() if count > 0},
        )
        flagged = message.parent_id is not None and self.tree.state == "growing" and self._red_flagged(message)
        return replace(changed, deleted=True, removed="flags") if flagged and not message.deleted else changed

    def _verdict(self, message: Message, reviews: list[Review]) -> tuple[str, dict[str, Any] | None]:
        """State and judgement. A moderator's word counts; what is decided stays decided, whoever decided it and
        whatever becomes of the rules: peers, an import, or its coming from a model."""
        if message.ruling is not None and message.ruling["verdict"] is not None:
            return str(message.ruling["verdict"]), message.judgement
        if message.state != "pending":
            return message.state, message.judgement
        if not self.config.weighted:
            root = message.parent_id is None
            limits = self.config
            threshold = limits.acceptance_threshold_initial_prompt if root else limits.acceptance_threshold_reply
            return verdict([review.labels for review in reviews], self.reviews_wanted(message), threshold), None
        found = judged(reviews, self._policy(message), self.voices)
        self.wanted[message.id] = found.wanted
        return found.state, kept_judgement(found, reviews) if found.state != "pending" else None

    def reviews_wanted(self, message: Message) -> int:
        """Reviews after which a message is decided, in parity mode."""
        usual = self.tree.num_reviews_prompt if message.parent_id is None else self.tree.num_reviews_reply
        return usual + message.extra_reviews

    def _policy(self, message: Message) -> ReviewPolicy:
        """When reviews of the message suffice, in weighted mode; fewer where nobody gave more (`core.patience`)."""
        least = self.policy.least + message.extra_reviews
        most = max(least, self.policy.most)
        most = min(most, self.tree.heard.get(message.id, most))
        return replace(self.policy, least=min(least, most), most=most)

    def reviews_missing(self, message: Message) -> int:
        """Reviews of a message under review that are still wanted."""
        if self.config.weighted:
            # One that a moderator sent back was not judged just now.
            return self.wanted.get(message.id, self._policy(message).least)
        return self.reviews_wanted(message) - len(self.reviews.get(message.id, []))

    @property
    def root(self) -> Message:
        return self.by_id[self.tree.id]

    def _emoji_count(self, message: Message, emoji: str) -> int:
        """People who set the emoji, but for those that a moderator has dealt with."""
        people = {each.user_id for each in self.reactions.get(message.id, []) if each.emoji == emoji}
        return len(people) - message.cleared.get(emoji, 0)

    def _red_flagged(self, message: Message) -> bool:
        limit = self.config.auto_mod_red_flags
        return self.config.auto_mod_enabled and self._emoji_count(message, "red_flag") >= limit

    def _skipped_too_often(self) -> bool:
        limit = self.config.auto_mod_max_skip_reply
        return self.config.auto_mod_enabled and any(
            self._emoji_count(message, "_skip_reply") >= limit
            for message in self.by_id.values()
            if message.state != "refused" and not message.deleted
        )

    # The state machine.

    def next_state(self, state: str) -> str:
        if state == "ready_for_export" and any(message.base is None for message in self._under_review()):
            return "ranking"  # a reply came late or came back; what an import left undecided stays so
        if state in ENDED:
            return state
        if self.root.deleted:
            return "halted_by_moderator"
        steps = {"initial_prompt_review": self._after_prompt_review, "growing": self._after_growing}
        steps |= dict.fromkeys(RANKING, self._after_ranking)
        return steps[state](state) if state in steps else state

    def _after_prompt_review(self, state: str) -> str:
        if self._red_flagged(self.root) or self.root.state == "refused":
            return "aborted_low_grade"
        if self._skipped_too_often():
            return "halted_by_moderator"
        return "prompt_lottery_waiting" if self.root.state == "accepted" else state

    def _after_growing(self, state: str) -> str:
        if self._red_flagged(self.root):
            return "aborted_low_grade"
        if self._skipped_too_often():
            return "halted_by_moderator"
        # Open-Assistant leaves a tree that can grow no further waiting for ever; here it goes on with what it has.
        grown = self.remaining() <= 0 or not any(self._reply_places(message) for message in self._usable())
        return "ranking" if grown and not self._under_review() else state

    def _after_ranking(self, state: str) -> str:
        # A tree with nothing to rank is complete at once; a reply that came late or came back is reviewed first.
        ranked = all(self.rankings_missing(parent_id) <= 0 for parent_id in self.sibling_sets())
        return "ready_for_export" if ranked and not self._under_review() else state

    # Growth.

    def _usable(self) -> list[Message]:
        return [message for message in self.by_id.values() if message.usable and message.id in self.alive]

    def _under_review(self) -> list[Message]:
        """Messages that peers have not decided, and that are in."""
        return [each for each in self.by_id.values() if each.state == "pending" and each.id in self.alive]

    def remaining(self) -> int:
        """Replies that the tree still wants, those under review taken as wanted ones."""
        return self.tree.goal_size - len(self._usable()) - len(self._under_review())

    def _reply_places(self, parent: Message) -> int:
        """Replies still wanted under `parent`; refused and deleted ones leave their place to others."""
        if parent.depth >= self.tree.max_depth:
            return 0
        wanted = self.tree.max_children if parent.role == "prompter" else self.config.num_prompter_replies
        return max(0, wanted - len(self._standing(parent.id)))

    def _standing(self, parent_id: str) -> list[Message]:
        return [child for child in self.children[parent_id] if child.state != "refused" and not child.deleted]

    # Ranking.

    def sibling_sets(self) -> dict[str, tuple[str, ...]]:
        """Parent id -> ids of its usable replies, where there are two or more to be ranked."""
        sets = {parent.id: self._rankable(parent.id) for parent in self._usable()}
        return {parent_id: replies for parent_id, replies in sets.items() if len(replies) > 1}

    def _rankable(self, parent_id: str) -> tuple[str, ...]:
        roles = ("assistant", "prompter") if self.config.rank_prompter_replies else ("assistant",)
        return tuple(child.id for child in self.children[parent_id] if child.usable and child.role in roles)

    def rankings_missing(self, parent_id: str) -> int:
        """Rankings of the replies to a message that are still wanted."""
        enough = self.tree.enough.get(parent_id, self.tree.num_rankings)
        return min(self.tree.num_rankings, enough) - self.rankings_there(parent_id)

    def rankings_there(self, parent_id: str) -> int:
        """Rankings that each of the replies to a message is in: one that came late was not in the first ones."""
        return min(self.by_id[each].ranking_count for each in self._rankable(parent_id))

    def rank(self) -> None:
        """Give each ranked set of siblings its consensus; one without a ranking keeps the order that it came with."""
        for parent_id in list(self.children):
            rankings = self.rankings.get(parent_id, [])
            came = all(ranking.id.startswith(IMPORTED) for ranking in rankings) if self._by_weight else not rankings
            if came:
                siblings = [self.by_id[child.id] for child in self.children[parent_id]]
                self.by_id |= {each.id: each for each in without_gaps(siblings)}
                continue
            order = self._weighed(parent_id, rankings) if self._by_weight else self._counted(parent_id, rankings)
            for child in self.children[parent_id]:
                self._place(child.id, order)

    @property
    def _by_weight(self) -> bool:
        """Whether rankings are weighed: as the rules say, or said when the tree ended."""
        if self.tree.state == "ready_for_export" and self.tree.ranked_in is not None:
            return self.tree.ranked_in == "weighted"
        return self.config.weighted

    def _place(self, message_id: str, order: Sequence[str]) -> None:
        rank = order.index(message_id) if message_id in order else None
        self.by_id[message_id] = self.by_id[message_id].revised(rank=rank)

    def _counted(self, parent_id: str, rankings: list[Ranking]) -> list[str]:
        """The consensus by count, over the rankings that hold every reply if there are any: some may have come late."""
        replies = self._rankable(parent_id)
        votes = [ranking.ranking for ranking in rankings if ranking.ranking]
        whole = [vote for vote in votes if set(replies) <= set(vote)]
        self.by_id[parent_id] = self.by_id[parent_id].revised(consensus=None)
        return ranked_pairs(whole or votes, among=replies)

    def _weighed(self, parent_id: str, rankings: list[Ranking]) -> list[str]:
        """The consensus by weight, kept with the parent."""
        parent = self.by_id[parent_id]
        found = agreed(self.tree.id, rankings, self._rankable(parent_id), parent.consensus, self.voices)
        self.by_id[parent_id] = replace(parent, consensus=found)
        return list(found["order"])

    # Open work.

    def open_work(self, state: str) -> None:
        if state in ("initial_prompt_review", "growing", *RANKING):
            for message in self._under_review():
                self._open_review(message)
        if state == "growing" and self.remaining() > 0:
            for parent in self._usable():
                self._open_reply(parent)
        if state in RANKING:
            for parent_id, replies in self.sibling_sets().items():
                self._open_ranking(parent_id, replies)

    def _open(
        self,
        kind: str,
        target: Message,
        places: int,
        excluded: set[str | None],
        skip: str,
        served: tuple[str, ...] = (),
    ) -> None:
        if places > 0:
            skippers = {each.user_id for each in self.reactions.get(target.id, []) if each.emoji == skip}
            users = frozenset(user for user in excluded | skippers if user is not None)
            priority = self._priority(kind, target, served)
            self.work.append(
                Opening(
                    kind=kind, target_id=target.id, lang=target.lang, places=places, excluded=users, served=served,
                    priority=priority, thread=(*target.ancestors, target.id),
                )
            )  # fmt: skip

    def _priority(self, kind: str, target: Message, served: tuple[str, ...]) -> str:
        if kind in ("assistant_reply", "prompter_reply"):
            return self._loneliness(target)
        scores = active_ranking.scores([self.by_id[reply] for reply in served]) if served else {}
        return active_ranking.priority(scores, self.rankings.get(target.id, []))

    def _open_review(self, message: Message) -> None:
        kind = "label_initial_prompt" if message.parent_id is None else f"label_{message.role}_reply"
        reviews = self.reviews.get(message.id, [])
        excluded = {message.author_id} | {review.user_id for review in reviews}
        self._open(kind, message, self.reviews_missing(message), excluded, "_skip_labeling")

    def _open_reply(self, parent: Message) -> None:
        kind = "assistant_reply" if parent.role == "prompter" else "prompter_reply"
        authors = {child.author_id for child in self.children[parent.id] if not child.deleted}
        self._open(kind, parent, self._reply_places(parent), authors, "_skip_reply")

    def _open_ranking(self, parent_id: str, replies: tuple[str, ...]) -> None:
        kind = f"rank_{self.by_id[replies[0]].role}_replies"
        authors = {self.by_id[reply].author_id for reply in replies}
        rankers = {ranking.user_id for ranking in self.rankings.get(parent_id, [])}
        missing = self.rankings_missing(parent_id)
        self._open(kind, self.by_id[parent_id], missing, authors | rankers, "_skip_ranking", tuple(sorted(replies)))

    def _loneliness(self, parent: Message) -> str:
        lonely = parent.role == "prompter" and 0 < len(self._standing(parent.id)) < self.config.lonely_children_count
        return "0" if lonely else "1"


def _with_parent(message: Message, parent: Message) -> Message:
    """A message goes out with the one above it, and comes back with it."""
    if parent.deleted and not message.deleted:
        return replace(message, deleted=True, removed="parent")
    if message.removed == "parent" and not parent.deleted:
        return replace(message, deleted=False, removed=None)
    return message


def _grouped(facts: Sequence[Fact], key: str) -> dict[str, list[Fact]]:
    groups: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        groups[getattr(fact, key)].append(fact)
    return dict(groups)
