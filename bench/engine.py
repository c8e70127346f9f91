"""`python -m bench.engine [--rounds N]`: the real engine's `preview` and `up` of phase 3, beside empty resources.

Target: at most 1.5 times what the same number of empty resources takes. Both run offline against the tests'
stand-ins, so that the difference is the program's own: planning, wiring, serialising. No checkpoints are written.
CPU seconds are those of all processes together: they tell more than the clock on a machine with other work.
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


Times = tuple[float, ...]
"""Seconds of preview, up and a second up by the clock, then of CPU."""


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
    empty_again_s: float
    preview_cpu_s: float
    up_cpu_s: float
    again_cpu_s: float
    empty_preview_cpu_s: float
    empty_up_cpu_s: float
    empty_again_cpu_s: float
    preview_ratio: float
    up_ratio: float
    again_ratio: float
    preview_cpu_ratio: float
    up_cpu_ratio: float
    again_cpu_ratio: float
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
    real: list[Times] = []
    empty: list[Times] = []
    resources = 0
    for _ in range(rounds):
        times, resources = _time("phase3", ROOT / "infra")
        real.append(times)
        os.environ["RESOURCES"] = str(resources)
        empty.append(_time("empty", EMPTY)[0])
    ours, theirs = _medians(real), _medians(empty)
    figures = [
        *(round(seconds, 1) for seconds in (*ours[:3], *theirs[:3], *ours[3:], *theirs[3:])),
        *(round(mine / other, 2) for mine, other in zip(ours, theirs, strict=True)),
        round(load_average, 1),
    ]
    return Figures(resources, *figures)


def _medians(rounds: Sequence[Times]) -> list[float]:
    return [statistics.median(column) for column in zip(*rounds, strict=True)]


def _time(name: str, program: Path) -> tuple[Times, int]:
    """Preview, up and a second up on a fresh stack; and the number of its resources, components included."""
    with tempfile.TemporaryDirectory() as temporary, serving(Aws(), Kubernetes()) as providers:
        stack = new_stack(Path(temporary), name, program, providers, {})
        clock, cpu = [], []
        for command in (stack.preview, stack.up, stack.up):
            start, used = time.perf_counter(), _cpu_seconds()
            run = command()
            clock.append(time.perf_counter() - start)
            cpu.append(_cpu_seconds() - used)
        return (*clock, *cpu), sum(run.counts.values()) - 1  # without the stack itself


def _cpu_seconds() -> float:
    """Of this process, which serves the stand-ins, and of all that it started and waited for."""
    return sum(os.times()[:4])


if __name__ == "__main__":
    sys.exit(main())
