"""What a contributor may write: length, visibility, language tags. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from core.errors import BadInput

LANG = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")
"""A language tag as the collection uses them: a BCP 47 language, with subtags such as a region (`pt-BR`)."""
_REGION, _SCRIPT = 2, 4
"""Letters of a subtag that names a region or a script."""
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_INVISIBLE = ("Cc", "Cf", "Cs", "Zs", "Zl", "Zp", "Mn", "Me")
_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters and symbols that are drawn as nothing: fillers of Hangul, the empty cell of Braille."""


def check_lang(lang: str, field: str = "lang") -> str:
    """`lang` in the usual spelling (RFC 5646, 2.1.1: `pt-br` is `pt-BR`), so that one language is one pool of work.

    Raises:
        BadInput: about `field`: it has not the form of a language tag.
    """
    if not LANG.fullmatch(lang) or len(lang) > 32:
        raise BadInput(f"{lang!r} is no language tag; right are for example en, de, pt-BR", path=(field,))
    first, *more = lang.lower().split("-")
    return "-".join([first, *(_spelled(each) for each in more)])


def _spelled(subtag: str) -> str:
    if len(subtag) == _SCRIPT and subtag.isalpha():
        return subtag.title()
    return subtag.upper() if len(subtag) == _REGION else subtag


def check_langs(langs: Iterable[str]) -> tuple[str, ...]:
    """The tags, each once; raises `BadInput` when there is none or one is malformed."""
    checked = tuple(dict.fromkeys(check_lang(lang, "langs") for lang in langs))
    if not checked:
        raise BadInput("no language is given; name at least one, for example en", path=("langs",))
    return checked


def is_visible(text: str) -> bool:
    """Whether there is anything in `text` that a reader sees."""
    return any(unicodedata.category(one) not in _INVISIBLE and one not in _BLANK for one in text)


def is_name(text: str) -> bool:
    """Whether `text` can be shown as a name: all of it is printed (no control of direction, nothing of no width) and
    something of it is seen."""
    return text.isprintable() and is_visible(text)


def check_text(text: str, limit: int) -> str:
    """`text` without white space around it.

    Raises:
        BadInput: code `TEXT_EMPTY` when nothing in it can be seen, `TEXT_TOO_LONG` above `limit` characters;
            `BAD_INPUT` when it is no valid Unicode text, or has a control character other than tab and line break.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadInput(f"the text has half a character (a lone surrogate) at {error.start}", path=("text",)) from error
    if control := _CONTROL.search(text):
        message = f"the text has the control character {control[0]!r} at {control.start()}; tabs and line breaks may be"
        raise BadInput(message, path=("text",))
    text = text.strip()
    if not is_visible(text):
        raise BadInput("the text has no visible character; write something", code="TEXT_EMPTY", path=("text",))
    if len(text) > limit:
        message = f"the text has {len(text)} characters; at most {limit} are allowed"
        raise BadInput(message, code="TEXT_TOO_LONG", path=("text",))
    return text
