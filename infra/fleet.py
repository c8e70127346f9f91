"""The fleet: replicas, resources and node class of each agent, and the pods that are no agents (`fleet.yaml`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from infra.shapes import NodeClass, Resources, SystemPod


@dataclass(frozen=True, slots=True)
class AgentShape:
    """How one agent is deployed."""

    replicas: int
    max_replicas: int
    requests: Resources
    limits: Resources
    node_class: NodeClass


@dataclass(frozen=True, slots=True)
class Fleet:
    default: AgentShape
    exceptions: Mapping[str, AgentShape]
    """Agent → its whole shape, defaults filled in."""
    measured: Resources
    """Requests of every agent in the profile `measured`."""
    system: tuple[SystemPod, ...]
