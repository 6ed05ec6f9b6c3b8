"""The pages on which people sign in: through a provider, by letter, or by name in embedded mode; the account page.

Beginning is a plain link; what comes back is taken only in the browser that began (`core.attempts`). After signing in,
somebody goes on to a page of ours and nowhere else.
"""

from __future__ import annotations

from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import Response

from core import identities
from core.errors import BadInput, NotFound, Unauthenticated
from core.oauth_records import ATTEMPT_LIFE, MINUTE, Attempt
from core.records import User, identity
from core.redirects import local_page
from core.secret_values import hashed, new_secret
from core.texts import is_name

from ..rate import address_of
from .mail import check_address
from .pages import go, message, name_of, page, shows_errors
from .site import (
    auth_of,
    base_of,
    browser_of,
    fields_of,
    keep_browser,
    page_form,
    services_of,
    session_of,
    sign_in_browser,
    sign_out_browser,
    site_of,
    take,
)
from .upstream import Upstream, plain_name

HOME = "/account"
MAX_NAME = 64


@shows_errors
async def choose(request: Request) -> Response:
    """The ways to sign in here."""
    providers = site_of(request).providers
    shown = list(providers.by_id.values())
    return page(
        request, "sign_in.html", providers=shown, mail=providers.mail is not None, development=providers.development,
        next=local_page(request.query_params.get("next")) or HOME,
    )  # fmt: skip


@shows_errors
async def begin(request: Request) -> Response:
    """Send the browser to a provider."""
    await take(request, "sign_in")
    return await _send_there(request, local_page(request.query_params.get("next")) or HOME)


async def _send_there(request: Request, next_page: str, link_user_id: str | None = None) -> Response:
    provider = site_of(request).providers.get(request.path_params["provider"])
    attempt = Attempt(
        id="", provider=provider.id, browser_hash=hashed(browser_of(request)), nonce=new_secret(),
        verifier=new_secret(), next=next_page, link_user_id=link_user_id,
    )  # fmt: skip
    state = await auth_of(request).attempts.begin(attempt)
    response = go(await _upstream(request).address(provider, attempt, state, _back(request, provider.id)))
    keep_browser(request, response)
    return response


@shows_errors
async def come_back(request: Request) -> Response:
    """What a provider sends the browser back with."""
    await take(request, "sign_in")
    provider = site_of(request).providers.get(request.path_params["provider"])
    answer = fields_of(request.url.query)
    known = request.cookies.get(site_of(request).cookie("browser"))
    attempt = await auth_of(request).attempts.finish(answer.get("state", ""), provider.id, known)
    if "code" not in answer:
        raise Unauthenticated(f"{provider.label} did not let you in; begin again, or choose another way")
    back = _back(request, provider.id)
    person = await _upstream(request).person(provider, attempt, answer["code"], answer.get("iss"), back)
    return await _enter(request, attempt, provider.id, person.subject, person.name)


async def _enter(request: Request, attempt: Attempt, method: str, subject: str, name: str) -> Response:
    """Sign in as whose this identity is, or link it to who asked for that."""
    auth = auth_of(request)
    if attempt.link_user_id is not None:
        found = await session_of(request)
        if found is None or found[1].id != attempt.link_user_id:
            raise Unauthenticated("somebody else is signed in now; begin again")
        await identities.link(services_of(request).database, attempt.link_user_id, identity(method, subject))
        return go(HOME)
    user = await auth.accounts.ensure_user(method, subject, name)
    return await _signed_in(request, user, attempt.next)


async def _signed_in(request: Request, user: User, next_page: str) -> Response:
    response = go(local_page(next_page) or HOME)
    await sign_in_browser(request, response, user)
    return response


@shows_errors
async def send_letter(request: Request) -> Response:
    """Send a link to an address; what is answered is the same for every address."""
    form = await page_form(request)
    return await _send_letter(request, form, local_page(form.get("next")) or HOME)


