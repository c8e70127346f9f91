"""The peer mem0ai 2.2.1, class PGVector. Runs in `.venv-judges`."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any

os.environ |= {"MEM0_TELEMETRY": "False", "MEM0_DIR": "/nonexistent"}

import psycopg
from mem0.vector_stores.pgvector import PGVector
from psycopg import sql

from bench.memory import binary_copy
from bench.memory.contender import AT_REST, BATCH, Answer, Job, Loaded, Parts, Turns, Watch, ask_in_threads
from bench.memory.corpus import DIMENSION, Corpus, row_id, row_of

_COLLECTION = "memories"
# The measure of a careful operator: mem0 makes no index for its own filter.
_TUNE = "CREATE INDEX IF NOT EXISTS memories_agent ON memories ((payload->>'agent_id'))"


class Mem0:
    """As it comes, and with an index on the agent."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._store = PGVector(
            dbname=None,
            collection_name=_COLLECTION,
            embedding_model_dims=DIMENSION,
            user=None,
            password=None,
            host=None,
            port=None,
            diskann=False,
            hnsw=True,
            minconn=job.clients,
            maxconn=job.clients,
            connection_string=job.urls[1],
        )

    def close(self) -> None:
        self._store.connection_pool.close()

    def load(self, corpus: Corpus) -> Loaded:
        parts = Parts.of(len(corpus.agent))
        if self._job.tuned:
            with psycopg.connect(self._job.urls[0], autocommit=True) as connection:
                connection.execute(_TUNE)
                connection.execute("ANALYZE memories")
                connection.execute(AT_REST)
            for row in parts.single_full:
                self._store.delete(str(row_id(row)))
            return Loaded(single_full=self._insert(corpus, parts.single_full, 1))
        single = self._insert(corpus, parts.single, 1)
        batch = self._insert(corpus, parts.batch, BATCH)
        bulk = self._insert(corpus, parts.first, 1000)
        records = self._records(corpus, parts.middle)
        indexed = copy_rest(
            self._job.urls[0], [("memories (id, vector, payload)", records)], "memories_hnsw_idx"
        )
        bulk_full = self._insert(corpus, parts.bulk_full, 1000)
        single_full = self._insert(corpus, parts.single_full, 1)
        bulk = between(bulk, bulk_full)
        return Loaded(single, batch, bulk, bulk, bulk_full, single_full, indexed)

    def _insert(self, corpus: Corpus, all_rows: range, count: int) -> float:
        """Rows a second."""
        watch = Watch()
        for first in all_rows[::count]:
            rows = range(first, min(first + count, all_rows.stop))
            vectors = [corpus.vectors[row].tolist() for row in rows]
            payloads = [_payload(corpus, row) for row in rows]
            ids = [str(row_id(row)) for row in rows]
            with watch:
                self._store.insert(vectors=vectors, payloads=payloads, ids=ids)
        return watch.rate(len(all_rows))

    def _records(self, corpus: Corpus, rows: range) -> Iterator[bytes]:
        for row in rows:
            payload = binary_copy.jsonb(json.dumps(_payload(corpus, row)))
            yield binary_copy.record((row_id(row).bytes, binary_copy.vector(corpus.vectors[row]), payload))

    def connect(self, corpus: Corpus, questions: Sequence[int]) -> None:
        self.search(corpus, Turns(questions[: 2 * self._job.clients], self._job.seconds / 3))

    def search(self, corpus: Corpus, turns: Turns) -> list[Answer]:
        def ask(question: int) -> Answer:
            return self._ask(corpus, question, int(corpus.asker[question]))

        return ask_in_threads(self._job.clients, turns, ask)

    def _ask(self, corpus: Corpus, question: int, agent: int) -> Answer:
        vector = corpus.questions[question].tolist()
        filters = {"agent_id": corpus.names[agent], "success": True}
        started = time.perf_counter()
        found = self._store.search(query="", vectors=vector, top_k=5, filters=filters)
        seconds = time.perf_counter() - started
        return Answer(question, [row_of(each.id) for each in found], seconds)

    def reach(self, corpus: Corpus, questions: Sequence[int]) -> int:
        others = [(int(corpus.asker[question]) + 1) % len(corpus.names) for question in questions]
        return sum(bool(self._ask(corpus, *pair).rows) for pair in zip(questions, others, strict=True))


def _payload(corpus: Corpus, row: int) -> dict[str, Any]:
    title = corpus.title(row)
    return {
        "agent_id": corpus.names[corpus.agent[row]],
        "success": bool(corpus.success[row]),
        "data": title,
        "text_lemmatized": title,
        "solution": f"solution {row}",
    }


def between(empty: float, full: float) -> float:
    """Rows a second of a load that begins with the first rate and ends with the second."""
    return round(2 / (1 / empty + 1 / full), 1)


def copy_rest(url: str, tables: Sequence[tuple[str, Iterator[bytes]]], index: str) -> float:
    """Copy rows with the vector index off, then build it again as it was; seconds of that. As large sizes would take
    hours otherwise; an index that is built at once is, if anything, the better one.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET maintenance_work_mem = '4GB'")
        found = connection.execute("SELECT pg_get_indexdef(to_regclass(%s))", (index,)).fetchone()
        if found is not None and found[0] is not None:
            connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(index)))
        for into, records in tables:
            with connection.cursor().copy(f"COPY {into} FROM STDIN WITH (FORMAT BINARY)") as copy:
                copy.write(binary_copy.HEADER)
                for record in records:
                    copy.write(record)
                copy.write(binary_copy.TRAILER)
        started = time.perf_counter()
        if found is not None and found[0] is not None:
            connection.execute(found[0])
        seconds = time.perf_counter() - started
        connection.execute("VACUUM ANALYZE")
        connection.execute(AT_REST)
    return round(seconds, 1)
