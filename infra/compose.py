"""The compose file of the phase-2 host, with a fragment for each agent, so that a change to one is one file. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from infra.schedule import SCHEDULE
from infra.shapes import AgentPlan
from runner.agents import Agent

DEFINITIONS = "/definitions"
GATEWAY_PORT = 8080
STOP_SECONDS = 120
"""A runner finishes or gives its lease back within 100 s of SIGTERM (design §4.6)."""
Service = dict[str, Any]


def shared_file(
    images: Mapping[str, str], environment: Mapping[str, Mapping[str, str]], agents: Sequence[AgentPlan]
) -> str:
    """`compose.yaml`: Redis, the migration, the gateway, what runs by the clock, and every agent's fragment included.

    `images` and `environment` are by `gateway` and `migrate`; values with `${…}` come from the host's `.env`.
    """
    services: dict[str, Service] = {
        "redis": {
            "image": "public.ecr.aws/docker/library/redis:7.4-alpine",
            "command": ["redis-server", "--appendonly", "yes"],
            "volumes": ["redis:/data"],
            **_confined(0.5, 256),
        },
        "migrate": {
            "image": images["migrate"],
            "command": ["python", "-m", "runner", "register"],
            "environment": {**environment["migrate"], "AGENTS_DIR": DEFINITIONS},
            "volumes": [f"./definitions:{DEFINITIONS}:ro"],
            **_confined(0.5, 256),
            "restart": "on-failure:5",
        },
        "gateway": {
            "image": images["gateway"],
            "command": ["python", "-m", "runner", "gateway"],
            "environment": dict(environment["gateway"]),
            "env_file": ["gateway.env"],
            # API Gateway reaches it by the host's address; the security group lets nobody else in.
            "ports": [f"{GATEWAY_PORT}:{GATEWAY_PORT}"],
            "volumes": [f"./definitions:{DEFINITIONS}:ro", "./agent_geography.yaml:/agent_geography.yaml:ro"],
            "depends_on": _after(),
            **_confined(1, 512),
        },
    }
    for scheduled in SCHEDULE:
        services[scheduled.command] = {
            "image": images["migrate"],
            "command": scheduled.invocation,
            "environment": dict(environment["migrate"]),
            "profiles": ["schedule"],  # `up` leaves it to its timer
            **_confined(0.5, 256),
            "restart": "no",
        }
    content = {
        "name": "agents-cloud",
        "include": [f"agents/{agent.resource_name}.yaml" for agent in agents],
        "services": services,
        "volumes": {"redis": {}},
    }
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def agent_file(agent: Agent, planned: AgentPlan, image: str, environment: Mapping[str, str]) -> str:
    """One agent's fragment. Its definition's digest is a label, so that an edit restarts this agent and no other."""
    service: Service = {
        "image": image,
        "command": ["python", "-m", "runner", "agent"],
        "environment": {**environment, "AGENT_NAME": agent.name, "AGENTS_DIR": DEFINITIONS},
        "env_file": ["../runner.env"],
        "labels": {"agent": agent.name, "definition": planned.digest},
        "volumes": [f"../definitions/{agent.path.name}:{DEFINITIONS}/{agent.path.name}:ro"],
        "stop_grace_period": f"{STOP_SECONDS}s",
        "depends_on": _after(),
        **_confined(planned.limits.cpu_millicores / 1000, planned.limits.memory_mib),
    }
    return yaml.safe_dump({"services": {planned.resource_name: service}}, sort_keys=False, allow_unicode=True)


def _after() -> dict[str, Any]:
    return {
        "migrate": {"condition": "service_completed_successfully"},
        "redis": {"condition": "service_started"},
    }


def _confined(cpus: float, memory_mib: int) -> Service:
    return {
        "restart": "unless-stopped",
        "read_only": True,
        "tmpfs": ["/tmp"],  # noqa: S108 - a file system of its own, gone with the container
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "cpus": cpus,
        "mem_limit": f"{memory_mib}m",
        "logging": {"driver": "awslogs", "options": {"awslogs-group": "${LOG_GROUP}", "tag": "{{.Name}}"}},
    }