async def _send_letter(
    request: Request, form: dict[str, str], next_page: str, link_user_id: str | None = None
) -> Response:
    mail = site_of(request).providers.mail
    if mail is None:
        raise NotFound("there is no sign-in by e-mail here")
    address = check_address(form.get("address", ""))
    mailbox = f"letter:{hashed(address)}"
    await take(request, "letter_address")
    await take(request, "letter", f"{address_of(request)}|{mailbox}")  # before the mailbox's: who is refused fills none
    await take(request, "letter_mailbox", mailbox)
    attempt = Attempt(
        id="", provider="email", browser_hash=hashed(browser_of(request)), subject=address, next=next_page,
        link_user_id=link_user_id,
    )  # fmt: skip
    token = await auth_of(request).attempts.begin(attempt)
    url = f"{base_of(request)}/sign-in/letter/open?{urlencode({'token': token})}"
    await mail.send_link(address, url, name_of(request), ATTEMPT_LIFE // MINUTE)
    text = f"We have sent a link to {address}. Open it in this browser within {ATTEMPT_LIFE // MINUTE} minutes."
    return message(request, "Look into your mailbox", text)


@shows_errors
async def open_letter(request: Request) -> Response:
    """The page behind a letter's link. It only asks, because mail scanners open links too."""
    token = fields_of(request.url.query).get("token", "")
    known = request.cookies.get(site_of(request).cookie("browser"))
    attempt = await auth_of(request).attempts.look(token, "email", known)
    doing = "Link this address to your account" if attempt.link_user_id else "Sign in"
    return page(
        request, "confirm.html", title=f"{doing}?", text=f"You asked for this with the address {attempt.subject}.",
        action="/sign-in/letter/open", field="token", value=token, button=doing, ask_address=False,
    )  # fmt: skip


@shows_errors
async def use_letter(request: Request) -> Response:
    """Sign in by a letter's link; it works once."""
    form = await page_form(request)
    await take(request, "sign_in")
    known = request.cookies.get(site_of(request).cookie("browser"))
    attempt = await auth_of(request).attempts.finish(form.get("token", ""), "email", known)
    return await _enter(request, attempt, "email", attempt.subject or "", plain_name())


@shows_errors
async def by_name(request: Request) -> Response:
    """Sign in by a name alone, in embedded mode."""
    if not site_of(request).providers.development:
        raise NotFound("there is no sign-in without a password here")
    form = await page_form(request)
    name = form.get("name", "").strip()
    if not 1 <= len(name) <= MAX_NAME or not is_name(name):
        raise BadInput(f"the name must have 1 to {MAX_NAME} visible characters")
    user = await auth_of(request).accounts.ensure_user("development", name, name)
    return await _signed_in(request, user, form.get("next", ""))


@shows_errors
async def sign_out(request: Request) -> Response:
    """End this browser's session here; apps keep theirs."""
    form = await page_form(request)
    then = local_page(form.get("next"))
    response = go(f"/sign-in?next={quote(then, safe='')}" if then else "/sign-in")
    await sign_out_browser(request, response)
    return response


@shows_errors
async def account(request: Request) -> Response:
    """Who is signed in in this browser, and how."""
    found = await session_of(request)
    if found is None:
        return to_sign_in(HOME)
    providers, user = site_of(request).providers, found[1]
    methods = [key.partition(":")[0] for key in user.identities]
    others = [one for one in providers.by_id.values() if one.id not in methods]
    if providers.mail is not None and "email" not in methods:
        others = [*others, _EMAIL]  # type: ignore[list-item]
    linked = [providers.label(method) for method in methods]
    return page(request, "account.html", user=user, linked=linked, others=others)


class _Email:
    """Stands among the providers on the account page."""

    id = "email"
    label = name = "E-mail"


_EMAIL = _Email()


@shows_errors
async def link(request: Request) -> Response:
    """Ask whether to link a provider to the account that is signed in here, and begin when asked to."""
    method, found = request.path_params["provider"], await session_of(request)
    if found is None:
        return to_sign_in(f"/account/link/{quote(method)}")
    by_mail, user = method == "email", found[1]
    label = "E-mail" if by_mail else site_of(request).providers.get(method).label
    if request.method == "POST":
        form = await page_form(request)
        await take(request, "sign_in")
        if by_mail:
            return await _send_letter(request, form, HOME, user.id)
        return await _send_there(request, HOME, user.id)
    text = f"You are signed in as {user.display_name}. From then on, you can sign in to this account with {label} too."
    return page(
        request, "confirm.html", leads_out=True, title=f"Link {label}?", text=text, field=None, value="",
        action=f"/account/link/{quote(method)}", button=f"Link {label}", ask_address=by_mail,
    )  # fmt: skip


def to_sign_in(then: str) -> Response:
    """A redirect to the sign-in page, and on to `then`."""
    return go(f"/sign-in?next={quote(then, safe='')}")


def _back(request: Request, provider_id: str) -> str:
    return f"{base_of(request)}/sign-in/with/{provider_id}/back"


def _upstream(request: Request) -> Upstream:
    """What talks to providers, kept with what it learned."""
    state = request.app.state
    if not hasattr(state, "upstream"):
        state.upstream = Upstream()
    return state.upstream  # type: ignore[no-any-return]
