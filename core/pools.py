"""Pools of work: one for each collection and language. Pure.

A pool is named by a text without `|`, which keys of trees and of open work are made with: the language alone in the
default collection (so that documents from before there were others are in it), `collection/lang` in any other.
"""

from __future__ import annotations

DEFAULT = "default"
"""The collection that is always there."""


def pool_of(collection: str, lang: str) -> str:
    """The name of the pool of a language in a collection."""
    return lang if collection == DEFAULT else f"{collection}/{lang}"


def collection_of(pool: str) -> str:
    """The collection of a pool."""
    collection, slash, _ = pool.partition("/")
    return collection if slash else DEFAULT


def lang_of(pool: str) -> str:
    """The language of a pool."""
    return pool.rpartition("/")[2]
