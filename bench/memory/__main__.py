"""`python -m bench.memory --size S|M|L|text --seeds N [--json]`: our memory beside mem0 and LangGraph.

Every contender runs on the same PostgreSQL, stores the same vectors and is asked the same questions, one after the
other, in an order that turns with the seed. Ours: row-level security on, each agent through its own role, which is no
superuser. The peers: as they come, and tuned (`anchors` of docs/memory.md). Embedding is not part of it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.memory.answers import Judged, judge, milliseconds
from bench.memory.contender import Answered, Job, Loaded, Name
from bench.memory.corpus import SIZES, Corpus, Kind, from_texts, made_up
from bench.memory.ours import PASSWORD
from bench.memory.texts import embedded_texts
from database.connect import open_connection
from database.migrate import migrate
from database.registry import set_passwords
from runner.local.embedded import EmbeddedPostgres

ROOT = Path(__file__).resolve().parent.parent.parent
JUDGES = ROOT / ".venv-judges" / "bin" / "python"
PYTHONS: dict[Name, str] = {"ours": sys.executable, "mem0": str(JUDGES), "langgraph": str(JUDGES)}
QUESTIONS, WARM_UP = 1_000, 100
CLIENTS = (1, 8, 32)
_TUNING = ("hnsw.iterative_scan = 'relaxed_order'", "hnsw.ef_search = 200")


@dataclass(frozen=True, slots=True)
class Round:
    """One contender with one seed."""

    contender: str
    seed: int
    loaded: Loaded
    judged: Judged
    p50_ms: float
    """One client."""
    p99_ms: float
    per_second: dict[int, float]
    """Questions a second, by clients."""
    cpu_ms: float
    """Of client and server for one question; less at the mercy of what else the machine does."""
    reached: int
    """Of 100 tries for another agent's memories by the asker's own means."""
    mib: int
    load_average: float


async def run(size: str, kind: Kind, seed: int) -> list[Round]:
    """All contenders, on a server of their own."""
    with tempfile.TemporaryDirectory(prefix="bench-memory-") as name:
        folder = Path(name)
        corpus = _corpus(size, kind, seed)
        corpus.save(folder)
        server = EmbeddedPostgres(folder / "postgres", password=PASSWORD)
        await server.start()
        try:
            contenders: list[Name] = ["ours", "mem0", "langgraph"]
            turned = contenders[seed % 3 :] + contenders[: seed % 3]
            return [
                each
                for contender in turned
                for each in await _contend(contender, server, folder, corpus, seed)
            ]
        finally:
            await server.stop()


def _corpus(size: str, kind: Kind, seed: int) -> Corpus:
    if kind == "text":
        vectors, titles = embedded_texts(QUESTIONS)
        return from_texts(vectors, titles, seed, QUESTIONS)
    return made_up(kind, SIZES[size], seed, QUESTIONS)


async def _contend(
    name: Name, server: EmbeddedPostgres, folder: Path, corpus: Corpus, seed: int
) -> list[Round]:
    database = f"bench_{name}"
    async with open_connection(server.superuser_url) as superuser:
        await superuser.execute(f"CREATE DATABASE {database}")
    urls = (server.url("postgres", PASSWORD, database),) * 2
    if name == "ours":
        urls = await _prepare(server, database)
    job = Job(name, "load", str(folder), urls)
    loaded = Loaded(**await _call(job))
    rounds = [await _ask(name, server, database, job, corpus, loaded, seed)]
    if name != "ours":
        async with open_connection(urls[0]) as superuser:
            for setting in _TUNING:
                await superuser.execute(f"ALTER DATABASE {database} SET {setting}")
        tuned = Job(name, "load", str(folder), urls, tuned=True)
        await _call(tuned)
        rounds.append(await _ask(f"{name}, tuned", server, database, tuned, corpus, loaded, seed))
    async with open_connection(server.superuser_url) as superuser:
        await superuser.execute(f"DROP DATABASE {database} WITH (FORCE)")
    return rounds


async def _prepare(server: EmbeddedPostgres, database: str) -> tuple[str, str]:
    """The schema by its owner, who is no superuser, as on RDS."""
    async with open_connection(server.url("postgres", PASSWORD, database)) as superuser:
        await superuser.execute(f"CREATE ROLE agents_owner LOGIN CREATEROLE PASSWORD '{PASSWORD}'")
        await superuser.execute(f"ALTER DATABASE {database} OWNER TO agents_owner")
        await superuser.execute("CREATE EXTENSION vector")
    owner_url = server.url("agents_owner", PASSWORD, database)
    async with open_connection(owner_url) as owner:
        await migrate(owner)
        await set_passwords(owner, {"gateway": PASSWORD})
    return owner_url, server.url("gateway", PASSWORD, database)


async def _ask(
    name: str, server: EmbeddedPostgres, database: str, job: Job, corpus: Corpus, loaded: Loaded, seed: int
) -> Round:
    url = server.url("{role}" if job.contender == "ours" else "postgres", PASSWORD, database)
    load_average = os.getloadavg()[0]
    one, cpu = await _search(job, url, server, database, 1)
    per_second = {}
    for clients in CLIENTS:
        answered = one if clients == 1 else (await _search(job, url, server, database, clients))[0]
        elapsed = max(each.ended for each in answered) - min(each.started for each in answered)
        per_second[clients] = round(len(corpus.asker) / elapsed, 1)
    answers: dict[int, list[int]] = {}
    for each in one:
        answers |= dict(zip(each.questions, each.answers, strict=True))
    p50, p99 = milliseconds([second for each in one for second in each.seconds])
    async with open_connection(server.superuser_url) as superuser:
        size: int = await superuser.fetchval("SELECT pg_database_size($1)", database)
    return Round(
        contender=name,
        seed=seed,
        loaded=loaded,
        judged=judge(corpus, [answers[question] for question in range(len(corpus.asker))]),
        p50_ms=p50,
        p99_ms=p99,
        per_second=per_second,
        cpu_ms=round(cpu * 1000 / len(corpus.asker), 3),
        reached=one[0].reached,
        mib=size // 2**20,
        load_average=round(load_average, 1),
    )


async def _search(
    job: Job, url: str, server: EmbeddedPostgres, database: str, clients: int
) -> tuple[list[Answered], float]:
    """The answers of each process, and CPU seconds of all clients and their sessions.

    Several clients share two processes, so that no contender is bound by one interpreter.
    """
    parts = min(2, clients)
    processes = [
        await _start(
            Job(
                job.contender,
                "search",
                job.folder,
                (job.urls[0], url),
                tuned=job.tuned,
                part=part,
                parts=parts,
                clients=clients // parts,
                warm_up=WARM_UP,
            )
        )
        for part in range(parts)
    ]
    for process in processes:
        await _line(process, job)  # ready
    before = await _sessions_cpu(server, database)
    _tell(processes)
    answered = [Answered(**json.loads(await _line(process, job))) for process in processes]
    cpu = await _sessions_cpu(server, database) - before + sum(each.cpu_s for each in answered)
    _tell(processes)
    for process in processes:
        await process.wait()
    return answered, cpu


def _tell(processes: list[asyncio.subprocess.Process]) -> None:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"go\n")


async def _sessions_cpu(server: EmbeddedPostgres, database: str) -> float:
    """Seconds that the processes of open sessions have run so far (Linux's schedstat)."""
    async with open_connection(server.superuser_url) as superuser:
        rows = await superuser.fetch("SELECT pid FROM pg_stat_activity WHERE datname = $1", database)
    return sum(int(Path(f"/proc/{row['pid']}/schedstat").read_text().split()[0]) for row in rows) / 1e9


async def _call(job: Job) -> dict[str, Any]:
    process = await _start(job)
    done: dict[str, Any] = json.loads(await _line(process, job))
    await process.wait()
    return done


async def _start(job: Job) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        PYTHONS[job.contender],
        *("-m", "bench.memory.contender", json.dumps(asdict(job))),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**26,
    )


