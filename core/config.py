"""How a collection is run: every number that its rules use, with Open-Assistant's production values as defaults.

`mode` says how many opinions become one: by weight, as many as needed (docs/consensus.md), or as Open-Assistant did it.
Limits of a tree are copied to it when it is made.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from core.adaptive_reviews import CRITICAL, ReviewPolicy
from core.errors import BadInput
from core.records import TASK_KINDS
from core.texts import check_lang

MODES = ("weighted", "parity")
ACTIVE_RANKINGS = 3
"""Sets of siblings kept open for ranking in each language while there is a backlog, in weighted mode."""
PARTS = ("p_", "acceptance_", "refuse_", "alike_", "suspicious_score", "new_account_share", "gold_rate",
         "trust_reliability")  # fmt: skip
"""How the names of settings begin that are from 0 to 1."""
TEN_YEARS = 315_360_000.0
MOST: dict[str, float] = {
    "_seconds": TEN_YEARS, "reviews_most": 100, "num_reviews_initial_prompt": 20, "num_reviews_reply": 20,
    "num_required_rankings": 20, "goal_tree_size": 1000, "max_tree_depth": 50, "max_children_count": 50,
    "max_text_length": 20_000, "other_lang_sure": 1.1, "suspicious_reviews": 20, "max_pending_tasks": 1000,
}  # fmt: skip
"""The largest value of a setting, by how its name ends; of all others it is `MOST_OF_ANY`."""
MOST_OF_ANY = 1e9
AT_LEAST_ONE = frozenset({
    "goal_tree_size", "max_children_count", "num_reviews_initial_prompt", "num_reviews_reply", "num_required_rankings",
    "max_pending_tasks", "max_text_length", "auto_mod_red_flags", "auto_mod_max_skip_reply", "flood_people",
})  # fmt: skip
"""Settings that are from 1; all others are from 0. With no flag or skip needed, everything would be taken out."""
OF_POLICY = {
    "reviews_least": "1 to `reviews_most`", "accept_from": "0.5 to below 1", "refuse_from": "0.5 to below 1",
    "accept_at_limit": "1 - `refuse_from` to `accept_from`",
}  # fmt: skip
"""Settings whose ranges hang on others or are `ReviewPolicy`'s, and these in words."""


