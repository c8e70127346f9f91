"""The embedding models that can be chosen, and what each costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final


@dataclass(frozen=True, slots=True)
class Model:
    """`dimension` is the model's own; `shortens` says whether a smaller one may be asked for.

    `max_tokens` is the longest input, `usd_per_million_tokens` the list price, with its `source` and `day`: when the
    source was written, or the earliest it can be, as in infra/prices.yaml.
    """

    name: str
    dimension: int
    max_tokens: int
    shortens: bool
    usd_per_million_tokens: Decimal
    source: str
    day: date

    def cost_usd(self, tokens: int) -> Decimal:
        return self.usd_per_million_tokens * tokens / 1_000_000


_CHECKED = "embeddingcost.com/openai, which checked OpenAI's price page in May 2026"
_OPENAI = f"developers.openai.com/api/docs/models/text-embedding-3-large (undated); {_CHECKED}"

MODELS: Final[Mapping[str, Model]] = {
    model.name: model
    for model in (
        Model(
            "minilm",
            384,
            256,
            False,
            Decimal(0),
            "runs on our own CPU; sentence_bert_config.json",
            date(2026, 11, 24),
        ),
        Model("text-embedding-3-small", 1536, 8191, True, Decimal("0.02"), _OPENAI, date(2026, 5, 1)),
        Model("text-embedding-3-large", 3072, 8191, True, Decimal("0.13"), _OPENAI, date(2026, 5, 1)),
        Model("text-embedding-ada-002", 1536, 8191, False, Decimal("0.10"), _CHECKED, date(2026, 5, 1)),
    )
}
