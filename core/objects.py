"""The object store: one bucket of any S3-compatible endpoint, behind a dozen blocking calls.

Knows boto3 and how the embedded server, LocalStack and S3 differ; knows nothing of what the objects mean. Blocking:
an async caller wraps calls in `asyncio.to_thread`. A client is safe to share between threads (boto3 documents this).

Works with what every S3-compatible server has: no `If-Match`, no `dir/` marker objects, path-style addresses when an
endpoint is given.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import orjson
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from core.errors import BadInput, Conflict, Corrupt, NotFound, Unavailable

log = logging.getLogger("oa.objects")
CHUNK = 1 << 20
_BUCKET = re.compile(r"[A-Za-z0-9._-]{1,255}")
_FORM = "OA_S3_ENDPOINT must be http://HOST:PORT or https://HOST, or empty for AWS; OA_S3_REGION such as us-east-1"


@dataclass(frozen=True)
class ObjectInfo:
    """One listed object: its full key and its size in bytes."""

    key: str
    size: int


class ObjectStore:
    """One bucket.

    Args:
        bucket: its name; it must exist (`ensure_bucket` makes it).
        endpoint: URL of an S3-compatible server; None for AWS itself.
        region: AWS region name.
        discreet: errors are shown to strangers: they do not say where the store is, which is logged instead.

    Credentials come from the usual AWS places (environment, profile, role). The embedded server checks none, but
    boto3 wants some, so with an endpoint on loopback and none set, placeholders are used.

    Raises:
        BadInput: the bucket's name, the endpoint or the region cannot be one.
        NotFound: an object, or (code `BUCKET_MISSING`) the bucket, does not exist.
        Unavailable: the server does not answer or answers with a fault of its own.
    """

    def __init__(
        self, bucket: str, endpoint: str | None = None, region: str = "us-east-1", *, discreet: bool = False
    ) -> None:  # fmt: skip
        if not _BUCKET.fullmatch(bucket):
            raise BadInput(f"OA_S3_BUCKET is {bucket!r}; a bucket's name has letters, digits, '.', '_' and '-' alone")
        if endpoint is not None and not endpoint.startswith(("http://", "https://")):
            raise BadInput(f"OA_S3_ENDPOINT is {endpoint!r}; {_FORM}")
        self.bucket = bucket
        self.endpoint = endpoint
        self.region = region
        self.discreet = discreet
        placeholders = _placeholders(endpoint)
        config = Config(
            region_name=region,
            s3={"addressing_style": "path"} if endpoint else {},
            retries={"max_attempts": 4, "mode": "standard"},
            connect_timeout=5,
            read_timeout=60,
            # Newer checksum trailers are not understood by every S3-compatible server.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        try:
            self._client: Any = boto3.client("s3", endpoint_url=endpoint, config=config, **placeholders)
        except ValueError as error:  # what botocore says of other malformed addresses
            raise BadInput(f"{error}; {_FORM}") from error

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> ObjectStore:
        """The store that `OA_S3_BUCKET`, `OA_S3_ENDPOINT` and `OA_S3_REGION` name."""
        return cls(
            environ.get("OA_S3_BUCKET") or "open-assistant",
            environ.get("OA_S3_ENDPOINT") or None,
            environ.get("OA_S3_REGION") or "us-east-1",
        )

    def __reduce__(self) -> tuple[type[ObjectStore], tuple[str, str | None, str]]:
        """Pickled (to Ray workers) by address, never with credentials or connections."""
        return (ObjectStore, (self.bucket, self.endpoint, self.region))

    def ensure_bucket(self) -> None:
        """Make the bucket if it is not there."""
        try:
            self.check_bucket()
        except NotFound:
            with self._errors(""):
                self._client.create_bucket(Bucket=self.bucket)

    def check_bucket(self) -> None:
        """Raise `NotFound` with code `BUCKET_MISSING` when the bucket is not there."""
        with self._errors(""):
            self._client.head_bucket(Bucket=self.bucket)

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
        """Write one object whole.

        Args:
            key: its name.
            data: its bytes.
            if_absent: refuse when the key exists (`If-None-Match: *`); atomic on the server.

        Raises:
            Conflict: `if_absent` and the key exists.
        """
        extra = {"IfNoneMatch": "*"} if if_absent else {}
        with self._errors(key):
            self._client.put_object(Bucket=self.bucket, Key=key, Body=data, **extra)

    def put_json(self, key: str, value: Any, *, if_absent: bool = False) -> None:
        """Write `value` as indented JSON with sorted keys."""
        self.put(key, orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS), if_absent=if_absent)

    def get(self, key: str) -> bytes:
        """The bytes of one object."""
        with self._errors(key):
            body: bytes = self._client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
            return body

    def get_json(self, key: str) -> Any:
        """One object parsed as JSON.

        Raises:
            Corrupt: it is no JSON.
        """
        try:
            return orjson.loads(self.get(key))
        except orjson.JSONDecodeError as error:
            raise Corrupt(f"object {key!r} is not JSON: {error}") from error

    def exists(self, key: str) -> bool:
        """Whether the object is there."""
        try:
            with self._errors(key):
                self._client.head_object(Bucket=self.bucket, Key=key)
        except NotFound as error:
            if error.code == "BUCKET_MISSING":
                raise
            return False
        return True

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        """Objects under `prefix` in key order, page by page, those whose key sorts after `after`."""
        pages = self._client.get_paginator("list_objects_v2")
        start = {"StartAfter": after} if after else {}
        with self._errors(prefix):
            for page in pages.paginate(Bucket=self.bucket, Prefix=prefix, **start):
                for item in page.get("Contents", ()):
                    yield ObjectInfo(item["Key"], item["Size"])

    def delete(self, key: str) -> None:
        """Remove one object; removing what is not there is no error."""
        with self._errors(key):
            self._client.delete_object(Bucket=self.bucket, Key=key)

    def delete_prefix(self, prefix: str) -> int:
        """Remove every object under `prefix`; returns how many. One call each: not every server has DeleteObjects."""
        keys = [item.key for item in self.list(prefix)]
        for key in keys:
            self.delete(key)
        return len(keys)

    def upload(self, path: Path, key: str) -> str:
        """Send one file, in parts when it is large; returns the SHA-256 of what was read, as 64 hex digits."""
        digest = file_sha256(path)
        with self._errors(key):
            self._client.upload_file(str(path), self.bucket, key)
        return digest

    def download(self, key: str, path: Path, *, sha256: str | None = None) -> None:
        """Fetch one object to `path`, by way of a temporary file beside it, so that `path` is whole or absent.

        Raises:
            Corrupt: the bytes do not have the hash named.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            with self._errors(key):
                self._client.download_file(self.bucket, key, str(partial))
            found = file_sha256(partial) if sha256 else None
            if found != sha256:
                raise Corrupt(f"object {key!r} has SHA-256 {found}, its manifest says {sha256}")
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    def signed_url(self, key: str, seconds: int = 900) -> str:
        """A URL that lets anyone who holds it read the object for `seconds`."""
        parameters = {"Bucket": self.bucket, "Key": key}
        return str(self._client.generate_presigned_url("get_object", Params=parameters, ExpiresIn=seconds))

    @contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            raise self._translated(error, key) from error
        except NoCredentialsError as error:
            raise self._unavailable(
                f"there are no credentials for the object store at {self.endpoint or 'AWS'}; name another by "
                "OA_S3_ENDPOINT (`oa up` starts one), or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            ) from error
        except (BotoCoreError, Boto3Error) as error:
            if isinstance(error.__context__, ClientError):  # a file transfer wraps the server's answer
                raise self._translated(error.__context__, key) from error
            raise self._unavailable(f"object store at {self.endpoint or 'AWS'} does not answer: {error}") from error

    def _translated(self, error: ClientError, key: str) -> Exception:
        code = error.response.get("Error", {}).get("Code", "")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        where = f"at {self.endpoint or 'AWS'}"
        if code == "NoSuchBucket" or (not key and status == 404):
            message = f"bucket {self.bucket!r} does not exist {where}; make it, or set OA_S3_BUCKET to one that does"
            return NotFound(self._told(message, "the object store has no such bucket"), code="BUCKET_MISSING")
        if status == 404:
            message = f"object {key!r} does not exist in bucket {self.bucket!r} {where}"
            return NotFound("no such object" if self.discreet else message)
        if status in (409, 412):
            message = f"object {key!r} exists already in bucket {self.bucket!r}"
            return Conflict("it exists already" if self.discreet else message)
        return self._unavailable(f"object store {where} refused {key!r}: {code or status}")

    def _unavailable(self, message: str) -> Unavailable:
        return Unavailable(self._told(message, "the object store does not answer"))

    def _told(self, message: str, discreet: str) -> str:
        """What an error says; the whole is in the log where it does not."""
        if not self.discreet:
            return message
        log.warning("object store", extra={"fields": {"error": message}})
        return discreet


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, read in chunks; 64 hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _placeholders(endpoint: str | None) -> dict[str, str]:
    on_loopback = endpoint is not None and any(host in endpoint for host in ("//127.0.0.1", "//localhost", "//[::1]"))
    if not on_loopback or "AWS_ACCESS_KEY_ID" in os.environ or "AWS_PROFILE" in os.environ:
        return {}
    return {"aws_access_key_id": "embedded", "aws_secret_access_key": "embedded"}
