"""Every setting of the API, with meaning and unit, from environment variables that start with `OA_`.

Secrets are named by file or by environment, never by default: production refuses to start without its token key.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from core.config import CollectionConfig
from core.errors import BadInput
from core.urls import parts_of

from .graphiql import files_of
from .production import check_production

N = TypeVar("N", int, float)
MODES = ("production", "embedded")
INTROSPECTION = ("anyone", "signed-in", "nobody")
MAX_TOKEN_SECONDS = 900
"""The longest life of an access token, in seconds."""
MAX_DAYS = 36_500
"""The longest time for which something is kept and not for ever."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the app is told. Made by `from_env`, or by hand in tests."""

    mode: Literal["production", "embedded"] = "production"
    """`OA_MODE`. `embedded`: one machine, development sign-in, a page to try the API, a token key of its own."""
    mongodb_uri: str = field(repr=False)
    """`OA_MONGODB_URI`. Address of the document store."""
    mongodb_database: str = "open_assistant"
    """`OA_MONGODB_DATABASE`. Database in it."""
    s3_endpoint: str | None = None
    """`OA_S3_ENDPOINT`. Address of the object store; unset means AWS."""
    s3_bucket: str = "open-assistant"
    """`OA_S3_BUCKET`. Bucket in it."""
    s3_region: str = "us-east-1"
    """`OA_S3_REGION`. Its region."""
    token_key_file: Path
    """`OA_TOKEN_KEY_FILE`. PEM private keys (ES256), the first of which signs access tokens; readable by their owner
    only."""
    token_key: str | None = field(default=None, repr=False)
    """`OA_TOKEN_KEY`. The same as text, for secrets that come as environment variables."""
    token_key_secret: str | None = None
    """`OA_TOKEN_KEY_SECRET`. Name or ARN of a secret in AWS Secrets Manager with the same text."""
    public_url: str | None = None
    """`OA_PUBLIC_URL`. The API's address as browsers and apps see it, without a path; unset: nobody signs in."""
    token_issuer: str = "open-assistant"  # noqa: S105 - a name, no secret
    """`OA_TOKEN_ISSUER`. `iss` of the access tokens given and taken; by default the public address, if there is one."""
    sign_in_file: Path | None = None
    """`OA_SIGN_IN_FILE`. JSON file of the providers through which people sign in (`api.oauth.providers` shows one)."""
    smtp_url: str | None = field(default=None, repr=False)
    """`OA_SMTP_URL`. Mail server for sign-in by letter: `smtp://USER:PASSWORD@HOST:PORT` or `smtps://...`."""
    mail_from: str = "open-assistant@localhost"
    """`OA_MAIL_FROM`. Address that letters come from."""
    mail_outbox: Path | None = None
    """`OA_MAIL_OUTBOX`. Folder for letters where there is no mail server; embedded mode only."""
    terms_version: str | None = None
    """`OA_TERMS_VERSION`. Version of the terms of use that contributors must have accepted; unset: there are none."""
    terms_url: str | None = None
    """`OA_TERMS_URL`. Where the terms can be read."""
    page_client: str | None = None
    """`OA_PAGE_CLIENT`. Client id by which the page at /graphql signs people in; unset: embedded mode alone has it."""
    graphiql: Path | None = None
    """`OA_GRAPHIQL`. Folder with GraphiQL's files (`make graphiql`): the page at /graphql is then GraphiQL."""
    token_seconds: int = MAX_TOKEN_SECONDS
    """`OA_TOKEN_SECONDS`. Life of an access token, in seconds; 60 to 900."""
    cors_origins: tuple[str, ...] = ()
    """`OA_CORS_ORIGINS`. Comma-separated origins of pages that may call the API, over HTTP and WebSocket."""
    introspection: Literal["anyone", "signed-in", "nobody"] = "signed-in"
    """`OA_INTROSPECTION`. Who may ask for the schema: `anyone` (default when embedded), `signed-in`, `nobody`."""
    body_bytes: int = 64 * 1024
    """`OA_BODY_BYTES`. Longest request body or WebSocket message, in bytes."""
    sweep_seconds: float = 5.0
    """`OA_SWEEP_SECONDS`. Pause between two rounds of the background sweeper, in seconds; 0 turns it off here."""
    score_seconds: float = 300.0
    """`OA_SCORE_SECONDS`. Pause between two rounds in which replies that the serving version's reward model has not
    scored are given to the workers, in seconds; 0 turns it off here."""
    task_days: int = 30
    """`OA_TASK_DAYS`. Days for which a task that has ended is kept; 0: for ever."""
    acting_days: int = 180
    """`OA_ACTING_DAYS`. Days for which the journal keeps what services did in people's names; 0: for ever."""
    collection: CollectionConfig = field(default_factory=CollectionConfig)
    """`OA_COLLECTION_FILE`. JSON file: the fields of `core.config.CollectionConfig` that differ from the defaults."""
    max_cost: int = 10_000
    """`OA_MAX_COST`. The most that one operation may cost; `graphql_schema.cost` says what costs what."""
    rate_limits: str = ""
    """`OA_RATE_LIMITS`. What differs from the usual rates, such as `sign_in=30/60,generate=10/60`, or `off`."""
    documents: Path | None = None
    """`OA_DOCUMENTS`. Folder of .graphql files or JSON file: the only documents that this API runs."""
    operation_seconds: float = 30.0
    """`OA_OPERATION_SECONDS`. How long a query or mutation may take, in seconds."""
    serving_urls: tuple[str, ...] = ("http://127.0.0.1:8100",)
    """`OA_SERVING_URLS`. Comma-separated base URLs of the serving nodes."""
    serving_key: str | None = field(default=None, repr=False)
    """`OA_SERVING_KEY`. Bearer key between API and serving nodes."""
    log_level: str = "INFO"
    """`OA_LOG_LEVEL`. `DEBUG`, `INFO`, `WARNING` or `ERROR`."""
    trusted_hosts: tuple[str, ...] = ()
    """`OA_TRUSTED_HOSTS`. Comma-separated host names that the API answers to, `*.example.org` for those below one;
    unset: that of the public address, which production then needs. Loopback is always among them."""
    trusted_proxies: tuple[str, ...] = ()
    """`OA_TRUSTED_PROXIES`. Comma-separated addresses and networks of proxies, whose `X-Forwarded-For` is believed;
    unset: nobody's, and a caller is where the connection comes from."""
    subscription_seconds: float = 3600.0
    """`OA_SUBSCRIPTION_SECONDS`. How long a subscription may last, in seconds; then clients subscribe again."""
    streams_per_caller: int = 50
    """`OA_STREAMS_PER_CALLER`. Subscriptions that one caller may have open, in each process."""
    streams_per_address: int = 500
    """`OA_STREAMS_PER_ADDRESS`. The same for one address; and as many WebSockets."""
    body_seconds: float = 30.0
    """`OA_BODY_SECONDS`. Time that the body of a request has to come, in seconds."""
    connection_init_seconds: float = 10.0
    """`OA_CONNECTION_INIT_SECONDS`. Time that a WebSocket has to say `connection_init`, in seconds."""
    stream_check_seconds: float = 2.0
    """`OA_STREAM_CHECK_SECONDS`. Pause between two looks whether those who follow something still may, in seconds."""
    database_seconds: float = 10.0
    """`OA_DATABASE_SECONDS`. How long one call of the document store may take, in seconds."""
    drain_notice_seconds: float = 0.0
    """`OA_DRAIN_NOTICE_SECONDS`. Seconds for which a stopping process is not ready and serves on."""
    metrics_key: str | None = field(default=None, repr=False)
    """`OA_METRICS_KEY`. Bearer key of `/metrics`; unset: open in embedded mode, absent in production."""
    otlp_endpoint: str | None = None
    """`OA_OTLP_ENDPOINT`. URL that traces are sent to, as OTLP over HTTP; unset: nothing is traced."""

    @property
    def embedded(self) -> bool:
        """Whether this is one developer's machine."""
        return self.mode == "embedded"

    @property
    def has_page(self) -> bool:
        """Whether browsers get a page to try the API by hand."""
        return self.embedded or bool(self.page_client)

    def __post_init__(self) -> None:
        if not 60 <= self.token_seconds <= MAX_TOKEN_SECONDS:
            raise BadInput(f"OA_TOKEN_SECONDS is {self.token_seconds}; it must be 60 to {MAX_TOKEN_SECONDS}")
        positive = {
            "OA_MAX_COST": self.max_cost,
            "OA_OPERATION_SECONDS": self.operation_seconds,
            "OA_SUBSCRIPTION_SECONDS": self.subscription_seconds,
            "OA_STREAMS_PER_CALLER": self.streams_per_caller,
            "OA_STREAMS_PER_ADDRESS": self.streams_per_address,
            "OA_BODY_SECONDS": self.body_seconds,
            "OA_CONNECTION_INIT_SECONDS": self.connection_init_seconds,
            "OA_STREAM_CHECK_SECONDS": self.stream_check_seconds,
            "OA_DATABASE_SECONDS": self.database_seconds,
        }
        for name, value in positive.items():
            if value <= 0:
                raise BadInput(f"{name} is {value}; it must be more than 0")
        for name, days in (("OA_TASK_DAYS", self.task_days), ("OA_ACTING_DAYS", self.acting_days)):
            if days > MAX_DAYS:
                raise BadInput(f"{name} is {days}; it must be {MAX_DAYS} or less, or 0 for ever")
        if self.mail_outbox is not None and not self.embedded:
            raise BadInput("OA_MAIL_OUTBOX is for embedded mode; production sends letters by OA_SMTP_URL")
        if self.terms_url and not self.terms_url.startswith(("https://", "http://127.0.0.1", "http://localhost")):
            raise BadInput(f"OA_TERMS_URL is {self.terms_url!r}; it must be https://...")
        if self.graphiql is not None:
            files_of(self.graphiql)
        by_text = self.token_key or self.token_key_secret
        if not self.embedded and not by_text and not self.token_key_file.is_file():
            raise BadInput(
                f"OA_TOKEN_KEY_FILE is {str(self.token_key_file)!r}, which is no file; production needs a PEM private "
                "key (openssl ecparam -name prime256v1 -genkey -noout)"
            )
        check_production(self)


