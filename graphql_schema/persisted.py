"""Documents that a request names instead of sending them, and the list of those that are allowed at all.

    {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": "..."}}}            the text with that hash
    {"query": "...", "extensions": {"persistedQuery": {... "sha256Hash": "..."}}}      runs it, and registers it
    {"documentId": "sha256:..."}, {"documentId": "NAME"}                               by hash, or by name on the list

The first two are Apollo's automatic persisted queries, the third is appendix A of the GraphQL-over-HTTP draft. Threat:
a store that fills with junk; so a document is registered only after it was found valid and affordable, and only for
callers who are signed in. With an allow-list no other document runs, registered or not, over any transport.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strawberry.types.execution import ExecutionContext

from core.errors import BadInput, Forbidden, NotFound
from core.ids import sha256_hex

from .context import Context

HASH = re.compile(r"[0-9a-f]{64}")
PREFIX = "sha256:"
"""How a `documentId` begins that is a hash."""


@dataclass(frozen=True)
class AllowList:
    """The only documents that run, where there is a list.

    Attributes:
        by_hash: text by its SHA-256.
        by_name: text by the name that the list gives it.
    """

    by_hash: Mapping[str, str]
    by_name: Mapping[str, str]

    def find(self, identity: str) -> str | None:
        """The text with that hash or name."""
        return self.by_hash.get(identity) or self.by_name.get(identity)


def read_allow_list(path: Path) -> AllowList:
    """The documents in a folder (`NAME.graphql` each) or in a JSON file (`{"NAME": "text"}`).

    Raises:
        BadInput: there is no such file or folder, it is of another form, or it names no document.
    """
    try:
        if path.is_dir():
            texts = {each.stem: each.read_text("utf-8") for each in sorted(path.glob("*.graphql"))}
        else:
            texts = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise _bad_list(path, str(error)) from error
    if not isinstance(texts, dict) or not texts or not all(isinstance(text, str) for text in texts.values()):
        raise _bad_list(path, "it names no documents")
    return AllowList({sha256_hex(text.encode()): text for text in texts.values()}, texts)


def _bad_list(path: Path, why: str) -> BadInput:
    return BadInput(
        f"list of documents {str(path)!r} cannot be used: {why}; it must be a folder of .graphql files or a JSON "
        'object {"NAME": "text of a document"}'
    )


def wanted(extensions: Mapping[str, Any] | None) -> str | None:
    """The hash or name that a request gives for its document, or None.

    Raises:
        BadInput: it is of another form.
    """
    given = (extensions or {}).get("persistedQuery")
    if given is None:
        return None
    if not isinstance(given, dict):
        raise BadInput('persistedQuery must be {"version": 1, "sha256Hash": "64 hexadecimal digits"}')
    if (name := given.get("documentId")) is not None:
        return str(name)[:200].removeprefix(PREFIX)
    identity = given.get("sha256Hash")
    if given.get("version") != 1 or not isinstance(identity, str) or not HASH.fullmatch(identity):
        raise BadInput(
            f"persistedQuery has version {given.get('version')!r} and sha256Hash {str(identity)[:80]!r}; it must have "
            "version 1 and 64 lower-case hexadecimal digits"
        )
    return identity


def check_hash(sha256: str, text: str) -> None:
    """Raise `BadInput` unless `sha256` is that of `text` in UTF-8."""
    if sha256 != (right := sha256_hex(text.encode())):
        raise BadInput(f"sha256Hash is {sha256[:80]!r}; that of the document sent is {right!r}")


def not_found() -> NotFound:
    """The error upon which clients of Apollo's protocol send the text; they know it by this message or this code."""
    return NotFound("PersistedQueryNotFound", code="PERSISTED_QUERY_NOT_FOUND")


async def find(operation: ExecutionContext, context: Context) -> bool:
    """Before parsing: have a text, and one that is allowed; returns whether it is to be registered once it is valid.

    Raises:
        OaError: there is no document of that name, its hash is another's, or the list does not have it.
    """
    to_register, identity = False, wanted(operation.operation_extensions)
    if identity is not None and operation.query is None:
        operation.query = await _text(context, identity)
    elif identity is not None and operation.query is not None:
        check_hash(identity, operation.query)
        to_register = context.viewer is not None
    _allow(context, operation.query)
    return to_register


async def _text(context: Context, identity: str) -> str:
    """The text of a document that is only named; where there is an allow-list, `_allow` says what is not on it."""
    allowed, documents = context.services.allowed, context.services.documents
    text = None if allowed is None else allowed.find(identity)
    if text is None and documents is not None and allowed is None and HASH.fullmatch(identity):
        text = await documents.find(identity)
    if text is None and allowed is None:
        raise not_found()
    return text or ""


def _allow(context: Context, text: str | None) -> None:
    allowed = context.services.allowed
    if allowed is not None and text is not None and sha256_hex(text.encode()) not in allowed.by_hash:
        raise Forbidden("only the documents on this API's list may be run; this is none of them")
