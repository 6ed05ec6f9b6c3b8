"""A small GraphQL client: what a script of a user's would do, and no more.

Knows HTTP, the `graphql-transport-ws` protocol and this API's two kinds of error (`errors`, and `userErrors` in a
payload). Does not know any operation. Used by the demonstration, the command line and the end-to-end tests.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
from websockets.sync.client import connect

from core.errors import CODES, OaError, Unavailable


class GraphQLClient:
    """One caller of one API.

    Args:
        url: the GraphQL endpoint, such as `http://127.0.0.1:8000/graphql`.
        token: an access token, sent as a bearer; None for an anonymous caller.
        timeout: seconds that one operation may take.
    """

    def __init__(self, url: str, token: str | None = None, timeout: float = 60.0) -> None:
        self.url = url
        self.token = token
        self._http = httpx.Client(timeout=timeout)

    def with_token(self, token: str) -> GraphQLClient:
        """A client of the same API for another caller."""
        return GraphQLClient(self.url, token)

    def execute(self, document: str, **variables: Any) -> dict[str, Any]:
        """Run a query or mutation; returns `data`.

        Raises:
            OaError: the answer has errors; with the code that the API gave.
            Unavailable: the API does not answer.
        """
        headers = {"accept": "application/graphql-response+json, application/json"}
        if self.token:
            headers["authorization"] = f"Bearer {self.token}"
        try:
            response = self._http.post(self.url, json={"query": document, "variables": variables}, headers=headers)
            answer = response.json()
        except (httpx.HTTPError, json.JSONDecodeError) as error:
            raise Unavailable(f"the API at {self.url} does not answer: {error!r}") from error
        _raise_errors(answer.get("errors"))
        data: dict[str, Any] = answer["data"]
        return data

    def mutate(self, document: str, **variables: Any) -> dict[str, Any]:
        """Run a document with one mutation; returns that mutation's payload, whose `userErrors` are raised."""
        (payload,) = self.execute(document, **variables).values()
        _raise_user_errors(payload.get("userErrors"))
        result: dict[str, Any] = payload
        return result

    def subscribe(self, document: str, **variables: Any) -> Iterator[dict[str, Any]]:
        """Run a subscription over WebSocket; yields the `data` of each event until the server completes it.

        Leaving the loop closes the socket, which ends the subscription on the server.
        """
        url = self.url.replace("http", "ws", 1)
        with connect(url, subprotocols=["graphql-transport-ws"], max_size=1 << 22) as socket:  # type: ignore[list-item]
            payload = {"authorization": f"Bearer {self.token}"} if self.token else {}
            socket.send(json.dumps({"type": "connection_init", "payload": payload}))
            request = {"query": document, "variables": variables}
            for raw in socket:
                message = json.loads(raw)
                match message["type"]:
                    case "connection_ack":
                        socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": request}))
                    case "ping":
                        socket.send(json.dumps({"type": "pong"}))
                    case "next":
                        _raise_errors(message["payload"].get("errors"))
                        yield message["payload"]["data"]
                    case "error":
                        _raise_errors(message["payload"])
                    case "complete":
                        return
        raise Unavailable(f"the API at {url} closed the subscription before its end")


def _raise_errors(errors: list[Mapping[str, Any]] | None) -> None:
    if errors:
        first = errors[0]
        raise _error(first.get("extensions", {}).get("code", ""), str(first.get("message")), ())


def _raise_user_errors(errors: list[Mapping[str, Any]] | None) -> None:
    if errors:
        first = errors[0]
        raise _error(str(first["code"]), str(first["message"]), tuple(first.get("path") or ()))


def _error(code: str, message: str, path: tuple[str, ...]) -> OaError:
    known = code in CODES
    return OaError(message if known else f"{message} ({code})", code=code if known else "UNAVAILABLE", path=path)
