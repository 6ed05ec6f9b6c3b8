"""The object store's contract: what every S3-compatible server must do for this project.

Runs against the embedded server; with `OA_S3_ENDPOINT` set, against whatever answers there.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core import manifest
from core.errors import BadInput, Conflict, Corrupt, NotFound, OaError, Unavailable
from core.objects import ObjectStore, file_sha256
from oa.embedded import free_port


def tree(folder: Path) -> dict[str, bytes]:
    """The files of a folder that holds what folders hold: an empty file, a nested one, one with an odd name."""
    files = {"a.txt": b"alpha", "deep/er/b.bin": bytes(range(256)) * 40, "empty": b"", "o d+d ü&=.txt": b"odd"}
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return files


def read(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("key", ["plain", "a/b/c.json", "sp ace+ü&=%/x"])
@pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 5000], ids=["empty", "one", "1.3MB"])
def test_what_was_put_is_got(store: ObjectStore, key: str, data: bytes) -> None:
    store.put(key, data)
    assert store.get(key) == data
    assert [(item.key, item.size) for item in store.list("")] == [(key, len(data))]


def test_a_put_replaces(store: ObjectStore) -> None:
    store.put("key", b"old and longer")
    store.put("key", b"new")
    assert store.get("key") == b"new"


def test_json_comes_back_and_is_sorted(store: ObjectStore) -> None:
    store.put_json("value.json", {"b": [1, None, "ü"], "a": 0.5})
    assert store.get_json("value.json") == {"a": 0.5, "b": [1, None, "ü"]}
    assert store.get("value.json").index(b'"a"') < store.get("value.json").index(b'"b"')


def test_what_is_no_json_is_corrupt(store: ObjectStore) -> None:
    store.put("value.json", b"{half")
    with pytest.raises(Corrupt, match=r"value\.json"):
        store.get_json("value.json")


def test_an_absent_object_is_not_found(store: ObjectStore, tmp_path: Path) -> None:
    assert not store.exists("absent")
    for call in (store.get, store.get_json, lambda key: store.download(key, tmp_path / "x")):
        with pytest.raises(NotFound, match="'absent'") as raised:
            call("absent")
        assert raised.value.code == "NOT_FOUND"
    assert read(tmp_path) == {}


def test_exists_and_delete(store: ObjectStore) -> None:
    store.put("key", b"1")
    assert store.exists("key")
    store.delete("key")
    assert not store.exists("key")
    store.delete("key")


def test_delete_prefix_removes_that_and_no_more(store: ObjectStore) -> None:
    for key in ("a/1", "a/2/3", "ab", "b/1"):
        store.put(key, b"")
    assert store.delete_prefix("a/") == 2
    assert [item.key for item in store.list("")] == ["ab", "b/1"]


def test_list_is_in_key_order_by_prefix_and_after(store: ObjectStore) -> None:
    keys = ["p/10", "p/2", "p/A", "p/a/b", "q"]  # ASCII, as `core.layout` makes them: LocalStack sorts others wrongly
    for key in reversed(keys):
        store.put(key, b"")
    expected = sorted(keys)
    assert [item.key for item in store.list("")] == expected
    assert [item.key for item in store.list("p/")] == [key for key in expected if key.startswith("p/")]
    assert [item.key for item in store.list("p/", after="p/2")] == [key for key in expected if "p/2" < key < "q"]
    assert list(store.list("nothing/")) == []


def test_list_goes_over_pages(store: ObjectStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: store.put(f"many/{number:04d}", b""), range(1100)))
    assert [item.key for item in store.list("many/")] == [f"many/{number:04d}" for number in range(1100)]
    assert len(list(store.list("many/", after="many/0999"))) == 100


def test_of_sixteen_conditional_puts_one_wins(store: ObjectStore) -> None:
    def claim(number: int) -> int | None:
        try:
            store.put("claim", str(number).encode(), if_absent=True)
        except Conflict:
            return None
        return number

    for _ in range(5):
        with ThreadPoolExecutor(16) as pool:
            winners = [number for number in pool.map(claim, range(16)) if number is not None]
        assert len(winners) == 1
        assert store.get("claim") == str(winners[0]).encode()
        store.delete("claim")


def test_a_conditional_put_after_a_put_conflicts(store: ObjectStore) -> None:
    store.put_json("key", 1)
    with pytest.raises(Conflict, match="'key'"):
        store.put_json("key", 2, if_absent=True)
    assert store.get_json("key") == 1


def test_upload_in_parts_and_download(store: ObjectStore, tmp_path: Path) -> None:
    source = tmp_path / "large.bin"
    source.write_bytes(hashlib.sha256(b"seed").digest() * (20 << 15))  # 20 MiB: above the size of one part
    digest = store.upload(source, "large.bin")
    assert digest == file_sha256(source) == hashlib.sha256(source.read_bytes()).hexdigest()
    store.download("large.bin", tmp_path / "back" / "large.bin", sha256=digest)
    assert file_sha256(tmp_path / "back" / "large.bin") == digest


def test_a_download_with_another_hash_leaves_what_was_there(store: ObjectStore, tmp_path: Path) -> None:
    store.put("key", b"forged")
    target = tmp_path / "file"
    target.write_bytes(b"good")
    with pytest.raises(Corrupt, match="'key'"):
        store.download("key", target, sha256=hashlib.sha256(b"good").hexdigest())
    assert read(tmp_path) == {"file": b"good"}


def test_an_upload_of_a_missing_file_fails(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        store.upload(tmp_path / "absent", "key")
    assert not store.exists("key")


def test_a_signed_url_reads_the_object(store: ObjectStore) -> None:
    store.put("a/b.txt", b"readable")
    with urllib.request.urlopen(store.signed_url("a/b.txt", 60), timeout=10) as answer:
        assert answer.read() == b"readable"


def test_a_missing_bucket_is_named(store: ObjectStore, tmp_path: Path) -> None:
    absent = ObjectStore(f"absent-{uuid.uuid4().hex[:8]}", store.endpoint)
    (tmp_path / "file").write_bytes(b"1")
    calls = [
        absent.check_bucket, lambda: absent.get("key"), lambda: absent.put("key", b""), lambda: list(absent.list("")),
        lambda: absent.upload(tmp_path / "file", "key"),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(OaError, match=absent.bucket) as raised:
            call()
        assert raised.value.code == "BUCKET_MISSING"


def test_ensure_bucket_makes_it_once(store: ObjectStore) -> None:
    new = ObjectStore(f"new-{uuid.uuid4().hex[:8]}", store.endpoint)
    new.ensure_bucket()
    new.put("key", b"1")
    new.ensure_bucket()
    assert new.get("key") == b"1"


def test_a_server_that_does_not_answer_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    store = ObjectStore("bucket", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(Unavailable, match="does not answer"):
        store.get("key")


def test_a_store_is_pickled_by_address_without_secrets(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "access-key-of-the-test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-key-of-the-test")
    secretive = ObjectStore(store.bucket, store.endpoint)
    pickled = pickle.dumps(secretive)
    assert b"key-of-the-test" not in pickled
    store.put("key", b"1")
    assert pickle.loads(pickled).get("key") == b"1"


def test_from_env() -> None:
    store = ObjectStore.from_env({"OA_S3_BUCKET": "b", "OA_S3_ENDPOINT": "http://127.0.0.1:1", "OA_S3_REGION": "eu-x"})
    assert (store.bucket, store.endpoint, store.region) == ("b", "http://127.0.0.1:1", "eu-x")


def test_what_is_empty_counts_as_not_set() -> None:
    store = ObjectStore.from_env({"OA_S3_BUCKET": "", "OA_S3_ENDPOINT": "", "OA_S3_REGION": ""})
    assert (store.bucket, store.endpoint, store.region) == ("open-assistant", None, "us-east-1")


@pytest.mark.parametrize(
    ("name", "value"),
    [("OA_S3_ENDPOINT", "127.0.0.1:9000"), ("OA_S3_ENDPOINT", "ftp://x"), ("OA_S3_ENDPOINT", "http://"),
     ("OA_S3_BUCKET", "my bucket"), ("OA_S3_REGION", "no region")],
)  # fmt: skip
def test_an_address_that_cannot_be_one_is_named(name: str, value: str) -> None:
    with pytest.raises(BadInput, match=name) as caught:
        ObjectStore.from_env({name: value})
    assert value in caught.value.message


def test_a_published_folder_is_fetched_whole(store: ObjectStore, tmp_path: Path) -> None:
    files = tree(tmp_path / "source")
    made = manifest.publish(store, tmp_path / "source", "x/1/", {"name": "x"})
    assert made["name"] == "x"
    assert [entry.path for entry in manifest.entries(made)] == sorted(files)
    assert store.get_json("x/1/manifest.json") == made
    assert manifest.fetch(store, "x/1/", tmp_path / "back") == made
    fetched = read(tmp_path / "back")
    assert json.loads(fetched.pop("manifest.json")) == made
    assert fetched == files
    assert manifest.publish(store, tmp_path / "back", "x/2/", {"name": "x"}) == made


def test_publishing_again_writes_the_same(store: ObjectStore, tmp_path: Path) -> None:
    tree(tmp_path)
    first = manifest.publish(store, tmp_path, "x/1/", {})
    assert manifest.publish(store, tmp_path, "x/2/", {}) == first


def test_a_folder_without_manifest_is_not_there(store: ObjectStore, tmp_path: Path) -> None:
    store.put("x/1/a.txt", b"alpha")
    with pytest.raises(NotFound, match=r"x/1/manifest\.json"):
        manifest.fetch(store, "x/1/", tmp_path / "back")


def test_only_part_of_a_folder(store: ObjectStore, tmp_path: Path) -> None:
    files = tree(tmp_path / "source")
    manifest.publish(store, tmp_path / "source", "x/1/", {}, name="MANIFEST.json")
    manifest.fetch(store, "x/1/", tmp_path / "back", name="MANIFEST.json", only="deep/")
    assert read(tmp_path / "back") == {"deep/er/b.bin": files["deep/er/b.bin"]}


def test_an_interrupted_fetch_goes_on(store: ObjectStore, tmp_path: Path) -> None:
    files = tree(tmp_path / "source")
    manifest.publish(store, tmp_path / "source", "x/1/", {})
    store.delete("x/1/o d+d ü&=.txt")  # the fetch fails at its last file
    with pytest.raises(NotFound):
        manifest.fetch(store, "x/1/", tmp_path / "back")
    assert set(read(tmp_path / "back")) == set(files) - {"o d+d ü&=.txt"}
    kept = (tmp_path / "back" / "deep/er/b.bin").stat().st_mtime_ns
    (tmp_path / "back" / "a.txt").write_bytes(b"alphA")  # half-written by something else: right size, wrong bytes
    store.put("x/1/o d+d ü&=.txt", b"odd")
    manifest.fetch(store, "x/1/", tmp_path / "back")
    assert set(read(tmp_path / "back")) == {*files, "manifest.json"}
    assert {name: read(tmp_path / "back")[name] for name in files} == files
    assert (tmp_path / "back" / "deep/er/b.bin").stat().st_mtime_ns == kept  # it was not fetched again


def test_a_changed_file_is_corrupt(store: ObjectStore, tmp_path: Path) -> None:
    tree(tmp_path / "source")
    manifest.publish(store, tmp_path / "source", "x/1/", {})
    store.put("x/1/a.txt", b"ALPHA")
    with pytest.raises(Corrupt, match=r"x/1/a\.txt"):
        manifest.fetch(store, "x/1/", tmp_path / "back")
    assert "a.txt" not in read(tmp_path / "back")


@pytest.mark.parametrize("path", ["../escaped", "/escaped", "a/../../escaped"])
def test_a_manifest_cannot_write_outside_its_folder(store: ObjectStore, tmp_path: Path, path: str) -> None:
    store.put("x/1/escaped", b"1")
    entry = {"path": path, "bytes": 1, "sha256": hashlib.sha256(b"1").hexdigest()}
    store.put("x/1/manifest.json", json.dumps({"files": [entry]}).encode())
    with pytest.raises(Corrupt, match="outside"):
        manifest.fetch(store, "x/1/", tmp_path / "back")
    assert read(tmp_path) == {}
