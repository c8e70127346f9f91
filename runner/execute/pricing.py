"""What a call to a language model can cost at most, and what it did cost. Prices are data: `pricing.yaml`."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from decimal import ROUND_UP, Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import yaml

from errors import SettingsError

PRICING_FILE = Path(__file__).with_name("pricing.yaml")
LIMIT_PARAMETERS = frozenset({"max_tokens", "max_completion_tokens"})
# Rounded up to what the database keeps, so that many small calls never add up to less than their price.
SMALLEST_USD = Decimal("0.000001")
TEMPLATE_TOKENS = 256


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that an endpoint says it billed; `cached` is part of `input`."""

    input: int
    output: int
    cached: int = 0


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per token of one model."""

    model: str
    input: Decimal
    cached_input: Decimal
    output: Decimal
    limit_parameter: str
    context_tokens: int

    def worst(self, prompt_tokens: int, output_tokens: int) -> Decimal:
        """US dollars for a call of that size with nothing cached."""
        return self._round(prompt_tokens * self.input + output_tokens * self.output)

    def cost(self, usage: Usage) -> Decimal:
        """US dollars for what was really used."""
        fresh = usage.input - usage.cached
        return self._round(fresh * self.input + usage.cached * self.cached_input + usage.output * self.output)

    @staticmethod
    def _round(usd: Decimal) -> Decimal:
        return usd.quantize(SMALLEST_USD, rounding=ROUND_UP)


def prompt_bound(request: str) -> int:
    """An upper bound of the tokens in `request`, the JSON of a whole request.

    Byte-level and byte-fallback tokenizers make at most one token of each byte of UTF-8; some normalise to
    NFKC first, which can lengthen a text. The JSON's own punctuation stays in the count: it is longer than
    the few tokens that a chat template adds to each message; TEMPLATE_TOKENS covers its fixed part.
    The bound is about four times what English text really takes.
    """
    longest = max(len(request.encode()), len(unicodedata.normalize("NFKC", request).encode()))
    return longest + TEMPLATE_TOKENS


def load_price(model: str, path: Path = PRICING_FILE) -> Price:
    """The price of `model` in `path`. Raises SettingsError when it is unknown or malformed."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        problem = f"the price list cannot be read: {error}"
        raise SettingsError(problem, "name a readable file", file=path) from error
    models = data.get("models") if isinstance(data, dict) else None
    entry = models.get(model) if isinstance(models, dict) else None
    if not isinstance(data, dict) or not isinstance(entry, dict):
        raise SettingsError(
            f"the price of model {model!r} is unknown, and an unknown price is not zero",
            f"add {model!r} with its price, source and date",
            file=path,
        )
    unit = _amount(data, "unit", path, model)
    parameter = entry.get("limit_parameter")
    context = entry.get("context_tokens")
    if parameter not in LIMIT_PARAMETERS or not isinstance(context, int) or context < 1 or unit == 0:
        raise SettingsError(
            f"the entry of {model!r} needs a unit, limit_parameter and context_tokens",
            f"set limit_parameter to one of {', '.join(sorted(LIMIT_PARAMETERS))} and the others above 0",
            file=path,
        )
    for key in ("source", "date"):
        if not entry.get(key):
            raise SettingsError(f"the price of {model!r} has no {key}", f"say its {key}", file=path)
    fresh = _amount(entry, "input", path, model)
    cached = _amount(entry, "cached_input", path, model) if "cached_input" in entry else fresh
    output = _amount(entry, "output", path, model)
    return Price(model, fresh / unit, cached / unit, output / unit, parameter, context)


def _amount(entry: dict[str, Any], key: str, path: Path, model: str) -> Decimal:
    try:
        amount = Decimal(str(entry[key]))
    except (KeyError, InvalidOperation):
        amount = Decimal(-1)
    if not amount.is_finite() or amount < 0:
        raise SettingsError(
            f"{key} of {model!r} is {entry.get(key)!r}, not an amount",
            f"write {key} as a number from 0",
            file=path,
        )
    return amount
