"""Prints the contract and the tables about it: `python -m graphql_schema.export` rewrites them, a test checks them.

graphql_schema/schema.graphql   the schema
docs/api/limits.md, sign-in.md  the tables between `<!-- NAME -->` and `<!-- end NAME -->`
docs/api/errors.md, permissions.md  whole pages
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import cast

from strawberry.types.field import StrawberryField

from core.errors import Unauthenticated
from core.rates import DEFAULT_RATES as RATES
from core.rates import PERSONAL
from core.records import User
from core.scopes import SCOPES

from . import cost
from .access import GUARDED, OBJECTS
from .charging import BESIDE, BY_ADDRESS, ELSEWHERE, REFUSED
from .context import AccessToken, Context, Services
from .error_guide import error_page
from .limits import LIMITS
from .permissions import Permission
from .schema import ApiSchema, build_schema
from .scoping import FIELDS, VIEWER
from .value_limits import value_limit_table

SCHEMA_FILE = Path(__file__).with_name("schema.graphql")
DOCS_FILE = Path(__file__).resolve().parents[1] / "docs" / "api" / "README.md"
LIMITS_FILE = DOCS_FILE.with_name("limits.md")
ERRORS_FILE = DOCS_FILE.with_name("errors.md")
PERMISSIONS_FILE = DOCS_FILE.with_name("permissions.md")
SIGN_IN_FILE = DOCS_FILE.with_name("sign-in.md")
PERSON = "person, or address"
CALLERS: tuple[str, ...] = ("anonymous", "contributor", "trusted", "moderator", "admin", "service")


PERMISSIONS = """# Who may do what

Written by `make docs`. Nothing is open by default: a root field without a permission and a type of object without a
line here fail a test, and a test asks for every kind of object and every field in the name of each caller.

Roles: a `moderator` moderates in the languages that an admin gave (all without any) and is a contributor in others; an
`admin` does so in all. A `service` runs jobs, and acts for people only by `X-Act-As` and with the scope `act_as`, as a
contributor; each such operation is in the journal. A `worker` trains models: it has no account here and sees the object
store alone. A token may carry less than the roles of its person, by its own roles and scopes ([sign-in](sign-in.md)).

## Queries, mutations, subscriptions

Asked of the permissions themselves. `developmentSignIn` exists for nobody outside embedded mode.
"""
OBJECTS_HEAD = """## Objects

Who gets an object, by `node(id:)` or wherever it hangs. For others it is null, like what does not exist.

| object | who |
| --- | --- |"""
FIELDS_HEAD = """## Fields that say less to some

