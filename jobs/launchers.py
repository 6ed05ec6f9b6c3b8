"""Where a job's worker runs when it does not run here: an existing Ray cluster, or a cluster made for it on Kubernetes.

Each launcher starts `python -m jobs.worker --job <id>` elsewhere and can say what became of it, by a name that is the
same for whoever asks; `jobs.dispatcher` decides. Threat: the jobs API of Ray and the objects of Kubernetes show a job's
environment to every reader, so nothing secret is put there: nodes get credentials from their own environment, a mounted
secret or their role.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

import httpx

from core.errors import BadInput, Forbidden, Unavailable
from core.jobspec import JobSpec

POD_SETTINGS = ("OA_S3_", "OA_JOB_")
"""Beginnings of the settings that pods are given."""
State = Literal["pending", "running", "ended"]
_SECRETS = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where Kubernetes mounts the credentials of a pod's service account."""


class Launcher(Protocol):
    """Starts workers elsewhere."""

    def look(self, name: str) -> State | None:
        """What became of the submission `name`; None when there is none."""

    def submit(self, name: str, job_id: str, spec: JobSpec) -> None:
        """Start a worker for the job under `name`; if `name` is there already, nothing happens."""

    def stop(self, name: str) -> None:
        """End the submission `name`; one that is gone is no error."""


def make_launcher(kind: str, environ: Mapping[str, str]) -> Launcher:
    """The launcher that `OA_LAUNCHER` names, with its settings (docs/jobs.md).

    Raises:
        BadInput: there is none of that name, or a setting is missing.
    """
    if kind == "ray-jobs":
        return RayJobs(_needed(environ, "OA_RAY_JOBS_URL"), environ.get("RAY_AUTH_TOKEN"))
    if kind == "kuberay":
        return KubeRay.from_env(environ)
    raise BadInput(f"launcher {kind!r} is unknown; use local, ray-jobs or kuberay", path=("OA_LAUNCHER",))


class RayJobs:
    """An existing Ray cluster, by its jobs HTTP API.

    Args:
        url: of the cluster's dashboard.
        token: of the cluster, where it wants one.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        self._http = _Http(url, token)

    def look(self, name: str) -> State | None:
        """What became of the submission `name`."""
        answer = self._http.call("GET", f"/api/jobs/{name}", missing=True)
        if answer is None:
            return None
        status = answer["status"]
        states: dict[str, State] = {"PENDING": "pending", "RUNNING": "running"}
        return states.get(status, "ended")

    def submit(self, name: str, job_id: str, spec: JobSpec) -> None:
        """Start a worker on the cluster's head."""
        # A repeated submission id is answered with 500, not 409, so the only way is to look first.
        if self.look(name) is None:
            body = {"entrypoint": entrypoint(job_id), "submission_id": name, "metadata": {"oa_job": job_id}}
            self._http.call("POST", "/api/jobs/", body)

    def stop(self, name: str) -> None:
        """End the worker and what it started."""
        self._http.call("POST", f"/api/jobs/{name}/stop", {}, missing=True)


