"""What the page's plots are drawn from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.page.briefs import issue_address, pull_address, web_address
from runner.page.figures import COLUMNS, Ended, latency, over_time

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def ended(after: float, took: float = 1.0, state: str = "done") -> Ended:
    finished = NOON + timedelta(seconds=after)
    return Ended(state, finished - timedelta(seconds=took), finished)


def test_each_mission_stands_in_the_column_of_its_end_under_its_state():
    figures = over_time([ended(0), ended(0.9), ended(2), ended(2, state="failed")])

    assert figures == {
        "from": NOON.timestamp() * 1000,
        "width": 1,
        "states": {"done": [2, 0, 1], "failed": [0, 0, 1]},
    }


def test_nothing_ended_draws_nothing():
    assert over_time([])["states"] == {}
    assert latency([]) == {"bounds": [], "counts": [], "p50": None, "p99": None}


@given(st.lists(st.floats(min_value=0, max_value=40 * 86400), min_size=1, max_size=60))
def test_a_span_of_any_length_fits_the_axis_and_loses_no_mission(moments):
    figures = over_time([ended(moment) for moment in moments])

    columns = figures["states"]["done"]
    assert len(columns) <= COLUMNS
    assert sum(columns) == len(moments)


def test_of_more_than_the_widest_axis_the_newest_are_drawn():
    figures = over_time([ended(0), ended(400 * 86400)])

    assert sum(figures["states"]["done"]) == 1
    assert figures["states"]["done"][-1] == 1


def test_latency_counts_only_what_an_agent_worked():
    missions = [
        ended(0, took=0.3),
        ended(0, took=0.4),
        ended(0, took=3),
        ended(0, took=60, state="abstained"),
    ]
    figures = latency(missions)

    assert figures["bounds"] == [0.5, 1.0, 2.0, 5.0]
    assert figures["counts"] == [2, 0, 0, 1]
    assert figures["p50"] == 0.4
    assert figures["p99"] == pytest.approx(2.948)


def test_a_clock_that_went_back_and_a_mission_of_years_stay_on_the_axis():
    assert latency([ended(0, took=-5)])["counts"] == [1]
    assert sum(latency([ended(0, took=10**9)])["counts"]) == 1


@pytest.mark.parametrize(
    ("api", "web"),
    [
        ("https://api.github.com", "https://github.com"),
        ("https://github.example.com/api/v3", "https://github.example.com"),
        ("http://127.0.0.1:8081", "http://127.0.0.1:8081"),
    ],
)
def test_links_lead_to_where_people_read_issues(api, web):
    assert issue_address(web_address(api), "octo/planets", 7) == f"{web}/octo/planets/issues/7"
    assert pull_address(web_address(api), "octo/planets", 8) == f"{web}/octo/planets/pull/8"


def test_a_repository_name_cannot_leave_its_place_in_a_link():
    assert (
        issue_address("https://github.com", 'x/"><script>?#', 1)
        == "https://github.com/x/%22%3E%3Cscript%3E%3F%23/issues/1"
    )
