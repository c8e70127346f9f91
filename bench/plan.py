"""`python -m bench.plan [--json]`: how long the plan and the whole preview take at 66, 300 and 1,000 agents.

Targets: the plan of 66 agents well under a second, of 1,000 in a few. Agents above 66 are copies of the project's
own definitions under other names; node groups and database are large enough to hold them. The preview registers
every resource against mocks, judges it and writes the document; its objects per agent show how the stack grows.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

from infra.config import read_stack
from infra.document import to_document
from infra.fleet import load_fleet
from infra.outlook import PRICES, look
from infra.plan import make_plan
from infra.prices import load_prices
from infra.stack import from_config
from runner.agents import load_agents
from runner.geography import load_geography

ROOT = Path(__file__).resolve().parent.parent
SIZES = (66, 300, 1000)
ROUNDS = 5
# 1,000 agents ask for 200 vCPU: 56 spot nodes.
ROOM: dict[str, object] = {"homeFlexMaxSize": 80, "databaseClass": "db.m7g.2xlarge"}


@dataclass(frozen=True, slots=True)
class Figures:
    """Seconds of one process for a phase-3 stack."""

    agents: int
    load_s: float
    """Reading and checking definitions and geography."""
    plan_s: float
    """Median of the pure plan."""
    preview_s: float
    """All of it once: reading, plan, resources, rules, document."""
    resources: int
    per_agent: int
    """Objects that each agent adds."""
    load_average: float


def measure(folder: str, size: int) -> Figures:
    """Time one size in this process."""
    load_average = os.getloadavg()[0]
    config = read_stack(ROOT, "phase3") | ROOM | write_fleet(Path(folder), size)
    started = time.perf_counter()
    agents = load_agents(Path(str(config["agentsDir"])))
    geography = load_geography(Path(str(config["geographyFile"])), agents)
    load = time.perf_counter() - started
    settings = from_config(config, stack="bench")
    fleet = load_fleet(ROOT / settings.fleet_file)
    prices = load_prices(PRICES, datetime.now(UTC).date())
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        make_plan(agents, geography, fleet, settings, prices)
        seconds.append(time.perf_counter() - started)
    started = time.perf_counter()
    outlook = look(ROOT, config, "bench")
    to_document(outlook)
    preview = time.perf_counter() - started
    named = Counter(
        resource.name for resource in outlook.resources if agents[-1].resource_name in resource.name
    )
    return Figures(
        agents=size,
        load_s=round(load, 2),
        plan_s=round(statistics.median(seconds), 3),
        preview_s=round(preview, 2),
        resources=len(outlook.resources),
        per_agent=sum(named.values()),
        load_average=round(load_average, 2),
    )


def write_fleet(folder: Path, size: int) -> dict[str, object]:
    """`size` definitions and a geography for them in `folder`, and the settings that name both."""
    own = load_agents(ROOT / ".github" / "agents")
    definitions = folder / f"agents-{size}"
    definitions.mkdir()
    names = []
    for number in range(size):
        source = own[number % len(own)]
        name = source.name if number < len(own) else f"{source.name[:38]}-{number:04}"
        text = source.path.read_text(encoding="utf-8")
        (definitions / f"{name}.md").write_text(
            text.replace(f"name: {source.name}", f"name: {name}", 1), encoding="utf-8"
        )
        names.append(name)
    geography = folder / f"geography-{size}.yaml"
    listed = "\n".join(f"      - {name}" for name in names)
    geography.write_text(
        f"regions:\n  us-west-2:\n    location: Oregon\n    agents:\n{listed}\n", encoding="utf-8"
    )
    return {"agentsDir": str(definitions), "geographyFile": str(geography)}


def main() -> None:
    """Measure each size in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m bench.plan", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                runs.append(process.submit(measure, folder, size).result())
    if arguments.json:
        print(json.dumps([asdict(run) for run in runs]))
        return
    print("agents  load s  plan s  preview s  resources  per agent  load avg")
    for run in runs:
        print(
            f"{run.agents:6}  {run.load_s:6}  {run.plan_s:6}  {run.preview_s:9}  {run.resources:9}"
            f"  {run.per_agent:9}  {run.load_average:8}"
        )


if __name__ == "__main__":
    main()
