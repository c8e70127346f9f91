"""Jobs that work on the database as its owner; the migration has to end well before new runners start."""

from __future__ import annotations

import re
from typing import Any

from infra.manifest import Manifest, manifest
from infra.pods import container, pod_spec
from infra.shapes import SystemPod

MIGRATE = "migrate"
OWNER_JOB = {"app.kubernetes.io/component": "database"}
"""Label of the pods that may log in as the owner."""
DEADLINE_SECONDS = 900


def database_job(
    command: str, pod: SystemPod, version: str, image: Any, env: list[Manifest]
) -> list[Manifest]:
    """ServiceAccount and job of `python -m database COMMAND`.

    `version` (`:TAG` or `@sha256:…`) is in the job's name: another one is another job, which runs again.
    """
    suffix = re.sub(r"[^a-z0-9]+", "-", version.lower().lstrip(":@").removeprefix("sha256:")[:20]).strip("-")
    labels = {"app.kubernetes.io/name": command, **OWNER_JOB}
    made = container(
        command,
        image,
        ["python", "-m", "database", command],
        env,
        pod.requests,
        pod.limits or pod.requests,
        {},
        served=False,
    )
    spec = {**pod_spec(command, "critical", [made], {}), "restartPolicy": "Never"}
    return [
        manifest("v1", "ServiceAccount", command, labels=labels, automountServiceAccountToken=False),
        manifest(
            "batch/v1",
            "Job",
            f"{command}-{suffix}",
            labels=labels,
            spec={
                "backoffLimit": 3,
                "activeDeadlineSeconds": DEADLINE_SECONDS,
                "template": {"metadata": {"labels": labels}, "spec": spec},
            },
        ),
    ]
