"""Documents that are small to send and large to work on, each for a size `n`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

LEAF = "viewer { streakDays }"


def chained_fragments(n: int) -> str:
    """Each fragment spreads the next one twice: 2**n uses of the last."""
    links = "".join(f"fragment F{i} on Query {{ ...F{i + 1} ...F{i + 1} }} " for i in range(n))
    return f"{{ ...F0 }} {links} fragment F{n} on Query {{ {LEAF} }}"


def chained_fragments_below(n: int) -> str:
    """The same below the root, where no limit of the root counts them."""
    links = "".join(f"fragment F{i} on User {{ ...F{i + 1} ...F{i + 1} }} " for i in range(n))
    return f"{{ viewer {{ user {{ ...F0 }} }} }} {links} fragment F{n} on User {{ id }}"


def paged_chain(n: int) -> str:
    """A chain that multiplies pages, each within the depth that is allowed."""
    page = "trees(first: 100) { nodes { messages(first: 100) { nodes { id } } } }"
    pages = " ".join(f"a{i}: {page}" for i in range(n))
    return f"{{ {pages} }}"


def aliases(n: int) -> str:
    return "{ viewer { " + " ".join(f"a{i}: streakDays" for i in range(n)) + " } }"


def directives(n: int) -> str:
    return "{ viewer { streakDays " + "@x " * n + "} }"


def deep(n: int) -> str:
    return "{ node(id: 1) " + "{ a " * n + "}" * n + " }"


def wide_root(n: int) -> str:
    return "{ " + " ".join(f"{LEAF}" for _ in range(n)) + " }"


def wide_root_by_fragments(n: int) -> str:
    parts = "".join(f"fragment F{i} on Query {{ a{i}: {LEAF} }} " for i in range(n))
    return "{ " + " ".join(f"...F{i}" for i in range(n)) + " } " + parts


def circle(n: int) -> str:
    links = "".join(f"fragment F{i} on Query {{ ...F{(i + 1) % n} }} " for i in range(n))
    return "{ ...F0 } " + links


def spreads(n: int) -> str:
    return "{ " + "...F " * n + "} fragment F on Query { " + LEAF + " }"


def repeats(n: int) -> str:
    return "{ viewer { " + "streakDays " * n + "} }"


def many_tokens(n: int) -> str:
    return "{ " + "a " * n + "}"


def repeats_inline(n: int) -> str:
    return "{ viewer { " + "... { streakDays } " * n + "} }"


def repeated_objects(n: int) -> str:
    return "{ viewer { " + "user { id } " * n + "} }"


def long_list(n: int) -> str:
    return "{ leaderboard(first: 1, frame: [" + "DAY " * n + "]) { points } }"


def nested_list(n: int) -> str:
    return "{ leaderboard(first: " + "[" * n + "]" * n + ", frame: DAY) { points } }"


def unknown_types(n: int) -> str:
    return "{ " + " ".join(f"... on Messag{i} {{ id }}" for i in range(n)) + " }"


def unknown_types_below(n: int) -> str:
    parts = " ".join(f"... on Messag{i} {{ a{i} }}" for i in range(n))
    return "{ viewer { " + parts + " } }"


def repeated_input_fields(n: int) -> str:
    return "mutation { requestTask(input: {" + "a: 1 " * n + "}) { task { id } } }"


def long_string(n: int) -> str:
    return '{ node(id: "' + "x" * n + '") { id } }'


def introspection_chain(n: int) -> str:
    return "{ __schema { types { " + "fields { type { " * n + "name" + " } }" * n + " } } }"


def introspection_aliases(n: int) -> str:
    inner = " ".join(f"a{i}: fields {{ type {{ fields {{ name type {{ name }} }} }} }}" for i in range(n))
    return "{ __schema { types { " + inner + " } } }"


ATTACKS: dict[str, tuple[Callable[[int], str], int, str]] = {
    "chained fragments": (chained_fragments, 70, "root fields: 1180591620717411303424; at most 10"),
    "chained fragments below": (chained_fragments_below, 70, "costs 1000000000000, and one may cost 10000"),
    "pages of pages": (paged_chain, 10, "costs 304020, and one may cost 10000"),
    "aliases": (aliases, 300, "aliases: 300; at most 30"),
    "directives": (directives, 400, "directives: 400; at most 50"),
    "depth": (deep, 150, "depth: 151; at most 8"),
    "depth beyond the parser": (deep, 320, "nested too deeply"),
    "wide root": (wide_root, 200, "root fields: 200; at most 10"),
    "wide root by fragments": (wide_root_by_fragments, 60, "root fields: 60; at most 10"),
    "circular fragments": (circle, 100, "contains itself"),
    "a fragment of itself": (circle, 1, "contains itself"),
    "spreads": (spreads, 300, "fragment spreads: 300; at most 200"),
    "repeated field": (repeats, 900, "repeats: 900; at most 10"),
    "repeated field in inline fragments": (repeats_inline, 190, "repeats: 190; at most 10"),
    "repeated object": (repeated_objects, 190, "repeats: 190; at most 10"),
    "long list": (long_list, 900, "list length: 900; at most 100"),
    "nested list": (nested_list, 90, "value depth: 90; at most 16"),
    "unknown types": (unknown_types, 140, "root fields: 140; at most 10"),
    "unknown types below": (unknown_types_below, 140, "Unknown type"),
    "repeated input fields": (repeated_input_fields, 300, "RequestTaskInput"),
    "long string": (long_string, 60_000, "characters: 60023; at most 15000"),
    "many tokens": (many_tokens, 5_000, "more than 1000 tokens"),
    "introspection chain": (introspection_chain, 5, "introspection depth"),
    "deep introspection": (introspection_chain, 12, "introspection depth: 27; at most 16"),
    "introspection aliases": (introspection_aliases, 30, r"costs \d{5}, and one may cost 10000"),
}
"""By name: the document, a size that is refused, and what the refusal says."""


def nested_variables(n: int) -> dict[str, Any]:
    value: Any = 1
    for _ in range(n):
        value = {"a": [value]}
    return {"input": value}
