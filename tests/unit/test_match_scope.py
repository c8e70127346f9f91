from __future__ import annotations

import pytest

from errors import DefinitionError
from runner.agents import load_agents
from runner.match.scope import refuse_swallowing, swallowing
from tests.conftest import REAL
from tests.unit.matching import FEW, agent, own_agents

EVERYTHING = agent(
    "everything-master",
    "Handles cloud, infrastructure, security, tests, documentation, performance, refactoring, integrations, APIs,"
    " workflows, CI/CD, automation, research, user interfaces, AI, monitoring, data and coaching.",
)


def test_a_definition_that_claims_every_field_is_named_and_the_others_are_not() -> None:
    assert swallowing([*own_agents(), EVERYTHING]) == ["everything-master"]


def test_a_definition_that_repeats_what_all_others_claim_is_named() -> None:
    greedy = agent("greedy-one", " ".join(each.description for each in own_agents()))

    assert swallowing([*own_agents(), greedy]) == ["greedy-one"]


def test_specialists_are_not_named() -> None:
    assert swallowing(own_agents()) == []
    assert swallowing(FEW) == []
    assert swallowing(FEW[:1]) == []
    assert swallowing([]) == []


def test_definitions_in_the_wild_are_not_named(real: object) -> None:
    assert swallowing(load_agents(REAL / "agents")) == []


def test_the_refusal_names_the_file_and_the_way_out() -> None:
    with pytest.raises(
        DefinitionError, match=r"everything-master.md: the scope of 'everything-master' swallows .* Fix:"
    ):
        refuse_swallowing([*FEW, EVERYTHING])
    refuse_swallowing(own_agents())
