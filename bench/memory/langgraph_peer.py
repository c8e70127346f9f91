"""The peer langgraph-checkpoint-postgres 3.2.0, class PostgresStore. Runs in `.venv-judges`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

from langgraph.store.base import PutOp
from langgraph.store.postgres import PostgresStore
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from bench.memory import binary_copy
from bench.memory.contender import AT_REST, BATCH, Answer, Job, Loaded, Parts, Turns, Watch, ask_in_threads
from bench.memory.corpus import DIMENSION, Corpus
from bench.memory.mem0_peer import between, copy_rest

_ROOT = "memories"


class LangGraph:
    """As it comes (one HNSW index over all), and with kind "flat" (none), where its filter makes scans exact."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._corpus: Corpus | None = None
        self._pool = ConnectionPool(
            job.urls[1],
            min_size=job.clients,
            max_size=job.clients,
            open=True,
            kwargs={"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row},
        )
        index: dict[str, Any] = {"dims": DIMENSION, "embed": self._embed, "fields": ["data"]}
        if job.tuned:
            index["ann_index_config"] = {"kind": "flat"}
        self._store = PostgresStore(self._pool, index=index)

    def close(self) -> None:
        self._pool.close()

    def _embed(self, texts: Sequence[str]) -> list[list[float]]:
        """What was embedded before: a text starts with its number, those of questions with a q."""
        assert self._corpus is not None
        names = [text.partition(" ")[0] for text in texts]
        return [
            (
                self._corpus.questions[int(name[1:])] if name[0] == "q" else self._corpus.vectors[int(name)]
            ).tolist()
            for name in names
        ]

    def load(self, corpus: Corpus) -> Loaded:
        self._corpus = corpus
        parts = Parts.of(len(corpus.agent))
        if self._job.tuned:
            with self._pool.connection() as connection:
                connection.execute("DROP INDEX IF EXISTS store_vectors_embedding_idx")
                connection.execute("ANALYZE")
                connection.execute(AT_REST)
            for row in parts.single_full:
                self._store.delete(_namespace(corpus, row), str(row))
            return Loaded(single_full=self._put(corpus, parts.single_full, 1))
        self._store.setup()
        single = self._put(corpus, parts.single, 1)
        batch = self._put(corpus, parts.batch, BATCH)
        bulk = self._put(corpus, parts.first, 1000)
        tables = (
            ("store (prefix, key, value)", self._values(corpus, parts.middle)),
            ("store_vectors (prefix, key, field_name, embedding)", self._vectors(corpus, parts.middle)),
        )
        indexed = copy_rest(self._job.urls[0], tables, "store_vectors_embedding_idx")
        bulk_full = self._put(corpus, parts.bulk_full, 1000)
        single_full = self._put(corpus, parts.single_full, 1)
        bulk = between(bulk, bulk_full)
        return Loaded(single, batch, bulk, bulk, bulk_full, single_full, indexed)

    def _put(self, corpus: Corpus, all_rows: range, count: int) -> float:
        """Rows a second."""
        watch = Watch()
        for first in all_rows[::count]:
            rows = range(first, min(first + count, all_rows.stop))
            operations = [PutOp(_namespace(corpus, row), str(row), _value(corpus, row)) for row in rows]
            with watch:
                self._store.batch(operations)
        return watch.rate(len(all_rows))

    def _values(self, corpus: Corpus, rows: range) -> Iterator[bytes]:
        for row in rows:
            value = binary_copy.jsonb(json.dumps(_value(corpus, row)))
            yield binary_copy.record((_prefix(corpus, row), str(row).encode(), value))

    def _vectors(self, corpus: Corpus, rows: range) -> Iterator[bytes]:
        for row in rows:
            vector = binary_copy.vector(corpus.vectors[row])
            yield binary_copy.record((_prefix(corpus, row), str(row).encode(), b"data", vector))

    def connect(self, corpus: Corpus, questions: Sequence[int]) -> None:
        self.search(corpus, Turns(questions[: 2 * self._job.clients], self._job.seconds / 3))

    def search(self, corpus: Corpus, turns: Turns) -> list[Answer]:
        self._corpus = corpus

        def ask(question: int) -> Answer:
            return self._ask(corpus, question, int(corpus.asker[question]))

        return ask_in_threads(self._job.clients, turns, ask)

    def _ask(self, corpus: Corpus, question: int, agent: int) -> Answer:
        namespace = (_ROOT, corpus.names[agent])
        started = time.perf_counter()
        found = self._store.search(namespace, query=f"q{question}", filter={"success": True}, limit=5)
        seconds = time.perf_counter() - started
        return Answer(question, [int(each.key) for each in found], seconds)

    def reach(self, corpus: Corpus, questions: Sequence[int]) -> int:
        others = [(int(corpus.asker[question]) + 1) % len(corpus.names) for question in questions]
        return sum(bool(self._ask(corpus, *pair).rows) for pair in zip(questions, others, strict=True))


def _namespace(corpus: Corpus, row: int) -> tuple[str, str]:
    return (_ROOT, corpus.names[corpus.agent[row]])


def _prefix(corpus: Corpus, row: int) -> bytes:
    return ".".join(_namespace(corpus, row)).encode()


def _value(corpus: Corpus, row: int) -> dict[str, Any]:
    return {
        "data": f"{row} {corpus.title(row)}",
        "success": bool(corpus.success[row]),
        "solution": f"solution {row}",
    }
