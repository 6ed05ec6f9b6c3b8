"""`oa users`: who there is, what they may do, and access tokens for development and for services.

Works on the document store directly, so it needs its address and no sign-in: whoever holds that address rules anyway.
A token is signed with the key that the API uses, so it must be run where that key is.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.errors import BadInput

if TYPE_CHECKING:
    from core.accounts import Accounts
    from core.records import User

app = typer.Typer(help="List users, set their roles, mint tokens.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one user a line.")]
UserId = Annotated[str, typer.Argument(help="Id of the user.")]
PAGE = 100


@app.command("list")
def list_command(as_json: AsJson = False) -> None:
    """Every user, oldest first."""

    async def show(accounts: Accounts) -> None:
        after = None
        while page := await accounts.page(after, PAGE):
            for _, user in page:
                _print(user, as_json)
            after = page[-1][0]

    _with_accounts(show)


@app.command("set-roles")
def set_roles_command(
    user_id: UserId,
    roles: Annotated[list[str], typer.Argument(help="All roles that the user shall have.")],
    as_json: AsJson = False,
) -> None:
    """Give a user exactly these roles."""

    async def change(accounts: Accounts) -> None:
        _print(await accounts.set_roles(user_id, roles), as_json)

    _with_accounts(change)


@app.command("token")
def token_command(
    user_id: UserId,
    scope: Annotated[
        list[str] | None, typer.Option(help="A scope that the token is limited to; may be given again.")
    ] = None,
) -> None:
    """Mint an access token for a user, with all roles that the user has; it is printed alone."""
    from api.keys import keys_of
    from api.settings import from_env
    from api.tokens import Tokens
    from core.scopes import check_scopes
    from core.sessions import Sessions

    settings = from_env()
    tokens = Tokens(keys_of(settings), settings.token_issuer, settings.token_seconds)

    async def mint(accounts: Accounts) -> None:
        user = await accounts.get(user_id)
        if not user.enabled or user.deleted:
            raise BadInput(f"user {user_id!r} is disabled; no token is given", path=("user_id",))
        session = await Sessions(accounts.database).open_plain(user.id, "command", settings.token_seconds)
        typer.echo(
            tokens.mint(user.id, user.roles, check_scopes(scope) if scope else None, session_id=session.id).token
        )

    _with_accounts(mint)


def _print(user: User, as_json: bool) -> None:
    about: dict[str, Any] = {
        "id": user.id, "name": user.display_name, "auth_method": user.auth_method, "subject": user.subject,
        "roles": list(user.roles), "enabled": user.enabled, "deleted": user.deleted,
    }  # fmt: skip
    if as_json:
        typer.echo(json.dumps(about, ensure_ascii=False))
    else:
        state = "" if user.enabled and not user.deleted else "  (disabled)"
        typer.echo(f"{user.id}  {user.display_name:24}  {', '.join(user.roles)}{state}")


def _with_accounts(act: Callable[[Accounts], Awaitable[None]]) -> None:
    """Run `act` on the accounts of the document store that the environment names."""
    import os

    from pymongo.errors import PyMongoError

    from core.accounts import Accounts
    from core.database import connect, unavailable

    uri = os.environ.get("OA_MONGODB_URI")
    if not uri:
        raise BadInput("OA_MONGODB_URI is not set and no `oa up` runs here; start it, or name the document store")

    async def run() -> None:
        async with connect(uri) as client:
            try:
                await act(Accounts(client[os.environ.get("OA_MONGODB_DATABASE") or "open_assistant"]))
            except PyMongoError as error:
                raise unavailable(error) from error

    asyncio.run(run())