def from_env(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings in `environ`.

    Raises:
        BadInput: a variable is missing or wrong; says which, and the right form.
    """
    mode = _one_of(environ, "OA_MODE", MODES, "production")
    var = Path(environ.get("OA_VAR") or "var")
    if not environ.get("OA_MONGODB_URI"):
        raise BadInput(
            "OA_MONGODB_URI is not set; it must be the document store's address, such as mongodb://host:27017"
        )
    keys = ("OA_TOKEN_KEY_FILE", "OA_TOKEN_KEY", "OA_TOKEN_KEY_SECRET")
    if mode == "production" and not any(environ.get(name) for name in keys):
        raise BadInput(
            "OA_TOKEN_KEY_FILE is not set, nor OA_TOKEN_KEY or OA_TOKEN_KEY_SECRET; production needs the PEM private "
            "key that signs access tokens"
        )
    public_url = _public_url(environ)
    own: dict[str, Any] = {
        "mode": mode,
        "token_key_file": Path(environ.get("OA_TOKEN_KEY_FILE") or var / "keys" / "token.pem"),
        "public_url": public_url,
        "token_issuer": environ.get("OA_TOKEN_ISSUER") or public_url or "open-assistant",
        "mail_outbox": _path(environ, "OA_MAIL_OUTBOX") or (var / "outbox" if mode == "embedded" else None),
        "cors_origins": _origins(environ),
        "introspection": _one_of(
            environ, "OA_INTROSPECTION", INTROSPECTION, "anyone" if mode == "embedded" else "signed-in"
        ),
        "collection": _collection(environ),
        "serving_urls": _list(environ, "OA_SERVING_URLS") or ("http://127.0.0.1:8100",),
        "log_level": _one_of(environ, "OA_LOG_LEVEL", ("DEBUG", "INFO", "WARNING", "ERROR"), "INFO"),
        "trusted_hosts": _hosts(environ),
        "trusted_proxies": _proxies(environ),
    }
    return Settings(**_plain(environ) | own)


def _plain(environ: Mapping[str, str]) -> dict[str, Any]:
    """The settings that are a number, a text or a path and nothing more, by field: each is `OA_` and its name."""
    found: dict[str, Any] = {}
    for each in fields(Settings):
        name, default = f"OA_{each.name.upper()}", cast(Any, each.default)
        if each.type in ("int", "float"):
            found[each.name] = _number(environ, name, type(default), default)
        elif environ.get(name) and each.type in ("str", "str | None", "Path | None"):
            found[each.name] = Path(environ[name]) if "Path" in each.type else environ[name]
    return found


def _collection(environ: Mapping[str, str]) -> CollectionConfig:
    name = environ.get("OA_COLLECTION_FILE")
    if not name:
        return CollectionConfig()
    try:
        return CollectionConfig(**json.loads(Path(name).read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise BadInput(
            f"OA_COLLECTION_FILE is {name!r}, which cannot be used: {error}; it must be a JSON object with fields of "
            "core.config.CollectionConfig"
        ) from error


def _path(environ: Mapping[str, str], name: str) -> Path | None:
    return Path(environ[name]) if environ.get(name) else None


def _one_of(environ: Mapping[str, str], name: str, values: tuple[str, ...], default: str) -> str:
    value = environ.get(name) or default
    if value not in values:
        raise BadInput(f"{name} is {value!r}; it must be one of {', '.join(values)}")
    return value


def _number(environ: Mapping[str, str], name: str, kind: type[N], default: N) -> N:
    text = environ.get(name)
    try:
        value = kind(text) if text else default
    except ValueError as error:
        raise BadInput(f"{name} is {text!r}; it must be a number") from error
    if value < 0:
        raise BadInput(f"{name} is {value}; it must not be negative")
    return value


def _list(environ: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in environ.get(name, "").split(",") if item.strip())


def _public_url(environ: Mapping[str, str]) -> str | None:
    url = environ.get("OA_PUBLIC_URL")
    form = r"https://[^/?#@\s]+|http://(127\.0\.0\.1|\[::1\]|localhost)(:\d+)?"
    if url and (parts_of(url) is None or not re.fullmatch(form, url)):
        raise BadInput(
            f"OA_PUBLIC_URL is {url!r}; it must be https://HOST without a path (http only on 127.0.0.1 or localhost)"
        )
    return url or None


def _hosts(environ: Mapping[str, str]) -> tuple[str, ...]:
    hosts = _list(environ, "OA_TRUSTED_HOSTS")
    for host in hosts:
        if host != "*" and not re.fullmatch(r"(\*\.)?[A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\]", host):
            raise BadInput(f"OA_TRUSTED_HOSTS has {host!r}; each must be a host name without scheme, port or path")
    return hosts


def _proxies(environ: Mapping[str, str]) -> tuple[str, ...]:
    proxies = _list(environ, "OA_TRUSTED_PROXIES")
    for proxy in proxies:
        try:
            ip_network(proxy)
        except ValueError as error:
            raise BadInput(
                f"OA_TRUSTED_PROXIES has {proxy!r}; each must be an address or a network: 10.0.3.7, 10.0.0.0/16"
            ) from error
    return proxies


def _origins(environ: Mapping[str, str]) -> tuple[str, ...]:
    origins = _list(environ, "OA_CORS_ORIGINS")
    for origin in origins:
        if not origin.startswith(("http://", "https://")) or origin.endswith("/") or origin.count("/") != 2:
            raise BadInput(f"OA_CORS_ORIGINS has {origin!r}; each must be like https://app.example.org, without a path")
    return origins
