"""Workloads: pods that can do little harm, and images that mean one thing for ever."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from infra.manifest import NAMESPACE
from infra.policy.rule import Subject, at, entries
from infra.shapes import Resource

KINDS = ("Deployment", "DaemonSet", "Job", "CronJob")
_FIXED = re.compile(r"\S+(@sha256:[0-9a-f]{64}|:v?\d+\.\d+\.\d+\S*)")


def images_never_change(subject: Subject) -> Iterator[str]:
    """An image is named by digest or by a release tag that the registry refuses to overwrite."""
    for resource in subject.of(*KINDS):
        for container in containers(resource):
            image = container.get("image")
            if isinstance(image, str) and not _FIXED.fullmatch(image):
                yield f"{resource.name}: {image} can change under its name, use a release or a digest"
    for resource in subject.of("aws:ecr:Repository"):
        if resource.inputs.get("imageTagMutability") != "IMMUTABLE":
            yield f"{resource.name} lets a tag be overwritten: set imageTagMutability to IMMUTABLE"
        if at(resource.inputs, "imageScanningConfiguration", "scanOnPush") is not True:
            yield f"{resource.name} does not scan what is pushed"
    for resource in subject.of("Release"):
        if not resource.inputs.get("version"):
            yield f"{resource.name} takes whatever chart is newest: set its version"


def pods_are_confined(subject: Subject) -> Iterator[str]:
    """Containers run without root, privileges, a writable root or unlimited resources."""
    for resource in subject.of(*KINDS):
        agents = at(resource.inputs, "metadata", "namespace") == NAMESPACE
        for container in containers(resource):
            where = f"{resource.name}/{container.get('name')}"
            security = container.get("securityContext") or {}
            if security.get("privileged") or security.get("allowPrivilegeEscalation") is not False:
                yield f"{where} may gain privileges"
            if "ALL" not in entries(security, "capabilities", "drop"):
                yield f"{where} keeps capabilities"
            if security.get("readOnlyRootFilesystem") is not True:
                yield f"{where} may write to its root"
            if agents and security.get("runAsNonRoot") is not True:
                yield f"{where} may run as root"
            for kind in ("requests", "limits"):
                if not {"cpu", "memory"} <= (at(container, "resources", kind) or {}).keys():
                    yield f"{where} has no {kind} of CPU and memory"
        if at(_pod(resource), "securityContext", "seccompProfile", "type") != "RuntimeDefault":
            yield f"{resource.name} has no seccomp profile"
    for resource in subject.of("Namespace"):
        labels = at(resource.inputs, "metadata", "labels") or {}
        if labels.get("pod-security.kubernetes.io/enforce") != "restricted":
            yield f"{resource.name} does not enforce Pod Security `restricted`"


def secrets_stay_out_of_manifests(subject: Subject) -> Iterator[str]:
    """No password, key or token stands in a variable, a ConfigMap or a URL."""
    for resource in subject.of(*KINDS):
        for container in containers(resource):
            for variable in entries(container, "env"):
                name, value = str(variable.get("name")), variable.get("value")
                named = re.search(r"(PASSWORD|TOKEN|API_KEY|PRIVATE_KEY|WEBHOOK_SECRET)$", name)
                in_url = isinstance(value, str) and re.search(r"://[^/@\s]*:[^/@\s]+@", value)
                if value is not None and (named or in_url):
                    yield f"{resource.name}: {name} stands in clear, take it from a Secret"


def rollouts_keep_serving(subject: Subject) -> Iterator[str]:
    """A Deployment is rolled without a pod less, and each has a disruption budget."""
    budgets = {
        (resource.region, at(resource.inputs, "metadata", "name"))
        for resource in subject.of("PodDisruptionBudget")
    }
    for resource in subject.of("Deployment"):
        if at(resource.inputs, "spec", "strategy", "rollingUpdate", "maxUnavailable") != 0:
            yield f"{resource.name} is rolled with a pod less: set maxUnavailable to 0"
        if (resource.region, at(resource.inputs, "metadata", "name")) not in budgets:
            yield f"{resource.name} has no PodDisruptionBudget"


def _pod(resource: Resource) -> Mapping[str, Any]:
    of_a_schedule = at(resource.inputs, "spec", "jobTemplate", "spec", "template", "spec")
    return of_a_schedule or at(resource.inputs, "spec", "template", "spec") or {}


def containers(resource: Resource) -> list[Mapping[str, Any]]:
    """Those of the pods that a workload makes."""
    return entries(_pod(resource), "initContainers") + entries(_pod(resource), "containers")
