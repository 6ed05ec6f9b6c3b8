"""The labels that reviewers give: names, widgets, which belong to which task, which must be answered. Pure.

Names, widgets and ranges are Open-Assistant's, so that exports mean the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from core.errors import BadInput

WIDGETS: dict[str, str] = {
    "spam": "yes_no",
    "fails_task": "yes_no",
    "lang_mismatch": "flag",
    "pii": "flag",
    "not_appropriate": "flag",
    "hate_speech": "flag",
    "sexual_content": "flag",
    "moral_judgement": "flag",
    "political_content": "flag",
    "quality": "likert",
    "toxicity": "likert",
    "humor": "likert",
    "helpfulness": "likert",
    "creativity": "likert",
    "violence": "likert",
}
"""Every label and how it is asked: `yes_no` and `flag` are 0 or 1, `likert` is 0, 0.25, 0.5, 0.75 or 1."""

_COMMON = (
    "spam", "lang_mismatch", "pii", "not_appropriate", "hate_speech", "sexual_content", "quality", "toxicity",
    "humor", "creativity", "violence",
)  # fmt: skip
_BY_KIND: dict[str, tuple[str, ...]] = {
    "label_initial_prompt": _COMMON,
    "label_prompter_reply": _COMMON,
    "label_assistant_reply": (*_COMMON, "fails_task", "helpfulness"),
}
MANDATORY = ("spam",)
"""Labels that every review answers."""


def labels_for(kind: str) -> tuple[str, ...]:
    """The labels that a review task of `kind` may answer."""
    return _BY_KIND[kind]


def check_labels(kind: str, labels: Mapping[str, float]) -> dict[str, float]:
    """The answered labels as floats in the usual order.

    Raises:
        BadInput: code `BAD_LABELS`: one is unknown for this kind, not in [0, 1], or a mandatory one is missing.
    """
    checked = check_values(labels, labels_for(kind))
    for name in MANDATORY:
        if name not in labels:
            raise _bad(f"label {name!r} is missing; it must be answered", name)
    return checked


def check_values(labels: Mapping[str, float], allowed: tuple[str, ...]) -> dict[str, float]:
    """The labels as floats in the usual order, each of `allowed`.

    Raises:
        BadInput: code `BAD_LABELS`: one is none of these, or not in [0, 1].
    """
    for name, value in labels.items():
        if name not in allowed:
            raise _bad(f"label {name!r} is not asked here; one of: {', '.join(allowed)}", name)
        number = isinstance(value, int | float) and math.isfinite(value)
        if not number or not 0 <= value <= 1:
            raise _bad(f"label {name!r} is {value!r}; it must be a number from 0 to 1", name)
    return {name: float(labels[name]) for name in WIDGETS if name in labels}


def _bad(message: str, name: str) -> BadInput:
    return BadInput(message, code="BAD_LABELS", path=("labels", name))


def averages(
    reviews: Iterable[Mapping[str, float]], base: Mapping[str, Mapping[str, float]]
) -> dict[str, dict[str, float]]:
    """Mean and number of answers of each label over `reviews`, on top of the averages in `base`.

    The result does not depend on the order of the reviews. Labels keep the order of `base`, then the usual one.
    """
    answers: dict[str, list[float]] = {name: [] for name in base}
    answers |= {name: [] for name in WIDGETS if name not in answers}
    for labels in reviews:
        for name, value in labels.items():
            answers.setdefault(name, []).append(value)
    merged = {name: _merge(base.get(name), values) for name, values in answers.items()}
    return {name: value for name, value in merged.items() if value is not None}


def _merge(base: Mapping[str, float] | None, values: list[float]) -> dict[str, float] | None:
    if not values:
        return dict(base) if base is not None else None
    before, mean = (base["count"], base["value"]) if base is not None else (0, 0.0)
    count = before + len(values)
    return {"value": math.fsum([mean * before, *values]) / count, "count": count}
