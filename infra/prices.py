"""Prices of what AWS and models charge for, as data with region, source and date (`prices.yaml`)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prices:
    """Looks up a price; an unknown one is an error, never zero."""
