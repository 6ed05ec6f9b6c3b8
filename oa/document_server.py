"""The embedded document store's server: nx-27017's handler behind a front of ours that costs half as much a command.

The package's own front hands each command to a thread and walks each answer twice. Here a command that is known to be
quick is answered where it was read; others go to a thread, so that a long one never keeps a connection's heartbeat
waiting. What is quick is learned by the command's shape. Started as `python -m oa.document_server`, with the options of
`nx-27017` that it takes. Threat: credentials are not checked, so it listens on the address given, which is loopback.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import signal
import struct
import sys
import time
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, cast

import bson
from bson import Decimal128, Int64, ObjectId
from bson.codec_options import CodecOptions, TypeRegistry
from neosqlite.objectid import ObjectId as StoredId
from nx_27017.daemon import remove_pid_file, write_pid_file
from nx_27017.handler import NeoSQLiteHandler
from nx_27017.wire_protocol import MAX_MESSAGE_SIZE_BYTES, OP_MSG, OP_QUERY, ResponseBuilder

from oa.store_direct import Direct, unsuited
from oa.store_files import handler_of

HEADER = struct.Struct("<iiii")
HEADER_AND_FLAGS = struct.Struct("<iiiiI")
SIZE = struct.Struct("<i")
REPLY = struct.Struct("<iiiiIB")
QUERY, MESSAGE = 2004, 2013
"""Opcodes of the wire protocol (MongoDB manual, "MongoDB Wire Protocol")."""
QUICK_SECONDS = 0.05
"""A command that takes less is quick: drivers wait seconds for their heartbeat."""
PATIENCE = 10
"""How many times longer it may wait beside that."""
PROVEN = 3
"""Times that a shape is quick before it is answered without a thread."""
DOUBTED = 100
"""Times more that it has to be quick after it was slow."""
SHAPES = 2_000
"""Shapes that are remembered."""
SEQUENCES = ("documents", "updates", "deletes", "ops")
"""What writes send beside their command."""
MOST_WRITES = 32
"""Documents of one insert, or changes of one update, that may be quick."""

Message = dict[str, Any]
logger = logging.getLogger("oa.document_server")


def _plain(value: Any) -> Any:
    """What BSON's encoder does not know, in a type that it does."""
    if isinstance(value, StoredId):
        return ObjectId(value.binary)
    if isinstance(value, Decimal):
        return Decimal128(value)
    raise TypeError(f"cannot encode {type(value).__name__}")


OPTIONS: CodecOptions[dict[str, Any]] = CodecOptions(type_registry=TypeRegistry(fallback_encoder=_plain))


def parse(data: bytes) -> Message:
    """A message, as the package's parser gives it in half as much time again.

    Raises:
        ValueError: it is not made as the wire protocol says.
    """
    _, number, answers, code, flags = HEADER_AND_FLAGS.unpack_from(data)
    if flags:
        return cast("Message", OP_MSG.parse(data))
    sections: list[tuple[str, Message]] = []
    at = HEADER_AND_FLAGS.size
    while at < len(data):
        kind, at = data[at], at + 1
        (size,) = SIZE.unpack_from(data, at)
        part, at = data[at : at + size], at + size
        if kind > 1 or size < SIZE.size or len(part) < size:
            raise ValueError(f"a section of kind {kind} with {len(part)} of {size} bytes")
        if kind == 0:
            sections.append(("body", bson.decode(part)))
        else:
            end = part.index(0, SIZE.size)
            sections.append(("payload", {part[SIZE.size : end].decode(): bson.decode_all(part[end + 1 :])}))
    return {"request_id": number, "response_to": answers, "opcode": code, "flags": flags, "sections": sections}