async def _line(process: asyncio.subprocess.Process, job: Job) -> bytes:
    assert process.stdout is not None
    line = await process.stdout.readline()
    if not line:
        sys.exit(
            f"{job.contender} ended with {await process.wait()} while it was to {job.do}; its message stands above"
        )
    return line


def told(rounds: list[Round]) -> str:
    """A Markdown table of medians over the seeds."""
    head = "| | recall@5 | empty | short | leaks | others' reached | p50 ms | p99 ms | CPU ms | 1 client/s | 8/s | 32/s"
    lines = [f"{head} | single/s | batch/s | bulk/s | index s | MiB |", "|---" * 17 + "|"]
    for name in dict.fromkeys(each.contender for each in rounds):
        own = [each for each in rounds if each.contender == name]
        cells: list[float] = [
            min(each.judged.recall for each in own),
            *(sum(getattr(each.judged, field) for each in own) for field in ("empty", "short", "leaks")),
            sum(each.reached for each in own),
            *(
                statistics.median(getattr(each, field) for each in own)
                for field in ("p50_ms", "p99_ms", "cpu_ms")
            ),
            *(statistics.median(each.per_second[clients] for each in own) for clients in CLIENTS),
            *(
                statistics.median(getattr(each.loaded, field) for each in own)
                for field in ("single", "batch", "bulk", "indexed_s")
            ),
            statistics.median(each.mib for each in own),
        ]
        lines.append(
            f"| {name} | "
            + " | ".join(f"{cell:,.4g}" if cell < 100 else f"{cell:,.0f}" for cell in cells)
            + " |"
        )
    return "\n".join(lines)


