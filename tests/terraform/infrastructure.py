"""Terraform run on a copy of terraform/, and what must hold after an apply, read back through boto3."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

ROOT = Path(__file__).resolve().parents[2]
KEY = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-4000-8000-000000000000"
PROVIDER = "registry.terraform.io/hashicorp/aws"
# Where Terraform itself looks for mirrors: https://developer.hashicorp.com/terraform/cli/config/config-file
IMPLIED = [
    Path("terraform.d/plugins"),
    Path.home() / ".terraform.d/plugins",
    Path("/usr/local/share/terraform/plugins"),
]


def mirror() -> Path | None:
    """A folder that holds the AWS provider: `OA_TERRAFORM_PLUGIN_DIR`, or where Terraform looks by itself."""
    named = os.environ.get("OA_TERRAFORM_PLUGIN_DIR")
    folders = [Path(named)] if named else IMPLIED
    return next((folder for folder in folders if (folder / PROVIDER).is_dir()), None)


class Terraform:
    """A copy of terraform/ with one root configuration initialised in it."""

    def __init__(self, folder: Path, configuration: str, plugins: Path) -> None:
        shutil.copytree(ROOT / "terraform", folder, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"))
        self.folder = folder / configuration
        self("init", f"-plugin-dir={plugins}")

    def __call__(self, command: str, *arguments: str) -> str:
        """Run a command of terraform that must end well; returns what it printed."""
        quiet = ["-no-color"] if command == "output" else ["-no-color", "-input=false"]
        run = subprocess.run(
            ["terraform", command, *([] if command == "validate" else quiet), *arguments],
            cwd=self.folder, capture_output=True, text=True, check=False, timeout=240,
            env={**os.environ, "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1", "TF_CLI_CONFIG_FILE": os.devnull},
        )  # fmt: skip
        assert run.returncode == 0, run.stdout + run.stderr
        return run.stdout

    def output(self) -> dict[str, Any]:
        return {name: item["value"] for name, item in json.loads(self("output", "-json")).items()}


@dataclass(frozen=True)
class Emulator:
    """Where it listens, and whether its lifecycle rules keep the filter by object size (moto loses it)."""

    endpoint: str
    knows_object_size: bool = True


def client(service: str, endpoint: str) -> Any:
    return boto3.client(
        service, endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
    )


def apply_read_back_destroy(terraform: Any, emulator: Emulator) -> None:
    """Plan, apply, plan again (nothing left to do), look at every promise through boto3, destroy."""
    endpoint, bucket = emulator.endpoint, f"oa-{uuid.uuid4().hex[:10]}"
    values = [f"-var=endpoint={endpoint}", f"-var=bucket={bucket}", f"-var=prefix={bucket}"]
    if not emulator.knows_object_size:
        values.append("-var=job_expiry_min_bytes=0")
    assert "0 to change, 0 to destroy" in terraform("plan", *values)
    terraform("apply", "-auto-approve", *values)
    assert "No changes" in terraform("plan", "-detailed-exitcode", *values)
    assert terraform.output()["settings"]["OA_S3_BUCKET"] == bucket
    check_bucket(client("s3", endpoint), bucket, emulator)
    check_roles(client("iam", endpoint), bucket)
    values.append(f"-var=kms_key_arn={KEY}")
    terraform("apply", "-auto-approve", *values)
    check_key(client("s3", endpoint), client("iam", endpoint), bucket)
    terraform("destroy", "-auto-approve", *values)
    with pytest.raises(ClientError):
        client("s3", endpoint).head_bucket(Bucket=bucket)


def check_bucket(s3: Any, bucket: str, emulator: Emulator) -> None:
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    rules = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    block = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert all(block.values())
    assert len(block) == 4
    rules = {rule["ID"]: rule for rule in s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]}
    expiring = rules["large-job-objects-expire"]
    assert expiring["Expiration"]["Days"] == 90
    sized = {"And": {"Prefix": "jobs/", "ObjectSizeGreaterThan": 1 << 20}}
    assert expiring["Filter"] == (sized if emulator.knows_object_size else {"Prefix": "jobs/"})
    assert rules["old-versions-expire"]["NoncurrentVersionExpiration"]["NoncurrentDays"] == 30


def check_roles(iam: Any, prefix: str) -> None:
    allowed = {name: statements(iam, f"{prefix}-{name}") for name in ("api", "worker", "serving")}
    assert {action for _, action, _ in allowed["serving"]} == {"s3:ListBucket", "s3:GetObject"}
    assert all("/models/" in resource for _, action, resource in allowed["serving"] if action == "s3:GetObject")
    deleted = {
        name: {resource.partition("/")[2] for _, action, resource in role if action == "s3:DeleteObject"}
        for name, role in allowed.items()
    }
    assert deleted == {
        "api": {"jobs/scores-*", "people/*", "queue/scores-*"}, "worker": {"jobs/*/checkpoints/*", "queue/*"},
        "serving": set(),
    }  # fmt: skip
    for role in allowed.values():
        assert all(effect == "Allow" and "*" not in action for effect, action, _ in role)
        assert all(resource.startswith(f"arn:aws:s3:::{prefix}") for _, _, resource in role)


def check_key(s3: Any, iam: Any, bucket: str) -> None:
    """With a key of one's own the bucket encrypts with it, and every role may use it: else no object could be read."""
    rules = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules[0]["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY}
    both = {"kms:Decrypt", "kms:GenerateDataKey"}
    wanted = {"serving": {"kms:Decrypt"}, "api": both, "worker": both}
    for role, actions in wanted.items():
        found = statements(iam, f"{bucket}-{role}")
        assert {action for _, action, resource in found if resource == KEY} == actions


def statements(iam: Any, role: str) -> list[tuple[str, str, str]]:
    """Every (effect, action, resource) of a role's policy."""
    document = iam.get_role_policy(RoleName=role, PolicyName="objects")["PolicyDocument"]
    policy = json.loads(document) if isinstance(document, str) else document
    return [
        (one["Effect"], action, resource)
        for one in policy["Statement"]
        for action in listed(one["Action"])
        for resource in listed(one["Resource"])
    ]


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