def shape(message: Message) -> tuple[object, ...] | None:
    """What commands of equal cost have in common; None where it says nothing about the cost."""
    body: dict[str, Any] = {}
    many: list[dict[str, Any]] = []
    for kind, content in message["sections"]:
        if kind == "body":
            body = content
        many += next((content[name] for name in SEQUENCES if name in content), [])
    name = next(iter(body), "")
    found = body.get("filter", body.get("query"))
    if name == "aggregate":
        stages = body["pipeline"]
        first = next(iter(stages[0].values()), None) if stages and isinstance(stages[0], dict) else None
        return name, body[name], len(stages), *(first if isinstance(first, dict) else ())
    if name in ("insert", "update", "delete", "bulkWrite"):
        if len(many) > MOST_WRITES or any(change.get("multi") or change.get("limit") == 0 for change in many):
            return None
        asked = many[0].get("q", many[0].get("filter", {})) if many else {}
        return name, body[name], *(path.partition(".")[0] for path in asked)
    if name == "find" and isinstance(found, dict):
        return name, body[name], body.get("limit"), *found, *body.get("sort", ())
    if name == "findAndModify" and isinstance(found, dict):
        return name, body[name], *found
    return (name,) if name in ("hello", "ping", "endSessions") else None


def changed_databases(message: Message) -> list[str]:
    """The databases that a `bulkWrite` changes, in the one order in which they are taken."""
    spaces = (space for _, content in message["sections"] for space in content.get("nsInfo", ()))
    return sorted({str(space["ns"]).partition(".")[0] for space in spaces})


class Paces:
    """What was learned of how quick commands are."""

    def __init__(self) -> None:
        self._quick: dict[tuple[object, ...], int] = {}

    def is_quick(self, key: tuple[object, ...] | None) -> bool:
        """Whether commands of that shape have always been quick, and often enough."""
        return key is not None and self._quick.get(key, 0) >= PROVEN

    def took(self, key: tuple[object, ...] | None, seconds: float) -> None:
        """Learn from a command."""
        if key is None:
            return
        if len(self._quick) >= SHAPES:
            self._quick.clear()
        if seconds > QUICK_SECONDS:
            self._quick[key] = -DOUBTED
        elif (times := self._quick.get(key, 0)) < PROVEN:
            self._quick[key] = times + 1


class Server:
    """Answers the connections of one handler."""

    def __init__(self, handler: NeoSQLiteHandler) -> None:
        self.handler = handler
        self.paces = Paces()
        self.direct: Direct | None = Direct(handler)
        """The short way of the commands that it knows."""
        if why := unsuited():
            logger.warning("all commands go the long way: %s", why)
            self.direct = None
        self.in_threads = 0
        """Commands that threads are at: one more would wait for their lock, so it goes to a thread too."""

    def may_answer_at_once(self, key: tuple[object, ...] | None) -> bool:
        """Whether a command may be answered where it was read."""
        return self.in_threads == 0 and self.paces.is_quick(key)

    def answer(self, message: Message, key: tuple[object, ...] | None) -> bytes:
        """The reply to a command; what fails is told in it."""
        began, used = time.perf_counter(), time.thread_time()
        try:
            kinds = [kind for kind, _ in message["sections"]]
            body: Message = next((content for kind, content in message["sections"] if kind == "body"), {})
            document = self.direct.answer(message) if self.direct else None
            if document is None:
                inserts = "insert" in body or "payload_docs" in kinds
                with self._alone(message, body):
                    _, document = (self.handler.handle_insert if inserts else self.handler.handle_command)(message)
        except Exception as error:
            logger.exception("a command failed")
            document = {"ok": 0, "errmsg": str(error)}
        cursor = document.get("cursor")
        if isinstance(cursor, dict) and "id" in cursor:
            cursor["id"] = Int64(cursor["id"])  # drivers want 64 bits here
        data = bson.encode(document, codec_options=OPTIONS)
        seconds = time.perf_counter() - began
        if seconds > QUICK_SECONDS:  # one that waited for the disk or a processor once is not long for that
            seconds = max(time.thread_time() - used, seconds / PATIENCE)
        self.paces.took(key, seconds)
        return REPLY.pack(21 + len(data), 0, message["request_id"], MESSAGE, 0, 0) + data

    @contextlib.contextmanager
    def _alone(self, message: Message, body: Message) -> Iterator[None]:
        """No other command is at the databases that a `bulkWrite` changes: it is sent to `admin`, and the handler keeps
        others only out of what a command is sent to."""
        with contextlib.ExitStack() as held:
            for name in changed_databases(message) if "bulkWrite" in body else ():
                held.enter_context(self.handler._lock_for(name))
            yield

    async def answer_in_thread(self, message: Message, key: tuple[object, ...] | None) -> bytes:
        """The same, in a thread."""
        self.in_threads += 1
        try:
            return await asyncio.to_thread(self.answer, message, key)
        finally:
            self.in_threads -= 1

    async def answer_query(self, message: Message) -> bytes:
        """The reply to a query of the old form, which drivers greet with."""
        self.in_threads += 1
        try:
            _, documents = await asyncio.to_thread(self.handler.handle_query, message)
        finally:
            self.in_threads -= 1
        reply: bytes = ResponseBuilder.build_reply(0, message["request_id"], documents)
        return reply


