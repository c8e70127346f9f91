"""What holds for every plan, whatever the definitions, the geography, the fleet and the settings."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from errors import PlanError
from infra.fleet import AgentShape, Fleet
from infra.nodes import SUBNET_RESERVED
from infra.plan import Plan, make_plan
from infra.settings import Settings
from infra.shapes import NodeGroupPlan, RegionPlan, Resources
from runner.geography import zone_of_region
from tests.unit.stacks import PRESETS, agents, geography, own_fleet, own_prices, settings

TYPES = (["t4g.medium", "c6g.large"], ["t4g.large", "t4g.xlarge"], ["t4g.xlarge", "c6g.xlarge"])


def shapes() -> st.SearchStrategy[AgentShape]:
    return st.builds(
        lambda replicas, more, cpu, memory, node_class: AgentShape(
            replicas, replicas + more, Resources(cpu, memory), Resources(cpu * 2, memory * 2), node_class
        ),
        st.integers(1, 3),
        st.integers(0, 9),
        st.sampled_from([25, 50, 100, 200, 350, 700]),
        st.sampled_from([64, 96, 256, 500, 1024]),
        st.sampled_from(["critical", "flex", "flex"]),
    )


@st.composite
def inputs(draw: st.DrawFn) -> tuple[int, int, Fleet, Settings]:
    """Agents in all, of them in the EU, and a fleet and settings for them."""
    count = draw(st.integers(1, 70))
    default = draw(shapes())
    exceptions = {one.name: draw(shapes()) for one in agents(count)[:3]}
    fleet = Fleet(default, exceptions, Resources(50, 96), own_fleet().system)
    changes: dict[str, Any] = {
        "profile": draw(st.sampled_from(["proposed", "measured"])),
        "flexTypes": draw(st.sampled_from(TYPES)),
        "homeFlexMaxSize": draw(st.integers(1, 20)),
        "secondFlexMaxSize": draw(st.integers(1, 20)),
        "homeCriticalMaxSize": draw(st.integers(2, 12)),
        "secondCriticalMaxSize": draw(st.integers(2, 12)),
        "databaseStorageGb": draw(st.integers(20, 40)),
        "embeddingsAMonth": draw(st.integers(0, 1_000_000)),
        "missionsAMonth": draw(st.integers(1, 100_000)),
    }
    return (
        count,
        draw(st.integers(0, count)),
        fleet,
        settings(draw(st.sampled_from([*PRESETS.values()])), **changes),
    )


def plan_or_refusal(count: int, in_eu: int, fleet: Fleet, chosen: Settings) -> Plan | None:
    team = agents(count)
    try:
        return make_plan(team, geography(team[in_eu:], team[:in_eu]), fleet, chosen, own_prices())
    except PlanError as refusal:
        assert "Fix: " in str(refusal)
        return None


@given(inputs())
@examples(max_examples=150, deadline=None)
def test_every_agent_is_placed_exactly_once_and_fits_or_the_plan_is_refused(
    drawn: tuple[int, int, Fleet, Settings],
) -> None:
    plan = plan_or_refusal(*drawn)
    if plan is None:
        return
    counts = Counter(one.agent for region in plan.regions for one in region.agents)
    assert counts == Counter(one.name for one in agents(drawn[0]))
    for region in plan.regions:
        for group in region.node_groups:
            assert group.min_size <= group.nodes_at_rest <= group.max_size
            assert scheduled(region, group), f"{region.name} {group.name}"


@given(inputs())
@examples(max_examples=150, deadline=None)
def test_no_eu_agent_and_none_of_its_data_leaves_the_eu(drawn: tuple[int, int, Fleet, Settings]) -> None:
    plan = plan_or_refusal(*drawn)
    if plan is None or plan.phase < 4:
        return
    in_eu = {one.name for one in agents(drawn[0])[: drawn[1]]}
    for region in plan.regions:
        here = {one.agent for one in region.agents}
        assert zone_of_region(region.name) == region.zone
        assert here.isdisjoint(in_eu) or (here <= in_eu and region.zone == "EU")
        assert zone_of_region(region.database.backup_copy_region or region.name) == region.zone
        assert ("//eu." in region.model_endpoint) == (region.zone == "EU")


@given(inputs())
@examples(max_examples=150, deadline=None)
def test_the_lines_are_the_bill_and_the_worst_is_never_below(drawn: tuple[int, int, Fleet, Settings]) -> None:
    plan = plan_or_refusal(*drawn)
    if plan is None:
        return
    bill = plan.bill
    assert bill.base == sum((line.monthly for line in bill.lines), Decimal(0))
    assert bill.worst == sum((line.worst for line in bill.lines), Decimal(0))
    for line in bill.lines:
        assert line.monthly == (line.quantity * line.unit_price).quantize(Decimal("0.01"), "ROUND_HALF_UP")
        assert Decimal(0) <= line.monthly <= line.worst
        assert line.source
    assert len({(line.item, line.region) for line in bill.lines}) == len(bill.lines)


@given(inputs())
@examples(max_examples=60, deadline=None)
def test_nodes_have_addresses_for_all_their_pods(drawn: tuple[int, int, Fleet, Settings]) -> None:
    plan = plan_or_refusal(*drawn)
    for region in plan.regions if plan else ():
        private = sum(
            block.cidr.num_addresses - SUBNET_RESERVED for block in region.subnets if block.kind == "private"
        )
        assert sum(group.max_size * group.max_pods for group in region.node_groups) <= private


def scheduled(region: RegionPlan, group: NodeGroupPlan) -> bool:
    """Whether a plain scheduler, pods in the order of the plan and each to the emptiest node, places all of them."""
    daemons = [pod.requests for pod in region.system if pod.daemonset]
    cpu = [
        group.allocatable.cpu_millicores - sum(pod.cpu_millicores for pod in daemons)
    ] * group.nodes_at_rest
    memory = [group.allocatable.memory_mib - sum(pod.memory_mib for pod in daemons)] * group.nodes_at_rest
    (free_cpu,), (free_memory,) = cpu[:1] or [0], memory[:1] or [0]
    slots = [group.max_pods - len(daemons)] * group.nodes_at_rest
    pods = [
        one.requests for one in region.agents if one.node_class == group.name for _ in range(one.replicas)
    ]
    if group.name == "critical":
        pods += [pod.requests for pod in region.system if not pod.daemonset for _ in range(pod.replicas)]
    for pod in pods:
        fitting = [
            node
            for node in range(group.nodes_at_rest)
            if cpu[node] >= pod.cpu_millicores and memory[node] >= pod.memory_mib and slots[node]
        ]
        if not fitting:
            return False
        # LeastAllocated: the free shares of CPU and of memory count alike.
        node = max(fitting, key=lambda node: cpu[node] * free_memory + memory[node] * free_cpu)
        cpu[node] -= pod.cpu_millicores
        memory[node] -= pod.memory_mib
        slots[node] -= 1
    return True
