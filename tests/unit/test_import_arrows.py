"""The arrows of the design: who may import whom, what stays pure, what an idle runner may load."""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent

# A part, and what it may import of the others. `infra` knows a runner only by its definitions and geography.
ARROWS = {
    "errors": (),
    "json_array": ("errors",),
    "database": ("errors", "json_array"),
    "runner": ("errors", "json_array", "database"),
    "infra": ("errors", "runner.agents", "runner.geography"),
    "bench": ("errors", "database", "runner", "infra", "tests"),
    "tests": ("errors", "json_array", "database", "runner", "infra", "bench"),
}
COMPONENTS = ("network", "host", "cluster", "datastore", "workload", "gateway", "routing", "budget")
# issue → match → route → execute → gateway, worker; plan → components: what a module may not import, since it
# comes later.
LATER = {
    "runner.agents": ("runner.geography", "runner.issue", "runner.match", "runner.route"),
    "runner.geography": ("runner.issue", "runner.match", "runner.route"),
    "runner.issue": ("runner.match", "runner.route", "runner.execute"),
    "runner.match": ("runner.route", "runner.execute"),
    "runner.route": ("runner.execute",),
    "runner.execute": ("runner.gateway", "runner.worker", "runner.local", "runner.cli"),
    "runner.gateway": ("runner.worker", "runner.local", "runner.cli"),
    "runner.worker": ("runner.gateway", "runner.local", "runner.cli"),
    "infra.plan": tuple(f"infra.{component}" for component in COMPONENTS),
}
# These and all that they import: standard library without I/O, and YAML.
PURE = (
    "runner.agents",
    "runner.geography",
    "runner.issue",
    "runner.match.history",
    "runner.match",
    "runner.route",
)
PURE_PACKAGES = {"yaml"}
IMPURE = set(
    "asyncio concurrent ftplib http multiprocessing os random secrets select shutil signal smtplib socket "
    "socketserver sqlite3 ssl subprocess tempfile threading time urllib uuid".split()
)
# The plan runs without a cloud account: these import no Pulumi, not even by way of another.
WITHOUT_PULUMI = ("infra.settings", "infra.plan", "infra.prices")
# `python -m runner agent NAME`, 66 of them on one machine: the standard library and these.
RUNNER_PROCESS = ("runner.__main__", "runner.cli", "runner.forked", "runner.worker", "runner.health")
RUNNER_PACKAGES = {"aiohttp", "asyncpg", "prometheus_client", "redis", "yaml"}
# Pulumi runs `infra/` from inside the folder, where these would hide modules of those names.
HIDING = {"queue", "secrets", "types", "platform", "redis", "kubernetes"}
SHAPELESS = {"utils", "common", "helpers", "manager"}
LONGEST, MEDIAN = 400, 150


@dataclass(frozen=True, slots=True)
class Module:
    """A source file: its length in lines, every name it imports, and those it imports as it is loaded."""

    lines: int
    imports: frozenset[str]
    at_load: frozenset[str]


