"""Junk, effort and order: how well a crowd's reviews and rankings are put together, against Open-Assistant's rules.

    python benchmarks/crowd.py [--runs 12] [--seed 1] [--spammers 20] [--backwards 10] [--gold 0]
        [--data FILE] [--json FILE]

A simulation, for only there the truth is known. The trees are real (`../shared/data` where it is, else the samples):
their messages are reviewed, their ranked siblings are ranked, and the ranks that they have are taken for the truth.
Junk is strewn in by chance. 200 contributors of very unequal zeal: 20 spammers (half wave everything through, half tick
at random; all rank at random), 10 who rank backwards but review honestly, 170 honest ones, who overlook junk, object to
good messages and confuse replies, each to a degree of their own; and some messages are harder than others for all, so
that errors are not independent, as the rules suppose. Everybody starts unknown. Every rule sees the same answers by
the same people in the same order; one that asks less sees fewer of them. Rankings: three for each set, for all rules.

- `parity`: three reviews, spam and language only; ranked pairs, one person one vote.
- `parity, all labels`: the same score over all critical labels, to tell the labels from the statistics.
- `unlearned`: adaptive reviews and weighted consensus with everybody at the prior.
- `ours`: the same, learning: tallies after each decision, taus over all rankings once these are in.

The rules' settings were chosen on other seeds (from 1000 on) than those told here.

`--gold P` slips in a message with a known verdict (half of them junk) after each review with probability P, for the
rules that learn; it counts among the reviews.

`consensus_accuracy`: pairs of siblings in the right order. `junk_accepted`: part of the junk that passes.
`reviews_per_message`: mean. `good_refused`: part of the good messages that does not pass. `known_junk_accepted`: junk
that passes, of the two sorts that parity looks at. Mean of the runs, with 95 % intervals (Student's t) over runs.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.simulated.crowd import MOST, PEOPLE, Labels, Message, Siblings, World, read, world  # noqa: E402
from core.acceptance import verdict  # noqa: E402
from core.adaptive_reviews import ReviewPolicy, judge, label_votes  # noqa: E402
from core.agreement import pooled_alpha  # noqa: E402
from core.ballots import Ballot  # noqa: E402
from core.config import CollectionConfig  # noqa: E402
from core.consensus import ranked_pairs  # noqa: E402
from core.ranking_reliability import TauPrior, estimate, tau, weight  # noqa: E402
from core.reliability import Prior, Tally, base_rate, skill, tallies  # noqa: E402
from core.weighted_consensus import consensus  # noqa: E402

REAL = ROOT.parent / "shared" / "data" / "oasst1-en-validation" / "trees.jsonl.gz"
SAMPLES = ROOT / "samples" / "trees.jsonl"
PLOT = ROOT / "var" / "bench" / "crowd.png"

STUDENT = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 9: 2.26, 11: 2.20, 15: 2.13, 19: 2.09}
"""97.5 % points of Student's t by degrees of freedom."""
METRICS = ("consensus_accuracy", "junk_accepted", "reviews_per_message", "good_refused", "known_junk_accepted")
RULES = ("ours", "parity", "parity, all labels", "unlearned")

# The rules.


@dataclass
class Outcome:
    """What one rule made of one world; `weights` by kind of person, for reviews and for rankings."""

    numbers: dict[str, float]
    weights: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    alpha: float | None = None


def _scored(messages: Sequence[Message], decided: Sequence[tuple[bool, int]], right: float) -> dict[str, float]:
    """Metrics from (accepted, reviews used) of each message."""
    passed = {message.id: accepted for message, (accepted, _) in zip(messages, decided, strict=True)}
    junk = [passed[each.id] for each in messages if each.junk]
    known = [passed[each.id] for each in messages if each.junk in ("spam", "lang_mismatch")]
    good = [not passed[each.id] for each in messages if not each.junk]
    values = (right, fmean(junk), fmean(count for _, count in decided), fmean(good), fmean(known))
    return dict(zip(METRICS, values, strict=True))


def pairs_right(siblings: Sequence[Siblings], orders: Sequence[Sequence[str]]) -> float:
    """Part of all pairs of siblings that stand as in truth; one that is not ordered is wrong."""
    right = total = 0
    for each, order in zip(siblings, orders, strict=True):
        place = {reply: index for index, reply in enumerate(order)}
        for at, better in enumerate(each.truth):
            for worse in each.truth[at + 1 :]:
                total += 1
                right += better in place and worse in place and place[better] < place[worse]
    return right / total


