"""Acting in somebody's name: whatever a service asks for a person is written into the journal, reads too.

One entry an operation, before it runs, with the fields of its root; so what was refused to the service is there too.
"""

from __future__ import annotations

from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    OperationDefinitionNode,
    get_operation_ast,
)

from .context import Context


async def write_down(document: DocumentNode, name: str | None, context: Context) -> None:
    """Journal a valid operation, where a service asks for it in somebody's name."""
    asked = None if context.actor is None else get_operation_ast(document, name)
    if asked is None or context.actor is None or context.viewer is None:
        return
    action = ", ".join(root_fields(document, asked))
    await context.services.accounts.record_acting(context.viewer.id, action, by=context.actor.id)


def root_fields(document: DocumentNode, asked: OperationDefinitionNode) -> list[str]:
    """Names of the fields of the root, each once, in the order in which they stand; limits keep them few."""
    fragments = {each.name.value: each for each in document.definitions if isinstance(each, FragmentDefinitionNode)}
    found: dict[str, None] = {}
    pending: list[Any] = [asked]
    while pending:
        node = pending.pop()
        if isinstance(node, FieldNode):
            found[node.name.value] = None
        else:
            inside = fragments[node.name.value] if isinstance(node, FragmentSpreadNode) else node
            pending += reversed(inside.selection_set.selections)
    return list(found)