@dataclass(frozen=True, kw_only=True)
class CollectionConfig:
    """Settings of a collection; a value out of range is refused when it is made."""

    mode: str = "weighted"
    """`weighted`: reviews until a message is beyond doubt, people weighed by their reliability, all critical labels.
    `parity`: Open-Assistant's fixed number of reviews and rankings, one person one vote, spam and language alone."""

    max_active_trees: int = 10
    """Growing trees in one language; the lottery draws only below it."""
    max_initial_prompt_review: int = 100
    """Prompts under review in one language."""
    max_prompt_lottery_waiting: int = 250
    """Accepted prompts that wait for the lottery in one language."""
    init_prompt_disabled_langs: tuple[str, ...] = ()
    """Languages in which no new prompts are taken."""

    goal_tree_size: int = 15
    """Accepted messages of a tree, root included, at which it stops growing."""
    random_goal_tree_size: bool = False
    """Draw each tree's goal evenly from `min_goal_tree_size` to `goal_tree_size`."""
    min_goal_tree_size: int = 5
    """Least goal drawn, in messages."""
    max_tree_depth: int = 5
    """Deepest level of a message; the root is 0."""
    max_children_count: int = 3
    """Replies wanted under one prompter message."""
    num_prompter_replies: int = 1
    """Replies wanted under one assistant message."""
    lonely_children_count: int = 2
    """A prompter message with at least one reply and fewer than this is lonely."""
    p_lonely_child_extension: float = 0.75
    """Probability that a reply task goes to a lonely message where there is one."""

    reviews_least: int = 2
    """Reviews of a message at least, in weighted mode."""
    reviews_most: int = 5
    """Reviews of a message at most, in weighted mode."""
    reviews_quorum: float = 1.0
    """Weights of reviewers that must come together before `reviews_most` are in; two newcomers have 1.4."""
    accept_from: float = 0.95
    """Probability that a message is acceptable from which it is accepted at once, in weighted mode."""
    refuse_from: float = 0.95
    """Probability that a message is not acceptable from which it is refused at once, in weighted mode."""
    accept_at_limit: float = 0.5
    """After `reviews_most` reviews, probability that a message is acceptable from which it is accepted."""
    critical_labels: tuple[str, ...] = tuple(CRITICAL)
    """Labels any of which refuses a message, in weighted mode."""
    num_reviews_initial_prompt: int = 3
    """Reviews of an initial prompt, in parity mode."""
    num_reviews_reply: int = 3
    """Reviews of a reply, in parity mode."""
    acceptance_threshold_initial_prompt: float = 0.6
    """A prompt is accepted when its score, in [-1, 1], is above this, in parity mode."""
    acceptance_threshold_reply: float = 0.6
    """A reply is accepted when its score, in [-1, 1], is above this, in parity mode."""
    num_required_rankings: int = 3
    """Rankings of each set of siblings."""
    rank_prompter_replies: bool = False
    """Rank replies by prompters too."""

    review_patience_seconds: float = 604_800
    """Seconds without a new review after which a message is decided by those that it has, in weighted mode; without
    any, moderators are told. 0: it waits on."""
    ranking_patience_seconds: float = 604_800
    """Seconds without a new ranking after which siblings go on with those they have, even none; 0: they wait on."""

    gold_rate: float = 0.02
    """Part of the reviews and rankings handed to trusted people that have a known answer, where there are any."""
    gold_rate_new: float = 0.1
    """The same, for everybody else."""

    auto_mod_enabled: bool = True
    """Act on red flags and skips."""
    auto_mod_red_flags: int = 4
    """Red flags by different people that take a reply out, or end a tree when on its root."""
    auto_mod_max_skip_reply: int = 25
    """Skips of reply tasks on one message that halt its tree."""

    p_activate_backlog_tree: float = 0.1
    """Probability that a tree that ends brings one backlog tree of its language into ranking."""
    min_active_rankings_per_lang: int | None = None
    """Below this many sets of siblings open for ranking in a language, a backlog tree is activated; unset, 3 in
    weighted mode and none in parity mode, as in Open-Assistant."""

    max_pending_tasks: int = 8
    """Tasks that one person may hold open, taken within the last `recent_tasks_seconds`."""
    recent_tasks_seconds: float = 300
    """Seconds that an open task counts against `max_pending_tasks`."""
    new_account_seconds: float = 86_400
    """Seconds for which an account is new, unless it gets a role such as `trusted`."""
    new_account_share: float = 0.5
    """Part of `max_pending_tasks` that a new account may hold, 0 to 1; never less than one task."""
    trust_by_work: bool = True
    """Give the role `trusted` to those whose work earned it. This and what follows: in the default collection alone."""
    trust_messages: int = 5
    """Accepted messages that it needs."""
    trust_judgements: int = 20
    """Reviews and rankings that agree with what came of them that it needs."""
    trust_reliability: float = 0.5
    """Reliability that it needs, 0 to 1: the lesser of reviews' weight and rankings' tau; a newcomer has 0.6."""
    trust_account_seconds: float = 604_800
    """Age of the account, in seconds, that it needs."""
    lease_write_seconds: float = 3600
    """Seconds that a place to write a prompt or a reply is held."""
    lease_label_seconds: float = 900
    """Seconds that a place to review is held."""
    lease_rank_seconds: float = 1800
    """Seconds that a place to rank is held."""

    max_text_length: int = 2000
    """Characters (Unicode code points) of a message."""
    duplicate_window_seconds: float = 7200
    """Seconds in which one person may not send the same text again."""
    alike_from: float = 0.8
    """Part of their runs of characters that two texts share from which they are alike, 0 to 1."""
    flood_people: int = 4
    """Other people with a text like it from which a text is taken for part of a flood."""
    suspicious_score: float = 0.5
    """Score of spam and the like, 0 to 1, from which a text is suspicious."""
    suspicious_reviews: int = 1
    """Reviews wanted of a suspicious text beyond the usual number."""
    other_lang_sure: float = 0.999
    """Probability from which a text in another language than it claims is suspicious; 1.1 turns that off."""
    refuse_score_above: float = 1.0
    """Score above which a text is refused at once, 0 to 1; 1 refuses none."""
    refuse_alike_above: float = 1.0
    """Likeness to the author's or the conversation's texts above which a text is refused, 0 to 1; 1 refuses none."""

    weight_rank: float = 10
    """Weight of ranking when the kind is left to chance."""
    weight_label_reply: float = 5
    """Weight of reviewing replies when the kind is left to chance."""
    weight_label_prompt: float = 5
    """Weight of reviewing prompts when the kind is left to chance."""
    weight_reply: float = 2
    """Weight of writing replies when the kind is left to chance."""
    weight_prompt: float = 0.01
    """Weight of writing prompts when the kind is left to chance."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if value is None or isinstance(value, bool | tuple | str) or item.name in OF_POLICY:
                continue
            least, most = span(item.name)
            if not least <= value <= most:
                message = f"{item.name} is {value:.12g}; it must be from {least} to {most:.12g}"
                raise BadInput(message, path=(item.name,))
        if self.min_goal_tree_size > self.goal_tree_size and self.random_goal_tree_size:
            message = (
                f"min_goal_tree_size is {self.min_goal_tree_size}; goal_tree_size, {self.goal_tree_size}, is the most"
            )
            raise BadInput(message, path=("min_goal_tree_size",))

        if self.mode not in MODES:
            raise BadInput(f"mode is {self.mode!r}; it must be one of: {', '.join(MODES)}", path=("mode",))
        languages = tuple(check_lang(lang, "init_prompt_disabled_langs") for lang in self.init_prompt_disabled_langs)
        object.__setattr__(self, "init_prompt_disabled_langs", languages)
        self._check_policy()

    def _check_policy(self) -> None:
        """What `ReviewPolicy` refuses, where its names are not those of these settings told by these."""
        if not 1 <= self.reviews_least <= self.reviews_most:
            message = f"reviews_least is {self.reviews_least}; it must be from 1 to reviews_most, {self.reviews_most}"
            raise BadInput(message, path=("reviews_least",))
        if not self.critical_labels:
            message = f"critical_labels names none; one or more of: {', '.join(CRITICAL)}"
            raise BadInput(message, path=("critical_labels",))
        for label in self.critical_labels:
            if label not in CRITICAL:
                message = f"critical label {label!r} is none; one of: {', '.join(CRITICAL)}"
                raise BadInput(message, path=("critical_labels",))
        _ = self.review_policy

    @property
    def weighted(self) -> bool:
        """Whether people's opinions are weighed."""
        return self.mode == "weighted"

    @property
    def review_policy(self) -> ReviewPolicy:
        """When reviews of a message suffice, in weighted mode."""
        return ReviewPolicy(
            least=self.reviews_least, most=self.reviews_most, quorum=self.reviews_quorum, accept_from=self.accept_from,
            refuse_from=self.refuse_from, accept_at_limit=self.accept_at_limit,
            critical={label: CRITICAL[label] for label in self.critical_labels},
        )  # fmt: skip

    @property
    def active_rankings(self) -> int:
        """Sets of siblings in a language below which a backlog tree is activated."""
        if self.min_active_rankings_per_lang is not None:
            return self.min_active_rankings_per_lang
        return ACTIVE_RANKINGS if self.weighted else 0

    def lease_seconds(self, kind: str) -> float:
        """Seconds that a place of this task kind is held."""
        if kind.startswith("label_"):
            return self.lease_label_seconds
        return self.lease_rank_seconds if kind.startswith("rank_") else self.lease_write_seconds

    def kind_weights(self) -> dict[tuple[str, ...], float]:
        """Groups of task kinds that share a weight, and the weight, for a choice left to chance."""
        return {
            ("rank_assistant_replies", "rank_prompter_replies"): self.weight_rank,
            ("label_assistant_reply", "label_prompter_reply"): self.weight_label_reply,
            ("label_initial_prompt",): self.weight_label_prompt,
            ("assistant_reply", "prompter_reply"): self.weight_reply,
            ("initial_prompt",): self.weight_prompt,
        }


def span(name: str) -> tuple[int, float]:
    """The least and the largest value of a setting that is a number and none of `OF_POLICY`."""
    most = next((most for ending, most in MOST.items() if name.endswith(ending)), MOST_OF_ANY)
    return int(name in AT_LEAST_ONE), 1 if name.startswith(PARTS) else most


def check_kind(kind: str) -> str:
    """`kind`, if it is a task kind or `random`; raises `BadInput` (code `UNKNOWN_TASK_KIND`) otherwise."""
    if kind not in TASK_KINDS and kind != "random":
        raise BadInput(f"unknown task kind {kind!r}; one of: random, {', '.join(TASK_KINDS)}", code="UNKNOWN_TASK_KIND")
    return kind
