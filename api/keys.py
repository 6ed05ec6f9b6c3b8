"""The keys that sign access tokens, and how they are changed without anybody noticing.

A key's text is PEM: one or more P-256 private keys, one after the other. The first signs; all of them verify and stand
in the published key set. To rotate, put a new key in front; fifteen minutes later, when no token of the old one is good
any more, take the old one out. To give caches of the key set time, add the new key at the end and move it up later.

Threat: a key that others can read or know. So a file must be readable by its owner only, production makes no key by
itself, and there is none by default.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from core.errors import BadInput, Unavailable

from .settings import Settings

PEM = re.compile(r"-----BEGIN ([A-Z ]+)-----.+?-----END \1-----", re.DOTALL)
PARAMETERS = "EC PARAMETERS"
"""A block that OpenSSL writes before a key; it says nothing that the key does not."""
MOST = 8


@dataclass(frozen=True)
class SigningKeys:
    """The key that signs, and older or newer ones that only verify."""

    active: ECKey
    others: tuple[ECKey, ...] = ()

    @property
    def all(self) -> tuple[ECKey, ...]:
        """Every key, the active one first."""
        return (self.active, *self.others)

    def by_id(self, kid: str | None) -> ECKey:
        """The key of that id; the active one where a token names none. Raises `ValueError` for an unknown id."""
        if kid is None:
            return self.active
        if kid not in self._by_id:
            raise ValueError("unknown key")
        return self._by_id[kid]

    @cached_property
    def _by_id(self) -> dict[str, ECKey]:
        return {key.thumbprint(): key for key in self.all}

    @cached_property
    def active_id(self) -> str:
        """The id of the key that signs."""
        return self.active.thumbprint()

    def public(self) -> dict[str, Any]:
        """The JSON Web Key Set to publish (RFC 7517): public parts only."""
        keys = [dict(key.as_dict(private=False)) for key in self.all]
        named = zip(keys, self.all, strict=True)
        return {"keys": [key | {"kid": one.thumbprint(), "use": "sig", "alg": "ES256"} for key, one in named]}


def keys_of(settings: Settings) -> SigningKeys:
    """The keys that the settings name: by text, by secret, or by file.

    Raises:
        BadInput: they cannot be used; says why, and never quotes them.
        Unavailable: the secret store does not answer.
    """
    if settings.token_key:
        return read_keys(settings.token_key, "OA_TOKEN_KEY")
    if settings.token_key_secret:
        return read_keys(_secret(settings.token_key_secret, settings.s3_region), "OA_TOKEN_KEY_SECRET")
    return load_keys(settings.token_key_file, make=settings.embedded)


def load_keys(path: Path, *, make: bool = False) -> SigningKeys:
    """The keys in a PEM file.

    Args:
        path: the file.
        make: make the file, readable by its owner only, where there is none.

    Raises:
        BadInput: there is no such file, others can read it, or it holds no P-256 private key.
    """
    if make and not path.exists():
        _write_new_key(path)
    name = f"token key {str(path)!r}"
    try:
        mode, text = path.stat().st_mode & 0o077, path.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise BadInput(f"{name} cannot be read: it must be a PEM private key on P-256") from error
    keys = read_keys(text, name)
    if mode:
        raise BadInput(f"{name} can be read by others: chmod 600 it")
    return keys


def read_keys(text: str, name: str) -> SigningKeys:
    """The keys in PEM text; `name` is what errors call it. Raises `BadInput` where one is of another kind."""
    blocks = [found[0] for found in PEM.finditer(text.replace("\\n", "\n")) if found[1] != PARAMETERS]
    if not 1 <= len(blocks) <= MOST:
        raise BadInput(f"{name} cannot be read: it must be a PEM private key on P-256, or up to {MOST} of them")
    try:
        keys = [ECKey.import_key(block) for block in blocks]
    except (ValueError, JoseError) as error:
        raise BadInput(f"{name} cannot be read: it must be a PEM private key on P-256") from error
    if any(not key.is_private or key.curve_name != "P-256" for key in keys):
        raise BadInput(f"{name} is of another kind: it must be a PEM private key on P-256")
    return SigningKeys(keys[0], tuple(keys[1:]))


def _secret(name: str, region: str) -> str:
    """The text of a secret in AWS Secrets Manager."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        client = boto3.client("secretsmanager", region_name=region)
        return str(client.get_secret_value(SecretId=name).get("SecretString") or "")
    except (BotoCoreError, ClientError) as error:
        raise Unavailable(f"secret {name!r} (OA_TOKEN_KEY_SECRET) cannot be read: {type(error).__name__}") from error


def _write_new_key(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.touch(mode=0o600)
    partial.write_bytes(ECKey.generate_key("P-256", private=True).as_pem(private=True))
    try:
        os.link(partial, path)  # fails where another process was first: its key then stands
    except FileExistsError:
        pass
    finally:
        partial.unlink()