def imported(tree: ast.AST, package: str, *, lazy: bool) -> Iterator[str]:
    """Dotted names that `tree` imports; with `lazy` also inside functions and for the type checker only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: -node.level + 1 or None] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif lazy or not (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
        ):
            yield from imported(node, package, lazy=lazy)


def read_modules(root: Path) -> dict[str, Module]:
    """Dotted name → module, for every source file of the parts; a package goes by its own name."""
    modules = {}
    for file in (
        file for part in ARROWS for file in (*root.glob(f"{part}.py"), *(root / part).rglob("*.py"))
    ):
        name = ".".join(file.relative_to(root).with_suffix("").parts)
        is_package = name.endswith(".__init__")
        name = name.removesuffix(".__init__")
        package = name if is_package else name.rpartition(".")[0]
        source = file.read_text(encoding="utf-8")
        tree = ast.parse(source, str(file))
        modules[name] = Module(
            len(source.splitlines()),
            frozenset(imported(tree, package, lazy=True)),
            frozenset(imported(tree, package, lazy=False)),
        )
    return modules


def within(name: str, of: str) -> bool:
    return name == of or name.startswith(f"{of}.")


def closure(start: str, modules: Mapping[str, Module], *, lazy: bool = False) -> dict[str, tuple[str, ...]]:
    """Everything that loading `start` imports, ours and foreign, with the way that leads there."""
    ways: dict[str, tuple[str, ...]] = {start: (start,)}
    queue = [start]
    while queue:
        here = queue.pop(0)
        names = modules[here].imports if lazy else modules[here].at_load
        for name in sorted(names | {here}):
            parts = name.split(".")
            ours = [".".join(parts[:n]) for n in range(1, len(parts) + 1) if ".".join(parts[:n]) in modules]
            for found in ours or [parts[0]]:
                if found not in ways:
                    ways[found] = (*ways[here], found)
                    queue += [found] if ours else []
    return ways


def broken_arrows(modules: Mapping[str, Module]) -> Iterator[str]:
    for name, module in modules.items():
        part = name.partition(".")[0]
        for target in sorted(module.imports):
            if target.partition(".")[0] in ARROWS and not any(
                within(target, may) for may in (part, *ARROWS[part])
            ):
                yield f"{name} imports {target}; {part} may import: {', '.join(ARROWS[part]) or 'none'}"
        for earlier, later in LATER.items():
            if within(name, earlier):
                yield from (
                    f"{name} imports {target}; {earlier} comes before it"
                    for target in sorted(module.imports)
                    if any(within(target, late) for late in later)
                )


def impurities(modules: Mapping[str, Module]) -> Iterator[str]:
    for start in (name for name in PURE if name in modules):
        for name, way in closure(start, modules, lazy=True).items():
            foreign = name not in modules
            if within(name, "database") or (
                foreign and (name in IMPURE or name not in sys.stdlib_module_names | PURE_PACKAGES)
            ):
                yield f"{' → '.join(way)}; {start} is pure"
    for start in (name for name in WITHOUT_PULUMI if name in modules):
        for name, way in closure(start, modules, lazy=True).items():
            if name.startswith("pulumi"):
                yield f"{' → '.join(way)}; {start} runs without Pulumi"


def heavy_imports(modules: Mapping[str, Module]) -> Iterator[str]:
    for start in (name for name in RUNNER_PROCESS if name in modules):
        for name, way in closure(start, modules).items():
            if name not in modules and name not in sys.stdlib_module_names | RUNNER_PACKAGES:
                yield f"{' → '.join(way)}; an idle runner stays small"


def misnamed(modules: Mapping[str, Module]) -> Iterator[str]:
    for name in modules:
        last = name.rpartition(".")[2]
        if last in SHAPELESS:
            yield f"{name} says nothing about what it does"
        if within(name, "infra") and last in HIDING:
            yield f"{name} hides the module {last}"


def overlong(modules: Mapping[str, Module]) -> Iterator[str]:
    for name, module in modules.items():
        if module.lines > LONGEST and not within(name, "tests"):
            yield f"{name} has {module.lines} lines, more than {LONGEST}"


RULES = (broken_arrows, impurities, heavy_imports, misnamed, overlong)


def violations(root: Path) -> list[str]:
    modules = read_modules(root)
    return [message for rule in RULES for message in rule(modules)]


def test_every_import_follows_the_arrows_of_the_design() -> None:
    assert violations(ROOT) == []


def test_the_tables_name_modules_that_exist() -> None:
    rows = {
        *LATER,
        *(late for laters in LATER.values() for late in laters),
        *PURE,
        *WITHOUT_PULUMI,
        *RUNNER_PROCESS,
    }
    components = {f"infra.{component}" for component in COMPONENTS}  # they come phase by phase
    assert rows - components - set(read_modules(ROOT)) == set()


def test_half_of_the_modules_are_short() -> None:
    modules = read_modules(ROOT).items()
    lengths = [module.lines for name, module in modules if module.lines and not within(name, "tests")]
    assert statistics.median(lengths) <= MEDIAN


def test_a_runner_process_really_loads_nothing_heavy() -> None:
    script = "import sys, runner.worker; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    tops = {name.partition(".")[0] for name in loaded.stdout.split()}
    assert "runner" in tops
    assert tops.isdisjoint({"numpy", "openai", "pydantic", "onnxruntime", "pulumi", "rich"})


def test_a_forked_runner_loads_nothing_that_was_not_loaded_before_the_fork() -> None:
    # 66 of them that each load a package anew took half a minute of CPU to get ready.
    script = """
