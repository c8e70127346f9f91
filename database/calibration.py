"""The fitted weights of `database.similarity`, per embedding model, from `calibration.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import yaml

from database.similarity import Calibration, Weights

FILE = Path(__file__).with_name("calibration.yaml")
TEXT_ALONE = "text"  # fitted without cosines


def calibration_for(model: str, dimension: int) -> Calibration:
    """The weights for cosines of `model` at `dimension`.

    A model that nobody has calibrated yet gets those of full text alone, which ignore its cosines: an uncalibrated
    cosine says nothing (ada-002 puts everything above 0.7). `python -m bench.calibrate` adds a model.
    """
    known = _read()
    return known.get(calibration_key(model, dimension), known[TEXT_ALONE])


def is_calibrated(model: str, dimension: int) -> bool:
    """Whether cosines of `model` at `dimension` count; else words alone do."""
    return calibration_key(model, dimension) in _read()


def calibration_key(model: str, dimension: int) -> str:
    """The name of an entry in calibration.yaml."""
    return f"{model}:{dimension}"


@cache
def _read() -> Mapping[str, Calibration]:
    entries = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return {
        key: Calibration(alone=Weights(**entry["alone"]), together=Weights(**entry["together"]))
        for key, entry in entries.items()
    }
