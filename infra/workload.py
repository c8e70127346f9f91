"""One agent in a cluster: definition, ServiceAccount, Deployment, autoscaler and disruption budget."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from infra.compose import DEFINITIONS
from infra.manifest import Manifest, manifest
from infra.pods import container, pod_spec, variables
from infra.shapes import AgentPlan
from runner.agents import Agent

GRACE_SECONDS = 110
"""A runner drains within 100 s of SIGTERM; a spot node leaves 120 s after its notice."""
CPU_PERCENT, MEMORY_PERCENT = 70, 80  # the proposal's
BACKLOG = "2"
"""Missions a replica, queued and in progress, above which another one starts. A runner works four at once."""
SECRETS = ("OPENAI_API_KEY", "GITHUB_TOKEN")


def all_definitions(definitions: Iterable[Agent]) -> Manifest:
    """A volume with every definition. Each is an object of its own: an edit reaches readers without rolling them."""
    sources = [{"configMap": {"name": definition_name(agent.resource_name)}} for agent in definitions]
    return {"name": "definitions", "projected": {"sources": sources}}


def definition_name(resource_name: str) -> str:
    """Name of the ConfigMap that holds an agent's definition."""
    return f"{resource_name}-definition"


def definition(agent: Agent) -> Manifest:
    """The definition as an object of its own: an edit changes this one and rolls its agent, nothing else."""
    return manifest(
        "v1",
        "ConfigMap",
        definition_name(agent.resource_name),
        labels={"agent": agent.name},
        data={agent.path.name: agent.path.read_text(encoding="utf-8")},
    )


def workload(agent: Agent, planned: AgentPlan, image: Any, environment: dict[str, Any]) -> list[Manifest]:
    """The objects of one agent, in the order in which they are needed. `image` and `environment` may hold outputs."""
    name = planned.resource_name
    labels = _labels(agent, planned)
    return [
        manifest("v1", "ServiceAccount", name, labels=labels, automountServiceAccountToken=False),
        _deployment(agent, planned, image, environment, labels),
        _autoscaler(planned, labels),
        manifest(
            "policy/v1",
            "PodDisruptionBudget",
            name,
            labels=labels,
            spec={"maxUnavailable": 1, "selector": {"matchLabels": {"agent": agent.name}}},
        ),
    ]


def _labels(agent: Agent, planned: AgentPlan) -> dict[str, str]:
    labels = {
        "agent": agent.name,
        "app.kubernetes.io/name": "runner",
        "app.kubernetes.io/component": planned.node_class,
    }
    # A definition may say in prose what it specialises in; a label takes a word.
    if re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", agent.specialization):
        labels["specialization"] = agent.specialization
    return labels


def _deployment(
    agent: Agent, planned: AgentPlan, image: Any, environment: dict[str, Any], labels: dict[str, str]
) -> Manifest:
    plain = environment | {"AGENT_NAME": agent.name, "AGENTS_DIR": DEFINITIONS}
    runner = container(
        "agent",
        image,
        ["python", "-m", "runner", "agent"],
        variables(plain, SECRETS),
        planned.requests,
        planned.limits,
        {"definition": DEFINITIONS},
    )
    spec = pod_spec(
        planned.resource_name,
        planned.node_class,
        [runner],
        {"definition": definition_name(planned.resource_name)},
        grace_seconds=GRACE_SECONDS,
        spread={"agent": agent.name},
    )
    return manifest(
        "apps/v1",
        "Deployment",
        planned.resource_name,
        labels=labels,
        # No `replicas`: they are the autoscaler's.
        spec={
            "selector": {"matchLabels": {"agent": agent.name}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "revisionHistoryLimit": 5,
            "template": {
                "metadata": {"labels": labels, "annotations": {"agents-cloud/definition": planned.digest}},
                "spec": spec,
            },
        },
    )


def _autoscaler(planned: AgentPlan, labels: dict[str, str]) -> Manifest:
    """The proposal's targets and behaviour, and the backlog: a runner that waits for a model uses no CPU."""
    backlog = {
        "metric": {"name": "agent_backlog", "selector": {"matchLabels": {"agent": labels["agent"]}}},
        "target": {"type": "AverageValue", "averageValue": BACKLOG},
    }
    return manifest(
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        planned.resource_name,
        labels=labels,
        spec={
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": planned.resource_name},
            "minReplicas": planned.replicas,
            "maxReplicas": planned.max_replicas,
            "metrics": [
                _utilization("cpu", CPU_PERCENT),
                _utilization("memory", MEMORY_PERCENT),
                {"type": "External", "external": backlog},
            ],
            "behavior": {
                "scaleDown": {
                    "stabilizationWindowSeconds": 300,
                    "policies": [{"type": "Percent", "value": 50, "periodSeconds": 15}],
                },
                "scaleUp": {
                    "stabilizationWindowSeconds": 0,
                    "policies": [
                        {"type": "Percent", "value": 100, "periodSeconds": 15},
                        {"type": "Pods", "value": 2, "periodSeconds": 15},
                    ],
                    "selectPolicy": "Max",
                },
            },
        },
    )


def _utilization(resource: str, percent: int) -> Manifest:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": resource, "target": target}}
