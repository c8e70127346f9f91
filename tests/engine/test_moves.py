"""A stack moves 2 → 3 → 4 and back by its phase alone, and nothing that holds data is replaced or deleted."""

from __future__ import annotations

import pytest
from pulumi.automation import CommandError

from infra.replacements import holds_data
from tests.engine.aws import Aws
from tests.engine.conftest import Ecosystem, MakeStack
from tests.engine.objects import Kubernetes
from tests.engine.stack import Run

GONE = ("delete", "replace", "delete-replaced", "create-replacement", "discard")


def test_phases_go_up_and_down_while_data_stays(
    make_stack: MakeStack, aws: Aws, few_agents: Ecosystem
) -> None:
    stack = make_stack("dev", config=few_agents.config)
    stack.up()
    kept = _data(aws)
    assert any(kind == "aws:rds/instance:Instance" for _, kind, _ in kept)
    for phase in (3, 4, 3, 4, 2):
        stack.configure(phase=str(phase), gateOverride="Tester: moves between phases")
        run = stack.up()
        assert _data_gone(run) == set()
        assert kept <= _data(aws)
        assert stack.up().changed() == set()
        kept |= _data(aws)


def test_back_from_phase_4_the_second_region_keeps_its_data_until_protection_is_lifted(
    make_stack: MakeStack, aws: Aws, kubernetes: Kubernetes, few_agents: Ecosystem
) -> None:
    stack = make_stack("prod", config=few_agents.config)
    stack.up()
    stack.configure(phase="3")
    stack.up()
    left = {thing.type for thing in aws.things.values() if thing.region == "eu-west-1"}
    assert {"aws:rds/instance:Instance", "aws:kms/key:Key", "aws:ec2/vpc:Vpc"} <= left
    assert not left & {
        "aws:eks/cluster:Cluster",
        "aws:eks/nodeGroup:NodeGroup",
        "aws:ec2/natGateway:NatGateway",
    }


def test_a_change_that_would_replace_the_database_is_refused(
    make_stack: MakeStack, aws: Aws, few_agents: Ecosystem
) -> None:
    stack = make_stack("dev", config=few_agents.config)
    stack.up()
    before = _data(aws)
    stack.configure(homeCidr="10.44.0.0/16")
    with pytest.raises(CommandError, match="protect"):
        stack.up()
    assert _data(aws) == before


def test_an_edited_definition_touches_its_agent_alone(make_stack: MakeStack, few_agents: Ecosystem) -> None:
    stack = make_stack("phase3", config=few_agents.config)
    stack.up()
    definition = few_agents.agents / "engineer-master.md"
    definition.write_text(definition.read_text() + "\nOne more rule.\n")
    assert stack.up().changed() == {
        ("kubernetes:core/v1:ConfigMap", "us-west-2-configmap-engineer-master-definition"),
        ("kubernetes:apps/v1:Deployment", "us-west-2-deployment-engineer-master"),
    }


def test_one_agent_is_pinned_or_goes_back_to_actions_alone(
    make_stack: MakeStack, few_agents: Ecosystem
) -> None:
    stack = make_stack("phase3", config=few_agents.config)
    stack.up()
    stack.configure_list(imagePins=["cloud-architect=0.0.9"])
    assert stack.up().changed() == {("kubernetes:apps/v1:Deployment", "us-west-2-deployment-cloud-architect")}
    stack.configure_list(imagePins=[], actionsAgents=["cloud-architect"])
    gone = {name for _, name in stack.up().changed("delete")}
    assert gone == {
        "us-west-2-deployment-cloud-architect",
        "us-west-2-horizontalpodautoscaler-cloud-architect",
        "us-west-2-poddisruptionbudget-cloud-architect",
        "us-west-2-serviceaccount-cloud-architect",
        "us-west-2-pod-cloud-architect",
    }


def test_one_regions_up_works_while_the_other_is_unreachable(
    make_stack: MakeStack, aws: Aws, kubernetes: Kubernetes, few_agents: Ecosystem
) -> None:
    stack = make_stack("prod", config=few_agents.config)
    stack.up()
    for cloud in (aws, kubernetes):
        cloud.unreachable.add("eu-west-1")
    stack.configure(logDays="14")
    run = stack.up(target=["**::us-west-2-*"])
    changed = {name for _, name in run.changed()}
    assert "us-west-2-agents" in changed
    assert not any(name.startswith("eu-west-1") for name in changed)


def test_destroy_succeeds_where_protection_is_lifted_and_is_refused_where_it_is_not(
    make_stack: MakeStack, aws: Aws, kubernetes: Kubernetes, few_agents: Ecosystem
) -> None:
    stack = make_stack("phase3", config=few_agents.config)
    stack.up()
    with pytest.raises(CommandError, match="protect"):
        stack.destroy()
    assert aws.of_type("aws:rds/instance:Instance")
    stack.configure(protect="false")
    stack.up()
    stack.destroy()
    assert not aws.things
    assert not kubernetes.of_type("kubernetes:networking.k8s.io/v1:Ingress")


def _data(aws: Aws) -> set[tuple[str, str, str]]:
    return {(thing.region, thing.type, thing.id) for thing in aws.things.values() if holds_data(thing.type)}


def _data_gone(run: Run) -> set[str]:
    """Data resources of the home region that a run replaced or deleted; those of the second are let go, not deleted."""
    return {
        s.name for s in run.steps if s.op in GONE and holds_data(s.type) and s.name.startswith("us-west-2")
    }
