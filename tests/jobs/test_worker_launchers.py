"""Launchers against what they talk to: a real Ray cluster's jobs API, and an HTTP server in Kubernetes' place."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from runner_kit import HERE, Desk, enqueue, make_spec, publish_inputs, result_of, stage, wait_for

from core import layout
from core.errors import BadInput, Forbidden, Unavailable
from core.ids import new_id
from core.objects import ObjectStore
from jobs.dispatcher import Dispatcher
from jobs.launchers import KubeRay, RayJobs, make_launcher
from oa.embedded import free_port

SECRET = "s3-secret-that-nobody-may-see"


@pytest.fixture
def ray_jobs(store: ObjectStore, tmp_path: Path) -> Iterator[RayJobs]:
    """A Ray cluster with a dashboard, whose nodes have the settings and credentials in their environment."""
    environ = {
        "OA_S3_BUCKET": store.bucket, "OA_S3_ENDPOINT": store.endpoint or "", "OA_VAR": str(tmp_path / "node"),
        "OA_STAGES": "counting_stages:STAGES", "OA_TEST_DESK": str(Desk(tmp_path / "desk").folder),
        "AWS_ACCESS_KEY_ID": "someone", "AWS_SECRET_ACCESS_KEY": SECRET,
        "PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parents[1]}",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }  # fmt: skip
    token = tmp_path / "ray-token"
    token.write_text(new_id())
    environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "RAY_USAGE_STATS_ENABLED": "0"}
    with tempfile.TemporaryDirectory(
        prefix="oa-head-", ignore_cleanup_errors=True
    ) as short:  # sockets need short paths
        dashboard = free_port()
        head = subprocess.Popen(ray_head(short, dashboard), env={**os.environ, **environ}, stdout=subprocess.DEVNULL)
        cluster = RayJobs(f"http://127.0.0.1:{dashboard}", token.read_text())
        wait_for(lambda: answers(cluster), "the cluster's jobs API")
        yield cluster
        head.terminate()
        head.wait(60)


def ray_head(temporary: str, dashboard: int) -> list[str]:
    """The head of a cluster as an operator starts it, with every port named: two on one host share no default."""
    ports = {
        "port": 0,
        "dashboard-port": dashboard,
        "dashboard-agent-listen-port": free_port(),
        "dashboard-agent-grpc-port": free_port(),
        "ray-client-server-port": free_port(),
        "metrics-export-port": free_port(),
    }
    script = str(Path(sys.executable).with_name("ray"))
    named = [f"--{name}={port}" for name, port in ports.items()]
    where = ["--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1", f"--temp-dir={temporary}"]
    return [script, "start", "--head", "--block", "--num-cpus=2", "--object-store-memory=200000000", *named, *where]


def answers(cluster: RayJobs) -> bool:
    try:
        return cluster.look("nobody") is None
    except Unavailable:
        return False


def accepted(dispatcher: Dispatcher) -> bool:
    """Whether a step went through: a young cluster answers 500 until its nodes' agents have registered."""
    try:
        dispatcher.step()
    except Unavailable:
        return False
    return True


def test_a_job_runs_on_an_existing_cluster_by_its_jobs_api(ray_jobs: RayJobs, store: ObjectStore) -> None:
    publish_inputs(store)
    job_id = enqueue(store, make_spec(stage(steps=4)))
    dispatcher = Dispatcher(store, ray_jobs)
    wait_for(lambda: accepted(dispatcher), "a cluster that takes submissions")
    Dispatcher(store, ray_jobs).step()  # another one, or this one restarted, finds what was submitted
    name = f"oa-{job_id}-1"
    wait_for(lambda: ray_jobs.look(name) == "running", "the submission to run")
    assert ray_jobs.look(f"oa-{job_id}-2") is None
    shown = json.dumps(ray_jobs._http.call("GET", f"/api/jobs/{name}"))
    assert SECRET not in shown
    with pytest.raises(Forbidden, match="token"):
        RayJobs(ray_jobs._http._url, "wrong").look(name)
    result = wait_for(lambda: result_of(store, job_id), "the result", 150)
    assert (result["state"], result["stages"][0]["metrics"]["total"]) == ("succeeded", 10)
    # On a shared cluster a rank takes the processors that the spec asks for, not the machine.
    assert result["stages"][0]["info"]["threads"] == 1
    dispatcher.step()
    assert not store.exists(layout.queued(job_id))
    wait_for(lambda: ray_jobs.look(name) == "ended", "the submission to end")
    ray_jobs.stop(name)


@dataclass
class FakeKubernetes:
    """An HTTP server that keeps objects as the Kubernetes API does: create, get, delete; 401, 404, 409."""

    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    token: str = "let-me-in"
    url: str = ""

    def answer(self, method: str, path: str, token: str, body: Any) -> tuple[int, Any]:
        collection = "/apis/ray.io/v1/namespaces/training/rayjobs"
        name = path.removeprefix(collection).strip("/")
        if token != f"Bearer {self.token}":
            return 401, {"message": "Unauthorized"}
        if not path.startswith(collection):
            return 404, {"message": "no such resource"}
        if method == "POST":
            name = body["metadata"]["name"]
            if name in self.objects:
                return 409, {"message": "already exists"}
            self.objects[name] = body
            return 201, body
        if name not in self.objects:
            return 404, {"message": "not found"}
        return 200, self.objects.pop(name) if method == "DELETE" else self.objects[name]


@pytest.fixture
def kubernetes() -> Iterator[FakeKubernetes]:
    peer = FakeKubernetes()

    class Handler(BaseHTTPRequestHandler):
        def serve(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(size)) if size else None
            code, value = peer.answer(self.command, self.path, self.headers.get("Authorization", ""), body)
            data = json.dumps(value).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = serve  # noqa: N815 - http.server's names

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    peer.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield peer
    server.shutdown()
    server.server_close()


