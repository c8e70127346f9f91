"""What the program puts into pods' environments is what gateway and runners read, name by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from database.retention import load_retention
from infra.shapes import Resource
from runner.settings import GatewaySettings, RunnerSettings
from tests.unit.stacks import outlook_of

SECRETS = {
    "OPENAI_API_KEY": "sk-of-the-tests",
    "GITHUB_TOKEN": "t",
    "GITHUB_APP_ID": "1",
    "GITHUB_APP_PRIVATE_KEY": "k",
    "WEBHOOK_SECRET": "0123456789abcdef",
}
# Read outside of the settings: by botocore and by the metrics server that the cluster brings.
ELSEWHERE = {"AWS_REGION", "METRICS_HOST", "METRICS_PORT", "METRICS_SECRET"}


class Noted(dict[str, str]):
    """Variables that remember which of them were read."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        super().__init__(variables)
        self.read: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.read.add(key)
        return super().get(key, default)


def environments(resources: tuple[Resource, ...], command: str) -> Iterator[tuple[str, Noted]]:
    for resource in resources:
        if resource.type != "kubernetes:apps/v1:Deployment":
            continue
        for container in resource.inputs["spec"]["template"]["spec"]["containers"]:
            if container.get("command") == ["python", "-m", "runner", command]:
                variables = {
                    entry["name"]: entry.get("value") or SECRETS[entry["name"]] for entry in container["env"]
                }
                yield resource.region, Noted(variables)


@pytest.fixture(scope="module")
def resources() -> tuple[Resource, ...]:
    return tuple(outlook_of("prod").resources)


def test_every_runner_starts_with_its_environment_and_ignores_none_of_it(resources):
    runners = list(environments(resources, "agent"))
    assert len(runners) == 66
    for region, variables in runners:
        settings = RunnerSettings.from_environment(variables)
        assert settings.port == 8080
        assert set(variables) - variables.read - ELSEWHERE == set()
        assert ("eu.api" in settings.model.base_url) == region.startswith("eu-")
        assert settings.model.base_url in settings.model.endpoints


def test_every_gateway_starts_with_its_environment_and_ignores_none_of_it(resources):
    gateways = list(environments(resources, "gateway"))
    assert {region for region, _ in gateways} == {"us-west-2", "eu-west-1"}
    for region, variables in gateways:
        settings = GatewaySettings.from_environment(variables)
        assert settings.zone == ("EU" if region.startswith("eu-") else "US")
        assert settings.embedding is not None
        assert ("eu.api" in settings.embedding.endpoint) == region.startswith("eu-")
        load_retention(variables)
        assert settings.caps["mission"] == 5
        assert set(variables) - variables.read - ELSEWHERE == set()


def test_the_database_learns_every_agent_before_the_runners_start(resources):
    jobs = [r for r in resources if r.type == "kubernetes:batch/v1:Job" and "migrate" in r.name]
    commands = [job.inputs["spec"]["template"]["spec"]["containers"][0]["command"] for job in jobs]
    assert commands == [["python", "-m", "runner", "register"]] * 2
