"""The peer of `bench.flow`: runs N jobs of an empty procrastinate task; needs `.venv-judges`, nothing of this project.

`python bench/procrastinate_jobs.py URL JOBS CONCURRENCY` prints the seconds from the worker's start to the last
finished job. The database at URL is emptied first. The jobs are deferred before the clock starts.
"""

from __future__ import annotations

import asyncio
import sys
import time

import procrastinate
import psycopg


async def main(url: str, jobs: int, concurrency: int) -> None:
    """One worker with its own pool, large enough that no job waits for a connection."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    connector = procrastinate.PsycopgConnector(conninfo=url, min_size=concurrency, max_size=concurrency + 2)
    app = procrastinate.App(connector=connector)

    @app.task(name="nothing")
    async def nothing(number: int) -> None:
        """The empty task."""

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        await nothing.batch_defer_async(*({"number": number} for number in range(jobs)))
        started = time.perf_counter()
        await app.run_worker_async(concurrency=concurrency, wait=False, install_signal_handlers=False)
        seconds = time.perf_counter() - started
        done = [job for job in await app.job_manager.list_jobs_async() if job.status == "succeeded"]
        if len(done) != jobs:
            sys.exit(f"only {len(done)} of {jobs} jobs were done")
    print(seconds)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
