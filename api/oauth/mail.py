"""Letters: by SMTP, or as files in a folder where one machine has no mail server."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from urllib.parse import unquote, urlsplit

from core.errors import BadInput, Unavailable
from core.ids import new_id

from ..settings import Settings

ADDRESS = re.compile(r"[a-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63}){1,8}")
"""Addresses that we write to: plain ones in ASCII, small letters."""
SECONDS = 15
LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class Mail:
    """Sends letters.

    Attributes:
        sender: address that they come from.
        deliver: hands one on; raises `Unavailable` where nobody takes it.
    """

    sender: str
    deliver: Callable[[EmailMessage], Awaitable[None]]

    async def send_link(self, address: str, url: str, where: str, minutes: int) -> None:
        """Send the link that signs somebody in."""
        letter = EmailMessage(policy=SMTP)
        letter["From"], letter["To"], letter["Subject"] = self.sender, address, f"Sign in to {where}"
        letter["Auto-Submitted"] = "auto-generated"
        letter.set_content(
            f"To sign in to {where}, open this link in the browser in which you asked for it:\n\n{url}\n\n"
            f"It works once, within {minutes} minutes. If you did not ask for it, do nothing: nobody gets in.\n",
            cte="7bit",  # all of it is ASCII, and the link must not be broken into lines
        )
        await self.deliver(letter)


def check_address(text: str) -> str:
    """An e-mail address in small letters; raises `BadInput` where it is none that we write to."""
    address = text.strip().lower()
    if len(address) > 254 or not ADDRESS.fullmatch(address) or ".." in address:
        raise BadInput(f"{text[:80]!r} is no e-mail address that we can write to", path=("address",))
    return address


def mail_of(settings: Settings) -> Mail | None:
    """The sender of letters that the settings name; None where they name none."""
    if settings.smtp_url:
        return Mail(settings.mail_from, smtp(settings.smtp_url))
    return Mail(settings.mail_from, outbox(settings.mail_outbox)) if settings.mail_outbox else None


def outbox(folder: Path) -> Callable[[EmailMessage], Awaitable[None]]:
    """Writes each letter to a file of its own in `folder`, readable by its owner only."""

    def write(letter: EmailMessage) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = folder / f"{new_id()}.eml"
        path.touch(mode=0o600)
        path.write_bytes(letter.as_bytes())

    async def deliver(letter: EmailMessage) -> None:
        await asyncio.to_thread(write, letter)

    return deliver


def smtp(url: str) -> Callable[[EmailMessage], Awaitable[None]]:
    """Sends by `smtp://` (with STARTTLS, but on loopback) or `smtps://`, with user and password where they are given.

    Raises:
        BadInput: `url` is of another form. It is not quoted: it may hold a password.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname or parts.path.strip("/"):
        raise BadInput("OA_SMTP_URL must be smtp://USER:PASSWORD@HOST:PORT or smtps://...")

    def send(letter: EmailMessage) -> None:
        import smtplib
        import ssl

        host, secure = parts.hostname or "", ssl.create_default_context()
        try:
            if parts.scheme == "smtps":
                server: smtplib.SMTP = smtplib.SMTP_SSL(host, parts.port or 465, timeout=SECONDS, context=secure)
            else:
                server = smtplib.SMTP(host, parts.port or 587, timeout=SECONDS)
            with server:
                if parts.scheme == "smtp" and host not in LOOPBACK:
                    server.starttls(context=secure)
                if parts.username:
                    server.login(unquote(parts.username), unquote(parts.password or ""))
                server.send_message(letter)
        except (OSError, smtplib.SMTPException) as error:
            raise Unavailable(f"the letter could not be sent: {type(error).__name__}", retry_after=60.0) from error

    async def deliver(letter: EmailMessage) -> None:
        await asyncio.to_thread(send, letter)

    return deliver
