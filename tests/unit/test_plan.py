"""The plan of the project's own agents, and what a plan refuses."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from itertools import combinations
from pathlib import Path

import pytest

from errors import PlanError
from infra.nodes import pack
from infra.plan import Plan, make_plan
from infra.shapes import AgentPlan, RegionPlan, Resources
from runner.agents import load_agents
from runner.geography import Geography, Region, load_geography
from tests.unit.stacks import (
    PRESETS,
    ROOT,
    agent,
    agents,
    geography,
    own_agents,
    own_fleet,
    own_geography,
    own_prices,
    plan_of,
    settings,
)


def placed(plan: Plan) -> dict[str, str]:
    """Agent → region."""
    return {one.agent: region.name for region in plan.regions for one in region.agents}


@pytest.mark.parametrize(
    ("stack", "budget", "ceiling"), [("dev", 100, 150), ("phase3", 600, 1000), ("prod", 1200, 2000)]
)
def test_the_proposals_requests_stay_within_budget_and_ceiling(stack: str, budget: int, ceiling: int) -> None:
    bill = plan_of(stack).bill
    assert bill.base <= budget
    assert bill.worst <= ceiling


@pytest.mark.parametrize(("stack", "budget"), [("phase3", 600), ("prod", 1200)])
def test_measured_requests_cost_at_most_65_percent_of_the_budget_and_of_our_own_bill(
    stack: str, budget: int
) -> None:
    lean = plan_of(stack, profile="measured").bill.base
    assert lean <= Decimal("0.65") * budget
    assert lean <= Decimal("0.65") * plan_of(stack).bill.base


@pytest.mark.parametrize("stack", PRESETS.values())
def test_the_agents_of_a_real_ecosystem_cost_the_same(stack: str, real: Path) -> None:
    theirs = load_agents(real / "agents")
    where = load_geography(ROOT / "agent_geography.yaml", theirs)
    assert make_plan(theirs, where, own_fleet(), settings(stack), own_prices()).bill == plan_of(stack).bill


def test_requests_replicas_and_maxima_are_the_proposals() -> None:
    by_name = {one.agent: one for one in plan_of().regions[0].agents}
    usual = (1, 10, Resources(200, 256), Resources(500, 512))
    for name, one in by_name.items():
        shape = (one.replicas, one.max_replicas, one.requests, one.limits)
        if name == "engineer-master":
            assert shape == (2, 5, *usual[2:])
        elif name == "cloud-architect":
            assert shape == (1, 10, Resources(100, 256), Resources(300, 512))
        else:
            assert shape == usual, name


@pytest.mark.parametrize("stack", ["dev", "phase3"])
def test_below_phase_4_every_agent_stands_in_the_home_region(stack: str) -> None:
    plan = plan_of(stack)
    assert [region.name for region in plan.regions] == ["us-west-2"]
    assert placed(plan) == {one.name: "us-west-2" for one in own_agents()}


def test_in_phase_4_every_agent_stands_where_the_geography_says() -> None:
    assert placed(plan_of("prod")) == {
        one.name: own_geography().region_of(one.name).name for one in own_agents()
    }


def test_an_eu_region_keeps_data_backups_models_and_webhooks_in_the_eu() -> None:
    plan = plan_of("prod")
    eu = next(region for region in plan.regions if region.zone == "EU")
    assert eu.database.backup_copy_region == "eu-central-1"
    assert eu.model_endpoint.startswith("https://eu.")
    assert eu.webhook_host == "eu.hooks.agents.example.org"
    us_lines = [line for line in plan.bill.lines if line.region == "us-west-2"]
    assert not any("eu-" in line.item for line in us_lines)


def test_what_holds_data_is_the_same_in_every_phase() -> None:
    homes = [plan_of(stack).regions[0] for stack in PRESETS.values()]
    fixed = {
        (home.name, home.cidr, home.subnets, home.database.storage_gb, home.database.engine_version)
        for home in homes
    }
    assert len(fixed) == 1


def test_the_networks_of_both_regions_never_overlap() -> None:
    regions = plan_of("prod").regions
    blocks = [subnet.cidr for region in regions for subnet in region.subnets]
    assert not any(one.overlaps(other) for one, other in combinations(blocks, 2))
    assert all(subnet.cidr.subnet_of(region.cidr) for region in regions for subnet in region.subnets)


def test_an_agent_in_a_region_that_the_stack_does_not_have_is_refused_by_name() -> None:
    team = agents(2)
    elsewhere = Geography((Region("us-east-1", "Virginia", "US", tuple(one.name for one in team)),))
    with pytest.raises(PlanError, match=r"us-east-1.*neither us-west-2 nor eu-west-1.*Fix: set homeRegion"):
        make_plan(team, elsewhere, own_fleet(), settings("prod"), own_prices())


def test_an_agent_without_a_place_is_refused_by_name() -> None:
    with pytest.raises(PlanError, match="agent-0001 stands in no region"):
        make_plan(agents(2), geography(agents(1)), own_fleet(), settings(), own_prices())


def test_two_agents_that_differ_in_case_only_are_refused() -> None:
    team = (agent("APIs-architect"), agent("apis-architect"))
    with pytest.raises(PlanError, match="share one resource name"):
        make_plan(team, geography(team), own_fleet(), settings(), own_prices())


def test_an_agent_called_like_a_part_of_the_system_is_refused() -> None:
    team = (agent("gateway"),)
    with pytest.raises(PlanError, match="gateway and a part of the system share one resource name"):
        make_plan(team, geography(team), own_fleet(), settings(), own_prices())


def test_pods_that_fit_on_no_node_are_refused_with_the_group_and_the_way_out() -> None:
    with pytest.raises(
        PlanError, match=r"5 of 59 pods do not fit on 3 flex nodes.*Fix: raise the flex group's largest size"
    ):
        plan_of(homeFlexMaxSize=3)


def test_nodes_without_room_for_a_surge_are_refused() -> None:
    full = agents(54)  # eighteen on each of three nodes
    with pytest.raises(PlanError, match="full at rest: no agent can be rolled without downtime"):
        make_plan(full, geography(full), own_fleet(), settings(homeFlexMaxSize=3), own_prices())


def test_one_node_more_makes_room_for_the_surge() -> None:
    full = agents(54)
    plan = make_plan(full, geography(full), own_fleet(), settings(homeFlexMaxSize=4), own_prices())
    assert plan.regions[0].node_groups[1].nodes_at_rest == 3
    assert plan.regions[0].capacity.rollout_steps == 3


def test_a_host_too_small_for_its_containers_is_refused() -> None:
    with pytest.raises(PlanError, match=r"t4g.medium: memory needs .* MiB.*Fix: choose a larger hostType"):
        plan_of("dev", hostType="t4g.medium")


def test_a_region_without_prices_is_refused_and_not_free() -> None:
    elsewhere = {"homeRegion": "us-east-2", "homeZones": ["us-east-2a", "us-east-2b"]}
    with pytest.raises(PlanError, match=r"price of .* in us-east-2 is unknown"):
        plan_of(**elsewhere)


def test_an_instance_type_of_unknown_shape_is_refused() -> None:
    with pytest.raises(PlanError, match=r"shape of m9g\.large is unknown"):
        plan_of(criticalTypes=["m9g.large"])


def test_an_agent_sent_back_to_actions_needs_no_node_and_keeps_its_place() -> None:
    usual, lean = plan_of(), plan_of(actionsAgents=["assert-whiz", "steam-machine"])
    assert lean.regions[0].capacity.pods_at_rest == usual.regions[0].capacity.pods_at_rest - 2
    runs_on = {one.agent: one.runs_on for one in lean.regions[0].agents}
    assert [name for name, place in runs_on.items() if place == "actions"] == ["assert-whiz", "steam-machine"]
    assert len(runs_on) == 66


def test_a_pinned_image_changes_that_agent_alone() -> None:
    digest = f"sha256:{'a' * 64}"
    usual, pinned = plan_of().regions[0], plan_of(imagePins=[f"steam-machine={digest}"]).regions[0]
    changed = [now for was, now in zip(usual.agents, pinned.agents, strict=True) if was != now]
    assert [(one.agent, one.image) for one in changed] == [("steam-machine", f"@{digest}")]


def test_a_pin_of_no_agent_is_refused() -> None:
    with pytest.raises(PlanError, match=r"imagePins names steam-engine, which is no agent"):
        plan_of(imagePins=["steam-engine=1.2.3"])


@pytest.mark.parametrize("stack", ["phase3", "prod"])
@pytest.mark.parametrize("profile", ["proposed", "measured"])
def test_all_that_may_be_rolled_at_once_fits_beside_what_runs(stack: str, profile: str) -> None:
    for region in plan_of(stack, profile=profile).regions:
        for group in region.node_groups:
            members = [one for one in region.agents if one.node_class == group.name]
            running = [one.requests for one in members for _ in range(one.replicas)] + system_pods(
                region, group.name
            )
            daemons = [pod.requests for pod in region.system if pod.daemonset]
            used = sum(daemons, Resources(0, 0))
            free = Resources(
                group.allocatable.cpu_millicores - used.cpu_millicores,
                group.allocatable.memory_mib - used.memory_mib,
            )
            # A lane begins with an agent that waits for nobody, and rolls one agent at a time.
            lanes = [one.requests for one in members if one.after is None]
            nodes = min(group.nodes_at_rest + 1, group.max_size)
            assert not pack(running + lanes, free, group.max_pods - len(daemons), nodes).left_over


def test_in_a_rollout_every_agent_waits_for_an_earlier_one_of_its_nodes_or_for_nobody() -> None:
    for region in plan_of("prod").regions:
        seen: dict[str, str] = {}
        for one in region.agents:
            assert one.after is None or seen[one.after] == one.node_class
            seen[one.agent] = one.node_class
        followed = [one.after for one in region.agents if one.after]
        assert len(followed) == len(set(followed))


def system_pods(region: RegionPlan, group: str) -> list[Resources]:
    pods = [pod for pod in region.system if not pod.daemonset and group == "critical"]
    return [pod.requests for pod in pods for _ in range(pod.replicas + pod.surge)]


def test_every_agent_can_reach_its_maximum_when_the_others_rest() -> None:
    for stack in ("phase3", "prod"):
        for region in plan_of(stack).regions:
            assert region.capacity.short_of_maximum == ()


def test_an_agent_that_cannot_reach_its_maximum_is_a_finding() -> None:
    plan = plan_of(homeCriticalMaxSize=2)
    found = next(one for one in plan.findings if "every agent can reach its maximum" in one.rule)
    assert "troubleshoot-expert" in found.message


def test_a_fleet_entry_for_no_agent_is_a_finding() -> None:
    team = agents(3)
    plan = make_plan(team, geography(team), own_fleet(), settings(), own_prices())
    assert "engineer-master" in plan.findings[0].message


def test_more_runners_than_database_connections_is_a_finding() -> None:
    plan = plan_of(homeFlexMaxSize=40)
    assert any(one.rule == "database connections at most fit" for one in plan.findings)


def test_critical_agents_stand_on_demand_and_the_rest_on_spot() -> None:
    region = plan_of().regions[0]
    assert [(group.name, group.spot) for group in region.node_groups] == [("critical", False), ("flex", True)]
    critical = [one.agent for one in region.agents if one.node_class == "critical"]
    assert "engineer-master" in critical
    assert "steam-machine" not in critical


def test_measured_requests_need_fewer_nodes_and_say_so() -> None:
    capacity = plan_of().regions[0].capacity
    assert capacity.measured_nodes_at_rest <= sum(
        group.nodes_at_rest for group in plan_of().regions[0].node_groups
    )
    assert capacity.measured_pods_at_most > 3 * capacity.pods_at_most


def test_an_edited_definition_changes_that_agent_alone() -> None:
    edited = tuple(
        replace(one, digest="f" * 64) if one.name == "steam-machine" else one for one in own_agents()
    )
    before: list[AgentPlan] = list(plan_of().regions[0].agents)
    after = make_plan(edited, own_geography(), own_fleet(), settings(), own_prices()).regions[0].agents
    assert [now.agent for was, now in zip(before, after, strict=True) if was != now] == ["steam-machine"]


def test_a_thousand_agents_are_each_placed_once() -> None:
    team = agents(1000)
    big = settings(homeFlexMaxSize=80, databaseClass="db.m7g.2xlarge")
    plan = make_plan(team, geography(team), own_fleet(), big, own_prices())
    assert [placed.agent for region in plan.regions for placed in region.agents] == [one.name for one in team]
