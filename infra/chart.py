"""The objects of a region as a Helm chart: agents come from values, all else stands as it is.

The template of an agent is made from the same function as its objects, with marks in the places that values fill.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from infra.compose import DEFINITIONS
from infra.manifest import Manifest
from infra.settings import PROJECT, Settings
from infra.shapes import AgentPlan, NodeClass, RegionPlan, Resources
from infra.workload import CPU_PERCENT, definition_name, workload
from runner.agents import Agent

# Numbers that no manifest holds: marks where a value has to be a number.
_REPLICAS, _MAXIMUM, _CPU, _MEMORY, _CPU_LIMIT, _MEMORY_LIMIT = (9_100_001 + n for n in range(6))
_MARKS = {
    "mark-name": "{{ $name }}",
    "mark-agent": "{{ $agent.name }}",
    "mark-digest": "{{ $agent.digest | quote }}",
    "mark-image": "{{ $agent.image }}",
    "mark-database": "{{ $.Values.database.host }}:{{ $.Values.database.port }}/{{ $.Values.database.name }}",
    "mark-redis": "{{ $.Values.redis.host }}:{{ $.Values.redis.port }}",
    str(_REPLICAS): "{{ $agent.replicas | default $.Values.autoscaling.minReplicas }}",
    str(_MAXIMUM): "{{ $agent.maxReplicas | default $.Values.autoscaling.maxReplicas }}",
    f"averageUtilization: {CPU_PERCENT}": "averageUtilization: {{ $.Values.autoscaling.targetCPU }}",
    f"{_CPU}m": "{{ $agent.resources.requests.cpu }}",
    f"{_MEMORY}Mi": "{{ $agent.resources.requests.memory }}",
    f"{_CPU_LIMIT}m": "{{ $agent.resources.limits.cpu }}",
    f"{_MEMORY_LIMIT}Mi": "{{ $agent.resources.limits.memory }}",
}
_KIND_OF_AGENT = ("ServiceAccount", "Deployment", "HorizontalPodAutoscaler", "PodDisruptionBudget")
_DEFINITIONS_TEMPLATE = """\
{{- range $path, $content := .Files.Glob "definitions/*.md" }}
{{- $file := base $path }}
{{- $agent := trimSuffix ".md" $file }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ lower $agent }}-definition
  namespace: agents
  labels:
    app.kubernetes.io/part-of: agents-cloud
    agent: {{ $agent }}
data:
  {{ $file }}: {{ $content | toString | toJson }}
{{- end }}
"""


def write_chart(folder: Path, objects: list[Manifest], region: RegionPlan, settings: Settings) -> None:
    """Write the chart of one region. With its own values it gives `objects`."""
    names = {agent.resource_name: agent for agent in region.agents if agent.runs_on == "cloud"}
    deployments = {
        made["metadata"]["name"]: made
        for made in objects
        if made["kind"] == "Deployment" and made["metadata"]["name"] in names
    }
    database, redis = _address(deployments, "DATABASE_URL"), _address(deployments, "REDIS_URL")
    templates = folder / "templates"
    templates.mkdir()
    (folder / "definitions").mkdir()
    rest = []
    for made in objects:
        name = made["metadata"]["name"]
        if made["kind"] == "ConfigMap" and name.endswith(definition_name("")):
            for file, text in made["data"].items():
                (folder / "definitions" / file).write_text(text, encoding="utf-8")
        elif not (name in names and made["kind"] in _KIND_OF_AGENT):
            rest.append(made)
    (templates / "definitions.yaml").write_text(_DEFINITIONS_TEMPLATE, encoding="utf-8")
    environment = _environment(next(iter(deployments.values())), database, redis)
    (templates / "agents.yaml").write_text(_agents_template(environment), encoding="utf-8")
    for made in rest:
        text = _dump(made).replace(database, _MARKS["mark-database"]).replace(redis, _MARKS["mark-redis"])
        file = f"{made['kind'].lower()}-{made['metadata']['name']}.yaml"
        (templates / file).write_text(text, encoding="utf-8")
    values = _values(names.values(), deployments, database, redis, settings)
    (folder / "values.yaml").write_text(_dump(values), encoding="utf-8")
    (folder / "Chart.yaml").write_text(_dump(_chart(settings)), encoding="utf-8")


def _chart(settings: Settings) -> Manifest:
    return {
        "apiVersion": "v2",
        "name": PROJECT,
        "description": "An ecosystem of specialised agents",
        "type": "application",
        "version": settings.images.tag.removeprefix("v"),
        "appVersion": settings.images.tag,
        "icon": "https://kubernetes.io/images/favicon.png",
    }


def _values(
    agents: Iterable[AgentPlan],
    deployments: dict[str, Manifest],
    database: str,
    redis: str,
    settings: Settings,
) -> Manifest:
    """Values as in the proposal, with what it left open: image, node class and the definition's digest."""
    database_host, _, rest = database.partition(":")
    database_port, _, database_name = rest.partition("/")
    redis_host, _, redis_port = redis.partition(":")
    values: Manifest = {"agents": {}}
    for agent in agents:
        pod = deployments[agent.resource_name]["spec"]["template"]
        value = {
            "name": agent.agent,
            "replicas": agent.replicas,
            "maxReplicas": agent.max_replicas,
            "nodeClass": agent.node_class,
            "image": pod["spec"]["containers"][0]["image"],
            "digest": agent.digest,
            "resources": {"requests": agent.requests.quantities, "limits": agent.limits.quantities},
        }
        if "specialization" in pod["metadata"]["labels"]:
            value["specialization"] = pod["metadata"]["labels"]["specialization"]
        values["agents"][agent.resource_name] = value
    values["database"] = {"host": database_host, "port": int(database_port), "name": database_name}
    values["redis"] = {"host": redis_host, "port": int(redis_port)}
    values["autoscaling"] = {
        "enabled": True,
        "minReplicas": 1,
        "maxReplicas": settings.limits.max_replicas,
        "targetCPU": CPU_PERCENT,
    }
    return values


