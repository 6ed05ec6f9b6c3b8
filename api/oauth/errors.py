"""Errors of OAuth endpoints in OAuth's words (RFC 6749, sections 4.1.2.1 and 5.2), and how ours become them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from starlette.responses import JSONResponse

from core.errors import BadInput, OaError, TooMany, Unauthenticated, Unavailable

from ..refusals import BodyTooLong

NO_STORE = {"cache-control": "no-store", "pragma": "no-cache"}


class OAuthError(Exception):
    """An error for a client.

    Args:
        error: the code of the RFC, such as `invalid_grant`.
        description: for the client's developer.
        status: of the HTTP answer.
        headers: of the HTTP answer.
    """

    def __init__(
        self, error: str, description: str, status: int = 400, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(description)
        self.error = error
        self.description = description
        self.status = status
        self.headers = dict(headers or {})

    def response(self) -> JSONResponse:
        """The answer that says so."""
        body = {"error": self.error, "error_description": self.description}
        return JSONResponse(body, self.status, NO_STORE | self.headers)


def invalid_client(description: str, scheme: bool = False) -> OAuthError:
    """The error for a client that did not prove who it is; 401 with a challenge where it used the header."""
    headers = {"www-authenticate": 'Basic realm="open-assistant"'} if scheme else None
    return OAuthError("invalid_client", description, 401, headers)


def as_oauth(error: OaError, unauthenticated: str = "invalid_grant") -> OAuthError:
    """One of our errors as OAuth's."""
    if isinstance(error, TooMany):
        wait = {"retry-after": str(math.ceil(error.retry_after or 1))}
        return OAuthError("slow_down", error.message, 429, wait)
    if isinstance(error, Unavailable):
        return OAuthError("temporarily_unavailable", error.message, 503, {"retry-after": "2"})
    if isinstance(error, Unauthenticated):
        return OAuthError(unauthenticated, error.message)
    if isinstance(error, BadInput) and error.path == ("scopes",):
        return OAuthError("invalid_scope", error.message)
    return OAuthError("invalid_request", error.message, 413 if isinstance(error, BodyTooLong) else 400)
