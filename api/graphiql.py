"""GraphiQL's files: which they are, that a folder holds those and no others, and the address that serves them.

None of them is in this project: `make graphiql` fetches them, and images have them. Their scripts run where tokens are,
so that each must be, to the byte, the one named here.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from core.errors import BadInput

SHA256 = {
    "react.production.min.js": "d949f1c3687aedadcedac85261865f29b17cd273997e7f6b2bfc53b2f9d4c4dd",
    "react-dom.production.min.js": "35f4f974f4b2bcd44da73963347f8952e341f83909e4498227d4e26b98f66f0d",
    "graphiql.min.js": "867226ba8af5ce7949903fc53932f78dac9f4bfc6cc8da0fd3869b8bc6c5256b",
    "graphiql.min.css": "30487e07635d312a63f647b140d37740a73c53332b0975bf4b1fe985ca6ec885",
}
"""The files, in the order in which a page loads them: of react and react-dom 18.3.1 and graphiql 4.1.2, from npm."""
PREFIX = "/graphiql"
MEDIA = {".js": "text/javascript", ".css": "text/css"}


def files_of(folder: Path) -> dict[str, bytes]:
    """The files in `folder`, by name.

    Raises:
        BadInput: one is missing, or is another than the one meant.
    """
    found: dict[str, bytes] = {}
    for name, wanted in SHA256.items():
        try:
            found[name] = (folder / name).read_bytes()
        except OSError as error:
            raise BadInput(f"OA_GRAPHIQL is {str(folder)!r}, {_wrong(f'which has no {name}')}") from error
        if hashlib.sha256(found[name]).hexdigest() != wanted:
            raise BadInput(f"OA_GRAPHIQL is {str(folder)!r}, {_wrong(f'whose {name} is another')}")
    return found


def _wrong(what: str) -> str:
    return f"{what}; it must be a folder with the files of GraphiQL 4.1.2 that `make graphiql` fetches"


def address(name: str) -> str:
    """Where a file is served: with other bytes it would be elsewhere, so that browsers may keep it."""
    return f"{PREFIX}/{name}?{SHA256[name][:16]}"


def integrity(name: str) -> str:
    """What a browser holds a file against."""
    return f"sha256-{base64.b64encode(bytes.fromhex(SHA256[name])).decode()}"


def route(files: Mapping[str, bytes]) -> Route:
    """The address of the files: these names, and no path of any folder."""

    async def answer(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in files:
            raise HTTPException(404)
        tag = f'"{SHA256[name]}"'
        headers = {"etag": tag, "cache-control": "public, max-age=31536000, immutable"}
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(files[name], headers=headers, media_type=MEDIA[Path(name).suffix])

    return Route(f"{PREFIX}/{{name}}", answer)
