"""What the plan's bill counts is what the program creates: each paid resource has its line, in the right number."""

from __future__ import annotations

from collections import Counter

import pytest

from errors import PlanError
from infra.prices import HOURS
from tests.unit.stacks import PRESETS, outlook_of, own_prices


def counts(stack: str, kind: str) -> Counter[str]:
    """Region → resources of a type."""
    return Counter(resource.region for resource in outlook_of(stack).resources if resource.type == kind)


def quantities(stack: str, item: str) -> dict[str, int]:
    """Region → what the bill counts of an item at rest."""
    return {
        line.region: int(line.quantity) for line in outlook_of(stack).plan.bill.lines if line.item == item
    }


@pytest.mark.parametrize("stack", PRESETS.values())
def test_every_paid_resource_has_its_lines(stack: str) -> None:
    lines = [(line.item, line.region) for line in outlook_of(stack).plan.bill.lines]
    home = outlook_of(stack).settings.home.name
    known = {region.name for region in outlook_of(stack).plan.regions}
    for resource in outlook_of(stack).resources:
        for item in own_prices().pays.get(resource.type, ()):
            region = resource.region if resource.region in known else home
            assert any(name.startswith(item) and place == region for name, place in lines), (resource, item)


def test_a_resource_type_of_unknown_cost_is_refused() -> None:
    with pytest.raises(PlanError, match=r"cost of aws:redshift/cluster:Cluster is unknown"):
        own_prices().refuse_unpriced(["aws:kms/key:Key", "aws:redshift/cluster:Cluster"])


@pytest.mark.parametrize("stack", PRESETS.values())
@pytest.mark.parametrize(
    ("kind", "item", "times"),
    [
        ("aws:ec2/natGateway:NatGateway", "nat", HOURS),
        ("aws:eks/cluster:Cluster", "eks", HOURS),
        ("aws:route53/zone:Zone", "dns-zone", 1),
        ("aws:route53/healthCheck:HealthCheck", "dns-health-check", 1),
        ("aws:servicediscovery/instance:Instance", "service-instance", 1),
    ],
)
def test_what_is_counted_is_what_is_created(stack: str, kind: str, item: str, times: int) -> None:
    created = {region: number * times for region, number in counts(stack, kind).items()}
    assert quantities(stack, item) == created


@pytest.mark.parametrize("stack", PRESETS.values())
def test_keys_are_counted_with_those_of_the_recovery_regions(stack: str) -> None:
    assert sum(quantities(stack, "kms-key").values()) == sum(counts(stack, "aws:kms/key:Key").values())


@pytest.mark.parametrize("stack", PRESETS.values())
def test_alarms_are_no_more_than_counted(stack: str) -> None:
    counted = quantities(stack, "alarm")
    for region, number in counts(stack, "aws:cloudwatch/metricAlarm:MetricAlarm").items():
        assert number <= counted[region]


@pytest.mark.parametrize("stack", PRESETS.values())
def test_databases_are_created_as_they_are_billed(stack: str) -> None:
    databases = [one for one in outlook_of(stack).resources if one.type == "aws:rds/instance:Instance"]
    assert len(databases) == len(outlook_of(stack).plan.regions)
    for database in databases:
        copies = 2 if database.inputs.get("multiAz") else 1
        item = f"rds/{database.inputs['instanceClass']}"
        assert quantities(stack, item)[database.region] == copies * HOURS
        storage = copies * int(float(str(database.inputs["allocatedStorage"])))
        assert quantities(stack, "rds-gp3")[database.region] == storage


@pytest.mark.parametrize("stack", ["phase3", "prod"])
def test_node_groups_end_where_the_ceiling_was_reckoned(stack: str) -> None:
    created = sorted(
        (group.region, group.inputs["capacityType"], group.inputs["scalingConfig"]["maxSize"])
        for group in outlook_of(stack).resources
        if group.type == "aws:eks/nodeGroup:NodeGroup"
    )
    planned = sorted(
        (region.name, "SPOT" if group.spot else "ON_DEMAND", group.max_size)
        for region in outlook_of(stack).plan.regions
        for group in region.node_groups
    )
    assert created == planned
