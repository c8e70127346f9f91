"""The fleet (`fleet.yaml`): replicas, resources, node class of each agent, and the pods that are none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import yaml

from errors import PlanError
from infra.data import read_yaml
from infra.shapes import NodeClass, Resources, SystemPod

SYSTEM_NAMESPACE = "kube-system"
_SHAPE_KEYS = {"replicas", "max_replicas", "requests", "limits", "node_class"}
_POD_KEYS = {"name", "namespace", "daemonset", "replicas", "surge", "requests", "limits"}


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
    """What `fleet.yaml` says."""

    default: AgentShape
    exceptions: Mapping[str, AgentShape]
    """Agent → its whole shape, defaults filled in."""
    measured: Resources
    """Requests of every agent in the profile `measured`."""
    system: tuple[SystemPod, ...]

    def shape_of(self, agent: str) -> AgentShape:
        return self.exceptions.get(agent, self.default)

    def with_measured_requests(self) -> Fleet:
        """The same fleet with every agent asking for what was measured."""
        return replace(
            self,
            default=replace(self.default, requests=self.measured),
            exceptions={
                name: replace(shape, requests=self.measured) for name, shape in self.exceptions.items()
            },
        )


def load_fleet(path: Path) -> Fleet:
    """Read `fleet.yaml`. Raises PlanError that names the file, the entry and the rule."""
    try:
        content = read_yaml(path)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as broken:
        raise PlanError(
            f"the fleet is not readable YAML ({broken})", "name a file with fleetFile", file=path
        ) from broken
    try:
        return parse_fleet(content)
    except ValueError as wrong:
        raise PlanError(str(wrong), "correct the entry", file=path) from wrong


def parse_fleet(content: object) -> Fleet:
    """A fleet from what the YAML holds. Raises ValueError that names the entry and the rule."""
    fields = _mapping("the fleet", content, {"default", "agents", "measured", "system"})
    blank = AgentShape(1, 1, Resources(1, 1), Resources(1, 1), "flex")
    raw = _mapping("default", fields.get("default"), _SHAPE_KEYS)
    if raw.keys() != _SHAPE_KEYS:
        raise ValueError(f"default misses {', '.join(sorted(_SHAPE_KEYS - raw.keys()))}")
    default = _shape("default", raw, blank)
    exceptions = {
        str(name): _shape(f"agents.{name}", _mapping(f"agents.{name}", entry, _SHAPE_KEYS), default)
        for name, entry in _mapping("agents", fields.get("agents") or {}, None).items()
    }
    system = fields.get("system")
    if not isinstance(system, list):
        raise ValueError("system is not a list of pods")
    return Fleet(
        default, exceptions, _resources("measured", fields.get("measured")), tuple(map(_pod, system))
    )


def _shape(name: str, raw: Mapping[str, Any], base: AgentShape) -> AgentShape:
    shape = AgentShape(
        replicas=_count(f"{name}.replicas", raw.get("replicas", base.replicas), 1),
        max_replicas=_count(f"{name}.max_replicas", raw.get("max_replicas", base.max_replicas), 1),
        requests=_resources(f"{name}.requests", raw["requests"]) if "requests" in raw else base.requests,
        limits=_resources(f"{name}.limits", raw["limits"]) if "limits" in raw else base.limits,
        node_class=cast(NodeClass, raw.get("node_class", base.node_class)),
    )
    if shape.node_class not in ("critical", "flex"):
        raise ValueError(f"{name}.node_class is {shape.node_class!r}, not critical or flex")
    if shape.replicas > shape.max_replicas:
        raise ValueError(f"{name}: {shape.replicas} replicas are above max_replicas {shape.max_replicas}")
    if (
        shape.requests.cpu_millicores > shape.limits.cpu_millicores
        or shape.requests.memory_mib > shape.limits.memory_mib
    ):
        raise ValueError(f"{name}: the requests are above the limits")
    return shape


def _pod(raw: object) -> SystemPod:
    fields = _mapping("system", raw, _POD_KEYS)
    name = f"system.{fields.get('name')}"
    return SystemPod(
        name=str(fields.get("name")),
        namespace=str(fields.get("namespace", SYSTEM_NAMESPACE)),
        daemonset=fields.get("daemonset") is True,
        replicas=_count(f"{name}.replicas", fields.get("replicas", 0), 0),
        requests=_resources(f"{name}.requests", fields.get("requests")),
        limits=_resources(f"{name}.limits", fields["limits"]) if "limits" in fields else None,
        surge=_count(f"{name}.surge", fields.get("surge", 0), 0),
    )


def _mapping(name: str, value: object, keys: set[str] | None) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is not a mapping")
    unknown = sorted(str(key) for key in value if keys is not None and key not in keys)
    if unknown:
        raise ValueError(f"{name} has the unknown keys {', '.join(unknown)}")
    return value


def _count(name: str, value: object, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} is {value!r}, not a whole number from {least}")
    return value


def _resources(name: str, value: object) -> Resources:
    fields = _mapping(name, value, {"cpu", "memory"})
    cpu = re.fullmatch(r"(\d{1,6})m", str(fields.get("cpu")))
    memory = re.fullmatch(r"(\d{1,7})Mi", str(fields.get("memory")))
    if cpu is None or memory is None:
        raise ValueError(f"{name} is not like {{cpu: 200m, memory: 256Mi}}")
    return Resources(int(cpu[1]), int(memory[1]))
