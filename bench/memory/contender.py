"""What every contender does, and the process in which it does it: `python -m bench.memory.contender JOB`.

Ours runs in the project's environment, the peers in `.venv-judges`; all print one JSON document.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import cycle, pairwise
from pathlib import Path
from threading import Lock
from typing import Any, Literal, Protocol

from bench.memory.corpus import Corpus

Name = Literal["ours", "mem0", "langgraph"]
SINGLES = 1_000
"""So many that most go to an agent stored for before, even of 1,000: a session's first looks its tables up."""
BATCH = 100
SAMPLE = 3_000
"""Rows loaded in bulk into the full store; peers load as many by their own means into the empty one."""
AT_REST = "CHECKPOINT"
"""Before rows are stored into the full store, so that what building its indexes left to be written is not timed."""
TRIES = 20
"""Times a search looks for another agent's memories."""


@dataclass(frozen=True, slots=True)
class Job:
    """One call of the process. `urls`: of the role that loads, and of the one that asks ({role} for ours)."""

    contender: Name
    do: Literal["load", "search"]
    folder: str
    urls: tuple[str, str]
    tuned: bool = False
    words: bool = False
    """Ours asks `recall`, which compares words too, instead of `nearest`."""
    first: int = 0
    count: int = 0
    """The questions asked."""
    part: int = 0
    parts: int = 1
    clients: int = 1
    warm_up: int = 0
    seconds: float = 10.0
    """After these no further question is asked, so that large sizes end today; the warm-up takes a third at most."""
    again: bool = False
    """Ask the same questions again until the seconds have passed."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """Rows a second; 0 where it was not measured. Only the calls that store are timed."""

    single: float = 0.0
    """One a call, into the empty store."""
    batch: float = 0.0
    """100 a call, into the empty store."""
    bulk: float = 0.0
    """In bulk, from the empty store to the full one; of peers from the first and the last rows."""
    ready: float = 0.0
    """As `bulk`, until all indexes are made."""
    bulk_full: float = 0.0
    """In bulk, into the full store with its indexes."""
    single_full: float = 0.0
    """One a call, into the full store with its indexes."""
    indexed_s: float = 0.0
    """Building indexes after the load, where that is a step of its own."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The rows that were found for a question, nearest first."""

    question: int
    rows: list[int]
    seconds: float


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of a search. `cpu_s` of this process; `reached`: of `TRIES` for another agent's memories."""

    started: float
    ended: float
    answers: list[Answer]
    cpu_s: float
    reached: int

    @classmethod
    def read(cls, document: dict[str, Any]) -> Answered:
        """From what `asdict` made of it."""
        return cls(**document | {"answers": [Answer(**each) for each in document["answers"]]})


class Turns:
    """Hands questions to clients, which may be threads, until there are no more or the seconds have passed."""

    def __init__(self, questions: Sequence[int], seconds: float, *, again: bool = False) -> None:
        self._left = cycle(questions) if again else iter(questions)
        self._ends = time.monotonic() + seconds
        self._lock = Lock()

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        with self._lock:
            if time.monotonic() > self._ends:
                raise StopIteration
            return next(self._left)


def ask_in_threads(clients: int, turns: Turns, ask: Callable[[int], Answer]) -> list[Answer]:
    """The answers of that many clients at once."""

    def client(_: int) -> list[Answer]:
        return [ask(question) for question in turns]

    with ThreadPoolExecutor(clients) as pool:
        return [answer for own in pool.map(client, range(clients)) for answer in own]


@dataclass(frozen=True, slots=True)
class Parts:
    """Which rows are stored how, in this order. Peers copy `middle`, so that large sizes end today."""

    single: range
    batch: range
    first: range
    middle: range
    bulk_full: range
    single_full: range

    @classmethod
    def of(cls, rows: int) -> Parts:
        """Of all rows; what is timed into the empty store and into the full one is of the same number."""
        ends = [0, SINGLES, SINGLES + 10 * BATCH]
        sample = min(SAMPLE, (rows - ends[-1] - SINGLES) // 3)
        ends += [ends[-1] + sample, rows - SINGLES - sample, rows - SINGLES, rows]
        return cls(*(range(*pair) for pair in pairwise(ends)))


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

    def search(self, corpus: Corpus, turns: Turns) -> list[Answer]:
        """By `clients` at once, in any order."""
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
        contender.search(corpus, Turns(questions[: job.warm_up], job.seconds / 3))
        reached = contender.reach(corpus, questions[:TRIES]) if job.parts == 1 else 0
        print("ready", flush=True)
        sys.stdin.readline()
        started, cpu = time.monotonic(), time.process_time()
        answers = contender.search(corpus, Turns(questions, job.seconds, again=job.again))
        ended, cpu = time.monotonic(), time.process_time() - cpu
        answered = Answered(started, ended, answers, cpu, reached)
        print(json.dumps(asdict(answered)), flush=True)
        sys.stdin.readline()  # the server's processes are looked at before the connections close
    finally:
        contender.close()


if __name__ == "__main__":
    main()
