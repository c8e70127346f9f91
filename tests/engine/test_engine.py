"""The ring itself: the real engine with stand-in clouds tells creating, keeping, replacing and deleting apart."""

from __future__ import annotations

from pathlib import Path

import pytest
from pulumi.automation import CommandError

from tests.engine.aws import Aws
from tests.engine.conftest import MakeStack
from tests.engine.objects import Kubernetes

PROGRAM = Path(__file__).with_name("program")


def test_a_preview_makes_nothing_and_a_second_up_changes_nothing(
    make_stack: MakeStack, aws: Aws, kubernetes: Kubernetes
) -> None:
    stack = make_stack("trial", program=PROGRAM)
    assert stack.preview().counts == {"create": 5}
    assert not aws.things

    assert stack.up().counts == {"create": 5}
    assert len(aws.things) == 1
    assert len(kubernetes.things) == 1
    assert stack.up().counts == {"same": 5}


def test_a_property_that_the_data_calls_replacing_is_seen_as_a_replacement(make_stack: MakeStack) -> None:
    stack = make_stack("trial", program=PROGRAM)
    stack.up()
    stack.configure(homeCidr="10.9.0.0/16")
    replaced = [step for step in stack.preview().steps if step.op == "replace"]
    assert [(step.type, step.replaced_by) for step in replaced] == [("aws:ec2/vpc:Vpc", ("cidrBlock",))]


def test_destroy_leaves_nothing(make_stack: MakeStack, aws: Aws, kubernetes: Kubernetes) -> None:
    stack = make_stack("trial", program=PROGRAM)
    stack.up()
    stack.destroy()
    assert not aws.things
    assert not kubernetes.things


def test_a_region_that_cannot_be_reached_fails_the_run_with_its_name(make_stack: MakeStack, aws: Aws) -> None:
    aws.unreachable.add("us-west-2")
    with pytest.raises(CommandError, match="aws in us-west-2 cannot be reached"):
        make_stack("trial", program=PROGRAM).up()
