"""One Pulumi stack, driven by the real CLI through the Automation API."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pulumi import automation

ROOT = Path(__file__).parents[2]
READS = "pulumi:pulumi:StackReference"


@dataclass(frozen=True, slots=True)
class Step:
    """What the engine did, or would do, to one resource: `create`, `same`, `update`, `replace`, `delete` …"""

    op: str
    type: str
    name: str
    replaced_by: tuple[str, ...]
    """Property paths that force a replacement."""


@dataclass(frozen=True, slots=True)
class Run:
    """The outcome of one `preview`, `up` or `destroy`."""

    steps: tuple[Step, ...]
    output: str

    @property
    def counts(self) -> dict[str, int]:
        return dict(Counter(step.op for step in self.steps))

    def changed(self, *ops: str) -> set[tuple[str, str]]:
        """(type, name) of the resources with one of `ops`; without `ops`, of all that are not the same."""
        return {
            (s.type, s.name) for s in self.steps if (s.op in ops if ops else s.op not in ("same", "read"))
        }


class Stack:
    """A stack on a file backend. Every method runs the CLI once and gives what it did."""

    def __init__(self, folder: Path, name: str, state: Path, providers: str, config: dict[str, str]) -> None:
        self.folder = folder
        self._output: list[str] = []
        environment = {
            "PULUMI_BACKEND_URL": f"file://{state}",
            "PULUMI_CONFIG_PASSPHRASE": "for tests",
            "PULUMI_DEBUG_PROVIDERS": providers,
            "PULUMI_SKIP_UPDATE_CHECK": "1",
            "PULUMI_AUTOMATION_API_SKIP_VERSION_CHECK": "1",
            # A checkpoint after every resource makes a big stack's `up` five times slower on the file backend.
            "PULUMI_EXPERIMENTAL": "true",
            "PULUMI_SKIP_CHECKPOINTS": "true",
        }
        self._stack = automation.create_or_select_stack(
            stack_name=name, work_dir=str(folder), opts=automation.LocalWorkspaceOptions(env_vars=environment)
        )
        self.configure(**config)

    def configure(self, **config: str) -> None:
        """Set plain configuration values."""
        self._stack.set_all_config({key: automation.ConfigValue(value) for key, value in config.items()})

    def configure_list(self, **config: list[str]) -> None:
        """Set lists: the configuration file holds them as YAML, which the CLI writes entry by entry."""
        for key, values in config.items():
            path = self.folder / f"Pulumi.{self._stack.name}.yaml"
            content = yaml.safe_load(path.read_text())
            content["config"][f"agents-cloud:{key}"] = values
            path.write_text(yaml.safe_dump(content))

    def secret(self, **config: str) -> None:
        for key, value in config.items():
            self._stack.set_config(key, automation.ConfigValue(value, secret=True))

    def preview(self, *, policy: Path | None = None, target: list[str] | None = None) -> Run:
        packs = [str(policy)] if policy else None
        return self._run(self._stack.preview, policy_packs=packs, target=target)

    def up(self, *, policy: Path | None = None, target: list[str] | None = None) -> Run:
        packs = [str(policy)] if policy else None
        return self._run(self._stack.up, policy_packs=packs, target=target)

    def destroy(self) -> Run:
        return self._run(self._stack.destroy)

    def outputs(self) -> dict[str, Any]:
        return {key: output.value for key, output in self._stack.outputs().items()}

    def state(self) -> str:
        """The state as it is stored, secrets encrypted."""
        return str(self._stack.export_stack().deployment)

    def _run(self, command: Any, **options: Any) -> Run:
        steps: dict[str, Step] = {}
        output: list[str] = []

        def note(event: automation.EngineEvent) -> None:
            # The stack reads its own former outputs, which is no step of a cloud.
            if event.resource_pre_event is not None and event.resource_pre_event.metadata.type != READS:
                metadata = event.resource_pre_event.metadata
                replaced_by = tuple(
                    path
                    for path, diff in (metadata.detailed_diff or {}).items()
                    if "replace" in diff.diff_kind.value
                )
                name = metadata.urn.split("::", 3)[3]
                steps[metadata.urn + metadata.op.value] = Step(
                    metadata.op.value, metadata.type, name, replaced_by
                )

        command(on_event=note, on_output=output.append, **{k: v for k, v in options.items() if v is not None})
        return Run(tuple(steps.values()), "\n".join(output))


def new_stack(parent: Path, name: str, program: Path, providers: str, config: dict[str, str]) -> Stack:
    """A stack in a folder of its own under `parent`: this project with `program`, and the preset where there is one."""
    folder = parent / name
    folder.mkdir()
    (folder / "infra").symlink_to(program)
    project = (ROOT / "Pulumi.yaml").read_text(encoding="utf-8")
    (folder / "Pulumi.yaml").write_text(project.replace("virtualenv: .venv", f"virtualenv: {sys.prefix}"))
    preset = ROOT / f"Pulumi.{name}.yaml"
    if preset.exists():
        shutil.copy(preset, folder)
    state = parent / "state"
    state.mkdir(exist_ok=True)
    return Stack(folder, name, state, providers, config)
