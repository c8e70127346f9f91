"""From a manifest to a resource of the Kubernetes provider."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes

from infra.manifest import Manifest

# Looked up late: the provider's modules are large, and each is read only when a kind of it is made.
_KINDS: Mapping[tuple[str, str], Any] = {
    ("v1", "ConfigMap"): lambda: kubernetes.core.v1.ConfigMap,
    ("v1", "Namespace"): lambda: kubernetes.core.v1.Namespace,
    ("v1", "ResourceQuota"): lambda: kubernetes.core.v1.ResourceQuota,
    ("v1", "Secret"): lambda: kubernetes.core.v1.Secret,
    ("v1", "Service"): lambda: kubernetes.core.v1.Service,
    ("v1", "ServiceAccount"): lambda: kubernetes.core.v1.ServiceAccount,
    ("apiregistration.k8s.io/v1", "APIService"): lambda: kubernetes.apiregistration.v1.APIService,
    ("apps/v1", "DaemonSet"): lambda: kubernetes.apps.v1.DaemonSet,
    ("apps/v1", "Deployment"): lambda: kubernetes.apps.v1.Deployment,
    ("autoscaling/v2", "HorizontalPodAutoscaler"): lambda: kubernetes.autoscaling.v2.HorizontalPodAutoscaler,
    ("batch/v1", "Job"): lambda: kubernetes.batch.v1.Job,
    ("networking.k8s.io/v1", "Ingress"): lambda: kubernetes.networking.v1.Ingress,
    ("networking.k8s.io/v1", "NetworkPolicy"): lambda: kubernetes.networking.v1.NetworkPolicy,
    ("policy/v1", "PodDisruptionBudget"): lambda: kubernetes.policy.v1.PodDisruptionBudget,
    ("rbac.authorization.k8s.io/v1", "ClusterRole"): lambda: kubernetes.rbac.v1.ClusterRole,
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"): lambda: kubernetes.rbac.v1.ClusterRoleBinding,
    ("rbac.authorization.k8s.io/v1", "Role"): lambda: kubernetes.rbac.v1.Role,
    ("rbac.authorization.k8s.io/v1", "RoleBinding"): lambda: kubernetes.rbac.v1.RoleBinding,
}


def register(region: str, made: Manifest, opts: pulumi.ResourceOptions) -> pulumi.CustomResource:
    """Register `made` in the cluster of `opts`. Raises KeyError for a kind that the program does not know."""
    of = _KINDS[made["apiVersion"], made["kind"]]()
    content = {_snake(key): value for key, value in made.items() if key not in ("apiVersion", "kind")}
    name = f"{region}-{made['kind'].lower()}-{made['metadata']['name']}"
    resource: pulumi.CustomResource = of(name, opts=opts, **content)
    return resource


def _snake(key: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key).lower()
