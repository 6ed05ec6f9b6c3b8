"""The answers of `benchmarks.api` from hand-written routes: Starlette and orjson, the same services, the same sign-in.

What a hand-written route may leave out is left out (a document, its cost, its limits); what the data demands is kept:
who may see an author, labels by name, ids and cursors in their form, errors as values of a payload.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from api.app import create_app, middleware
from api.callers import Callers
from api.keys import keys_of
from api.settings import Settings
from api.tokens import Tokens
from core.errors import OaError
from core.records import Message, Task, Tree, User
from graphql_schema.context import Context
from graphql_schema.relay import encode_cursor, global_id, raw_id

PREFIX = "/plain"
ENDED = {"ready_for_export", "aborted_low_grade", "halted_by_moderator"}
TYPES = {"initial_prompt": "InitialPromptTask"}


class Both:
    """The API and, under `/plain`, the hand-written routes over the services that the API opened."""

    def __init__(self, settings: Settings) -> None:
        self.api = create_app(settings, alone=True)
        self.callers = Callers(settings, Tokens(keys_of(settings), settings.token_issuer, settings.token_seconds))
        routes = [
            Route(f"{PREFIX}/hello", self.hello, methods=["POST"]),
            Route(f"{PREFIX}/messages", self.messages),
            Route(f"{PREFIX}/trees/{{id}}", self.tree),
            Route(f"{PREFIX}/tasks", self.request_task, methods=["POST"]),
            Route(f"{PREFIX}/tasks/{{id}}/prompt", self.submit_prompt, methods=["POST"]),
        ]
        self.plain: ASGIApp = Starlette(routes=routes, middleware=middleware(settings, lambda *_: None, None))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request by either."""
        plain = scope["type"] == "http" and scope["path"].startswith(PREFIX)
        await (self.plain if plain else self.api)(scope, receive, send)

    async def caller(self, request: Request) -> Context:
        """Who asks, found as the API finds it."""
        context = Context(services=self.api.state.services)
        await self.callers.identify(context, request.headers.get("authorization"))
        return context

    async def hello(self, request: Request) -> Response:
        """The least there is to answer."""
        orjson.loads(await request.body())
        await self.caller(request)
        return answer({"__typename": "Query"})

    async def messages(self, request: Request) -> Response:
        """A page of messages."""
        context = await self.caller(request)
        context.user()
        first = int(request.query_params["first"])
        page = await context.services.collection.messages_page(first=first)
        edges = [
            {
                "cursor": encode_cursor(page.key(each)),
                "node": {"id": global_id("Message", each.id), "text": each.text, "role": each.role.upper(),
                         "lang": each.lang, "depth": each.depth, "createdAt": time(each.created_at)},
            }
            for each in page.items
        ]  # fmt: skip
        end = edges[-1]["cursor"] if edges else None
        return answer({"messages": {"edges": edges, "pageInfo": {"hasNextPage": page.has_next, "endCursor": end}}})

    async def tree(self, request: Request) -> Response:
        """A tree with all its messages and their authors."""
        context = await self.caller(request)
        viewer, services = context.user(), context.services
        tree_id = raw_id(request.path_params["id"], "Tree")
        tree = (await services.collection.trees([tree_id]))[tree_id]
        messages = await services.collection.messages_of(tree_id, known=True)
        names = await services.accounts.get_many(list({each.author_id for each in messages if each.author_id}))
        nodes = [message(each, tree, viewer, names) for each in messages]
        return answer({
            "node": {"__typename": "Tree", "id": global_id("Tree", tree.id), "state": tree.state.upper(),
                     "lang": tree.lang, "messages": {"nodes": nodes}}
        })  # fmt: skip

    async def request_task(self, request: Request) -> Response:
        """Take a task."""
        given, context = orjson.loads(await request.body()), await self.caller(request)
        try:
            task = await context.services.collection.request_task(context.user(), given["kind"].lower(), given["langs"])
        except OaError as error:
            return answer({"p": {"task": None} | failed(error)})
        return answer({"p": {"task": task_shown(task), "userErrors": []}})

    async def submit_prompt(self, request: Request) -> Response:
        """Answer it."""
        given, context = orjson.loads(await request.body()), await self.caller(request)
        collection, task_id = context.services.collection, raw_id(request.path_params["id"], "Task")
        try:
            lang = (await collection.get_task(context.user(), task_id)).lang
            task = await collection.submit_prompt(context.user(), task_id, given["text"], lang)
            made = await collection.message(str(task.result_id))
        except OaError as error:
            return answer({"p": {"message": None} | failed(error)})
        shown = {"id": global_id("Message", made.id), "text": made.text, "state": made.state.upper()}
        return answer({"p": {"message": shown, "userErrors": []}})


def message(each: Message, tree: Tree, viewer: User, names: dict[str, User]) -> dict[str, Any]:
    """One message as the caller may see it."""
    told = tree.state in ENDED and not each.deleted
    mine = each.author_id == viewer.id
    author = names.get(each.author_id or "") if (told and tree.origin != "chat") or mine else None
    emojis = sorted(each.emojis.items(), key=lambda item: (-item[1], item[0]))
    return {
        "id": global_id("Message", each.id), "text": "" if each.deleted and not mine else each.text,
        "role": each.role.upper(), "lang": each.lang, "depth": each.depth, "state": each.state.upper(),
        "rank": each.rank, "reviewCount": each.review_count, "createdAt": time(each.created_at), "mine": mine,
        "synthetic": each.synthetic if told else None,
        "emojis": [{"emoji": code, "count": count} for code, count in emojis if count > 0],
        "labels": [
            {"name": name.upper(), "value": mean["value"], "count": int(mean["count"])}
            for name, mean in each.labels.items()
        ] if told else None,
        "parent": None if each.parent_id is None else {"id": global_id("Message", each.parent_id)},
        "author": author and {"id": global_id("User", author.id), "displayName": author.display_name},
    }  # fmt: skip


def task_shown(task: Task) -> dict[str, Any]:
    """What is asked of a task."""
    return {"__typename": TYPES[task.kind], "id": global_id("Task", task.id), "kind": task.kind.upper(),
            "lang": task.lang}  # fmt: skip


def failed(error: OaError) -> dict[str, Any]:
    """A refusal as a value."""
    return {"userErrors": [{"code": error.code, "message": error.message, "path": list(error.path)}]}


def time(at: datetime) -> str:
    """A time as GraphQL writes it."""
    return at.isoformat()


def answer(data: dict[str, Any]) -> Response:
    """The answer."""
    return Response(orjson.dumps({"data": data}), media_type="application/json")
