"""`python -m bench.engine [--rounds N]`: the real engine's `preview` and `up` of phase 3, beside empty resources.

Target: at most 1.5 times what the same number of empty resources takes. Both run offline against the tests'
stand-ins, so that the difference is the program's own: planning, wiring, serialising. No checkpoints are written.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.engine.aws import Aws
from tests.engine.conftest import build_tool
from tests.engine.objects import Kubernetes
from tests.engine.provider import serving
from tests.engine.stack import ROOT, new_stack

EMPTY = Path(__file__).with_name("empty_program")


@dataclass(frozen=True, slots=True)
class Figures:
    """Seconds, medians over the rounds."""

    resources: int
    preview_s: float
    up_s: float
    again_s: float
    """`up` of a stack that is as it should be."""
    empty_preview_s: float
    empty_up_s: float
    preview_ratio: float
    up_ratio: float
    load_average: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.engine", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    if not shutil.which("pulumi"):
        os.environ["PATH"] = f"{build_tool('pulumi')}{os.pathsep}{os.environ['PATH']}"
    json.dump(asdict(measure(options.rounds)), sys.stdout, indent=1)
    sys.stdout.write("\n")
    return 0


def measure(rounds: int) -> Figures:
    """Medians of `rounds` fresh stacks of each program, in turn, so that both meet the same machine."""
    load_average = os.getloadavg()[0]
    real: list[tuple[float, float, float]] = []
    empty: list[tuple[float, float, float]] = []
    resources = 0
    for _ in range(rounds):
        times, resources = _time("phase3", ROOT / "infra")
        real.append(times)
        os.environ["RESOURCES"] = str(resources)
        empty.append(_time("empty", EMPTY)[0])
    preview, up, again = (statistics.median(column) for column in zip(*real, strict=True))
    empty_preview, empty_up, _ = (statistics.median(column) for column in zip(*empty, strict=True))
    return Figures(
        resources,
        round(preview, 1),
        round(up, 1),
        round(again, 1),
        round(empty_preview, 1),
        round(empty_up, 1),
        round(preview / empty_preview, 2),
        round(up / empty_up, 2),
        round(load_average, 1),
    )


def _time(name: str, program: Path) -> tuple[tuple[float, float, float], int]:
    """Seconds of preview, up and a second up on a fresh stack; and the number of its resources, components included."""
    with tempfile.TemporaryDirectory() as temporary, serving(Aws(), Kubernetes()) as providers:
        stack = new_stack(Path(temporary), name, program, providers, {})
        times = []
        for command in (stack.preview, stack.up, stack.up):
            start = time.perf_counter()
            run = command()
            times.append(time.perf_counter() - start)
        return (times[0], times[1], times[2]), sum(run.counts.values()) - 1  # without the stack itself


if __name__ == "__main__":
    sys.exit(main())
