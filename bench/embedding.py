"""`python -m bench.embedding [--json]`: how fast MiniLM embeds on this machine, and in how much memory.

Targets with two threads on 2 quiet cores: at least 60 texts/s of 110 tokens in batches, at most 15 ms for one.
Times are medians on the clock; another busy process halves them, so the load average before each run and the CPU time
per text, which suffers less, stand beside them. What the machine could do at most is told by numpy's product of two
matrices, with as many threads and in the same process: `share` is how much of that speed the model reaches.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

TOKENS = 110
TEXT = "word " * (TOKENS - 2)  # two of the tokens mark start and end
BATCH = 64
SINGLE_ROUNDS = 41
BATCH_ROUNDS = 7
# Six layers of four 384 × 384 and two 384 × 1,536 matrices, and in each every token with every other, twice.
GFLOP_PER_TEXT = 6 * (12 * 384**2 * 2 * TOKENS + 2 * 2 * 384 * TOKENS**2) / 1e9
MATRIX = 1_536
LEAST_TEXTS_PER_S = 60.0
MOST_ONE_MS = 15.0


@dataclass(frozen=True, slots=True)
class Figures:
    """Seconds, milliseconds and MiB of one process with `threads` inference threads; `cpu_ms` is per text.

    `gflops`: 10⁹ floating-point operations a second that numpy reaches; `share`: what of these the model does.
    """

    threads: int
    load_average: float
    load_s: float
    one_ms: float
    batch_texts_per_s: float
    cpu_ms: float
    gflops: float
    share: float
    rss_mib: int
    peak_rss_mib: int


def measure(cache: str, threads: int) -> Figures:
    """Load the model in this process and time it."""
    os.environ["OPENBLAS_NUM_THREADS"] = str(threads)  # before numpy is loaded
    return asyncio.run(_measure(Path(cache), threads))


async def _measure(cache: Path, threads: int) -> Figures:
    from database.embeddings import EmbeddingSettings, open_embedder

    load_average = os.getloadavg()[0]
    started = time.perf_counter()
    embedder = await open_embedder(EmbeddingSettings(cache=cache, threads=threads))
    load = time.perf_counter() - started
    await embedder.embed([TEXT] * BATCH)
    one = await _median_seconds(lambda: embedder.embed([TEXT]), SINGLE_ROUNDS)
    cpu = time.process_time()
    batch = await _median_seconds(lambda: embedder.embed([TEXT] * BATCH), BATCH_ROUNDS)
    cpu = (time.process_time() - cpu) / (BATCH * BATCH_ROUNDS)
    memory = await asyncio.to_thread(_memory_mib)
    await embedder.close()
    gflops = await _numpy_gflops()
    return Figures(
        threads=threads,
        load_average=round(load_average, 2),
        load_s=round(load, 2),
        one_ms=round(one * 1000, 1),
        batch_texts_per_s=round(BATCH / batch, 1),
        cpu_ms=round(cpu * 1000, 1),
        gflops=round(gflops),
        share=round(BATCH / batch * GFLOP_PER_TEXT / gflops, 2),
        rss_mib=memory["VmRSS"],
        peak_rss_mib=memory["VmHWM"],
    )


def _memory_mib() -> dict[str, int]:
    # Not getrusage: its peak is inherited from the parent process.
    lines = Path("/proc/self/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return {name: int(fields[name].split()[0]) // 1024 for name in ("VmRSS", "VmHWM")}


async def _numpy_gflops() -> float:
    import numpy as np

    left, right = np.random.default_rng(0).standard_normal((2, MATRIX, MATRIX), dtype=np.float32)

    async def multiply() -> None:
        left @ right

    await multiply()
    return 2 * MATRIX**3 / await _median_seconds(multiply, BATCH_ROUNDS) / 1e9


async def _median_seconds(call: Callable[[], Awaitable[object]], rounds: int) -> float:
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        await call()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def missed(runs: Sequence[Figures]) -> bool:
    """Whether the run with the most threads is slower than it should be."""
    best = max(runs, key=lambda run: run.threads)
    return best.batch_texts_per_s < LEAST_TEXTS_PER_S or best.one_ms > MOST_ONE_MS


def main() -> int:
    """Measure with one thread and with two, each in a process of its own; 1 where a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.embedding", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    from database.embeddings.weights import prepared

    with tempfile.TemporaryDirectory() as cache:
        started = time.perf_counter()
        prepared(Path(cache))
        build = round(time.perf_counter() - started, 2)
        runs = []
        for threads in (1, 2):
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                runs.append(process.submit(measure, cache, threads).result())
    if arguments.json:
        print(
            json.dumps(
                {"tokens": TOKENS, "batch": BATCH, "build_s": build, "runs": [asdict(run) for run in runs]}
            )
        )
        return int(missed(runs))
    print(f"texts of {TOKENS} tokens, fp32, graph built in {build} s, {os.cpu_count()} cores")
    print("threads  load avg  load s  one ms  texts/s  CPU ms  numpy GFLOP/s  share  RSS MiB  peak MiB")
    for run in runs:
        print(
            f"{run.threads:7}  {run.load_average:8}  {run.load_s:6}  {run.one_ms:6}"
            f"  {run.batch_texts_per_s:7}  {run.cpu_ms:6}  {run.gflops:13}  {run.share:5}"
            f"  {run.rss_mib:7}  {run.peak_rss_mib:8}"
        )
    print(f"targets with 2 threads {MOST_ONE_MS:14.1f}  {LEAST_TEXTS_PER_S:7.1f}")
    return int(missed(runs))


if __name__ == "__main__":
    sys.exit(main())
