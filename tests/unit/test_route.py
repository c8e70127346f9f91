"""Zone first, then geography; where the zone leaves no agent, the mission fails closed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runner.gateway.matchers import Matchers
from runner.geography import Geography, Region
from runner.issue import Issue
from runner.route import agents_of_zone, route, zone_of_issue
from tests.unit.test_geography import agents

GEOGRAPHY = Geography(
    (Region("us-west-2", "Oregon", "US", ("ada", "bob")), Region("eu-west-1", "Ireland", "EU", ("eve",)))
)
FLEET = agents("ada", "bob", "eve")
ISSUE = Issue("octo/planets", 7, "A title", "A body")


def labelled(*labels: str) -> Issue:
    return replace(ISSUE, labels=labels)


def test_a_mission_goes_to_the_region_where_its_agent_lives():
    where = route("eve", "US", GEOGRAPHY)
    assert (where.region, where.zone) == ("eu-west-1", "US"), "an agent in the EU may work issues of the US"
    assert "eve lives in eu-west-1 (Ireland)" in where.reason


def test_eu_data_does_not_go_to_an_agent_outside_the_eu_and_the_reason_is_given():
    where = route("ada", "EU", GEOGRAPHY)
    assert where.region is None
    assert "ada lives in us-west-2" in where.reason
    assert "data of zone EU may not go there" in where.reason


@pytest.mark.parametrize(
    ("repository_zone", "labels", "zone"),
    [
        ("US", (), "US"),
        ("EU", (), "EU"),
        ("US", ("zone:EU",), "EU"),
        ("US", ("Zone:eu",), "EU"),
        ("EU", ("zone:US",), "EU"),
        ("US", ("zone:US",), "US"),
        ("US", ("not-zone:EU",), "US"),
    ],
)
def test_a_label_tightens_the_zone_and_never_loosens_it(repository_zone, labels, zone):
    assert zone_of_issue(labelled(*labels), repository_zone) == zone


def test_an_eu_issue_is_matched_among_agents_of_the_eu_alone():
    assert [agent.name for agent in agents_of_zone(FLEET, GEOGRAPHY, "EU")] == ["eve"]
    assert [agent.name for agent in agents_of_zone(FLEET, GEOGRAPHY, "US")] == ["ada", "bob", "eve"]


def test_a_zone_without_agents_abstains_and_says_so():
    us_alone = Geography((Region("us-west-2", "Oregon", "US", ("ada", "bob", "eve")),))
    match = Matchers(FLEET, us_alone).match(ISSUE, "EU")
    assert match.agent is None
    assert match.why == ("no agent lives in zone EU",)
