"""Jobs that work on the database as its owner; the migration has to end well before new runners start."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

from infra.compose import DEFINITIONS
from infra.manifest import Manifest, manifest
from infra.pods import container, pod_spec
from infra.schedule import Scheduled
from infra.shapes import SystemPod
from infra.workload import all_definitions
from runner.agents import Agent

MIGRATE = "migrate"
OWNER_JOB = {"app.kubernetes.io/component": "database"}
"""Label of the pods that may log in as the owner."""
DEADLINE_SECONDS = 900


def database_job(
    command: str,
    pod: SystemPod,
    version: str,
    image: Any,
    env: list[Manifest],
    definitions: Sequence[Agent] = (),
) -> list[Manifest]:
    """ServiceAccount and job of `python -m database COMMAND` or, with `definitions`, of `python -m runner register`.

    `version` (`:TAG` or `@sha256:…`) and the agents' names are in the job's name: where they change, it is
    another job, which runs again. An edited definition needs no new job.
    """
    suffix = re.sub(r"[^a-z0-9]+", "-", version.lower().lstrip(":@").removeprefix("sha256:")[:20]).strip("-")
    if definitions:
        names = " ".join(sorted(agent.name for agent in definitions))
        suffix += f"-{hashlib.sha256(names.encode()).hexdigest()[:8]}"
    labels = {"app.kubernetes.io/name": command, **OWNER_JOB}
    made = container(
        command,
        image,
        ["python", "-m", "runner", "register"] if definitions else ["python", "-m", "database", command],
        env,
        pod.requests,
        pod.limits or pod.requests,
        {"definitions": DEFINITIONS} if definitions else {},
        served=False,
    )
    spec = {**pod_spec(command, "critical", [made], {}), "restartPolicy": "Never"}
    if definitions:
        spec["volumes"].append(all_definitions(definitions))
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


def cron_job(scheduled: Scheduled, pod: SystemPod, image: Any, env: list[Manifest]) -> list[Manifest]:
    """ServiceAccount and CronJob of one command, which never overlaps with itself."""
    name = scheduled.command
    labels = {"app.kubernetes.io/name": name, **OWNER_JOB}
    made = container(
        name, image, scheduled.invocation, env, pod.requests, pod.limits or pod.requests, {}, served=False
    )
    return [
        manifest("v1", "ServiceAccount", name, labels=labels, automountServiceAccountToken=False),
        manifest(
            "batch/v1",
            "CronJob",
            name,
            labels=labels,
            spec={
                "schedule": scheduled.cron,
                "timeZone": "Etc/UTC",
                "concurrencyPolicy": "Forbid",
                "startingDeadlineSeconds": 3600,
                "successfulJobsHistoryLimit": 1,
                "failedJobsHistoryLimit": 2,
                "jobTemplate": {
                    "spec": {
                        "backoffLimit": 1,
                        "activeDeadlineSeconds": scheduled.deadline_seconds,
                        "template": {
                            "metadata": {"labels": labels},
                            "spec": {**pod_spec(name, "critical", [made], {}), "restartPolicy": "Never"},
                        },
                    }
                },
            },
        ),
    ]
