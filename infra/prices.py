"""Prices of what AWS and models charge for, as data with region, source and date (`prices.yaml`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, cast, get_args

import yaml

from errors import PlanError
from infra.data import read_yaml
from infra.shapes import Finding, Kind

HOURS = 730  # a month, as AWS counts it: 365 × 24 / 12
EVERYWHERE = "global"
STALE_AFTER = timedelta(days=365)
_PRICE_KEYS = {"item", "region", "unit", "usd", "seen", "source"}


@dataclass(frozen=True, slots=True)
class Price:
    """What one unit of something costs."""

    item: str
    unit: str
    usd: Decimal
    source: str
    date: date
    seen: bool
    """Whether it stands in the source for this region, or is assumed."""


@dataclass(frozen=True, slots=True)
class Meter:
    """A metered or counted item of a region: how much a month at rest and at most, by phase."""

    item: str
    kind: Kind
    home_only: bool
    quantities: Mapping[int, tuple[Decimal, Decimal]]
    held_by: str


@dataclass(frozen=True, slots=True)
class Prices:
    """Looks up a price; an unknown one is an error, never zero."""

    table: Mapping[tuple[str, str], Price]
    """(item, region) → price."""
    meters: tuple[Meter, ...]
    pays: Mapping[str, tuple[str, ...]]
    """Type of an AWS resource → the items of the bill that pay for it; empty for what is free."""
    today: date

    def price(self, item: str, region: str) -> Price:
        """The price of `item` in `region`. Raises PlanError when it is unknown."""
        found = self.table.get((item, region)) or self.table.get((item, EVERYWHERE))
        if found is None:
            raise PlanError(
                f"the price of {item} in {region} is unknown",
                "add it to infra/prices.yaml with its source, or choose another",
            )
        return found

    def refuse_unpriced(self, types: Iterable[str]) -> None:
        """Raise PlanError when an AWS resource type has no known cost."""
        unknown = sorted({kind for kind in types if kind.startswith("aws:") and kind not in self.pays})
        if unknown:
            raise PlanError(
                f"the cost of {', '.join(unknown)} is unknown",
                "say under `pays` in infra/prices.yaml what pays for it",
            )

    def stale(self, used: set[tuple[str, str]]) -> tuple[Finding, ...]:
        """A finding for each source, among those of the `used` (item, region), that is older than a year."""
        prices = [self.price(item, region) for item, region in used]
        old = {price.source: price.date for price in prices if self.today - price.date > STALE_AFTER}
        return tuple(
            Finding("prices are younger than a year", f"{source} is of {day}: look the prices up again")
            for source, day in sorted(old.items())
        )


def load_prices(path: Path, today: date) -> Prices:
    """Read `prices.yaml`. `today` decides which prices are stale. Raises PlanError for a malformed entry."""
    try:
        content = read_yaml(path)
        sources = {name: (str(entry["title"]), entry["date"]) for name, entry in content["sources"].items()}
        pays = {str(kind): tuple(map(str, items)) for kind, items in content["pays"].items()}
        return Prices(_table(content["prices"], sources), tuple(map(_meter, content["meters"])), pays, today)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValueError) as broken:
        raise PlanError(f"the prices cannot be used ({broken})", "correct the file", file=path) from broken
    except (KeyError, TypeError, AttributeError) as broken:
        raise PlanError(f"the prices miss a part ({broken!r})", "correct the file", file=path) from broken


def _table(
    entries: list[dict[str, Any]], sources: Mapping[str, tuple[str, date]]
) -> dict[tuple[str, str], Price]:
    table: dict[tuple[str, str], Price] = {}
    for entry in entries:
        if entry.keys() != _PRICE_KEYS:
            raise ValueError(f"{entry} must have exactly {', '.join(sorted(_PRICE_KEYS))}")
        key = (str(entry["item"]), str(entry["region"]))
        if key in table:
            raise ValueError(f"{key[0]} in {key[1]} has two prices")
        if entry["source"] not in sources:
            raise ValueError(f"{key[0]} in {key[1]} names the unknown source {entry['source']}")
        title, day = sources[entry["source"]]
        table[key] = Price(
            key[0], str(entry["unit"]), _amount(key[0], entry["usd"]), title, day, entry["seen"] is True
        )
    return table


def _meter(entry: dict[Any, Any]) -> Meter:
    quantities: dict[int, tuple[Decimal, Decimal]] = {}
    for phase in (2, 3, 4):
        if phase in entry:
            rest, most = (_amount(entry["item"], number) for number in entry[phase])
            if rest > most:
                raise ValueError(f"{entry['item']} in phase {phase}: at rest {rest} is above its cap {most}")
            quantities[phase] = (rest, most)
    if entry["kind"] not in get_args(Kind):
        raise ValueError(f"{entry['item']} has the unknown kind {entry['kind']}")
    return Meter(
        str(entry["item"]),
        cast(Kind, entry["kind"]),
        entry.get("home") is True,
        quantities,
        str(entry["held_by"]),
    )


def _amount(item: str, value: object) -> Decimal:
    try:
        amount = Decimal(str(value))
    except InvalidOperation as wrong:
        raise ValueError(f"{item}: {value!r} is no number") from wrong
    if not amount.is_finite() or amount < 0:
        raise ValueError(f"{item}: {value!r} is no amount")
    return amount
