"""The real Pulumi engine, offline: its CLI and language host, a project in a temporary folder, and stand-in clouds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.engine.aws import Aws
from tests.engine.objects import Kubernetes
from tests.engine.provider import serving
from tests.engine.stack import Stack

ROOT = Path(__file__).parents[2]
BUILD = Path(__file__).with_name("tools") / "build"
BUILD_SECONDS = 1800


@pytest.fixture(scope="session")
def engine() -> str:
    """A search path on which `pulumi` and its Python language host are found."""
    if shutil.which("pulumi"):
        return os.environ["PATH"]
    if not shutil.which("go"):
        pytest.skip("engine ring: needs `pulumi` on PATH, or Go 1.24 to build it: apt-get install golang")
    built = subprocess.run([BUILD], check=True, stdout=subprocess.PIPE, text=True, timeout=BUILD_SECONDS)
    return f"{built.stdout.strip()}{os.pathsep}{os.environ['PATH']}"


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
        folder = tmp_path / name
        folder.mkdir()
        (folder / "infra").symlink_to(program)
        project = (ROOT / "Pulumi.yaml").read_text(encoding="utf-8")
        (folder / "Pulumi.yaml").write_text(project.replace("virtualenv: .venv", f"virtualenv: {sys.prefix}"))
        preset = ROOT / f"Pulumi.{name}.yaml"
        if preset.exists():
            shutil.copy(preset, folder)
        state = tmp_path / "state"
        state.mkdir(exist_ok=True)
        return Stack(folder, name, state, attached, config or {})

    return make
