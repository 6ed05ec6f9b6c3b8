"""A serving node that counts: a real HTTP server with the OpenAI-compatible streaming form, for tests of the relay.

Asked "count to 30" it says "1 ", "2 ", ... "30 ", one token every `--delay` seconds; given the beginning of its reply
to continue, it goes on behind it. Asked anything else it says that it cannot. Run as a program, so that a test may kill
it: `counting_node.py PORT NAME@VERSION [--delay S] [--refuse CODE] [--forget]`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from oa import embedded

MODEL = "assistant@v1"
STATUS = {"QUEUE_FULL": 429, "NO_MODEL": 404, "CONTEXT_TOO_LONG": 400}


def tokens(body: dict[str, Any]) -> list[str]:
    """What is left to say."""
    *before, last = body["messages"]
    said = last["content"] if body.get("continue_final_message") else ""
    prompt = before[-1]["content"] if said else last["content"]
    if wanted := re.fullmatch(r"count to (\d+)", prompt):
        whole = [f"{number} " for number in range(1, int(wanted[1]) + 1)]
    else:
        whole = ["I only ", "count, ", f"{body['seed']}\u2028"]
    assert "".join(whole).startswith(said), f"{said!r} is no beginning of the reply"
    return whole[len(re.findall(r"\S+\s", said)) :]


def application(options: argparse.Namespace) -> Starlette:
    """The node."""
    seen: list[dict[str, Any]] = []

    async def events(body: dict[str, Any]) -> AsyncIterator[str]:
        for token in tokens(body)[: body["max_tokens"]]:
            yield event({"content": token})
            await asyncio.sleep(options.delay)
        if options.forget:
            return
        yield event({}, "stop")
        yield "data: [DONE]\n\n"

    def event(delta: dict[str, str], finish: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return f"data: {json.dumps({'model': options.model, 'choices': [choice]}, ensure_ascii=False)}\n\n"

    async def complete(request: Request) -> Response:
        body = await request.json()
        seen.append(body)
        if options.refuse:
            error = {"error": {"message": f"refused: {options.refuse}", "code": options.refuse}}
            return JSONResponse(error, STATUS[options.refuse], headers={"retry-after": "0.2"})
        return StreamingResponse(events(body), media_type="text/event-stream")

    async def requests(request: Request) -> Response:
        return JSONResponse(seen)

    return Starlette(routes=[Route("/v1/chat/completions", complete, methods=["POST"]), Route("/seen", requests)])


def counted(number: int) -> str:
    """What a node says that counts to `number`."""
    return "".join(f"{each} " for each in range(1, number + 1))


class Node:
    """A counting node as a process."""

    def __init__(self, *options: str, model: str = MODEL) -> None:
        port = embedded.free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen([sys.executable, __file__, str(port), model, *options])
        embedded.wait_for_port(port, self.process)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def seen(self) -> list[dict[str, Any]]:
        """The bodies that it was sent."""
        return httpx.get(f"{self.url}/seen", trust_env=False).json()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("model")
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--refuse", choices=STATUS)
    parser.add_argument("--forget", action="store_true", help="end streams without saying that the reply is whole")
    given = parser.parse_args()
    uvicorn.run(application(given), host="127.0.0.1", port=given.port, log_level="error")