import importlib, sys
from runner.forked import LOADED_ONCE
for name in LOADED_ONCE:
    importlib.import_module(name)
before = set(sys.modules)
from runner.cli import main
assert main(["agent"]) != 0
print(*sorted(set(sys.modules) - before))
"""
    variables = {"AGENT_NAME": "nobody", "DATABASE_URL": "postgresql://nowhere"}
    loaded = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=variables, capture_output=True, text=True, check=True
    )
    assert "nobody.md" in loaded.stderr
    assert loaded.stdout.split() == []
    assert not any(within(name, "runner.local") for name in closure("runner.forked", read_modules(ROOT)))


PLANTED = [
    ("infra/plan.py", "from runner import worker", "infra.plan imports runner.worker"),
    ("infra/plan.py", "import runner.match", "infra.plan imports runner.match"),
    ("infra/plan.py", "def f():\n    from database import memory", "infra.plan imports database.memory"),
    ("infra/plan.py", "from .network import Network", "infra.plan imports infra.network.Network"),
    ("infra/plan.py", "import pulumi_aws", "infra.plan → pulumi_aws"),
    ("infra/redis.py", "", "infra.redis hides the module redis"),
    ("database/memory.py", "from runner.agents import Agent", "database.memory imports runner.agents.Agent"),
    ("errors.py", "import database.migrate", "errors imports database.migrate"),
    ("runner/agents.py", "import socket", "runner.agents → socket"),
    ("runner/match.py", "from runner.score import f", "runner.match → runner.score → random"),
    ("runner/issue.py", "from runner.match import Matcher", "runner.issue imports runner.match.Matcher"),
    ("runner/execute/__init__.py", "from .. import worker", "runner.execute imports runner.worker"),
    ("runner/worker.py", "import openai", "runner.worker → openai"),
    ("runner/worker.py", "from runner.score import g", "runner.worker → runner.score → numpy"),
    ("runner/utils.py", "", "runner.utils says nothing"),
    ("runner/long.py", "x = 1\n" * 401, "runner.long has 401 lines"),
]


@pytest.fixture
def tidy_project(tmp_path: Path) -> Path:
    """A small project that keeps every rule."""
    sources = {
        "errors.py": "",
        "database/__init__.py": "",
        "database/memory.py": "import asyncpg\nfrom errors import Unavailable",
        "runner/__init__.py": "",
        "runner/agents.py": "import yaml\nfrom errors import DefinitionError",
        "runner/score.py": "import random\nimport numpy",
        "runner/worker.py": "import aiohttp\nfrom database import memory\n\ndef f():\n    import openai",
        "runner/execute/__init__.py": "import typing\nif typing.TYPE_CHECKING:\n    import openai",
        "infra/__init__.py": "",
        "infra/plan.py": "from runner.agents import Agent\nfrom infra import prices",
        "infra/network.py": "import pulumi_aws",
    }
    for name, source in sources.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(source)
    return tmp_path


def test_a_tidy_project_breaks_no_rule(tidy_project: Path) -> None:
    assert violations(tidy_project) == []


@pytest.mark.parametrize(("file", "source", "message"), PLANTED, ids=[message for *_, message in PLANTED])
def test_a_planted_break_is_named(tidy_project: Path, file: str, source: str, message: str) -> None:
    (tidy_project / file).write_text(source)

    assert any(found.startswith(message) for found in violations(tidy_project)), violations(tidy_project)
