"""Which embedding model a process may use is decided by its settings, before anything is loaded or sent."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from decimal import Decimal

import pytest

from database.embeddings import MODELS, EmbeddingSettings
from errors import SettingsError
from tests.unit.stacks import own_prices

KEY = {"OPENAI_API_KEY": "sk-not-for-logs"}


def test_without_settings_minilm_embeds_on_this_machine() -> None:
    settings = EmbeddingSettings.from_environment({}, "US")
    assert (settings.model, settings.dimension, settings.endpoint, settings.api_key) == (
        "minilm",
        384,
        "",
        "",
    )


@pytest.mark.parametrize(
    ("value", "model", "dimension"),
    [
        ("openai", "text-embedding-3-small", 1536),
        ("openai:text-embedding-3-small:512", "text-embedding-3-small", 512),
        ("openai:text-embedding-3-large", "text-embedding-3-large", 3072),
        ("openai:text-embedding-ada-002:1536", "text-embedding-ada-002", 1536),
    ],
)
def test_a_model_of_openai_is_chosen_by_name_and_dimension(value: str, model: str, dimension: int) -> None:
    settings = EmbeddingSettings.from_environment({**KEY, "EMBEDDING_MODEL": value}, "US")
    assert (settings.model, settings.dimension) == (model, dimension)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "bert",
        "minilm:384",
        "openai:gpt-5",
        "openai:minilm",
        "openai:text-embedding-ada-002:512",
        "openai:text-embedding-3-small:0",
        "openai:text-embedding-3-small:1537",
        "openai:text-embedding-3-small:²",
    ],
)
def test_an_unknown_model_or_dimension_is_refused_with_what_is_known(value: str) -> None:
    with pytest.raises(SettingsError, match="Fix: use"):
        EmbeddingSettings.from_environment({**KEY, "EMBEDDING_MODEL": value}, "US")


def test_each_zone_has_its_own_endpoint() -> None:
    chosen = {
        zone: EmbeddingSettings.from_environment({**KEY, "EMBEDDING_MODEL": "openai"}, zone).endpoint
        for zone in ("US", "EU")
    }
    assert chosen == {"US": "https://api.openai.com/v1", "EU": "https://eu.api.openai.com/v1"}


def test_texts_of_the_eu_are_not_sent_to_an_endpoint_allowed_in_the_us_only() -> None:
    environment = {
        **KEY,
        "EMBEDDING_MODEL": "openai",
        "EMBEDDING_ENDPOINTS": "US=https://llm.example/v1/",
        "EMBEDDING_ENDPOINT": "https://llm.example/v1",
    }
    assert EmbeddingSettings.from_environment(environment, "US").endpoint == "https://llm.example/v1"
    with pytest.raises(SettingsError, match="not allowed in zone EU"):
        EmbeddingSettings.from_environment(environment, "EU")


@pytest.mark.parametrize(
    "url", ["http://llm.example/v1", "https://user:secret@llm.example/v1", "llm", "ftp://x/"]
)
def test_an_endpoint_without_tls_or_with_a_password_is_refused_and_not_repeated(url: str) -> None:
    environment = {**KEY, "EMBEDDING_MODEL": "openai", "EMBEDDING_ENDPOINTS": f"US={url}"}
    with pytest.raises(SettingsError) as caught:
        EmbeddingSettings.from_environment(environment, "US")
    assert "secret" not in str(caught.value)


def test_an_unknown_zone_in_the_allow_list_is_refused() -> None:
    environment = {**KEY, "EMBEDDING_MODEL": "openai", "EMBEDDING_ENDPOINTS": "UK=https://llm.example/v1"}
    with pytest.raises(SettingsError, match="'UK'"):
        EmbeddingSettings.from_environment(environment, "EU")


def test_a_model_that_costs_money_needs_a_key() -> None:
    with pytest.raises(SettingsError, match="OPENAI_API_KEY"):
        EmbeddingSettings.from_environment({"EMBEDDING_MODEL": "openai"}, "US")


def test_the_key_shows_in_no_text_of_the_settings() -> None:
    settings = EmbeddingSettings.from_environment({**KEY, "EMBEDDING_MODEL": "openai"}, "US")
    assert KEY["OPENAI_API_KEY"] not in repr(settings)


@pytest.mark.parametrize("threads", ["0", "65", "-1", "two", ""])
def test_a_number_of_threads_outside_1_to_64_is_refused(threads: str) -> None:
    with pytest.raises(SettingsError, match="from 1 to 64"):
        EmbeddingSettings.from_environment({"EMBEDDING_THREADS": threads}, "US")


def test_every_model_has_a_price_with_source_and_date() -> None:
    assert MODELS["minilm"].cost_usd(50_000 * 256) == 0
    # 50,000 embeddings a month of the longest MiniLM would read: cents, not the $50 once planned.
    assert MODELS["text-embedding-3-small"].cost_usd(50_000 * 256) == Decimal("0.256")
    assert all(model.source and date(2026, 1, 1) < model.day for model in MODELS.values())


def test_the_bill_of_a_stack_reckons_with_the_same_prices() -> None:
    prices = own_prices()
    billed = {
        item.removeprefix("embeddings/"): price.usd
        for (item, _), price in prices.table.items()
        if item.startswith("embeddings/text-")
    }
    assert billed
    assert billed == {name: MODELS[name].usd_per_million_tokens for name in billed}


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = "{'numpy', 'onnxruntime', 'openai'}"
    code = f"import database.embeddings, sys; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