class KubeRay:
    """A Ray cluster of its own for each job, by a `RayJob` of the KubeRay operator; gone with the job.

    Args:
        url: of the Kubernetes API server.
        token: of a service account that may create, get and delete `rayjobs` in `namespace`.
        namespace: where clusters are made.
        image: container image with this project and its `jobs` extra.
        service_account: of the pods; with a cloud role it gives access to the object store.
        secret: name of a Kubernetes secret whose entries become the pods' environment; None for none.
        settings: environment of the pods, nothing secret.
        certificate: file with the API server's authority; None for the system's.
    """

    def __init__(
        self,
        url: str,
        token: str | None,
        *,
        image: str,
        namespace: str = "default",
        service_account: str = "default",
        secret: str | None = None,
        settings: Mapping[str, str] | None = None,
        certificate: Path | None = None,
    ) -> None:
        self._http = _Http(url, token, certificate)
        self._path = f"/apis/ray.io/v1/namespaces/{namespace}/rayjobs"
        self._image, self._account, self._secret = image, service_account, secret
        self._settings = dict(settings or {})

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> KubeRay:
        """As the settings say; inside a cluster the API server and its credentials are found.

        Raises:
            BadInput: the image is not named, or there is no API server.
        """
        url = environ.get("OA_KUBE_API")
        if not url and "KUBERNETES_SERVICE_HOST" in environ:
            url = f"https://{environ['KUBERNETES_SERVICE_HOST']}:{environ.get('KUBERNETES_SERVICE_PORT', '443')}"
        if not url:
            raise BadInput("OA_KUBE_API is not set and this is no pod; give the URL of the Kubernetes API server")
        token_file = Path(environ.get("OA_KUBE_TOKEN_FILE") or _SECRETS / "token")
        authority = _SECRETS / "ca.crt"
        return cls(
            url,
            token_file.read_text().strip() if token_file.is_file() else None,
            image=_needed(environ, "OA_KUBE_IMAGE"),
            namespace=environ.get("OA_KUBE_NAMESPACE") or "default",
            service_account=environ.get("OA_KUBE_SERVICE_ACCOUNT") or "default",
            secret=environ.get("OA_KUBE_SECRET") or None,
            # The timing of claims must be the same for all workers of a store, so pods get it too.
            settings={name: value for name, value in environ.items() if name.startswith(POD_SETTINGS) and value},
            certificate=authority if authority.is_file() else None,
        )

    def look(self, name: str) -> State | None:
        """What became of the `RayJob` `name`."""
        found = self._http.call("GET", f"{self._path}/{name}", missing=True)
        if found is None:
            return None
        status = found.get("status", {})
        if status.get("jobDeploymentStatus") in ("Complete", "Failed"):
            return "ended"
        return "running" if status.get("jobStatus") == "RUNNING" else "pending"

    def submit(self, name: str, job_id: str, spec: JobSpec) -> None:
        """Create the `RayJob`."""
        self._http.call("POST", self._path, self.manifest(name, job_id, spec), exists=True)

    def stop(self, name: str) -> None:
        """Delete the `RayJob`, and with it its cluster."""
        self._http.call("DELETE", f"{self._path}/{name}", missing=True)

    def manifest(self, name: str, job_id: str, spec: JobSpec) -> dict[str, Any]:
        """The `RayJob`: a head that only coordinates, and one pod for each rank."""
        wanted = spec.resources
        limits = {"cpu": str(wanted.cpus_per_worker)}
        if wanted.gpus_per_worker:
            limits["nvidia.com/gpu"] = str(wanted.gpus_per_worker)
        ranks = {
            "groupName": "ranks",
            "replicas": wanted.workers,
            "minReplicas": wanted.workers,
            "maxReplicas": wanted.workers,
            "rayStartParams": {},
            "template": self._pod("ray-worker", limits),
        }
        head = {"rayStartParams": {"num-cpus": "0"}, "template": self._pod("ray-head", {"cpu": "1", "memory": "4Gi"})}
        return {
            "apiVersion": "ray.io/v1",
            "kind": "RayJob",
            "metadata": {"name": name, "labels": {"app.kubernetes.io/part-of": "open-assistant", "oa-job": job_id}},
            "spec": {
                "entrypoint": entrypoint(job_id),
                "submissionMode": "HTTPMode",
                "backoffLimit": 0,  # trying again is the dispatcher's decision
                "shutdownAfterJobFinishes": True,
                "ttlSecondsAfterFinished": 600,
                "rayClusterSpec": {"headGroupSpec": head, "workerGroupSpecs": [ranks]},
            },
        }

    def _pod(self, container: str, limits: dict[str, str]) -> dict[str, Any]:
        described: dict[str, Any] = {
            "name": container,
            "image": self._image,
            "env": [{"name": name, "value": value} for name, value in sorted(self._settings.items())],
            "resources": {"limits": limits, "requests": limits},
        }
        if self._secret:
            described["envFrom"] = [{"secretRef": {"name": self._secret}}]
        return {"spec": {"serviceAccountName": self._account, "restartPolicy": "Never", "containers": [described]}}


def entrypoint(job_id: str) -> str:
    """The command that works on one job inside a Ray cluster."""
    return f"python -m jobs.worker --job {job_id} --ray-address auto"


class _Http:
    """JSON over HTTP with a bearer token, and the errors of this project."""

    def __init__(self, url: str, token: str | None, certificate: Path | None = None) -> None:
        verify: ssl.SSLContext | bool = ssl.create_default_context(cafile=str(certificate)) if certificate else True
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._url = url.rstrip("/")
        self._client = httpx.Client(base_url=self._url, headers=headers, verify=verify, timeout=30)

    def call(
        self, method: str, path: str, body: Any = None, *, missing: bool = False, exists: bool = False
    ) -> dict[str, Any] | None:
        """The answer; None for 404 with `missing`, and for 409 with `exists`.

        Raises:
            Forbidden: the token is missing, wrong, or allows too little.
            Unavailable: no answer, or one that says that it cannot.
        """
        try:
            answer = self._client.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise Unavailable(f"{self._url} does not answer: {error}") from error
        if (missing and answer.status_code == 404) or (exists and answer.status_code == 409):
            return None
        if answer.status_code in (401, 403):
            raise Forbidden(
                f"{self._url} refused {method} {path} ({answer.status_code}): its token is missing or wrong"
            )
        if answer.is_error:
            raise Unavailable(f"{self._url} answered {method} {path} with {answer.status_code}: {answer.text[:300]}")
        found: dict[str, Any] = answer.json()
        return found


def _needed(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name)
    if not value:
        raise BadInput(f"{name} is not set; this launcher needs it (docs/jobs.md)", path=(name,))
    return value
