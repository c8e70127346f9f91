"""What every contender does, and the process in which it does it: `python -m bench.memory.contender JOB`.

Ours runs in the project's environment, the peers in `.venv-judges`; all print one JSON document.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Protocol

from bench.memory.corpus import Corpus

Name = Literal["ours", "mem0", "langgraph"]
SINGLES = 200
BATCH = 100


@dataclass(frozen=True, slots=True)
class Job:
    """One call of the process. `urls`: of the role that loads, and of the one that asks ({role} for ours)."""

    contender: Name
    do: Literal["load", "search"]
    folder: str
    urls: tuple[str, str]
    tuned: bool = False
    sample: int = 3_000
    """Rows that a peer loads in bulk by its own means into the empty store, and as many into the full one; the others
    are copied, so that large sizes end today."""
    first: int = 0
    count: int = 0
    """The questions asked."""
    part: int = 0
    parts: int = 1
    clients: int = 1
    warm_up: int = 0


@dataclass(frozen=True, slots=True)
class Loaded:
    """Rows a second: one a call, 100 a call, as many as there are."""

    single: float
    batch: float
    bulk: float
    indexed_s: float = 0.0
    """Building indexes after the load, where that is a step of its own."""


@dataclass(frozen=True, slots=True)
class Answered:
    """`answers`: rows for each question of this part. `reached`: of 100 tries for another agent's memories."""

    started: float
    ended: float
    questions: list[int]
    answers: list[list[int]]
    seconds: list[float]
    cpu_s: float
    """Of this process."""
    reached: int


class Watch:
    """Adds up the seconds inside `with`: of the calls that store, not of making what they are given."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._started = 0.0

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._started

    def rate(self, rows: int) -> float:
        """Rows a second."""
        return round(rows / self.seconds, 1)


class Contender(Protocol):
    """A way to store and to ask."""

    def load(self, corpus: Corpus) -> Loaded: ...

    def connect(self, corpus: Corpus, questions: Sequence[int]) -> None:
        """Open, and use once, every connection that the questions will need."""
        ...

    def search(self, corpus: Corpus, questions: Sequence[int]) -> tuple[list[list[int]], list[float]]:
        """Rows and seconds for each question, by `clients` at once."""
        ...

    def reach(self, corpus: Corpus, questions: Sequence[int]) -> int:
        """How often asking for the memories of another agent, with the means of the asker, gave any."""
        ...

    def close(self) -> None: ...


def make(job: Job) -> Contender:
    """The contender of a job; only its own libraries are imported."""
    if job.contender == "ours":
        from bench.memory.ours import Ours

        return Ours(job)
    if job.contender == "mem0":
        from bench.memory.mem0_peer import Mem0

        return Mem0(job)
    from bench.memory.langgraph_peer import LangGraph

    return LangGraph(job)


def main() -> None:
    """Do the job; a search says when it is ready and waits for a line, so that all processes start together."""
    job = Job(**json.loads(sys.argv[1]))
    corpus = Corpus.load(Path(job.folder))
    contender = make(job)
    try:
        if job.do == "load":
            print(json.dumps(asdict(contender.load(corpus))), flush=True)
            return
        questions = list(range(job.first, job.first + job.count))[job.part :: job.parts]
        contender.connect(corpus, questions)
        contender.search(corpus, questions[: job.warm_up])
        reached = contender.reach(corpus, questions[:100]) if job.part == 0 else 0
        print("ready", flush=True)
        sys.stdin.readline()
        started, cpu = time.monotonic(), time.process_time()
        answers, seconds = contender.search(corpus, questions)
        ended, cpu = time.monotonic(), time.process_time() - cpu
        answered = Answered(started, ended, questions, answers, seconds, cpu, reached)
        print(json.dumps(asdict(answered)), flush=True)
        sys.stdin.readline()  # the server's processes are looked at before the connections close
    finally:
        contender.close()


if __name__ == "__main__":
    main()
