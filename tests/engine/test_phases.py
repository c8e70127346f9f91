"""Each phase's stack on the real engine: what a preview promises, `up` makes, and a second `up` leaves alone."""

from __future__ import annotations

import pytest

from tests.engine.aws import Aws
from tests.engine.conftest import MakeStack

PRESETS = {2: "dev", 3: "phase3", 4: "prod"}


@pytest.mark.parametrize("phase", PRESETS)
def test_up_makes_what_the_preview_promised_and_a_second_up_changes_nothing(
    make_stack: MakeStack, aws: Aws, phase: int
) -> None:
    stack = make_stack(PRESETS[phase])
    promised = stack.preview().counts
    assert promised.keys() == {"create"}
    assert not aws.things
    assert stack.up().counts == promised
    assert stack.up().counts == {"same": promised["create"]}