def parity(world: World, *, every_label: bool) -> Outcome:
    """Open-Assistant's rules; `every_label` takes any critical label for spam."""
    config = CollectionConfig()
    required, threshold = config.num_reviews_reply, config.acceptance_threshold_reply
    decided = []
    for message in world.messages:
        reviews: list[Mapping[str, float]] = [labels for _, labels in message.reviews[:required]]
        if every_label:
            reviews = [{"spam": max(labels.values())} for labels in reviews]
        decided.append((verdict(reviews, required, threshold) == "accepted", required))
    orders = [ranked_pairs(list(each.rankings.values())) for each in world.siblings]
    return Outcome(_scored(world.messages, decided, pairs_right(world.siblings, orders)))


def ours(world: World, *, learn: bool, policy: ReviewPolicy, prior: Prior, taus: TauPrior) -> Outcome:
    """Adaptive reviews and weighted consensus; without `learn` everybody stays at the prior."""
    crowd = Crowd(policy, prior)
    decided = [crowd.decide(message, learn=learn) for message in world.messages]
    groups = [{str(who): Ballot.strict(order) for who, order in each.rankings.items()} for each in world.siblings]
    known = estimate(groups, taus) if learn else {}
    weights = {person: weight(tau(agreement, taus)) for person, agreement in known.items()}
    newcomer = weight(taus.tau)
    orders = [
        consensus([Ballot(b.tiers, weights.get(who, newcomer)) for who, b in group.items()], each.tree_id).order
        for each, group in zip(world.siblings, groups, strict=True)
    ]
    by_kind: dict[str, dict[str, list[float]]] = {"reviews": {}, "rankings": {}}
    for number, person in enumerate(world.people):
        reviewer = skill(crowd.people.get(str(number), Tally()), prior).weight
        by_kind["reviews"].setdefault(person.kind, []).append(reviewer)
        by_kind["rankings"].setdefault(person.kind, []).append(weights.get(str(number), newcomer))
    numbers = _scored(world.messages, decided, pairs_right(world.siblings, orders))
    return Outcome(numbers, by_kind, pooled_alpha([list(group.values()) for group in groups]))


class Crowd:
    """What is known of reviewers and labels so far, as a store would keep it."""

    def __init__(self, policy: ReviewPolicy, prior: Prior) -> None:
        self.policy, self.prior = policy, prior
        self.people: dict[str, Tally] = {}
        self.labels = dict.fromkeys(policy.critical, (0.0, 0))

    def decide(self, message: Message, *, learn: bool) -> tuple[bool, int]:
        """Ask until the message is decided: (accepted, reviews used)."""
        rates = {
            label: base_rate(self.policy.critical[label].base_rate, yes, items, self.prior)
            for label, (yes, items) in self.labels.items()
        }
        skills = {str(who): skill(self.people.get(str(who), Tally()), self.prior) for who, _ in message.reviews}
        for count in range(1, len(message.reviews) + 1):
            reviews = {str(who): labels for who, labels in message.reviews[:count]}
            judgement = judge(reviews, skills, self.policy, rates)
            if judgement.state != "pending":
                break
        if not learn:
            return judgement.state == "accepted", count
        for label, probability in judgement.applies.items():
            yes, items = self.labels[label]
            self.labels[label] = (yes + probability, items + 1)
        self._learn(reviews, judgement.applies)
        golden = {str(who): gold for who, gold in message.gold.items() if str(who) in reviews}
        for who, gold in golden.items():
            self._learn({who: gold.said}, {label: float(label == gold.junk) for label in self.labels})
        return judgement.state == "accepted", count + len(golden)

    def _learn(self, reviews: Mapping[str, Labels], applies: Mapping[str, float]) -> None:
        for label, votes in label_votes(reviews, self.policy).items():
            for person, tally in tallies(votes, applies[label]).items():
                self.people[person] = self.people.get(person, Tally()) + tally


def outcomes(world: World) -> dict[str, Outcome]:
    """Each rule on the same world."""
    settings: dict[str, Any] = {"policy": ReviewPolicy(most=MOST), "prior": Prior(), "taus": TauPrior()}
    return {
        "ours": ours(world, learn=True, **settings),
        "parity": parity(world, every_label=False),
        "parity, all labels": parity(world, every_label=True),
        "unlearned": ours(world, learn=False, **settings),
    }


