"""Prices are data with a source and a date; an unknown one is an error and an old one a finding."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from errors import PlanError
from infra.nodes import INSTANCE_TYPES
from infra.plan import make_plan
from infra.prices import HOURS, load_prices
from tests.unit.stacks import (
    PRESETS,
    ROOT,
    TODAY,
    own_agents,
    own_fleet,
    own_geography,
    own_prices,
    plan_of,
    settings,
)

PRICES = ROOT / "infra" / "prices.yaml"


def written(tmp_path: Path, change: dict[str, object]) -> Path:
    """A small price list with some parts replaced."""
    content = {
        "sources": {"list": {"title": "a price list", "date": date(2026, 1, 1)}},
        "prices": [
            {"item": "eks", "region": "us-west-2", "unit": "hour", "usd": 0.1, "seen": True, "source": "list"}
        ],
        "meters": [{"item": "logs", "kind": "services", 3: [1, 2], "held_by": "an alarm"}],
        "pays": {"aws:kms/alias:Alias": []},
    }
    path = tmp_path / "prices.yaml"
    path.write_text(yaml.safe_dump(content | change), encoding="utf-8")
    return path


def test_every_price_names_its_region_unit_source_and_date() -> None:
    for (item, region), price in own_prices().table.items():
        assert item and region and price.unit and price.source
        assert date(2026, 1, 1) <= price.date <= TODAY


def test_what_was_not_seen_says_so() -> None:
    assumed = {item for (item, _), price in own_prices().table.items() if not price.seen}
    assert "eks" in assumed
    assert not own_prices().price("eks", "us-west-2").seen
    assert own_prices().price("ec2/t4g.large", "us-west-2").seen


def test_every_instance_type_has_both_prices_or_none_in_a_region() -> None:
    table = own_prices().table
    for region in ("us-west-2", "us-east-1", "eu-west-1"):
        for name in INSTANCE_TYPES:
            on_demand, spot = table.get((f"ec2/{name}", region)), table.get((f"ec2-spot/{name}", region))
            assert (on_demand is None) == (spot is None)
            if on_demand and spot:
                assert spot.usd < on_demand.usd


def test_an_unknown_price_is_an_error_with_a_way_out() -> None:
    with pytest.raises(
        PlanError, match=r"price of ec2/m9g.large in us-west-2 is unknown.*Fix: add it to infra/prices.yaml"
    ):
        own_prices().price("ec2/m9g.large", "us-west-2")


def test_an_embedding_model_without_a_price_is_refused() -> None:
    with pytest.raises(PlanError, match="price of embeddings/some-model in global is unknown"):
        plan_of(embeddingModel="some-model")


def test_prices_of_this_year_raise_no_finding() -> None:
    assert not any("younger than a year" in one.rule for one in plan_of().findings)


def test_prices_older_than_a_year_are_findings_that_name_the_source() -> None:
    later = load_prices(PRICES, date(2028, 1, 1))
    plan = make_plan(own_agents(), own_geography(), own_fleet(), settings(), later)
    old = [one.message for one in plan.findings if "younger than a year" in one.rule]
    assert any("SkyPilot catalog" in message and "2026-01-01" in message for message in old)


def test_the_proposals_ada_embeddings_are_priced_too() -> None:
    lines = {line.item: line for line in plan_of(embeddingModel="text-embedding-ada-002").bill.lines}
    # 50,000 embeddings of 500 tokens at $0.10 a million.
    assert lines["embeddings/text-embedding-ada-002"].monthly == Decimal("2.50")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prices": [{"item": "eks", "region": "us-west-2", "usd": 0.1}]}, "must have exactly"),
        (
            {
                "prices": [
                    {
                        "item": "eks",
                        "region": "r",
                        "unit": "hour",
                        "usd": "free",
                        "seen": True,
                        "source": "list",
                    }
                ]
            },
            "'free' is no number",
        ),
        (
            {
                "prices": [
                    {"item": "eks", "region": "r", "unit": "hour", "usd": -1, "seen": True, "source": "list"}
                ]
            },
            "is no amount",
        ),
        (
            {
                "prices": [
                    {"item": "eks", "region": "r", "unit": "hour", "usd": 1, "seen": True, "source": "rumour"}
                ]
            },
            "unknown source rumour",
        ),
        (
            {
                "prices": 2
                * [{"item": "eks", "region": "r", "unit": "hour", "usd": 1, "seen": True, "source": "list"}]
            },
            "two prices",
        ),
        ({"meters": [{"item": "logs", "kind": "services", 3: [5, 2], "held_by": "x"}]}, "above its cap"),
        ({"meters": [{"item": "logs", "kind": "magic", 3: [1, 2], "held_by": "x"}]}, "unknown kind magic"),
        ({"meters": None}, "miss a part"),
    ],
)
def test_a_malformed_price_list_is_refused_with_the_reason(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    with pytest.raises(PlanError, match=message):
        load_prices(written(tmp_path, change), TODAY)


def test_a_missing_price_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"nowhere\.yaml.*cannot be used"):
        load_prices(tmp_path / "nowhere.yaml", TODAY)


@pytest.mark.parametrize("stack", PRESETS.values())
def test_every_meter_of_a_phase_is_in_the_bill_with_its_cap(stack: str) -> None:
    plan = plan_of(stack)
    lines = {(line.item, line.region): line for line in plan.bill.lines}
    for meter in own_prices().meters:
        for region in plan.regions:
            if plan.phase in meter.quantities and (region.home or not meter.home_only):
                rest, most = meter.quantities[plan.phase]
                line = lines[meter.item, region.name]
                assert line.quantity == rest
                assert line.worst == (most * line.unit_price).quantize(Decimal("0.01"), "ROUND_HALF_UP")


def test_spot_is_priced_at_rest_by_its_mean_and_at_worst_by_the_dearest_on_demand() -> None:
    region = plan_of().regions[0]
    flex = region.node_groups[1]
    line = next(one for one in plan_of().bill.lines if one.item.startswith("ec2-spot/"))
    assert line.unit_price == Decimal("0.0616")  # (0.0587 + 0.0645) / 2
    assert line.quantity == flex.nodes_at_rest * HOURS
    assert line.worst == (flex.max_size * HOURS * Decimal("0.1360")).quantize(Decimal("0.01"))


def test_multi_az_pays_for_both_instances_and_both_disks() -> None:
    single, double = plan_of(databaseMultiAz="no"), plan_of()
    for item in ("rds/db.t4g.medium", "rds-gp3"):
        one, two = (next(line for line in plan.bill.lines if line.item == item) for plan in (single, double))
        assert two.quantity == 2 * one.quantity


@pytest.mark.parametrize("stack", ["phase3", "prod"])
@pytest.mark.parametrize("profile", ["proposed", "measured"])
def test_spot_saves_half_on_spot_nodes_and_the_share_of_all_nodes_is_told_apart(
    stack: str, profile: str
) -> None:
    bill = plan_of(stack, profile=profile).bill
    assert bill.spot_saving_percent >= 50
    assert 0 < bill.compute_saving_percent < bill.spot_saving_percent


def test_what_follows_from_the_bill_adds_up() -> None:
    bill = plan_of(missionsAMonth=2000).bill
    assert bill.annual == 12 * bill.base
    assert bill.per_mission == (bill.base / 2000).quantize(Decimal("0.01"))
    assert bill.per_agent == (bill.base / 66).quantize(Decimal("0.01"))
    assert bill.break_even == ((500, bill.base - 500), (1000, bill.base - 1000))
    assert bill.model_cap_monthly == 500


def test_a_mission_costs_less_than_five_dollars_in_every_phase() -> None:
    assert all(plan_of(stack).bill.per_mission < 5 for stack in PRESETS.values())


def test_a_price_that_is_raised_raises_the_bill_by_its_quantity() -> None:
    prices = own_prices()
    dearer = replace(prices.price("eks", "us-west-2"), usd=Decimal("0.60"))
    raised = replace(prices, table={**prices.table, ("eks", "us-west-2"): dearer})
    plan = make_plan(own_agents(), own_geography(), own_fleet(), settings(), raised)
    assert plan.bill.base - plan_of().bill.base == HOURS * Decimal("0.50")
