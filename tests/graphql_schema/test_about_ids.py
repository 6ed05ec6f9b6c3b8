"""What an act was done to has an id for other operations, whichever part of the rules writes the act down."""

from __future__ import annotations

import re
from pathlib import Path

import core
from graphql_schema.event_types import _TYPE_OF

WRITTEN = re.compile(r"record\(\s*[\w.]*database, \"(\w+)\"")
NO_OBJECT = {"create_api_key", "make_gold", "promote_model", "purge", "retire_gold", "revoke_api_key"}
"""Acts about what `node` does not know; a purge may be of several people."""
IN_DETAILS = {"dismiss"}
"""Acts about things of several types, which their details name."""


def test_every_act_that_is_written_down_has_a_type() -> None:
    sources = [path.read_text("utf-8") for path in Path(core.__file__).parent.glob("*.py")]
    kinds = {kind for source in sources for kind in WRITTEN.findall(source)}
    assert len(kinds) > 20
    assert kinds - _TYPE_OF.keys() - NO_OBJECT - IN_DETAILS == set()