def _agents_template(environment: dict[str, str]) -> str:
    """The objects of one agent for each class of node, over all agents of the values."""
    lines = ["{{- range $name, $agent := .Values.agents }}"]
    for node_class in ("critical", "flex"):
        lines.append(f'{{{{- if eq $agent.nodeClass "{node_class}" }}}}')
        for made in _marked(node_class, environment):
            text = _filled(_dump(made))
            if made["kind"] == "HorizontalPodAutoscaler":
                text = "{{- if $.Values.autoscaling.enabled }}\n---\n" + text + "{{- end }}\n"
            elif made["kind"] == "Deployment":
                count = f"  replicas: {_MARKS[str(_REPLICAS)]}\n"
                fixed = f"{{{{- if not $.Values.autoscaling.enabled }}}}\n{count}{{{{- end }}}}\n"
                text = "---\n" + text.replace("\nspec:\n", "\nspec:\n" + fixed, 1)
            else:
                text = "---\n" + text
            lines.append(text.rstrip("\n"))
        lines.append("{{- end }}")
    return "\n".join([*lines, "{{- end }}", ""])


def _marked(node_class: NodeClass, environment: dict[str, str]) -> list[Manifest]:
    """One agent's objects with marks instead of what differs between agents."""
    agent = Agent("mark-agent", "", (), "mark-specialization", "", (), "", Path("mark.md"), "mark-digest")
    planned = AgentPlan(
        agent="mark-agent",
        resource_name="mark-name",
        digest="mark-digest",
        runs_on="cloud",
        node_class=node_class,
        replicas=_REPLICAS,
        max_replicas=_MAXIMUM,
        requests=Resources(_CPU, _MEMORY),
        limits=Resources(_CPU_LIMIT, _MEMORY_LIMIT),
        image="",
        after=None,
    )
    return workload(agent, planned, "mark-image", environment)


def _filled(text: str) -> str:
    """Marks become expressions; the label that not every agent has becomes conditional."""
    text = re.sub(
        r"^( *)specialization: mark-specialization\n",
        r"{{- with $agent.specialization }}\n\1specialization: {{ . | quote }}\n{{- end }}\n",
        text,
        flags=re.MULTILINE,
    )
    for mark, expression in _MARKS.items():
        text = text.replace(mark, expression)
    return text


def _environment(deployment: Manifest, database: str, redis: str) -> dict[str, str]:
    """Plain variables that all runners share, with marks in the two that differ."""
    entries = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    shared = {entry["name"]: entry["value"] for entry in entries if "value" in entry}
    del shared["AGENT_NAME"]
    name = deployment["metadata"]["name"]
    shared["DATABASE_URL"] = (
        shared["DATABASE_URL"].replace(database, "mark-database").replace(f"-{name}@", "-mark-name@")
    )
    shared["REDIS_URL"] = shared["REDIS_URL"].replace(redis, "mark-redis")
    return shared | {"AGENTS_DIR": DEFINITIONS}


def _address(deployments: dict[str, Manifest], variable: str) -> str:
    """What stands between `@` and the options of a URL that all runners share: host, port and name or number."""
    entries: list[dict[str, Any]] = next(iter(deployments.values()))["spec"]["template"]["spec"][
        "containers"
    ][0]["env"]
    url = next(str(entry["value"]) for entry in entries if entry["name"] == variable)
    address = url.split("@")[1].split("?")[0]
    return address if variable == "DATABASE_URL" else address.split("/")[0]


def _dump(content: Any) -> str:
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100_000)
