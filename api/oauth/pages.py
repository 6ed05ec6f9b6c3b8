"""Our pages: rendered on the server, plain HTML and one style sheet, no scripts, nothing from elsewhere.

Threats: a page of ours shown inside another's (no frames), what others wrote shown as markup (everything is escaped),
addresses leaked to the next site (no referrer), pages kept by caches (never stored).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import cache, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from core.errors import OaError

from .errors import NO_STORE
from .site import base_of, csrf_of, keep_browser, services_of

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = Path(__file__).with_name("pages")
STATUS = {
    "UNAUTHENTICATED": 400, "FORBIDDEN": 403, "NOT_FOUND": 404, "TOO_MANY": 429, "UNAVAILABLE": 503, "CONFLICT": 409,
}  # fmt: skip
HEADERS = {
    **NO_STORE,
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
}
POLICY = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"
log = logging.getLogger("oa.sign_in")
Handler = Callable[[Request], Awaitable[Response]]


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip


def page(request: Request, name: str, status: int = 200, *, leads_out: bool = False, **values: Any) -> Response:
    """The page `name` with these values.

    Args:
        request: the one that is answered.
        name: of a file in `pages/`.
        status: of the answer.
        leads_out: its form ends in a redirect to another site, which a browser must not hold against it.
        values: what the page shows.
    """
    terms = services_of(request).terms
    text = _environment().get_template(name).render(csrf=csrf_of(request), terms=terms, **values)
    policy = POLICY if leads_out else f"{POLICY}; form-action 'self'"
    response = HTMLResponse(text, status, {**HEADERS, "content-security-policy": policy})
    keep_browser(request, response)
    return response


def go(url: str) -> RedirectResponse:
    """A redirect that no cache keeps and that turns a form into a plain request."""
    return RedirectResponse(url, 303, {**NO_STORE, "referrer-policy": "no-referrer"})


def message(request: Request, title: str, text: str, status: int = 200) -> Response:
    """A page that only says something; what went wrong comes with a way to begin again."""
    return page(request, "message.html", status, title=title, text=text, again=status >= 400)


def shows_errors(handler: Handler) -> Handler:
    """`handler`, whose errors for the caller become a page that says what is wrong."""

    @wraps(handler)
    async def shown(request: Request) -> Response:
        try:
            base_of(request)  # nothing here works without an address
            return await handler(request)
        except OaError as error:
            return _error(request, error)
        except Exception as error:
            if (ours := services_of(request).translate(error)) is None:
                raise
            return _error(request, ours)

    return shown


def _error(request: Request, error: OaError) -> Response:
    status = STATUS.get(error.code, 400)
    log.info("sign-in refused", extra={"fields": {"path": request.url.path[:256], "code": error.code}})
    response = message(request, "That did not work", error.message[:1].upper() + error.message[1:] + ".", status)
    if error.retry_after is not None:
        response.headers["retry-after"] = str(round(error.retry_after + 0.5))
    return response


async def style(request: Request) -> Response:
    """The style sheet of all pages."""
    text = (FOLDER / "style.css").read_text("utf-8")
    return Response(text, media_type="text/css", headers={"cache-control": "public, max-age=3600"})


def name_of(request: Request) -> str:
    """Where somebody signs in, as pages say it: our host."""
    return base_of(request).partition("://")[2]
