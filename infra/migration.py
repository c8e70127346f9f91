"""The migration as a job that has to end well before new runners start."""

from __future__ import annotations

import re
from typing import Any

from infra.manifest import Manifest, manifest
from infra.pods import container, pod_spec, variables
from infra.shapes import SystemPod

NAME = "migrate"
LABELS = {"app.kubernetes.io/name": NAME}
DEADLINE_SECONDS = 900


def migration(pod: SystemPod, version: str, image: Any, environment: dict[str, Any]) -> list[Manifest]:
    """ServiceAccount and job. `version` (`:TAG` or `@sha256:…`) is in its name: another one is another job."""
    suffix = re.sub(r"[^a-z0-9]+", "-", version.lower().lstrip(":@").removeprefix("sha256:")[:20]).strip("-")
    made = container(
        NAME,
        image,
        ["python", "-m", "database", "migrate"],
        variables(environment),
        pod.requests,
        pod.limits or pod.requests,
        {},
        served=False,
    )
    spec = pod_spec(NAME, "critical", [made], {})
    return [
        manifest("v1", "ServiceAccount", NAME, labels=LABELS, automountServiceAccountToken=False),
        manifest(
            "batch/v1",
            "Job",
            f"{NAME}-{suffix}",
            labels=LABELS,
            spec={
                "backoffLimit": 3,
                "activeDeadlineSeconds": DEADLINE_SECONDS,
                "template": {"metadata": {"labels": LABELS}, "spec": {**spec, "restartPolicy": "Never"}},
            },
        ),
    ]