| field | who sees it |
| --- | --- |"""


def sdl() -> str:
    """The schema in the schema definition language, sorted by name."""
    return build_schema().as_str() + "\n"


def root_fields(schema: ApiSchema) -> Iterator[tuple[str, str, StrawberryField]]:
    """Root type, GraphQL name and definition of each query, mutation and subscription."""
    for root in (schema.query, schema.mutation, schema.subscription):
        definition = root.__strawberry_definition__  # type: ignore[union-attr]
        for field in definition.fields:
            yield definition.name, schema.config.name_converter.get_graphql_name(field), field


async def _no_token(user: User) -> AccessToken:
    """Stands for development sign-in, which is only asked whether it is there."""
    raise NotImplementedError


def may(permission: type[Permission], caller: str) -> bool:
    """Whether `caller`, one of `CALLERS`, passes `permission` in embedded mode."""
    services = Services(sign_in=_no_token)
    context = Context(services=services)
    if caller != "anonymous":
        context.viewer = User(id="u", auth_method="development", subject="u", display_name="u", roles=(caller,))
        context.roles = frozenset({caller})
    try:
        return permission().allows(context)
    except Unauthenticated:
        return False


def permission_table(schema: ApiSchema) -> str:
    """Field by caller: who may use what, asked of the permissions themselves."""
    lines = [
        f"| field | permission | {' | '.join(CALLERS)} | worker |",
        f"| --- | --- |{' --- |' * len(CALLERS)} --- |",
    ]
    for root, name, field in root_fields(schema):
        (permission,) = cast(list[type[Permission]], field.permission_classes)
        cells = ["yes" if may(permission, caller) else "" for caller in CALLERS]
        lines.append(f"| {root.lower()} `{name}` | {permission.__name__} | {' | '.join(cells)} |  |")
    return "\n".join(lines)


def permission_page() -> str:
    """The page about who may do what."""
    schema = build_schema()

    def lines(table: dict[str, str]) -> str:
        return "\n".join(f"| `{name}` | {who} |" for name, who in sorted(table.items()))

    objects, fields = f"{OBJECTS_HEAD}\n{lines(OBJECTS)}", f"{FIELDS_HEAD}\n{lines(GUARDED)}"
    return f"{PERMISSIONS}\n{permission_table(schema)}\n\n{objects}\n\n{fields}\n"


def limit_table() -> str:
    """What one document may hold."""
    rows = [f"| {name} | {limit.most:,} | {limit.meaning} |" for name, limit in LIMITS.items()]
    return "\n".join(["| limit | most | of what |", "| --- | --- | --- |", *rows])


def cost_table() -> str:
    """What an operation costs, part by part."""
    more = [f"| `{name}` | {cost.ROOT + cost.OBJECT + extra} |" for name, (_, extra) in cost.ACTIONS.items() if extra]
    searches = [
        f"| the query `{name}`{_with(by)} | {cost.OBJECT + cost.SEARCH} |" for name, by in cost.SEARCHES.items()
    ]
    return "\n".join(
        [
            "| what | cost |",
            "| --- | --- |",
            f"| a plain value | {cost.VALUE} |",
            f"| an object | {cost.OBJECT} |",
            f"| a mutation or subscription | {cost.ROOT + cost.OBJECT} |",
            *more,
            *searches,
            f"| a field of introspection | {cost.INTROSPECTION} |",
            f"| a document that is refused, or credentials that are not good | {REFUSED} |",
            f"| one operation, at most | {cost.MAX_COST:,} |",
        ]
    )


def _with(arguments: Collection[str]) -> str:
    return f" with {' or '.join(f'`{each}`' for each in sorted(arguments))}" if arguments else ""


def rate_table() -> str:
    """How often a caller may do what, where the deployment says nothing else."""
    counted = {
        action: ", ".join(f"`{name}`" for name, (it, _) in cost.ACTIONS.items() if it == action) for action in RATES
    }
    told = {
        action: (counted[action] or "the cost of every operation", "address" if action in BY_ADDRESS else PERSON)
        for action in RATES
    } | ELSEWHERE
    told |= {f"{action}_{kind}": (f"as `{action}`", by) for action in PERSONAL for kind, by in BESIDE.items()}
    rows = [
        f"| `{action}` | {' | '.join(told[action])} | {rate.count:,} in {rate.seconds:g} s |"
        for action, rate in RATES.items()
    ]
    return "\n".join(["| bucket | counts | by | rate |", "| --- | --- | --- | --- |", *rows])


def scope_table() -> str:
    """The closed list of scopes, and the root fields that each opens."""
    rows = [
        f"| `{scope}` | {told} | {', '.join(f'`{field}`' for field in _opened(scope))} |"
        for scope, told in SCOPES.items()
    ]
    return "\n".join(["| scope | what a person is told | opens |", "| --- | --- | --- |", *rows])


def with_tables(text: str) -> str:
    """`text` of the page about limits with the generated tables put between their marks."""
    tables = {
        "limits": limit_table(),
        "costs": cost_table(),
        "rates": rate_table(),
        "values": value_limit_table(),
    }
    return between_marks(text, tables, LIMITS_FILE)


def _opened(scope: str) -> list[str]:
    """What a scope opens: fields of the roots, and of `viewer` where it is not the scope of `viewer` itself."""
    of_viewer = [f"viewer.{field}" for field, needed in VIEWER.items() if needed == scope != "profile"]
    return [*FIELDS.get(scope, ()), *of_viewer]


def with_scopes(text: str) -> str:
    """`text` of the page about sign-in with the table of scopes."""
    return between_marks(text, {"scopes": scope_table()}, SIGN_IN_FILE)


def between_marks(text: str, tables: dict[str, str], file: Path) -> str:
    """`text` of `file` with each table put between the marks of its name; `ValueError` where they are missing."""
    for name, table in tables.items():
        marks = re.compile(rf"(<!-- {name} -->\n).*?(\n<!-- end {name} -->)", re.DOTALL)
        text, count = marks.subn(lambda found, table=table: f"{found[1]}\n{table}\n{found[2]}", text)  # type: ignore[misc]
        if count != 1:
            raise ValueError(f"{file.name} must have the marks of {name!r} once; found {count}")
    return text


def main() -> None:
    """Rewrite the files."""
    SCHEMA_FILE.write_text(sdl())
    LIMITS_FILE.write_text(with_tables(LIMITS_FILE.read_text()))
    ERRORS_FILE.write_text(error_page())
    SIGN_IN_FILE.write_text(with_scopes(SIGN_IN_FILE.read_text()))
    PERMISSIONS_FILE.write_text(permission_page())


if __name__ == "__main__":
    main()
