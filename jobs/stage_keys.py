"""What makes two runs of a stage the same: its settings, the base, every input by content, and the code's version.

Pure but for reading the manifests of the snapshots. The same key with a success marker is not run again; another key
under the same stage name is refused, because it would load the old run's state.
"""

from __future__ import annotations

from typing import Any

from core import __version__, layout
from core.ids import content_hash
from core.jobspec import JobSpec
from core.objects import ObjectStore


def snapshot_hashes(store: ObjectStore, spec: JobSpec) -> dict[str, str]:
    """Content hash of each snapshot that the spec names, by `name/version`.

    Raises:
        NotFound: a snapshot does not exist.
    """
    refs = {f"{ref.name}/{ref.version}": ref for stage in spec.stages if (ref := getattr(stage, "dataset", None))}
    return {
        name: str(store.get_json(layout.dataset_manifest(ref.name, ref.version))["content_hash"])
        for name, ref in refs.items()
    }


def base_identity(store: ObjectStore, base: str) -> str:
    """The base's name, or for a published model its content hash.

    Raises:
        NotFound: the published model does not exist.
    """
    model = published_base(base)
    return str(store.get_json(layout.model_manifest(*model))["content_hash"]) if model else base


def published_base(base: str) -> tuple[str, str] | None:
    """`(name, version)` when the base has the form `models/<name>/<version>`; None otherwise."""
    parts = base.split("/")
    return (parts[1], parts[2]) if len(parts) == 3 and parts[0] == "models" else None


def stage_keys(job_id: str, spec: JobSpec, base: str, snapshots: dict[str, str]) -> list[str]:
    """The key of each stage in order, 64 hexadecimal digits.

    Each contains the key before it, since a stage may read whatever came earlier. An export contains the job's id
    too: its manifest names the job, so two jobs never publish the same version.

    Args:
        job_id: the job.
        spec: its specification.
        base: what `base_identity` says.
        snapshots: what `snapshot_hashes` says.
    """
    keys: list[str] = []
    for stage in spec.stages:
        ref = getattr(stage, "dataset", None)
        about: dict[str, Any] = {
            "code": __version__,
            "seed": spec.seed,
            "base": base,
            "stage": stage.model_dump(mode="json"),
            "dataset": snapshots[f"{ref.name}/{ref.version}"] if ref else None,
            "before": keys[-1] if keys else None,
        }
        if stage.kind == "export":
            about |= {"job_id": job_id, "name": spec.name}
        keys.append(content_hash(about))
    return keys
