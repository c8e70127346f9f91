"""Money: the bill stays under its limits, and what is made is what was planned and priced."""

from __future__ import annotations

from collections.abc import Iterator

from infra.policy.rule import Subject, at
from infra.shapes import RegionPlan


def bill_at_rest_within_budget(subject: Subject) -> Iterator[str]:
    """The bill at minimum replicas stays within the budget of the phase."""
    base, budget = subject.plan.bill.base, subject.settings.limits.budget
    if base > budget:
        yield f"the bill at rest is ${base:,.2f} a month, the budget ${budget:,}: ${base - budget:,.2f} too much"


def bill_at_worst_within_ceiling(subject: Subject) -> Iterator[str]:
    """The bill with every node group at its largest size all month and every meter at its cap is within the ceiling."""
    worst, ceiling = subject.plan.bill.worst, subject.settings.limits.ceiling
    if worst > ceiling:
        yield f"the worst bill is ${worst:,.2f} a month, the ceiling ${ceiling:,}: ${worst - ceiling:,.2f} too much"


def spot_saves_enough(subject: Subject) -> Iterator[str]:
    """Spot nodes cost at most the agreed share of on-demand nodes."""
    saving, wanted = subject.plan.bill.spot_saving_percent, subject.settings.limits.spot_saving
    if any(group.spot for region in subject.plan.regions for group in region.node_groups) and saving < wanted:
        yield f"spot nodes save {saving:.0f} % against on-demand, at least {wanted} % are expected"


def nodes_as_planned(subject: Subject) -> Iterator[str]:
    """Node groups are no larger and of no other type than the plan has priced."""
    for resource in subject.of("aws:eks:NodeGroup"):
        planned = {group.name: group for group in _region(subject, resource.region).node_groups}
        group = planned.get(str(resource.inputs.get("nodeGroupName")))  # type: ignore[call-overload]
        if group is None:
            yield f"{resource.name} is in no plan, so nobody has priced it"
            continue
        largest = at(resource.inputs, "scalingConfig", "maxSize")
        if largest != group.max_size:
            yield f"{resource.name} may grow to {largest} nodes, {group.max_size} are planned and priced"
        if at(resource.inputs, "instanceTypes") != list(group.instance_types):
            yield f"{resource.name} has other instance types than {', '.join(group.instance_types)}"
        if (resource.inputs.get("capacityType") == "SPOT") != group.spot:
            yield f"{resource.name} is {resource.inputs.get('capacityType')}, which is not what was priced"


def stores_as_planned(subject: Subject) -> Iterator[str]:
    """Database, cache and host are of the class that the plan has priced."""
    for resource in subject.of("aws:rds:Instance"):
        plan = _region(subject, resource.region).database
        found = tuple(resource.inputs.get(key) for key in ("instanceClass", "multiAz", "maxAllocatedStorage"))
        if found != (plan.instance_class, plan.multi_az, plan.max_storage_gb):
            yield f"{resource.name} has class, Multi-AZ and largest storage {found}, which is not what was priced"
    for resource in subject.of("aws:elasticache:ReplicationGroup"):
        cache = _region(subject, resource.region).cache
        if cache is None or (resource.inputs.get("nodeType"), resource.inputs.get("numCacheClusters")) != (
            cache.node_type,
            cache.nodes,
        ):
            yield f"{resource.name} is not the cache that was priced"
    for resource in subject.of("aws:ec2:Instance"):
        host = _region(subject, resource.region).host
        if host is None or resource.inputs.get("instanceType") != host.instance_type:
            yield f"{resource.name} is not the host that was priced"


def autoscalers_are_bounded(subject: Subject) -> Iterator[str]:
    """No autoscaler goes above the stack's limit, nor above what the plan counts for its agent."""
    limit = subject.settings.limits.max_replicas
    planned = {
        (region.name, agent.resource_name): agent.max_replicas
        for region in subject.plan.regions
        for agent in region.agents
    }
    for resource in subject.of("HorizontalPodAutoscaler"):
        name = at(resource.inputs, "spec", "scaleTargetRef", "name")
        largest = at(resource.inputs, "spec", "maxReplicas")
        if not isinstance(largest, int) or largest > limit:
            yield f"{resource.name} may go to {largest} replicas, {limit} are allowed"
        elif largest > planned.get((resource.region, name), 0):
            counted = planned.get((resource.region, name), 0)
            yield f"{resource.name} may go to {largest} replicas, the plan counts {counted}"


def nothing_costs_by_surprise(subject: Subject) -> Iterator[str]:
    """No extended support, no surplus CPU credits, no paid endpoint, no log that is kept for ever."""
    for resource in subject.of("aws:eks:Cluster"):
        if at(resource.inputs, "upgradePolicy", "supportType") != "STANDARD":
            yield f"{resource.name} would go into extended support, at six times the price"
    for resource in subject.of("aws:ec2:LaunchTemplate"):
        if at(resource.inputs, "creditSpecification", "cpuCredits") == "unlimited":
            yield f"{resource.name} would buy CPU credits without a limit"
    for resource in subject.of("aws:ec2:VpcEndpoint"):
        if resource.inputs.get("vpcEndpointType") != "Gateway":
            yield f"{resource.name} is an interface endpoint, which costs by the hour and zone"
    for resource in subject.of("aws:cloudwatch:LogGroup"):
        if not resource.inputs.get("retentionInDays"):
            yield f"{resource.name} keeps its lines for ever: set retentionInDays"


def _region(subject: Subject, name: str) -> RegionPlan:
    """The plan of a region; where a region is kept though its phase is over, that of home stands in."""
    return next((region for region in subject.plan.regions if region.name == name), subject.plan.regions[0])