class Connection(asyncio.Protocol):
    """One client. Its commands are answered in their order, one at a time."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._identity = str(uuid.uuid4())
        self._read = bytearray()
        self._waiting: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came."""
        self._transport = cast("asyncio.Transport", transport)
        self._server.handler.increment_connections()

    def connection_lost(self, exc: Exception | None) -> None:
        """It went."""
        self._server.handler.decrement_connections()
        self._server.handler.close_streams_for_connection(self._identity)

    def data_received(self, data: bytes) -> None:
        """It sent something: a part of a message, or several."""
        self._read += data
        if self._waiting is None:
            self._answer_all()

    def _answer_all(self) -> None:
        """Answer what was read, until something has to be waited for."""
        for code, data in self._messages():
            if code == MESSAGE:
                message = parse(data)
                message["_conn_id"] = self._identity
                key = shape(message)
                if self._server.may_answer_at_once(key):
                    self._transport.write(self._server.answer(message, key))
                    continue
                answer = self._server.answer_in_thread(message, key)
            else:
                answer = self._server.answer_query(OP_QUERY.parse(data) | {"_conn_id": self._identity})
            self._waiting = asyncio.ensure_future(self._later(answer))
            return

    async def _later(self, answer: Any) -> None:
        try:
            self._transport.write(await answer)
        except Exception:
            logger.exception("an answer could not be given")
            self._transport.abort()
            return
        self._waiting = None
        self._answer_all()

    def _messages(self) -> Iterator[tuple[int, bytes]]:
        """Whole messages that were read, taken from the front."""
        while len(self._read) >= HEADER.size:
            size, _, _, code = HEADER.unpack_from(self._read)
            if not HEADER.size < size <= MAX_MESSAGE_SIZE_BYTES or code not in (QUERY, MESSAGE):
                logger.warning("a message of %d bytes with opcode %d: the connection is closed", size, code)
                self._transport.abort()
                return
            if len(self._read) < size:
                return
            data = bytes(self._read[:size])
            del self._read[:size]
            yield code, data


async def serve(host: str, port: int, handler: NeoSQLiteHandler) -> None:
    """Listen until the process is told to end."""
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, done.set)
    server = Server(handler)
    async with await loop.create_server(lambda: Connection(server), host, port):
        logger.info("listening on %s:%d", host, port)
        await done.wait()


def main() -> int:
    """Run the server; its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data-dir", required=True, help="one SQLite file for each database")
    parser.add_argument("--pid-file", required=True)
    parser.add_argument("--log-file", required=True)
    options = parser.parse_args()
    form = "%(asctime)s - %(name)s - %(levelname)s - [%(process)d] - %(message)s"
    logging.basicConfig(filename=options.log_file, level=logging.INFO, format=form)
    if not write_pid_file(options.pid_file):
        print(f"another server runs ({options.pid_file})", file=sys.stderr)
        return 1
    try:
        import uvloop

        gc.freeze()
        gc.set_threshold(20_000, 20, 20)  # documents come and go, and hold each other in no circles
        uvloop.run(serve(options.host, options.port, handler_of(options.data_dir)))
    finally:
        with contextlib.suppress(OSError):
            remove_pid_file(options.pid_file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
