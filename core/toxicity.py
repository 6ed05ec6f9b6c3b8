"""Clear signs that a text attacks somebody: threats, wishes of death, insults said to someone's face. Pure.

Knows English only, no slurs and no context: a text that quotes an attack looks like one. It finds the crude case and
raises a doubt; people judge. docs/abuse.md tells the limits.
"""

from __future__ import annotations

import math
import re

YOU = r"\b(?:you(?:'re| are)?|u(?: r)?|ur)\b"
INSULTS = r"(?:idiots?|morons?|imbeciles?|retard(?:ed|s)?|bitch(?:es)?|bastards?|assholes?|arseholes?|cunts?|scum)"
SIGNS: tuple[tuple[re.Pattern[str], float], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), weight)
    for pattern, weight in (
        (r"\bk+ill (?:yo)?ur ?sel(?:f|ves)\b|\bkys\b|\bgo (?:and )?die\b", 4.0),
        (rf"{YOU} (?:should|must|deserve to|all) (?:be killed|die|be dead)\b|\bhope (?:you|u)(?: all)? die\b", 4.0),
        (r"\bi(?:'ll| will|'m going to| am going to|'m gonna) (?:kill|murder|rape|stab|shoot) (?:you|u)\b", 4.0),
        (r"\b(?:fuck|screw) (?:you|u|off)\b|\bsuck my (?:dick|cock)\b|\bshut the fuck up\b|\bstfu\b", 3.4),
        (rf"{YOU} (?:(?:a|an|all|such|really|so|just|fucking|stupid|dumb|worthless|pathetic) ){{0,4}}{INSULTS}\b", 3.4),
        (r"\bpieces? of shit\b|\bmotherfuck\w*|\bsubhumans?\b|\bvermin\b", 2.0),
        (r"\b(?:fuck|fucking|shit|bullshit)\b", 0.8),
    )
)  # fmt: skip
BASE = -3.0
"""What the sum starts from: a text without any sign scores 0.05."""


def toxicity(text: str) -> float:
    """How likely a text is an attack, 0 to 1."""
    weight = BASE + sum(weight for pattern, weight in SIGNS if pattern.search(text))
    return 1 / (1 + math.exp(-weight))