def kuberay(peer: FakeKubernetes, tmp_path: Path, **other: str) -> KubeRay:
    (tmp_path / "token").write_text(peer.token + "\n")
    environ = {
        "OA_KUBE_API": peer.url, "OA_KUBE_TOKEN_FILE": str(tmp_path / "token"), "OA_KUBE_NAMESPACE": "training",
        "OA_KUBE_IMAGE": "registry.example/oa-jobs:1", "OA_KUBE_SERVICE_ACCOUNT": "oa-worker",
        "OA_S3_BUCKET": "wheel", "OA_JOB_STALE_SECONDS": "60", "AWS_SECRET_ACCESS_KEY": SECRET, **other,
    }  # fmt: skip
    launcher = make_launcher("kuberay", environ)
    assert isinstance(launcher, KubeRay)
    return launcher


def test_a_job_becomes_a_rayjob_and_goes_with_it(kubernetes: FakeKubernetes, tmp_path: Path) -> None:
    launcher, job_id = kuberay(kubernetes, tmp_path, OA_KUBE_SECRET="oa-s3"), new_id()
    name = f"oa-{job_id}-1"
    spec = make_spec(stage(), resources={"workers": 2, "cpus_per_worker": 8, "gpus_per_worker": 1})
    assert launcher.look(name) is None
    launcher.submit(name, job_id, spec)
    launcher.submit(name, job_id, spec)
    made = kubernetes.objects[name]
    assert (made["apiVersion"], made["kind"], len(made["metadata"]["name"]) <= 47) == ("ray.io/v1", "RayJob", True)
    assert made["spec"]["entrypoint"] == f"python -m jobs.worker --job {job_id} --ray-address auto"
    assert made["spec"]["shutdownAfterJobFinishes"] is True
    cluster = made["spec"]["rayClusterSpec"]
    (group,) = cluster["workerGroupSpecs"]
    pod = group["template"]["spec"]
    assert (group["replicas"], group["minReplicas"], group["maxReplicas"]) == (2, 2, 2)
    assert pod["containers"][0]["resources"]["limits"] == {"cpu": "8", "nvidia.com/gpu": "1"}
    assert pod["containers"][0]["envFrom"] == [{"secretRef": {"name": "oa-s3"}}]
    settings = {each["name"]: each["value"] for each in pod["containers"][0]["env"]}
    assert settings == {"OA_S3_BUCKET": "wheel", "OA_JOB_STALE_SECONDS": "60"}
    assert pod["serviceAccountName"] == "oa-worker"
    assert cluster["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0"}
    assert SECRET not in json.dumps(made)

    for status, state in (
        ({}, "pending"),
        ({"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"}, "running"),
        ({"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}, "ended"),
        ({"jobDeploymentStatus": "Failed"}, "ended"),
    ):
        made["status"] = status
        assert launcher.look(name) == state
    launcher.stop(name)
    launcher.stop(name)
    assert kubernetes.objects == {}


def test_a_wrong_token_or_an_absent_server_is_named(kubernetes: FakeKubernetes, tmp_path: Path) -> None:
    launcher = kuberay(kubernetes, tmp_path)
    kubernetes.token = "another"
    with pytest.raises(Forbidden, match="401"):
        launcher.look("x")
    with pytest.raises(Unavailable, match="does not answer"):
        RayJobs(f"http://127.0.0.1:{free_port()}").look("x")
    with pytest.raises(BadInput, match="OA_KUBE_IMAGE"):
        kuberay(kubernetes, tmp_path, OA_KUBE_IMAGE="")
    with pytest.raises(BadInput, match="OA_RAY_JOBS_URL"):
        make_launcher("ray-jobs", {})


def test_a_submission_that_ends_without_a_result_is_followed_by_the_next(
    kubernetes: FakeKubernetes, tmp_path: Path, store: ObjectStore
) -> None:
    publish_inputs(store)
    job_id = enqueue(store, make_spec(stage(), resources={"max_failures": 1}))
    dispatcher = Dispatcher(store, kuberay(kubernetes, tmp_path))
    for number in (1, 2):
        dispatcher.step()
        dispatcher.step()
        assert list(kubernetes.objects) == [f"oa-{job_id}-{n}" for n in range(1, number + 1)]
        kubernetes.objects[f"oa-{job_id}-{number}"]["status"] = {"jobDeploymentStatus": "Failed"}
    dispatcher.step()
    result = result_of(store, job_id) or {}
    assert (result["state"], result["error"]["code"]) == ("failed", "STAGE_FAILED")
    assert not store.exists(layout.queued(job_id))


@pytest.mark.parametrize("submitted", [False, True])
def test_a_job_that_still_waits_for_machines_can_be_cancelled(
    kubernetes: FakeKubernetes, tmp_path: Path, store: ObjectStore, submitted: bool
) -> None:
    publish_inputs(store)
    job_id = enqueue(store, make_spec(stage()))
    dispatcher = Dispatcher(store, kuberay(kubernetes, tmp_path))
    if submitted:
        dispatcher.step()
    store.put_json(layout.cancel(job_id), {})
    dispatcher.step()
    assert (result_of(store, job_id) or {})["state"] == "cancelled"
    assert kubernetes.objects == {}


def test_a_job_without_a_readable_spec_gets_its_result(
    kubernetes: FakeKubernetes, tmp_path: Path, store: ObjectStore
) -> None:
    store.put_json(layout.queued("odd"), {})
    Dispatcher(store, kuberay(kubernetes, tmp_path)).run(once=True)
    assert (result_of(store, "odd") or {})["error"]["code"] == "NOT_FOUND"
