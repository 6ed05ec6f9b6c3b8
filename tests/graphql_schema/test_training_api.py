"""Jobs, models and snapshots through the schema, over real stores; the worker's side is written as the seam says."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from core import layout, manifest
from core.chats import Chats
from core.collection import Collection
from core.config import CollectionConfig
from core.interchange import import_trees
from core.models import Models
from core.objects import ObjectStore
from core.records import User
from core.runs import Runs
from graphql_schema.context import Context, Services
from graphql_schema.relay import global_id
from graphql_schema.schema import build_schema

SAMPLES = Path(__file__).resolve().parents[2] / "samples" / "trees.jsonl"
SCHEMA = build_schema()
ERRORS = "userErrors { code message path }"
LAUNCH = f"mutation ($spec: JSON!, $key: String) {{ p: launchJob(input: {{spec: $spec, idempotencyKey: $key}}) {{ {ERRORS} job {{ id state name spec launchedBy }} }} }}"  # noqa: E501
FREEZE = f"mutation ($kind: String!, $filters: JSON) {{ p: freezeSnapshot(input: {{kind: $kind, name: $kind, filters: $filters}}) {{ {ERRORS} snapshot {{ id name version kind rows trees train validation byLang }} }} }}"  # noqa: E501
PROMOTE = f'mutation ($version: String!) {{ p: promoteModel(input: {{name: "assistant", version: $version}}) {{ {ERRORS} model {{ label promoted }} }} }}'  # noqa: E501
EVENTS = "subscription ($id: ID!, $after: String) { jobEvents(jobId: $id, after: $after) { cursor type stage step total attempt metrics message job { state stages { name metrics } error { code } } } }"  # noqa: E501


class Api:
    """The schema as one person after the other uses it."""

    def __init__(self, services: Services) -> None:
        self.services = services

    def context(self, role: str) -> Context:
        if role == "anonymous":
            return Context(services=self.services)
        user = User(id=f"{role}-id", auth_method="test", subject=role, display_name=role, roles=(role,))
        return Context(services=self.services, viewer=user, roles=frozenset({role}))

    async def ask(self, document: str, role: str = "admin", **variables: Any) -> dict[str, Any]:
        result = await SCHEMA.execute(document, variable_values=variables, context_value=self.context(role))
        assert not result.errors, result.errors
        return result.data  # type: ignore[return-value]

    async def do(self, document: str, role: str = "admin", **variables: Any) -> dict[str, Any]:
        payload = (await self.ask(document, role, **variables))["p"]
        assert payload["userErrors"] == [], payload["userErrors"]
        return payload

    async def refused(self, document: str, role: str = "admin", **variables: Any) -> dict[str, Any]:
        """The only error, of the document or of its payload."""
        result = await SCHEMA.execute(document, variable_values=variables, context_value=self.context(role))
        if result.errors:
            (error,) = result.errors
            return {**(error.extensions or {}), "message": error.message}
        (error,) = result.data["p"]["userErrors"]
        return error

    async def follow(self, document: str, role: str = "admin", **variables: Any) -> list[dict[str, Any]]:
        stream = await SCHEMA.stream(document, variable_values=variables, context_value=self.context(role))
        seen = []
        async with asyncio.timeout(20):
            async for result in stream:
                assert not result.errors, result.errors
                seen.append(next(iter(result.data.values())))
        return seen


@pytest.fixture
def api(database: Any, store: ObjectStore) -> Api:
    collection = Collection(database, CollectionConfig())
    return Api(
        Services(
            collection=collection,
            database=database,
            store=store,
            chats=Chats(database, collection),
            runs=Runs(database, store),
            models=Models(database, store),
        )
    )


async def frozen(api: Api, kind: str = "sft") -> dict[str, Any]:
    with SAMPLES.open("rb") as lines:
        await import_trees(api.services.database, lines, origin="samples")
    return (await api.do(FREEZE, kind=kind, filters={"langs": ["en"]}))["snapshot"]


def spec_of(snapshot: dict[str, Any]) -> dict[str, Any]:
    dataset = {"name": snapshot["name"], "version": snapshot["version"]}
    return {"name": "assistant", "base": "tiny", "stages": [{"kind": "sft", "dataset": dataset}, {"kind": "export"}]}


def raw(node: dict[str, Any]) -> str:
    return base64.urlsafe_b64decode(node["id"]).decode().partition(":")[2]


def publish(store: ObjectStore, folder: Path, version: str, **about: Any) -> None:
    (folder / "onnx").mkdir(parents=True, exist_ok=True)
    (folder / "onnx" / "model.onnx").write_bytes(version.encode())
    known = {"format": 1, "name": "assistant", "version": version, "created_at": f"2026-01-01T00:00:0{version[-1]}Z",
             "job_id": "job-1", "base": "tiny", "checks": {"parity": {"passed": True}}, "datasets": []}  # fmt: skip
    manifest.publish(store, folder, layout.model("assistant", version), {**known, **about})


async def test_a_version_that_wrote_many_replies_is_looked_up_once(api: Api, tmp_path: Path) -> None:
    publish(api.services.store, tmp_path, "v1")
    read: list[str] = []

    class Counted(Models):
        async def lineage(self, name: str, version: str) -> Any:
            read.append(version)
            return await super().lineage(name, version)

    api.services.models = Counted(api.services.database, api.services.store)
    lineages = api.context("contributor").loaders.lineages
    found = await asyncio.gather(*(lineages.load(f"assistant@{version}") for version in ("v1", "v9", "v1", "v1")))
    assert [each and each.model.label for each in found] == ["assistant@v1", None, "assistant@v1", "assistant@v1"]
    assert read == ["v1", "v9"]


async def test_from_snapshot_to_job_to_model_to_lineage_and_back(api: Api, tmp_path: Path) -> None:
    snapshot = await frozen(api)
    assert snapshot["rows"] == snapshot["train"] + snapshot["validation"] == snapshot["byLang"]["en"] > 0
    job = (await api.do(LAUNCH, spec=spec_of(snapshot), key="k"))["job"]
    assert (job["state"], job["name"], job["launchedBy"]) == ("QUEUED", "assistant", global_id("User", "admin-id"))
    assert (await api.do(LAUNCH, spec=spec_of(snapshot), key="k"))["job"]["id"] == job["id"]

    # The worker's side: events, a published model, the result.
    store, job_id = api.services.store, raw(job)
    lines = [{"type": "progress", "ts": f"{step}", "attempt": 1, "step": step, "total": 3} for step in (1, 2, 3)]
    batch = b"\n".join(orjson.dumps({**line, "stage": "00-sft", "metrics": {"loss": 1.5}}) for line in lines)
    store.put(layout.event_batch(job_id, "00-sft", 1, 0), batch)
    used = {key: snapshot[key] for key in ("name", "version", "kind")}
    publish(store, tmp_path, "v1", job_id=job_id, datasets=[used])
    stage = {"name": "00-sft", "kind": "sft", "state": "succeeded", "metrics": {"loss": 1.5}}
    result = {"state": "succeeded", "attempts": 1, "stages": [stage], "error": None}
    store.put_json(layout.result(job_id), {**result, "model": {"name": "assistant", "version": "v1"}})

    events = await api.follow(EVENTS, id=job["id"])
    assert [event["step"] for event in events[:-1]] == [1, 2, 3]
    assert events[-1]["type"] == "result"
    assert events[-1]["job"]["state"] == "SUCCEEDED"
    assert events[-1]["job"]["stages"] == [{"name": "00-sft", "metrics": {"loss": 1.5}}]
    rest = await api.follow(EVENTS, id=job["id"], after=events[1]["cursor"])
    assert rest == events[2:]

    found = "query ($id: ID!) { job(id: $id) { state step model { label lineage { jobId snapshots { name trees messages sources(first: 100) { nodes { kind sourceId } } } } } } }"  # noqa: E501
    model = (await api.ask(found, id=job["id"]))["job"]["model"]
    assert model["label"] == "assistant@v1"
    assert model["lineage"]["jobId"] == job["id"]
    (use,) = model["lineage"]["snapshots"]
    assert use["trees"] > 0
    message = next(each["sourceId"] for each in use["sources"]["nodes"] if each["kind"] == "message")
    node = "query ($id: ID!) { node(id: $id) { ... on Message { lang } } }"
    assert (await api.ask(node, id=message))["node"] == {"lang": "en"}
    reverse = "query ($id: ID!) { learnedFrom(sourceId: $id, first: 5) { nodes { label } } }"
    assert (await api.ask(reverse, "contributor", id=message))["learnedFrom"]["nodes"] == [{"label": "assistant@v1"}]
    nobody = (await api.ask(reverse, id=global_id("Message", "nowhere")))["learnedFrom"]
    assert nobody["nodes"] == []


async def test_sources_are_paged_without_gaps(api: Api, tmp_path: Path) -> None:
    snapshot = await frozen(api)
    publish(api.services.store, tmp_path, "v1", datasets=[{key: snapshot[key] for key in ("name", "version", "kind")}])
    document = "query ($after: String) { models(first: 1) { nodes { lineage { snapshots { trees messages rankings reviews sources(first: 100, after: $after) { nodes { sourceId } pageInfo { hasNextPage endCursor } } } } } } }"  # noqa: E501
    seen: list[str] = []
    after, more = None, True
    while more:
        (use,) = (await api.ask(document, after=after))["models"]["nodes"][0]["lineage"]["snapshots"]
        seen += [each["sourceId"] for each in use["sources"]["nodes"]]
        after, more = use["sources"]["pageInfo"]["endCursor"], use["sources"]["pageInfo"]["hasNextPage"]
    assert len(seen) == len(set(seen)) == sum(use[name] for name in ("trees", "messages", "rankings", "reviews"))


async def test_a_job_on_a_snapshot_that_is_not_there_is_refused(api: Api) -> None:
    error = await api.refused(LAUNCH, spec=spec_of({"name": "gone", "version": "v0"}))
    assert (error["code"], error["path"]) == ("NOT_FOUND", ["stages", "0", "dataset"])
    assert "'gone'" in error["message"]


async def test_latest_is_the_newest_snapshot_and_the_job_says_which(api: Api) -> None:
    error = await api.refused(LAUNCH, spec=spec_of({"name": "sft", "version": "latest"}))
    assert (error["code"], error["path"]) == ("NOT_FOUND", ["stages", "0", "dataset"])
    snapshot = await frozen(api)
    wanted = spec_of({"name": snapshot["name"], "version": "latest"})
    job = (await api.do(LAUNCH, spec=wanted, key="k"))["job"]
    assert job["spec"]["stages"][0]["dataset"]["version"] == snapshot["version"]
    assert api.services.store.get_json(layout.spec(raw(job))) == job["spec"]
    assert (await api.do(LAUNCH, spec=wanted, key="k"))["job"] == job


@pytest.mark.parametrize(
    ("spec", "names", "path"),
    [
        ({}, "name", ["name"]), ([], "dictionary", []), ("spec", "dictionary", []),
        ({"name": "x", "base": "tiny", "stages": [{"kind": "brew"}]}, "stages.0", ["stages", "0"]),
        ({"name": "x", "base": "tiny", "stages": [{"kind": "sft", "dataset": {"name": "a", "version": "b"},
          "learning_rate": -1}]}, "learning_rate", ["stages", "0", "sft", "learning_rate"]),
    ],
)  # fmt: skip
async def test_a_wrong_spec_is_refused(api: Api, spec: Any, names: str, path: list[str]) -> None:
    error = await api.refused(LAUNCH, spec=spec)
    assert (error["code"], error["path"]) == ("BAD_SPEC", ["spec", *path])
    assert names in error["message"]
    assert [item.key for item in api.services.store.list("queue/")] == []


async def test_cancelling(api: Api) -> None:
    job = (await api.do(LAUNCH, spec=spec_of(await frozen(api))))["job"]
    document = (
        f"mutation ($id: ID!) {{ p: cancelJob(input: {{jobId: $id}}) {{ {ERRORS} job {{ state cancelRequested }} }} }}"
    )
    assert (await api.do(document, "service", id=job["id"]))["job"] == {"state": "QUEUED", "cancelRequested": True}
    assert (await api.refused(document, id=global_id("Job", "nowhere")))["code"] == "NOT_FOUND"
    assert (await api.refused(document, id="nonsense"))["path"] == ["jobId"]


async def test_jobs_are_listed_for_operators_newest_first(api: Api) -> None:
    snapshot = await frozen(api)
    made = [(await api.do(LAUNCH, spec=spec_of(snapshot)))["job"]["id"] for _ in range(3)]
    document = (
        "query ($after: String) { jobs(first: 2, after: $after) { nodes { id } pageInfo { hasNextPage endCursor } } }"
    )
    first = (await api.ask(document, "service"))["jobs"]
    rest = (await api.ask(document, "service", after=first["pageInfo"]["endCursor"]))["jobs"]
    assert [node["id"] for node in first["nodes"] + rest["nodes"]] == made[::-1]
    assert not rest["pageInfo"]["hasNextPage"]


async def test_promotion_goes_by_the_checks(api: Api, tmp_path: Path) -> None:
    publish(api.services.store, tmp_path, "v1")
    publish(api.services.store, tmp_path, "v2", checks={"parity": {"passed": False}})
    assert (await api.do(PROMOTE, version="v1"))["model"] == {"label": "assistant@v1", "promoted": True}
    assert (await api.refused(PROMOTE, version="v2"))["code"] == "GATE_FAILED"
    assert (await api.refused(PROMOTE, version="v3"))["code"] == "NO_MODEL"
    listed = (await api.ask("{ models(first: 9) { nodes { label promoted } } }", "contributor"))["models"]["nodes"]
    assert listed == [{"label": "assistant@v2", "promoted": False}, {"label": "assistant@v1", "promoted": True}]


@pytest.mark.parametrize(
    ("kind", "filters", "path"),
    [
        ("poems", None, ["kind"]), ("sft", [1], ["filters"]), ("sft", {"x": 1}, ["filters", "x"]),
        ("sft", {"min_reviews": -1}, ["filters", "min_reviews"]), ("sft", {"langs": ["xx"]}, ["filters"]),
        ("sft", {"collections": ["nowhere"]}, ["filters", "collections"]),
    ],
)  # fmt: skip
async def test_a_wrong_snapshot_is_refused(api: Api, kind: str, filters: Any, path: Any) -> None:
    error = await api.refused(FREEZE, kind=kind, filters=filters)
    assert (error["code"], error["path"]) == ("BAD_INPUT", path)


async def test_snapshots_are_listed_and_found_again(api: Api) -> None:
    snapshot = await frozen(api)
    listed = (await api.ask("{ snapshots(first: 9) { nodes { id rows } } }", "service"))["snapshots"]["nodes"]
    assert listed == [{"id": snapshot["id"], "rows": snapshot["rows"]}]
    signed = f"mutation ($id: ID!, $time: Int!) {{ p: snapshotDownload(input: {{snapshotId: $id, seconds: $time}}) {{ {ERRORS} files {{ path bytes sha256 url }} }} }}"  # noqa: E501
    files = (await api.do(signed, "service", id=snapshot["id"], time=60))["files"]
    assert {"train.parquet", "sources.parquet", "manifest.json"} <= {each["path"] for each in files}
    async with httpx.AsyncClient() as client:
        for each in files:
            content = (await client.get(each["url"])).raise_for_status().content
            assert each["sha256"] in (None, hashlib.sha256(content).hexdigest())
    assert (await api.refused(signed, "service", id=snapshot["id"], time=1))["code"] == "BAD_INPUT"
    assert (await api.refused(signed, "service", id=global_id("Snapshot", "a@b"), time=60))["code"] == "NOT_FOUND"
    node = "query ($id: ID!) { node(id: $id) { id } }"
    assert (await api.ask(node, "service", id=snapshot["id"]))["node"] == {"id": snapshot["id"]}
    assert (await api.ask(node, "contributor", id=snapshot["id"]))["node"] is None
    named = [
        (await api.do(FREEZE, kind="sft", filters={"langs": ["en"], "collections": [each]}))["snapshot"]["id"]
        for each in ("default", global_id("Collection", "default"))
    ]
    assert named[0] == named[1], "a collection may be named by the id that the API gave"


@pytest.mark.parametrize(
    ("document", "roles"),
    [
        ("{ jobs(first: 1) { nodes { id } } }", ("anonymous", "contributor", "trusted", "moderator")),
        ("{ snapshots(first: 1) { nodes { id } } }", ("anonymous", "contributor", "moderator")),
        ("mutation { p: launchJob(input: {spec: {}}) { job { id } } }", ("anonymous", "contributor", "moderator")),
        ('mutation { p: promoteModel(input: {name: "a", version: "b"}) { model { id } } }', ("moderator", "service")),
        ('mutation { p: freezeSnapshot(input: {kind: "sft", name: "a"}) { snapshot { id } } }', ("service", "trusted")),
        ('mutation { p: snapshotDownload(input: {snapshotId: "a"}) { files { url } } }', ("trusted", "moderator")),
        ("{ models(first: 1) { nodes { id } } }", ("anonymous",)),
    ],
)
async def test_who_may(api: Api, document: str, roles: tuple[str, ...]) -> None:
    for role in roles:
        error = await api.refused(document, role)
        assert error["code"] == ("UNAUTHENTICATED" if role == "anonymous" else "FORBIDDEN"), role


async def test_without_these_services_the_fields_say_so(api: Api) -> None:
    bare = Api(Services(collection=api.services.collection))
    for document in ("{ models(first: 1) { nodes { id } } }", "{ jobs(first: 1) { nodes { id } } }"):
        assert (await bare.refused(document))["code"] == "UNAVAILABLE"
