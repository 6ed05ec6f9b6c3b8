"""Documents that come again: parsed, found valid and priced once.

Threat: a parsed document takes up to 60 times the memory of its text, and all that is kept is walked through by each
full collection of garbage; so who sends one hostile text after the other would fill the memory and have others wait.
Only what was found valid and affordable is kept, what is known of it hangs on it and goes with it, and the texts kept
have `CHARACTERS` at most in all. What is refused is looked at again when it comes again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from graphql import ASTValidationRule, DocumentNode, GraphQLError, GraphQLSchema, parse, validate

from .limits import BESIDES, LIMITS, DocumentLimits, exceeded

CHARACTERS = 250_000
"""Characters of the documents that are kept: 500 of usual size."""
FACTS = 64
"""Facts kept of one document; beyond them all are found out again."""

T = TypeVar("T")


class Parsed:
    """A document, and what is known of it.

    Facts hang here and are not looked up by the document: to compare documents node by node would take as long as
    they are, and as deep as they are nested.
    """

    def __init__(self, document: DocumentNode) -> None:
        self.document = document
        self._facts: dict[Hashable, Any] = {}

    def once(self, key: Hashable, find: Callable[[], T]) -> T:
        """What `find` gives, found once for each `key`; to be read only."""
        found = self._facts.get(key)
        if found is None:
            if len(self._facts) >= FACTS:
                self._facts.clear()
            found = self._facts[key] = find()
        known: T = found
        return known


class Kept:
    """Documents by their text, those that were asked for last.

    Args:
        characters: the most in all.
    """

    def __init__(self, characters: int = CHARACTERS) -> None:
        self.characters = characters
        self.size = 0
        self._documents: OrderedDict[str, Parsed] = OrderedDict()

    def get(self, text: str) -> Parsed | None:
        """The document of that text, if it is kept."""
        found = self._documents.get(text)
        if found is not None:
            self._documents.move_to_end(text)
        return found

    def keep(self, text: str, document: Parsed) -> None:
        """Keep a document that was found good."""
        if text in self._documents:
            return
        self._documents[text] = document
        self.size += len(text)
        while self.size > self.characters:
            oldest, _ = self._documents.popitem(last=False)
            self.size -= len(oldest)


KEPT = Kept()


def parsed(text: str) -> Parsed:
    """The document of `text`; one that is kept costs a lookup.

    Raises:
        GraphQLError: it is no document, or one of more than `characters` or `tokens`.
    """
    if len(text) > LIMITS["characters"].most:
        raise GraphQLError(f"the document is too much: {'; '.join(exceeded({'characters': len(text)}))}")
    return KEPT.get(text) or Parsed(parse(text, max_tokens=LIMITS["tokens"].most))


def validated(
    schema: GraphQLSchema, of: Parsed, rules: tuple[type[ASTValidationRule], ...], suggestions: bool
) -> list[GraphQLError]:
    """The errors of a document, at most `errors` and one more that says so."""

    def find() -> list[GraphQLError]:
        every: tuple[type[ASTValidationRule], ...] = (DocumentLimits, *rules, *BESIDES)
        return validate(schema, of.document, every, max_errors=LIMITS["errors"].most, hide_suggestions=not suggestions)

    return of.once((schema, rules, suggestions), find)
