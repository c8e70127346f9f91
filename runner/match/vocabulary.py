"""The shared vocabulary: fields of work and the words people use for them (`vocabulary.yaml`)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import yaml

from runner.match.terms import words

FIELDS_FILE = Path(__file__).with_name("vocabulary.yaml")


@cache
def shared_vocabulary() -> Vocabulary:
    """The vocabulary of `vocabulary.yaml`, read once."""
    return Vocabulary(FIELDS_FILE)


class Vocabulary:
    """Which fields of work a term belongs to. Immutable once read."""

    def __init__(self, file: Path) -> None:
        entries: dict[str, list[str]] = yaml.safe_load(file.read_text("utf-8"))
        self.field_names = tuple(entries)
        fields_of: dict[str, list[str]] = {}
        for field, phrases in entries.items():
            for phrase in phrases:
                term = " ".join(term for term, _ in words(str(phrase)))
                if field not in fields_of.setdefault(term, []):
                    fields_of[term].append(field)
        self._fields_of = {term: tuple(fields) for term, fields in fields_of.items()}
        self.phrases = frozenset(term for term in fields_of if " " in term)

    def fields(self, terms: Iterable[str]) -> dict[str, list[str]]:
        """The fields that `terms` touch, each with the terms that touch it."""
        touched: dict[str, list[str]] = {}
        for term in terms:
            for field in self._fields_of.get(term, ()):
                touched.setdefault(field, []).append(term)
        return touched
