"""Agents, issues and works to match with."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from runner.agents import Agent, load_agents
from runner.issue import Issue
from runner.match.history import Work

ROOT = Path(__file__).resolve().parents[2]


def agent(name: str, description: str = "", **fields: object) -> Agent:
    values: dict[str, object] = {
        "tools": ("view", "edit"),
        "specialization": name,
        "personality": "",
        "responsibilities": (),
        "body": "",
        "path": Path(f"{name}.md"),
        "digest": "",
    }
    return Agent(name=name, description=description, **(values | fields))  # type: ignore[arg-type]


def issue(title: str, body: str = "", *labels: str, number: int = 1) -> Issue:
    return Issue("owner/name", number, title, body, labels)


def work(number: int, agent: str | None, title: str, body: str = "", *labels: str) -> Work:
    return Work(number, agent, title, body, labels, (), f"2026-01-01T00:00:{number % 60:02}+00:00")


@cache
def own_agents() -> tuple[Agent, ...]:
    """The project's own 66 definitions."""
    return load_agents(ROOT / ".github" / "agents")


SECURITY = agent("secure-ninja", "Protects access control. Focuses on security and vulnerabilities.")
DOCS = agent("document-ninja", "Writes documentation, comments and guides.")
SPEED = agent("accelerate-master", "Makes slow code fast. Focuses on performance and efficiency.")
TROUBLE = agent("troubleshoot-expert", "Finds out why workflows fail, and fixes them.")
CLOUD = agent("cloud-architect", "Designs for the cloud. Focuses on devops.")
FEW = (SECURITY, DOCS, SPEED, TROUBLE, CLOUD)