# The report.


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and half the width of its 95 % interval, 0 for a single run."""
    if len(values) < 2:
        return values[0], 0.0
    freedom = max(each for each in STUDENT if each <= len(values) - 1)
    return fmean(values), STUDENT[freedom] * stdev(values) / math.sqrt(len(values))


def report(runs: Sequence[Mapping[str, Outcome]]) -> dict[str, Any]:
    """metric -> rule -> mean, and under `intervals` half widths and the gain of ours over parity, run by run."""
    result: dict[str, Any] = {"runs": len(runs), "intervals": {}, "ours_less_parity": {}}
    for metric in METRICS:
        values = {rule: [run[rule].numbers[metric] for run in runs] for rule in RULES}
        result[metric] = {rule: interval(each)[0] for rule, each in values.items()}
        result["intervals"][metric] = {rule: interval(each)[1] for rule, each in values.items()}
        gain = [a - b for a, b in zip(values["ours"], values["parity"], strict=True)]
        result["ours_less_parity"][metric] = dict(zip(("mean", "half_width"), interval(gain), strict=True))
    result["alpha"] = fmean(run["ours"].alpha or 0.0 for run in runs)
    return result


def table(result: Mapping[str, Any]) -> Table:
    """The result for people to read."""
    shown = Table(title=f"crowd: {result['runs']} runs; Krippendorff's alpha of the rankings {result['alpha']:.2f}")
    for name in ("metric", *RULES, "ours - parity"):
        shown.add_column(name, justify="left" if name == "metric" else "right")
    for metric in METRICS:
        cells = [f"{result[metric][rule]:.3f} ± {result['intervals'][metric][rule]:.3f}" for rule in RULES]
        gain = result["ours_less_parity"][metric]
        shown.add_row(metric, *cells, f"{gain['mean']:+.3f} ± {gain['half_width']:.3f}")
    return shown


def plot(runs: Sequence[Mapping[str, Outcome]], path: Path) -> None:
    """Write a picture: a panel for each of the three metrics, and what weights people of each kind ended with."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 5, figsize=(17, 4), constrained_layout=True)
    titles = ("pairs in the right order\n(more is better)", "junk accepted\n(less is better)",
              "reviews a message\n(less is better)")  # fmt: skip
    for axis, metric, title in zip(axes, METRICS, titles, strict=False):
        for place, rule in enumerate(RULES):
            values = [run[rule].numbers[metric] for run in runs]
            mean, half = interval(values)
            axis.scatter([place] * len(values), values, s=12, alpha=0.35, color="grey")
            axis.errorbar(place, mean, half, fmt="o", capsize=5, color="C0" if rule == "ours" else "C1")
        axis.set_xticks(range(len(RULES)), [rule.replace(", ", ",\n") for rule in RULES], rotation=30)
        axis.set_xlim(-0.5, len(RULES) - 0.5)
        axis.set_title(title)
    for axis, what in zip(axes[3:], ("reviews", "rankings"), strict=True):
        kinds = list(runs[0]["ours"].weights[what])
        spread = [[each for run in runs for each in run["ours"].weights[what][kind]] for kind in kinds]
        axis.boxplot(spread, tick_labels=kinds, whis=(5, 95), showfliers=False)
        axis.set_ylim(0, 1)
        axis.set_title(f"weight learned from {what}\n(box: quartiles; whiskers: 5-95 %)")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def main() -> None:
    """Run the simulation and tell the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--spammers", type=int, default=20, help=f"of {PEOPLE}")
    parser.add_argument("--backwards", type=int, default=10, help=f"of {PEOPLE}")
    parser.add_argument("--gold", type=float, default=0.0, help="probability of a known message after each review")
    parser.add_argument("--data", type=Path, default=REAL if REAL.exists() else SAMPLES, help="trees, JSONL or .gz")
    parser.add_argument("--plot", type=Path, default=PLOT)
    parser.add_argument("--json", type=Path, help="write the numbers there")
    options = parser.parse_args()
    trees = list(read(options.data))
    seeds = range(options.seed, options.seed + options.runs)
    runs = [outcomes(world(trees, seed, options.spammers, options.backwards, options.gold)) for seed in seeds]
    told = {name: getattr(options, name) for name in ("seed", "spammers", "backwards", "gold")}
    result = report(runs) | told | {"data": options.data.name}
    console = Console()
    console.print(table(result))
    plot(runs, options.plot)
    console.print(f"plot in {options.plot}")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
