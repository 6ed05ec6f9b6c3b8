"""Settings from the environment: defaults, and what is refused with which word."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

from api import settings
from api.settings import Settings, from_env
from core.errors import BadInput

EMBEDDED = {"OA_MODE": "embedded", "OA_MONGODB_URI": "mongodb://127.0.0.1:1"}


def test_embedded_mode_needs_only_the_document_store():
    made = from_env(EMBEDDED)
    assert made.embedded
    assert made.introspection == "anyone"
    assert made.token_key_file.parts[-3:] == ("var", "keys", "token.pem")
    assert made.body_bytes == 65536


def test_production_closes_what_embedded_mode_opens(tmp_path):
    key = tmp_path / "key.pem"
    key.touch()
    made = from_env({"OA_MONGODB_URI": "mongodb://x", "OA_TOKEN_KEY_FILE": str(key), "OA_TRUSTED_HOSTS": "a.example"})
    assert not made.embedded
    assert made.introspection == "signed-in"


def test_the_key_may_come_as_text_or_by_name_and_the_issuer_is_the_public_address():
    for name in ("OA_TOKEN_KEY", "OA_TOKEN_KEY_SECRET"):
        made = from_env({"OA_MONGODB_URI": "mongodb://x", name: "given", "OA_PUBLIC_URL": "https://api.example.org"})
        assert (made.token_key or made.token_key_secret) == "given"
        assert (made.token_issuer, made.public_url) == ("https://api.example.org", "https://api.example.org")
        assert "given" not in repr(made) or name.endswith("SECRET")
    named = {"OA_TOKEN_ISSUER": "mine", "OA_PUBLIC_URL": "http://127.0.0.1:8000"}
    assert from_env({**EMBEDDED, **named}).token_issuer == "mine"


def test_lists_and_numbers_are_read():
    given = {
        "OA_CORS_ORIGINS": "https://a.example, http://localhost:3000",
        "OA_SERVING_URLS": "http://one:1,http://two:2",
        "OA_TOKEN_SECONDS": "60",
        "OA_SWEEP_SECONDS": "0.5",
        "OA_MAX_COST": "500",
        "OA_TASK_DAYS": "7",
        "OA_ACTING_DAYS": "0",
        "OA_OPERATION_SECONDS": "2.5",
        "OA_DOCUMENTS": "documents",
        "OA_RATE_LIMITS": "off",
        "OA_SIGN_IN_FILE": "providers.json",
        "OA_SMTP_URL": "smtps://mail.example.org",
        "OA_MAIL_FROM": "us@example.org",
        "OA_TERMS_VERSION": "2",
        "OA_TERMS_URL": "https://example.org/terms",
    }
    made = from_env({**EMBEDDED, **given})
    assert made.cors_origins == ("https://a.example", "http://localhost:3000")
    assert made.serving_urls == ("http://one:1", "http://two:2")
    assert (made.token_seconds, made.sweep_seconds) == (60, 0.5)
    assert (made.max_cost, made.operation_seconds) == (500, 2.5)
    assert (made.task_days, made.acting_days) == (7, 0)
    assert (str(made.sign_in_file), made.smtp_url) == ("providers.json", "smtps://mail.example.org")
    assert (made.mail_from, made.mail_outbox) == ("us@example.org", Path("var/outbox"))
    assert (made.terms_version, made.terms_url) == ("2", "https://example.org/terms")
    assert (str(made.documents), made.rate_limits) == ("documents", "off")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"OA_MODE": "debug"}, "OA_MODE is 'debug'; it must be one of production, embedded"),
        ({"OA_MONGODB_URI": ""}, "OA_MONGODB_URI is not set"),
        ({"OA_MODE": "production"}, "OA_TOKEN_KEY_FILE is not set"),
        ({"OA_MODE": "production", "OA_TOKEN_KEY_FILE": "/nowhere.pem"}, "which is no file"),
        ({"OA_PUBLIC_URL": "http://api.example.org"}, "it must be https://HOST without a path"),
        ({"OA_PUBLIC_URL": "https://api.example.org/"}, "it must be https://HOST without a path"),
        ({"OA_PUBLIC_URL": "https://[::1"}, "it must be https://HOST without a path"),
        ({"OA_TERMS_URL": "ftp://x"}, "OA_TERMS_URL is 'ftp://x'"),
        ({"OA_TOKEN_SECONDS": "901"}, "it must be 60 to 900"),
        ({"OA_TOKEN_SECONDS": "long"}, "OA_TOKEN_SECONDS is 'long'; it must be a number"),
        ({"OA_BODY_BYTES": "-1"}, "it must not be negative"),
        ({"OA_MAX_COST": "0"}, "OA_MAX_COST is 0; it must be more than 0"),
        ({"OA_TASK_DAYS": "36501"}, "OA_TASK_DAYS is 36501; it must be 36500 or less, or 0 for ever"),
        ({"OA_OPERATION_SECONDS": "soon"}, "OA_OPERATION_SECONDS is 'soon'; it must be a number"),
        ({"OA_CORS_ORIGINS": "*"}, "must be like https://app.example.org"),
        ({"OA_CORS_ORIGINS": "https://a.example/path"}, "without a path"),
        ({"OA_INTROSPECTION": "yes"}, "one of anyone, signed-in, nobody"),
        ({"OA_LOG_LEVEL": "loud"}, "one of DEBUG"),
        ({"OA_COLLECTION_FILE": "/nowhere.json"}, "which cannot be used"),
    ],
)
def test_a_wrong_value_is_named_with_the_right_form(changes, said):
    with pytest.raises(BadInput) as caught:
        from_env({**EMBEDDED, **changes})
    assert said in caught.value.message


def test_every_field_says_its_variable_and_its_meaning():
    (made,) = [node for node in ast.parse(inspect.getsource(settings)).body if getattr(node, "name", "") == "Settings"]
    body = made.body
    fields = [(node.target.id, body[at + 1]) for at, node in enumerate(body) if isinstance(node, ast.AnnAssign)]
    assert {name for name, _ in fields} == set(Settings.__dataclass_fields__)
    for name, about in fields:
        text = about.value.value if isinstance(about, ast.Expr) else ""
        variable = {"collection": "OA_COLLECTION_FILE"}.get(name, f"OA_{name.upper()}")
        assert text.startswith(f"`{variable}`. "), name


def test_letters_do_not_go_to_a_folder_in_production(tmp_path):
    given = {"OA_MONGODB_URI": "mongodb://x", "OA_TOKEN_KEY": "given", "OA_MAIL_OUTBOX": str(tmp_path)}
    with pytest.raises(BadInput, match="OA_MAIL_OUTBOX is for embedded mode"):
        from_env(given)
