"""What makes AWS replace a resource, and which resources must never be replaced (`replacements.yaml`)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from infra.data import read_yaml

REPLACEMENTS = Path(__file__).with_name("replacements.yaml")


def replacing(type: str) -> frozenset[str]:
    """Property paths of `type` whose change replaces the resource. Raises KeyError for a type that nobody looked up."""
    return frozenset(_entries()[type]["replaces"])


def holds_data(type: str) -> bool:
    """Whether a resource of `type` holds data, or data stands in it."""
    return bool(_entries().get(type, {}).get("data"))


@cache
def _entries() -> Mapping[str, Mapping[str, Any]]:
    entries: Mapping[str, Mapping[str, Any]] = read_yaml(REPLACEMENTS)
    return entries
