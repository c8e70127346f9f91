"""The policy pack under the real engine: it lets the presets through and stops what is too dear or too open."""

from __future__ import annotations

import pytest
from pulumi.automation import CommandError
from pulumi_policy import EnforcementLevel

from infra.policy.pack import policies
from infra.policy.rules import RULES
from tests.engine.aws import Aws
from tests.engine.conftest import Ecosystem, MakeStack
from tests.engine.stack import ROOT

PACK = ROOT / "infra" / "policy"


@pytest.mark.parametrize("preset", ["dev", "phase3", "prod"])
def test_the_pack_passes_every_preset(make_stack: MakeStack, preset: str) -> None:
    run = make_stack(preset).preview(policy=PACK)
    assert run.counts.keys() == {"create"}


def test_a_raised_max_size_is_stopped_with_the_sum_in_the_message(make_stack: MakeStack, aws: Aws) -> None:
    stack = make_stack("phase3", config={"homeFlexMaxSize": "20"})
    with pytest.raises(CommandError) as stopped:
        stack.preview(policy=PACK)
    assert "bill-at-worst-within-ceiling" in str(stopped.value)
    assert "the ceiling $1,000" in str(stopped.value)
    assert not aws.things


def test_lifting_protection_is_a_settings_matter_and_not_forgotten_in_a_component(
    make_stack: MakeStack, few_agents: Ecosystem
) -> None:
    run = make_stack("dev", config=few_agents.config | {"protect": "false"}).preview(policy=PACK)
    assert run.counts.keys() == {"create"}


def test_every_rule_is_mandatory() -> None:
    assert {policy.enforcement_level for policy in policies("dev")} == {EnforcementLevel.MANDATORY}
    assert {rule.name for rule in RULES} < {policy.name for policy in policies("dev")}
