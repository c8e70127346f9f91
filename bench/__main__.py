"""`python -m bench [NAME…]`: benchmarks one after another, each in its own process; without names all that need no
arguments. Ends with 1 where one of them missed its target. docs/benchmarks.md tells what each should print."""

from __future__ import annotations

import argparse
import subprocess
import sys

NEED_NOTHING = (
    "plan",
    "runner",
    "startup",
    "flow",
    "embedding",
    "data",
    "agents",
    "memory",
    "memory.crossover",
)
NEED_MORE = ("matching", "calibrate", "relevance", "engine")
"""A history of past works, or the tools of the engine's ring: each says so itself."""


def main() -> int:
    """Run them; 1 where one missed or failed."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, epilog=f"names: {', '.join((*NEED_NOTHING, *NEED_MORE))}"
    )
    parser.add_argument("name", nargs="*")
    names = parser.parse_args().name or NEED_NOTHING
    if unknown := set(names) - {*NEED_NOTHING, *NEED_MORE}:
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}")
    missed = []
    for name in names:
        print(f"== python -m bench.{name}", flush=True)
        if subprocess.run([sys.executable, "-m", f"bench.{name}"]).returncode:
            missed.append(name)
    if missed:
        print(f"missed or failed: {', '.join(missed)}", file=sys.stderr)
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
