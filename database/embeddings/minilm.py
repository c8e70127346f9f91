"""Embeds with all-MiniLM-L6-v2 on this machine's CPU: no network, no torch, no price."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import numpy as np
import onnxruntime
from tokenizers import Encoding, Tokenizer

from database.embeddings.models import MODELS
from database.embeddings.weights import VERSION, prepared

BATCH_TEXTS = 16
# Small enough for the CPU caches and for a single text that waits behind a batch; larger ones were no faster.
BATCH_TOKENS = 2048


class MiniLM:
    """One loaded model, about 250 MiB; give a process one of them.

    Inference runs in one worker thread with `threads` cores, so the event loop stays free. Calls take turns
    batch by batch: a single text waits for at most one batch of another caller.
    """

    model = "minilm"
    dimension = MODELS["minilm"].dimension
    version = VERSION

    def __init__(self, folder: Path, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Long enough to bridge two operators. The default spins on cores that other processes of the machine need:
        # on a busy one a text then took twice as long.
        options.add_session_config_entry("session.intra_op.spin_duration_us", "50")
        options.enable_cpu_mem_arena = False  # the arena keeps the largest batch's memory for ever
        self._session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(max_length=MODELS["minilm"].max_tokens)
        self._tokenizer.no_padding()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="minilm")

    @classmethod
    async def open(cls, cache: Path, weights: Path | None, threads: int) -> MiniLM:
        """Loads the model, building its graph first when it is not in `cache`. Raises SettingsError."""
        return await asyncio.to_thread(lambda: cls(prepared(cache, weights), threads))

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One unit vector per text, in the order given; what lies beyond 256 tokens is cut off."""
        loop = asyncio.get_running_loop()
        encodings = await loop.run_in_executor(self._worker, self._tokenizer.encode_batch, list(texts))
        vectors: list[list[float]] = [[] for _ in texts]
        for batch in batches([len(encoding.ids) for encoding in encodings]):
            found = await loop.run_in_executor(self._worker, self._run, [encodings[index] for index in batch])
            for index, vector in zip(batch, found, strict=True):
                vectors[index] = vector
        return vectors

    def _run(self, encodings: Sequence[Encoding]) -> list[list[float]]:
        longest = max(len(encoding.ids) for encoding in encodings)
        ids = np.zeros((len(encodings), longest), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, encoding in enumerate(encodings):
            ids[row, : len(encoding.ids)] = encoding.ids
            mask[row, : len(encoding.ids)] = 1
        (embeddings,) = self._session.run(["embeddings"], {"ids": ids, "mask": mask})
        return cast(list[list[float]], embeddings.tolist())

    async def close(self) -> None:
        """Waits for the batch under way, then frees the worker thread."""
        await asyncio.to_thread(self._worker.shutdown, cancel_futures=True)


def batches(lengths: Sequence[int]) -> list[list[int]]:
    """Indices grouped so that texts of like length (in tokens) share a batch and padding costs little."""
    groups: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        full = (
            not groups
            or len(groups[-1]) == BATCH_TEXTS
            or (len(groups[-1]) + 1) * lengths[index] > BATCH_TOKENS
        )
        if full:
            groups.append([])
        groups[-1].append(index)
    return groups
