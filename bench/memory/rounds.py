"""What came of each contender: one table of all, and the targets that ours has to reach."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bench.memory.answers import Judged
from bench.memory.contender import Loaded

CLIENTS = (1, 32)
QUESTIONS = 300
"""Of each seed."""
_PEERS = ("mem0", "langgraph")
WITH_WORDS = "ours, words too"
"""The row of `recall`, of which no peer has the like: its answers are not the nearest vectors."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The questions of one seed by some clients at once."""

    questions: int
    """Fewer than QUESTIONS where the time was up."""
    p50_ms: float
    p99_ms: float
    per_second: float
    cpu_ms: float
    """Of client and server for one question; less at the mercy of what else the machine does."""


@dataclass(frozen=True, slots=True)
class Round:
    """One contender with the questions of one seed."""

    contender: str
    seed: int
    loaded: Loaded
    judged: Judged
    asked: dict[int, Asked]
    """By clients."""
    reached: int
    """Of `contender.TRIES` for another agent's memories by the asker's own means."""
    mib: int
    load_average: float

    def short(self) -> str:
        """One line for who waits."""
        one, many = self.asked[1], self.asked[32]
        recall = "" if self.contender == WITH_WORDS else f" recall {self.judged.recall},"
        return (
            f"{self.contender}, seed {self.seed}:{recall} p50 {one.p50_ms} ms,"
            f" p99 {one.p99_ms} ms, {one.cpu_ms} ms CPU, {many.per_second}/s by 32"
            f" (load average {self.load_average})"
        )


def told(rounds: Sequence[Round]) -> str:
    """A Markdown table: the worst recall, sums of what is wrong, and medians over the seeds."""
    head = ["", "recall@5", "empty", "short", "leaks", "others' reached"]
    head += [f"p50 / p99 ms, {clients} client{'s' * (clients > 1)}" for clients in CLIENTS]
    head += [f"{clients} client{'s' * (clients > 1)}, questions/s" for clients in CLIENTS]
    head += ["CPU ms", *_STORED.values(), "index s", "MiB"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name in dict.fromkeys(each.contender for each in rounds):
        own = [each for each in rounds if each.contender == name]
        judged = [each.judged for each in own]
        found = (
            min(each.recall for each in judged),
            sum(each.empty for each in judged),
            sum(each.short for each in judged),
        )
        cells = [name, *("" if name == WITH_WORDS else _number(value) for value in found)]
        cells.append(_number(sum(each.leaks for each in judged)))
        cells.append(_number(sum(each.reached for each in own)))
        cells += [
            f"{_number(_asked(own, clients, 'p50_ms'))} / {_number(_asked(own, clients, 'p99_ms'))}"
            for clients in CLIENTS
        ]
        cells += [_number(_asked(own, clients, "per_second")) for clients in CLIENTS]
        cells.append(_number(_asked(own, 1, "cpu_ms")))
        stored = [_loaded(own, field) for field in (*_STORED, "indexed_s")]
        cells += [_number(rate) if rate else "" for rate in stored]
        cells.append(_number(statistics.median(each.mib for each in own)))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def targets(rounds: Sequence[Round]) -> dict[str, bool]:
    """What ours has to reach, over all seeds; of the peers those that took part."""
    ours = [each for each in rounds if each.contender == "ours"]
    with_words = [each for each in rounds if each.contender == WITH_WORDS]
    tuned = _by_name([each for each in rounds if each.contender.endswith("tuned")])
    peers = _by_name([each for each in rounds if each.contender in _PEERS])
    reached = {
        "recall@5 >= 0.99": min(each.judged.recall for each in ours) >= 0.99,
        "0 leaks": sum(each.judged.leaks + each.reached for each in (*ours, *with_words)) == 0,
        "0 short answers": sum(each.judged.short for each in ours) == 0,
    }
    if tuned and peers:
        reached |= {
            "p50 <= best tuned peer's": _asked(ours, 1, "p50_ms")
            <= min(_asked(each, 1, "p50_ms") for each in tuned),
            "p99 <= half of best tuned peer's": _asked(ours, 1, "p99_ms")
            <= min(_asked(each, 1, "p99_ms") for each in tuned) / 2,
            "32 clients: >= 2 x best tuned peer's": _asked(ours, 32, "per_second")
            >= 2 * max(_asked(each, 32, "per_second") for each in tuned),
            "bulk >= 20 x peers'": _loaded(ours, "bulk") >= 20 * max(_loaded(each, "bulk") for each in peers),
            "bulk into the full store >= 20 x peers'": _loaded(ours, "bulk_full")
            >= 20 * max(_loaded(each, "bulk_full") for each in peers),
            "single >= 1 x peers'": _loaded(ours, "single") >= max(_loaded(each, "single") for each in peers),
            "single into the full store >= 1 x peers', tuned or not": _loaded(ours, "single_full")
            >= max(_loaded(each, "single_full") for each in (*peers, *tuned)),
        }
    return reached


_STORED = {
    "single": "single/s",
    "batch": "batch/s",
    "bulk": "bulk/s",
    "ready": "until indexed/s",
    "bulk_full": "bulk, full/s",
    "single_full": "single, full/s",
}


def _by_name(rounds: Sequence[Round]) -> list[list[Round]]:
    names = dict.fromkeys(each.contender for each in rounds)
    return [[each for each in rounds if each.contender == name] for name in names]


def _asked(rounds: Sequence[Round], clients: int, field: str) -> float:
    return float(statistics.median(getattr(each.asked[clients], field) for each in rounds))


def _loaded(rounds: Sequence[Round], field: str) -> float:
    return float(statistics.median(getattr(each.loaded, field) for each in rounds))


def _number(value: float) -> str:
    return f"{value:,.4g}" if value < 100 else f"{value:,.0f}"
