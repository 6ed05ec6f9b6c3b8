"""Devices and programs without a browser (RFC 8628): they show a code, their person types it here.

Threat: somebody typing codes until one is good, or talked into typing another's. So guesses are counted by person and
by address, a code has 34 bits and lives fifteen minutes, and the page says who asks for what; an app of ours names
what it asks for too, as anybody may say its name.
"""

from __future__ import annotations

from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from core.errors import NotFound
from core.grants import plain_user_code
from core.oauth_records import DEVICE_GRANT, DEVICE_INTERVAL, DEVICE_LIFE

from .authorize import consent_page, named_scopes
from .errors import NO_STORE, OAuthError
from .pages import message, page, shows_errors
from .sign_in import to_sign_in
from .site import auth_of, base_of, page_form, session_of, take
from .token import answers, call_of


@answers
async def begin(request: Request) -> Response:
    """Give a device its two codes."""
    call = await call_of(request)
    if DEVICE_GRANT not in call.client.grants:
        raise OAuthError("unauthorized_client", "the client is not registered for device codes")
    scopes = named_scopes(call.client, call.form)
    device_code, user_code = await auth_of(request).devices.begin(call.client.id, scopes)
    where = f"{base_of(request)}/device"
    answer = {
        "device_code": device_code, "user_code": user_code, "verification_uri": where,
        "verification_uri_complete": f"{where}?user_code={user_code}", "expires_in": DEVICE_LIFE // 1000,
        "interval": DEVICE_INTERVAL // 1000,
    }  # fmt: skip
    return JSONResponse(answer, headers=NO_STORE)


@shows_errors
async def verify(request: Request) -> Response:
    """Take the code that a person types, say who asks, and take the decision."""
    found = await session_of(request)
    typed = plain_user_code(request.query_params.get("user_code", ""))
    if found is None:
        return to_sign_in(f"/device?user_code={quote(typed)}" if typed else "/device")
    shown = f"{typed[:4]}-{typed[4:]}" if typed else ""
    if request.method == "GET":
        return page(request, "device.html", user_code=shown)
    user, form = found[1], await page_form(request)
    await take(request, "device_code_address")
    await take(request, "device_code", f"user:{user.id}")
    auth, code = auth_of(request), form.get("user_code", "")
    grant = await auth.devices.waiting(code)
    client = await auth.clients.find(grant.client_id)
    if client is None:
        raise NotFound("the program that asks is not known any more")
    if "decision" not in form:
        return consent_page(
            request, client, grant.scopes, user, action="/device", field="user_code", value=code, here="/device",
            where="The device is the one that shows this code. If it is not in your hands, do not allow it.",
        )  # fmt: skip
    allowed = form["decision"] == "allow"
    await auth.devices.decide(grant, user.id, allowed)
    if not allowed:
        return message(request, "Not allowed", f"{client.name} got no access.")
    return message(request, "Connected", f"{client.name} may go on. You can close this page.")