def targets(rounds: list[Round]) -> dict[str, bool]:
    """What ours has to reach, over all seeds."""
    ours = [each for each in rounds if each.contender == "ours"]
    tuned = [each for each in rounds if each.contender.endswith("tuned")]
    peers = [each for each in rounds if each.contender in ("mem0", "langgraph")]

    def median(group: list[Round], field: str) -> float:
        return float(statistics.median(getattr(each, field) for each in group))

    by_peer = [
        [each for each in tuned if each.contender == name] for name in {each.contender for each in tuned}
    ]
    speeds = [statistics.median(each.per_second[32] for each in group) for group in by_peer]
    return {
        "recall@5 >= 0.99": min(each.judged.recall for each in ours) >= 0.99,
        "0 leaks": sum(each.judged.leaks + each.reached for each in ours) == 0,
        "0 short answers": sum(each.judged.short for each in ours) == 0,
        "p50 <= best tuned peer's": median(ours, "p50_ms")
        <= min(median(group, "p50_ms") for group in by_peer),
        "p99 <= half of best tuned peer's": median(ours, "p99_ms")
        <= min(median(group, "p99_ms") for group in by_peer) / 2,
        "32 clients: >= 2 x best tuned peer's": statistics.median(each.per_second[32] for each in ours)
        >= 2 * max(speeds),
        "bulk >= 20 x peers'": statistics.median(each.loaded.bulk for each in ours)
        >= 20 * max(each.loaded.bulk for each in peers),
        "single >= 1 x peers'": statistics.median(each.loaded.single for each in ours)
        >= max(
            statistics.median(e.loaded.single for e in peers if e.contender == name)
            for name in ("mem0", "langgraph")
        ),
    }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__)
    parser.add_argument(
        "--size", choices=[*SIZES, "text"], default="S", help="66x1,000, 66x10,000 or 1,000x1,000"
    )
    parser.add_argument(
        "--vectors", choices=("independent", "correlated"), help="one kind only (default: both)"
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not JUDGES.exists():
        sys.exit("the peers are not installed; run `make bench`, which makes .venv-judges")
    kinds: list[Kind] = ["text"] if options.size == "text" else ["independent", "correlated"]
    if options.vectors and options.size != "text":
        kinds = [options.vectors]
    document = []
    for kind in kinds:
        rounds = [
            each for seed in range(options.seeds) for each in asyncio.run(run(options.size, kind, seed))
        ]
        reached = targets(rounds)
        document.append(
            {
                "size": options.size,
                "vectors": kind,
                "rounds": [asdict(each) for each in rounds],
                "targets": reached,
            }
        )
        if not options.json:
            print(f"\n{options.size}, {kind} vectors, {options.seeds} seeds\n\n{told(rounds)}\n")
            for target, held in reached.items():
                print(f"{'reached' if held else 'MISSED '}  {target}")
    if options.json:
        print(json.dumps(document))


if __name__ == "__main__":
    main()
