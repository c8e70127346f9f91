"""Real texts and their MiniLM vectors: titles and first lines of past works, or of the project's own samples."""

from __future__ import annotations

import asyncio
import json
import random
import re
from functools import cache
from pathlib import Path

import numpy as np

from bench.memory.corpus import TEXT, Vectors
from database.embeddings import EmbeddingSettings, open_embedder

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCES = (
    ROOT.parent / "shared" / "real" / "pull_requests.json",
    ROOT.parent / "shared" / "real" / "issues.json",
    ROOT / "samples" / "issues.json",
)
_BATCH = 256


@cache
def embedded_texts(questions: int) -> tuple[Vectors, list[str]]:
    """As many texts as the size `text` and its questions need. Few works are that many, so titles are joined with
    sentences of others of them: each text is unlike the rest, and none is made up.
    """
    titles, sentences = _read()
    chance = random.Random(0)
    wanted = TEXT.rows + questions
    texts: dict[str, None] = {}
    while len(texts) < wanted:
        texts[f"{chance.choice(titles)}. {chance.choice(sentences)}"] = None
    vectors = asyncio.run(_embed(list(texts)))
    return vectors, list(texts)


def _read() -> tuple[list[str], list[str]]:
    titles: set[str] = set()
    sentences: set[str] = set()
    for source in SOURCES:
        for work in json.loads(source.read_text()) if source.exists() else ():
            titles.add(work["title"])
            sentences.update(
                line.strip() for line in re.split(r"[.\n]", work.get("body") or "") if len(line) > 20
            )
    for definition in (ROOT / ".github" / "agents").glob("*.md"):
        sentences.update(line.strip("-* ") for line in definition.read_text().splitlines() if len(line) > 40)
    return sorted(titles), sorted(sentences)


async def _embed(texts: list[str]) -> Vectors:
    embedder = await open_embedder(EmbeddingSettings())
    try:
        vectors = []
        for start in range(0, len(texts), _BATCH):
            vectors += await embedder.embed(texts[start : start + _BATCH])
        return np.array(vectors, dtype=np.float32)
    finally:
        await embedder.close()
