"""`python -m bench.memory --size S|M|L|text [--seeds N] [--stores N] [--json]`: our memory beside mem0 and LangGraph.

Every contender runs on the same PostgreSQL, stores the same vectors and is asked the same questions, one after the
other, in an order that turns with the store. Ours: row-level security on, each agent through its own role, which is no
superuser. The peers: as they come, and tuned. Embedding is not part of it.

Each seed has its 300 questions; what a contender has not answered after ten seconds it is not asked, so that the slow
ones end today. One client asks each once, 32 clients ask them again and again for ten seconds; all answers are judged.
How many seeds have stores of their own is `--stores`: all of S and text, one of M and L, where a store takes many
minutes. Peers load the first and the last 3,000 rows in bulk by their own means, which is timed; what lies between is
copied. First and last, 1,000 rows are stored one a call. "ours, words too" is `recall` itself, which a mission
uses; the other row of ours asks for the nearest vectors alone, as the peers do.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bench.memory.answers import judge, milliseconds
from bench.memory.contender import Answered, Job, Loaded, Name
from bench.memory.corpus import SIZES, Corpus, Kind, from_texts, made_up
from bench.memory.ours import PASSWORD, make_schema
from bench.memory.rounds import CLIENTS, QUESTIONS, WITH_WORDS, Asked, Round, targets, told
from bench.memory.texts import embedded_texts
from database.connect import open_connection
from runner.local.embedded import EmbeddedPostgres

ROOT = Path(__file__).resolve().parent.parent.parent
JUDGES = ROOT / ".venv-judges" / "bin" / "python"
PYTHONS: dict[Name, str] = {"ours": sys.executable, "mem0": str(JUDGES), "langgraph": str(JUDGES)}
NAMES: tuple[Name, ...] = ("ours", "mem0", "langgraph")
WARM_UP = 100
SHARED_BUFFERS = "2GB"  # so that no contender's index is slow for want of memory
_TUNING = ("hnsw.iterative_scan = 'relaxed_order'", "hnsw.ef_search = 200")


async def run(
    corpus: Corpus, seeds: Sequence[int], names: Sequence[Name], seconds: float = 10
) -> list[Round]:
    """All contenders with one store and the questions of `seeds`, on a server of their own; many clients ask for
    `seconds`.
    """
    with tempfile.TemporaryDirectory(prefix="bench-memory-") as name:
        folder = Path(name)
        corpus.save(folder)
        server = EmbeddedPostgres(
            folder / "postgres", password=PASSWORD, settings={"shared_buffers": SHARED_BUFFERS}
        )
        await server.start()
        try:
            start = seeds[0] % len(names)
            turned = (*names[start:], *names[:start])
            return [
                each
                for contender in turned
                for each in await _contend(contender, server, folder, corpus, seeds, seconds)
            ]
        finally:
            await server.stop()


def _corpus(size: str, kind: Kind, seeds: Sequence[int]) -> Corpus:
    questions = QUESTIONS * len(seeds)
    if kind == "text":
        vectors, titles = embedded_texts(questions)
        return from_texts(vectors, titles, seeds[0], questions)
    return made_up(kind, SIZES[size], seeds[0], questions)


async def _contend(
    name: Name,
    server: EmbeddedPostgres,
    folder: Path,
    corpus: Corpus,
    seeds: Sequence[int],
    seconds: float,
) -> list[Round]:
    database = f"bench_{name}"
    async with open_connection(server.superuser_url) as superuser:
        await superuser.execute(f"CREATE DATABASE {database}")
    urls = (server.url("postgres", PASSWORD, database),) * 2
    if name == "ours":
        urls = await make_schema(server, database)
    job = Job(name, "load", str(folder), urls)
    loaded = Loaded(**await _call(job))

    async def ask(row: str, job: Job, loaded: Loaded) -> list[Round]:
        rounds = []
        for place, seed in enumerate(seeds):
            asking = replace(job, first=place * QUESTIONS, count=QUESTIONS)
            rounds.append(await _ask(row, server, database, asking, corpus, loaded, seed, seconds))
            print(rounds[-1].short(), file=sys.stderr, flush=True)
        return rounds

    rounds = await ask(name, job, loaded)
    if name == "ours":
        rounds += await ask(WITH_WORDS, replace(job, words=True), Loaded())
    else:
        async with open_connection(urls[0]) as superuser:
            for setting in _TUNING:
                await superuser.execute(f"ALTER DATABASE {database} SET {setting}")
        tuned = replace(job, tuned=True)
        rounds += await ask(f"{name}, tuned", tuned, Loaded(**await _call(tuned)))
    async with open_connection(server.superuser_url) as superuser:
        await superuser.execute(f"DROP DATABASE {database} WITH (FORCE)")
    return rounds


async def _ask(
    name: str,
    server: EmbeddedPostgres,
    database: str,
    job: Job,
    corpus: Corpus,
    loaded: Loaded,
    seed: int,
    seconds: float,
) -> Round:
    url = server.url("{role}" if job.contender == "ours" else "postgres", PASSWORD, database)
    load_average = os.getloadavg()[0]
    asked: dict[int, Asked] = {}
    answers: list[tuple[int, list[int]]] = []
    reached = 0
    for clients in CLIENTS:
        asking = job if clients == 1 else replace(job, seconds=seconds, again=True)
        answered, cpu = await _search(asking, url, server, database, clients)
        elapsed = max(each.ended for each in answered) - min(each.started for each in answered)
        done = [answer for each in answered for answer in each.answers]
        p50, p99 = milliseconds([answer.seconds for answer in done])
        asked[clients] = Asked(
            len(done), p50, p99, round(len(done) / elapsed, 1), round(cpu * 1000 / len(done), 3)
        )
        answers += [(answer.question, answer.rows) for answer in done]
        if clients == 1:
            reached = answered[0].reached
    async with open_connection(server.superuser_url) as superuser:
        size: int = await superuser.fetchval("SELECT pg_database_size($1)", database)
    judged = judge(corpus, answers)
    return Round(name, seed, loaded, judged, asked, reached, size // 2**20, round(load_average, 1))


async def _search(
    job: Job, url: str, server: EmbeddedPostgres, database: str, clients: int
) -> tuple[list[Answered], float]:
    """The answers of each process, and CPU seconds of all clients and their sessions.

    Several clients share two processes, so that no contender is bound by one interpreter.
    """
    parts = min(2, clients)
    processes = [
        await _start(
            replace(
                job,
                do="search",
                urls=(job.urls[0], url),
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
    answered = [Answered.read(json.loads(await _line(process, job))) for process in processes]
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


def main() -> None:
    """Run and print; what came of each contender goes to standard error at once."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.memory",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--size", choices=[*SIZES, "text"], default="S", help="S 66x1,000, M 66x10,000, L 1,000x1,000"
    )
    parser.add_argument(
        "--vectors", choices=("independent", "correlated"), help="one kind only (default: both)"
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--stores", type=int, help="seeds with stores of their own (default: see above)")
    parser.add_argument("--only", choices=NAMES, action="append", help="one contender (repeatable)")
    parser.add_argument("--seconds", type=float, default=10, help="for which 32 clients ask")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    names = tuple(options.only or NAMES)
    if not JUDGES.exists() and names != ("ours",):
        sys.exit("the peers are not installed; run `make judges`")
    kinds: list[Kind] = ["text"] if options.size == "text" else ["independent", "correlated"]
    if options.vectors and options.size != "text":
        kinds = [options.vectors]
    stores = min(options.stores or (1 if options.size in ("M", "L") else options.seeds), options.seeds)
    document = []
    for kind in kinds:
        rounds: list[Round] = []
        for store in range(stores):
            seeds = range(store, options.seeds, stores)
            corpus = _corpus(options.size, kind, seeds)
            rounds += asyncio.run(run(corpus, seeds, names, options.seconds))
        reached = targets(rounds) if "ours" in names else {}
        document.append(
            {
                "size": options.size,
                "vectors": kind,
                "stores": stores,
                "rounds": [asdict(each) for each in rounds],
                "targets": reached,
            }
        )
        if not options.json:
            print(
                f"\n{options.size}, {kind} vectors, {options.seeds} seeds, {stores} stores\n\n{told(rounds)}\n"
            )
            for target, held in reached.items():
                print(f"{'reached' if held else 'MISSED '}  {target}", flush=True)
    if options.json:
        print(json.dumps(document))


if __name__ == "__main__":
    main()
