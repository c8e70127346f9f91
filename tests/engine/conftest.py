"""The real Pulumi engine, offline: its CLI and language host, a project in a temporary folder, and stand-in clouds."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.engine.aws import Aws
from tests.engine.objects import Kubernetes
from tests.engine.provider import serving
from tests.engine.stack import ROOT, Stack, new_stack

BUILD = Path(__file__).with_name("tools") / "build"
BUILD_SECONDS = 1700


@pytest.fixture(scope="session")
def engine() -> str:
    """A search path on which `pulumi` and its Python language host are found."""
    if shutil.which("pulumi"):
        return os.environ["PATH"]
    return f"{build_tool('pulumi')}{os.pathsep}{os.environ['PATH']}"


def build_tool(name: str) -> Path:
    """The folder of a tool that no package index has; minutes the first time, nothing after."""
    built = subprocess.run(
        [BUILD, name], check=True, stdout=subprocess.PIPE, text=True, timeout=BUILD_SECONDS
    )
    return Path(built.stdout.strip())


@pytest.fixture
def kubernetes() -> Kubernetes:
    return Kubernetes()


@pytest.fixture
def aws(kubernetes: Kubernetes) -> Aws:
    return Aws(on_cluster_gone=kubernetes.forget)


@pytest.fixture
def attached(aws: Aws, kubernetes: Kubernetes) -> Iterator[str]:
    with serving(aws, kubernetes) as providers:
        yield providers


@dataclass(frozen=True, slots=True)
class Ecosystem:
    """A few of the project's agents in both regions: what holds for them holds for all, in a tenth of the time."""

    agents: Path
    geography: Path

    @property
    def config(self) -> dict[str, str]:
        return {"agentsDir": str(self.agents), "geographyFile": str(self.geography)}


@pytest.fixture
def few_agents(tmp_path: Path) -> Ecosystem:
    placed = {
        "us-west-2": ["cloud-architect", "engineer-master"],
        "eu-west-1": ["document-ninja", "guardian-master"],
    }
    made = Ecosystem(tmp_path / "agents", tmp_path / "geography.yaml")
    made.agents.mkdir()
    for name in (name for names in placed.values() for name in names):
        shutil.copy(ROOT / ".github" / "agents" / f"{name}.md", made.agents)
    regions = {region: {"location": region, "agents": names} for region, names in placed.items()}
    made.geography.write_text(yaml.safe_dump({"regions": regions}))
    return made


MakeStack = Callable[..., Stack]


@pytest.fixture
def make_stack(engine: str, attached: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeStack:
    """Makes a stack of this project, or of `program` (a folder), with a state of its own."""
    monkeypatch.setenv("PATH", engine)

    def make(name: str, *, program: Path = ROOT / "infra", config: dict[str, str] | None = None) -> Stack:
        return new_stack(tmp_path, name, program, attached, config or {})

    return make
