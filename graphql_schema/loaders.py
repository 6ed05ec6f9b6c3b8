"""Batching reads: one round trip for all objects of one kind that one step of an operation asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .context import Services


class Loaders:
    """The loaders of one operation; each remembers what it read until the operation ends."""

    def __init__(self, services: Services) -> None:
        self._services = services
