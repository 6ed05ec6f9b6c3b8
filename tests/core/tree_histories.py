"""Random histories of one tree in memory: people do the work that `advance` opens, and some of them misbehave."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

from core.advance import ENDED, advance, rankings_so_far
from core.config import MODES, CollectionConfig
from core.opinions import Ranking, Reaction, Review, reaction_id
from core.records import Message, Tree
from core.transition import Opening, Transition
from core.voices import PARTS, Voice

PEOPLE = tuple(f"person{number}" for number in range(9))
ORDER = ("initial_prompt_review", "prompt_lottery_waiting", "growing", "ranking", "ready_for_export")


def small(chance: random.Random) -> CollectionConfig:
    """A configuration small enough for many histories."""
    return CollectionConfig(
        mode=chance.choice(MODES),
        goal_tree_size=chance.randint(1, 9), max_tree_depth=chance.randint(0, 3),
        max_children_count=chance.randint(1, 3),
        num_reviews_initial_prompt=chance.randint(1, 3), num_reviews_reply=chance.randint(1, 3),
        num_required_rankings=chance.randint(1, 3), num_prompter_replies=chance.randint(1, 2),
        rank_prompter_replies=chance.random() < 0.3, auto_mod_red_flags=2, auto_mod_max_skip_reply=4,
    )  # fmt: skip


@dataclass
class History:
    """A tree, everything said about it, and the transition that follows from it."""

    config: CollectionConfig
    chance: random.Random
    spam: float = 0.2
    tree: Tree = field(init=False)
    messages: list[Message] = field(default_factory=list)
    reviews: list[Review] = field(default_factory=list)
    rankings: list[Ranking] = field(default_factory=list)
    reactions: list[Reaction] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    made: int = 0
    voices: dict[str, Voice] = field(default_factory=dict)

    def __post_init__(self) -> None:
        config = self.config
        known = self.chance.sample(PEOPLE, 6)
        self.voices = {person: Voice.of([self.chance.uniform(0, 9) for _ in PARTS]) for person in known}
        self.tree = Tree(
            id="root", state="initial_prompt_review", lang="en", goal_size=config.goal_tree_size,
            max_depth=config.max_tree_depth, max_children=config.max_children_count, author_id=PEOPLE[0],
            num_reviews_prompt=config.num_reviews_initial_prompt, num_reviews_reply=config.num_reviews_reply,
            num_rankings=config.num_required_rankings,
        )  # fmt: skip
        root = Message(
            id="root", tree_id="root", parent_id=None, role="prompter", lang="en", text="?", author_id=PEOPLE[0]
        )
        self.messages.append(root)
        self.settle()

    def transition(self) -> Transition:
        return advance(self.tree, self.messages, self.reviews, self.rankings, self.config, self.reactions, self.voices)

    def settle(self) -> Transition:
        """Store what follows, as `core.settle` does."""
        following = self.transition()
        ranked_in = self.config.mode if following.state == "ready_for_export" else self.tree.ranked_in
        self.tree = replace(self.tree, state=following.state, ranked_in=ranked_in)
        self.messages = list(following.messages)
        self.states.append(following.state)
        return following

    def shuffled(self) -> Transition:
        """What follows when the facts are known in another order."""
        mix = self.chance.sample
        facts = [mix(each, len(each)) for each in (self.messages, self.reviews, self.rankings, self.reactions)]
        return advance(self.tree, facts[0], facts[1], facts[2], self.config, facts[3], self.voices)

    def name(self) -> str:
        self.made += 1
        return f"{self.chance.getrandbits(32):08x}-{self.made}"

    def message(self, identity: str) -> Message:
        return next(message for message in self.messages if message.id == identity)

    def willing(self, opening: Opening) -> list[str]:
        return [person for person in PEOPLE if person not in opening.excluded]

    def do(self, opening: Opening, person: str) -> None:
        """The person does a piece of open work."""
        if opening.kind.startswith("label_"):
            asked = ("spam", *self.chance.sample(("hate_speech", "pii", "quality"), self.chance.randint(0, 2)))
            labels = {name: float(self.chance.random() < self.spam) for name in asked}
            review = Review(id=self.name(), tree_id="root", message_id=opening.target_id, labels=labels, user_id=person)
            self.reviews.append(review)
        elif opening.kind.startswith("rank_"):
            self.rankings.append(self.ranking(opening, person))
        else:
            self.reply(opening, person)

    def ranking(self, opening: Opening, person: str) -> Ranking:
        """An order, in weighted mode often with ties or of some alone; now and then the word that all are wrong."""
        wrong = self.chance.random() < 0.2
        least = 2 if self.config.weighted else len(opening.served)
        order = tuple(self.chance.sample(opening.served, self.chance.randint(least, len(opening.served))))
        order = () if wrong and self.chance.random() < 0.5 else order
        tiers: list[int] = []
        while self.config.weighted and sum(tiers) < len(order):
            tiers.append(self.chance.randint(1, len(order) - sum(tiers)))
        return Ranking(
            id=self.name(), tree_id="root", parent_id=opening.target_id, ranking=order, served=opening.served,
            not_rankable=wrong, tiers=tuple(tiers), user_id=person,
        )  # fmt: skip

    def reply(self, opening: Opening, person: str) -> None:
        parent = self.message(opening.target_id)
        role = opening.kind.removesuffix("_reply")
        self.messages.append(
            Message(
                id=self.name(), tree_id="root", parent_id=parent.id, role=role, lang="en",
                text="!", ancestors=(*parent.ancestors, parent.id), depth=parent.depth + 1, author_id=person,
            )
        )  # fmt: skip

    def react(self, message_id: str, person: str, emoji: str) -> None:
        identity = reaction_id(message_id, person, emoji)
        if all(each.id != identity for each in self.reactions):
            reaction = Reaction(id=identity, tree_id="root", message_id=message_id, user_id=person, emoji=emoji)
            self.reactions.append(reaction)

    def disturb(self) -> None:
        """A moderator deletes, or somebody flags or skips, some message."""
        message = self.chance.choice(self.messages)
        act = self.chance.choice(["delete", "red_flag", "_skip_reply", "_skip_labeling", "_skip_ranking", "+1"])
        if act == "delete":
            self.messages[self.messages.index(message)] = replace(message, deleted=True)
        else:
            self.react(message.id, self.chance.choice(PEOPLE), act)

    def step(self, trouble: float = 0.0) -> bool:
        """One thing happens; False when nothing is left to do for anybody."""
        if self.chance.random() < trouble:
            self.disturb()
            self.settle()
            return True
        if self.tree.state == "prompt_lottery_waiting":
            self.tree = replace(self.tree, state="growing")
            self.settle()
            return True
        work = [(opening, self.willing(opening)) for opening in self.transition().work]
        possible = [(opening, people) for opening, people in work if people]
        if not possible:
            return False
        opening, people = self.chance.choice(possible)
        self.do(opening, self.chance.choice(people))
        self.settle()
        return True

    def replayed(self, chance: random.Random) -> History:
        """The same facts in another order of arrival: each after what it is about; settled now and then, and at last.

        In weighted mode the reviews of one message keep their order: people are asked until a verdict is beyond doubt,
        so that who comes first may decide.
        """
        other = History(self.config, random.Random(0))
        other.voices = self.voices
        fresh = Message(id="", tree_id="", parent_id=None, role="", lang="", text="")
        decided = ("state", "judgement", "consensus", "rank", "review_count", "ranking_count", "labels", "emojis")
        new = {name: getattr(fresh, name) for name in decided}
        other.messages = [replace(self.message("root"), **new)]
        waiting: list[Message | Review | Ranking] = [replace(each, **new) for each in self.messages if each.parent_id]
        waiting += [*self.reviews, *self.rankings]
        while waiting:
            fact = chance.choice([each for each in waiting if not self._needs(each) & {other.id for other in waiting}])
            waiting.remove(fact)
            told = other.messages if isinstance(fact, Message) else other.reviews
            told = other.rankings if isinstance(fact, Ranking) else told
            told.append(fact)  # type: ignore[arg-type]
            if chance.random() < 0.7:
                other.go_on()
        other.go_on()
        return other

    def _needs(self, fact: Message | Review | Ranking) -> set[str]:
        """Ids of the facts that come before `fact`, whatever the order."""
        if isinstance(fact, Message):
            return set(fact.ancestors)
        if isinstance(fact, Ranking):
            return {fact.parent_id, *fact.served}
        same = [each.id for each in self.reviews if each.message_id == fact.message_id]
        return {fact.message_id, *(same[: same.index(fact.id)] if self.config.weighted else ())}

    def go_on(self) -> None:
        """Settle; a prompt that waits for the lottery wins it."""
        self.settle()
        if self.tree.state == "prompt_lottery_waiting":
            self.tree = replace(self.tree, state="growing")
            self.settle()

    def lapse(self) -> bool:
        """Some siblings have waited for rankers long enough, or a message for reviewers, as `core.patience` finds.

        False where none that can go on are waiting.
        """
        work = self.transition().work
        waiting = [("enough", each.target_id) for each in work if each.kind.startswith("rank_")]
        reviewed = {each.message_id for each in self.reviews} if self.config.weighted else set()
        asked = {each.target_id for each in work if each.kind.startswith("label_")}
        waiting += [("heard", each) for each in sorted(asked & reviewed)]
        if not waiting:
            return False
        name, target = self.chance.choice(waiting)
        there = sum(each.message_id == target for each in self.reviews)
        if name == "enough":
            there = rankings_so_far(self.tree, self.messages, self.rankings, self.config, target)
        self.tree = replace(self.tree, **{name: {**getattr(self.tree, name), target: there}})
        self.settle()
        return True

    @property
    def ended(self) -> bool:
        return self.tree.state in ENDED
