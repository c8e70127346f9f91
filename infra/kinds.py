"""From a manifest to a resource of the Kubernetes provider."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import pulumi

from infra.manifest import Manifest

VERSION = version("pulumi_kubernetes")
KINDS = frozenset(
    {
        ("v1", "ConfigMap"),
        ("v1", "Namespace"),
        ("v1", "ResourceQuota"),
        ("v1", "Secret"),
        ("v1", "Service"),
        ("v1", "ServiceAccount"),
        ("apiregistration.k8s.io/v1", "APIService"),
        ("apps/v1", "DaemonSet"),
        ("apps/v1", "Deployment"),
        ("autoscaling/v2", "HorizontalPodAutoscaler"),
        ("batch/v1", "CronJob"),
        ("batch/v1", "Job"),
        ("networking.k8s.io/v1", "Ingress"),
        ("networking.k8s.io/v1", "NetworkPolicy"),
        ("policy/v1", "PodDisruptionBudget"),
        ("rbac.authorization.k8s.io/v1", "ClusterRole"),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
        ("rbac.authorization.k8s.io/v1", "Role"),
        ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    }
)


class Object(pulumi.CustomResource):
    """An object as its manifest says it.

    The SDK's classes would send the same, after reading large modules and looking up types for every field of every
    object.
    """

    def __init__(
        self, type: str, name: str, content: Mapping[str, Any], opts: pulumi.ResourceOptions
    ) -> None:
        ours = pulumi.ResourceOptions(version=VERSION)
        if type.endswith(":Secret"):
            ours.additional_secret_outputs = ["data", "stringData"]
        # `status` is no input: naming it makes it an output.
        super().__init__(type, name, {**content, "status": None}, pulumi.ResourceOptions.merge(ours, opts))

    @property
    def status(self) -> pulumi.Output[Any]:
        """What the cluster reports, in the form of the manifest."""
        status: pulumi.Output[Any] = pulumi.get(self, "status")
        return status


def register(region: str, made: Manifest, opts: pulumi.ResourceOptions) -> Object:
    """Register `made` in the cluster of `opts`. Raises KeyError for a kind that the program does not know."""
    api_version, kind = made["apiVersion"], made["kind"]
    if (api_version, kind) not in KINDS:
        raise KeyError(f"{api_version} {kind}")
    group = api_version if "/" in api_version else f"core/{api_version}"
    return Object(
        f"kubernetes:{group}:{kind}", f"{region}-{kind.lower()}-{made['metadata']['name']}", made, opts
    )
