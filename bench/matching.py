"""`python -m bench.matching [--agents DIR --history FILE] [--json]`: how often matching is right, and how fast.

Every past work that carries an `agent:` label is matched with its label hidden; the label is the truth. "Right in
three" looks at the first three candidates. In the history case only works that were merged before count, and the
matcher is built anew for each work. Intervals are Wilson's at 95 %. "Without" rows leave one part out.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from unittest.mock import patch

from rich.console import Console
from rich.table import Table

from bench.match_rivals import Chooser, bm25, busiest, keyword_count
from runner.agents import Agent, load_agents
from runner.issue import Issue
from runner.match import Matcher, definition_index, fair_share, past_works
from runner.match.fair_share import over_share
from runner.match.history import Work, load_history

REAL = Path(__file__).resolve().parent.parent.parent / "shared" / "real"
SIZES = (66, 89, 300)
NEVER = 1e9  # works of age at which a neighbour counts half
PROSE_OFF = {"text": 0.0, "responsibilities": 0.0}
WITHOUT_PROSE = definition_index.PLACES | PROSE_OFF


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Of `works`, how many were right at once and in three; `halves` the first choice in the earlier and later half."""

    name: str
    history: bool
    works: int
    first: int
    three: int
    abstained: int
    halves: tuple[float, float]
    over_share: dict[str, float]
    """Agents that took over 15 % of these works."""

    @property
    def misroutes(self) -> int:
        """Works that a person gave to somebody else than was chosen."""
        return self.works - self.first - self.abstained


@dataclass(frozen=True, slots=True)
class Speed:
    """Milliseconds an issue after loading; `load_ms` for definitions (and history)."""

    definitions: int
    history: bool
    load_ms: float
    issue_ms: float


