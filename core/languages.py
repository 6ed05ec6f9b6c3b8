"""The language that a text seems to be in, where that is clear and is not the language that it claims.

py3langid (naive Bayes over byte sequences, 97 languages) is imported at first use, in a thread: it takes about 0.2 s
and 30 MB. A text then takes well under a millisecond, as only its beginning is looked at.
"""

from __future__ import annotations

import asyncio
import functools
import re
from typing import Any

LETTERS = 80
"""Letters from which a text is long enough to tell."""
LOOKED_AT = 2000
"""Characters looked at."""
NOT_PROSE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|https?://\S+|^(?: {4}|\t).*$", re.DOTALL | re.MULTILINE)
"""Code and links: they are in no language, though they look English."""
CODE_SIGNS = re.compile(r"[{}<>=;\\|_#$()\[\]]")
CODE_SHARE = 0.05
"""Part of the characters that are signs of code from which a text is taken for code."""
ALIKE: tuple[frozenset[str], ...] = (
    frozenset({"nb", "nn", "no", "da", "sv"}), frozenset({"bs", "hr", "sr", "sl"}), frozenset({"id", "ms", "jv"}),
    frozenset({"cs", "sk"}), frozenset({"es", "gl", "pt", "ca", "an", "oc"}), frozenset({"ru", "uk", "be", "bg", "mk"}),
    frozenset({"hi", "mr", "ne"}), frozenset({"de", "lb"}), frozenset({"nl", "af"}), frozenset({"xh", "zu"}),
    frozenset({"ur", "fa", "ps", "ug"}), frozenset({"az", "tr"}), frozenset({"kk", "ky"}), frozenset({"as", "bn"}),
)  # fmt: skip
"""Languages that are easily taken for each other; between these nothing is said."""


async def other_language(text: str, claimed: str, sure: float) -> str | None:
    """The language a text is in, if that is surely not the claimed one.

    Args:
        claimed: language tag of the text, such as `pt-BR`.
        sure: how probable the other language must be, 0 to 1; above 1 nothing is said.

    Returns:
        The language's code; None for what is short, mostly code, in an unknown or a similar language, or unclear.
    """
    prose = prose_of(text)
    if sure > 1 or sum(map(str.isalpha, prose)) < LETTERS:
        return None
    identifier = await asyncio.to_thread(_identifier)
    language = claimed.partition("-")[0].lower()
    if language not in identifier.nb_classes:
        return None
    seen, probability = _classified(identifier, prose)
    same = seen == language or any({seen, language} <= group for group in ALIKE)
    return None if same or probability < sure else seen


def _classified(identifier: Any, prose: str) -> tuple[str, float]:
    """The most probable language, and how probable it is.

    What `identifier.classify` gives, from the part of the model that counts. Its product with all of the model wakes a
    thread of the numerical library for each core, and these turn idly for a while after each text.
    """
    features = identifier.instance2fv(prose)
    present = features.nonzero()[0]
    logarithms = (features[present, None] * identifier.nb_ptc[present]).sum(0) + identifier.nb_pc
    probabilities = identifier.norm_probs(logarithms)
    best = int(probabilities.argmax())
    return str(identifier.nb_classes[best]), float(probabilities[best])


def prose_of(text: str) -> str:
    """The beginning of a text without code and links; nothing if it still looks like code."""
    prose = NOT_PROSE.sub(" ", text[:LOOKED_AT]).strip()
    return "" if len(CODE_SIGNS.findall(prose)) > CODE_SHARE * len(prose) else prose


@functools.cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_pickled_model(MODEL_FILE, norm_probs=True)