def wilson(right: int, of: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927)."""
    share, square = right / of, z * z / of
    middle = (share + square / 2) / (1 + square)
    reach = z / (1 + square) * math.sqrt(share * (1 - share) / of + square / (4 * of))
    return middle - reach, middle + reach


def ours(matcher: Matcher) -> Chooser:
    """Our matcher; where it abstains the first place is empty."""

    def choose(work: Work) -> list[str]:
        match = matcher.match(Issue("bench/matching", work.number, work.title, work.body, work.labels))
        names = [candidate.agent for candidate in match.candidates[:3]]
        return names if match.agent else ["", *names[:2]]

    return choose


def judge(name: str, works: Sequence[Work], choices: Iterable[list[str]], *, history: bool) -> Accuracy:
    """Count the right choices."""
    chosen = list(choices)
    right = [bool(names) and names[0] == work.agent for work, names in zip(works, chosen, strict=True)]
    middle = len(works) // 2
    return Accuracy(
        name=name,
        history=history,
        works=len(works),
        first=sum(right),
        three=sum(work.agent in names for work, names in zip(works, chosen, strict=True)),
        abstained=sum(not names or not names[0] for names in chosen),
        halves=(statistics.mean(right[:middle]), statistics.mean(right[middle:])),
        over_share=over_share(names[0] or None for names in chosen if names),
    )


def later(history: Sequence[Work], build: Callable[[Sequence[Work]], Chooser]) -> Iterable[list[str]]:
    """For each labelled work what is chosen from the works before it."""
    for index, work in enumerate(history):
        if work.agent:
            yield build(history[:index])(work)


def measure(agents: Sequence[Agent], history: Sequence[Work]) -> list[Accuracy]:
    """All rows of the table of accuracy."""
    works = [work for work in history if work.agent]

    def alone(name: str, choose: Chooser) -> Accuracy:
        return judge(name, works, map(choose, works), history=False)

    def after(name: str, build: Callable[[Sequence[Work]], Chooser]) -> Accuracy:
        return judge(name, works, later(history, build), history=True)

    def build_ours(before: Sequence[Work]) -> Chooser:
        return ours(Matcher(agents, before))

    rows = [
        alone("plain keyword count", keyword_count(agents)),
        alone("BM25 over definitions", bm25(agents)),
        alone("matching", ours(Matcher(agents))),
    ]
    with patch.object(definition_index, "FIELD_FACTOR", 0.0):
        rows.append(alone("  without shared vocabulary", ours(Matcher(agents))))
    with patch.object(definition_index, "PLACES", WITHOUT_PROSE):
        rows.append(alone("  without prose", ours(Matcher(agents))))
    rows.append(after("most frequent agent", lambda before: busiest(agents, before)))
    rows.append(after("matching", build_ours))
    no_definitions = dict.fromkeys(definition_index.PLACES, 0.0)
    with patch.object(fair_share, "_ROUNDS", 0):
        rows.append(after("  without fair share", build_ours))
        with patch.object(definition_index, "PLACES", no_definitions):
            rows.append(after("  past works alone, no fair share", build_ours))
    with patch.object(past_works, "HALF_AT", NEVER):
        rows.append(after("  without recency", build_ours))
    return rows


def time_matching(
    agents: Sequence[Agent], history: Sequence[Work], works: Sequence[Work], size: int
) -> Speed:
    """Median of three passes over `works`. Definitions beyond the given ones are copies under other names."""
    many = [
        agent if copy == 0 else replace(agent, name=f"{agent.name}-{copy}")
        for copy in range(size // len(agents) + 1)
        for agent in agents
    ][:size]
    started = time.process_time()
    matcher = Matcher(many, history)
    load = time.process_time() - started
    issues = [Issue("bench/matching", work.number, work.title, work.body, work.labels) for work in works]
    passes = []
    for _ in range(3):
        started = time.process_time()
        for issue in issues:
            matcher.match(issue)
        passes.append(time.process_time() - started)
    return Speed(size, bool(history), load * 1e3, statistics.median(passes) / len(issues) * 1e3)


def main() -> None:
    """Print the tables or JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.matching", description=__doc__)
    parser.add_argument("--agents", type=Path, default=REAL / "agents")
    parser.add_argument("--history", type=Path, default=REAL / "pull_requests.json")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    agents, history = load_agents(options.agents), load_history(options.history)
    if not any(work.agent for work in history):
        parser.error(f"no work in {options.history} carries an `agent:` label")
    speeds = [time_matching(agents, past, history, size) for past in ((), history) for size in SIZES]
    rows = measure(agents, history)
    if options.json:
        print(json.dumps({"accuracy": [asdict(row) | {"misroutes": row.misroutes} for row in rows],
                          "speed": [asdict(speed) for speed in speeds]}, indent=2))  # fmt: skip
    else:
        show(rows, speeds)


def show(rows: Sequence[Accuracy], speeds: Sequence[Speed]) -> None:
    """Two tables for a terminal."""
    console = Console()
    columns = ("history", "method", "right first", "95 %", "right in three", "95 %", "halves", "misroutes")
    table = Table(*columns, "abstained", "over 15 %", title=f"{rows[0].works} labelled works, labels hidden")
    for row in rows:
        (low, high), (low3, high3) = wilson(row.first, row.works), wilson(row.three, row.works)
        table.add_row(
            "earlier works" if row.history else "none",
            row.name,
            f"{row.first / row.works:.1%}",
            f"{low:.0%}–{high:.0%}",
            f"{row.three / row.works:.1%}",
            f"{low3:.0%}–{high3:.0%}",
            " / ".join(f"{half:.0%}" for half in row.halves),
            str(row.misroutes),
            str(row.abstained),
            ", ".join(f"{name} {share:.0%}" for name, share in row.over_share.items()) or "nobody",
        )
    console.print(table)
    table = Table("history", "definitions", "load ms", "ms an issue", "× of smallest", title="speed")
    for speed in speeds:
        smallest = next(each for each in speeds if each.history == speed.history)
        more = speed.definitions / smallest.definitions
        growth = f"{speed.issue_ms / smallest.issue_ms:.2f} for {more:.2f} × as many"
        table.add_row(
            "yes" if speed.history else "none",
            str(speed.definitions),
            f"{speed.load_ms:.0f}",
            f"{speed.issue_ms:.3f}",
            growth,
        )
    console.print(table)


if __name__ == "__main__":
    main()
