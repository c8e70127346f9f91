"""Fitting the similarity on a history, and judging it on what came later."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bench.calibrate import calibrate
from bench.judge import judge
from bench.reliability import plot, reliability
from database.calibrate import Comparison, by_agent, compare, dealt, fit
from database.calibration import calibration_for
from database.similarity import Candidate, score
from errors import HistoryError
from runner.match.history import Work, load_history

START = datetime(2026, 1, 1, tzinfo=UTC)


def work(number: int, title: str, *files: str, agent: str | None = "cloud-architect") -> Work:
    merged_at = (START + timedelta(hours=number)).isoformat()
    return Work(number, agent, title, "", (), files, merged_at)


def topics(count: int, agent: str | None = "cloud-architect") -> list[Work]:
    """Works on three topics in turn; those on one topic change the same file."""
    names = ("cache eviction", "login form", "billing report")
    return [work(n, f"Fix {names[n % 3]} case {n}", f"{names[n % 3]}.py", agent=agent) for n in range(count)]


def comparison(*related: bool) -> Comparison:
    candidate = Candidate("", "", (), START, None)
    return Comparison("", "", "", (candidate,) * len(related), (frozenset(),) * len(related), related)


def test_a_work_is_compared_with_earlier_works_of_its_own_agent_only() -> None:
    works = [work(n, "Fix", "a.py", agent=("one", "other")[n % 2]) for n in range(20)]
    comparisons = compare(works, None, by_agent(works))
    assert [len(each.candidates) for each in comparisons] == [*range(1, 10), *range(1, 10)]
    assert all(c.created_at.isoformat() < each.merged_at for each in comparisons for c in each.candidates)


def test_an_agent_with_few_works_is_left_out() -> None:
    assert by_agent(topics(9)) == []
    assert by_agent(topics(10)) == [list(range(10))]


def test_works_without_an_agent_are_dealt_into_groups_and_none_is_lost() -> None:
    groups = dealt(topics(130, agent=None))
    assert len(groups) == 2
    assert sorted(index for group in groups for index in group) == list(range(130))


def test_what_a_fit_learned_tells_topics_apart_later() -> None:
    works = topics(60)
    comparisons = compare(works, None, by_agent(works))
    calibration = fit(comparisons[:30])
    for each in comparisons[40:]:
        found = [s.chance for s in score(each.title, each.body, each.candidates, calibration)]
        true = [chance for chance, related in zip(found, each.related, strict=True) if related]
        false = [chance for chance, related in zip(found, each.related, strict=True) if not related]
        assert min(true) > 0.7 > max(false)


def test_the_same_history_gives_the_same_weights() -> None:
    works = topics(40)
    comparisons = compare(works, None, by_agent(works))
    assert fit(comparisons) == fit(comparisons)


def test_a_history_without_true_matches_is_refused() -> None:
    with pytest.raises(HistoryError, match="no two works that share files"):
        calibrate([work(n, "Fix", f"{n}.py") for n in range(40)], None, "test")


@pytest.mark.parametrize(
    ("scores", "first", "mrr"),
    [([0.1, 0.9, 0.2], 1.0, 1.0), ([0.9, 0.1, 0.2], 0.0, 0.3333), ([0.2, 0.2, 0.2], 0.0, 0.5)],
)
def test_the_order_is_judged_by_the_first_true_match(
    scores: Sequence[float], first: float, mrr: float
) -> None:
    found = judge([comparison(False, True, False), comparison(False)], [scores, [1.0]])
    assert (found.first, found.mrr, found.precision_at_threshold) == (first, mrr, None)


def test_a_true_match_behind_five_others_counts_as_not_found() -> None:
    assert judge([comparison(True, *[False] * 5)], [[0.0, 1.0, 1.0, 1.0, 1.0, 1.0]]).mrr == 0


def test_precision_and_recall_are_counted_at_the_threshold() -> None:
    found = judge([comparison(True, False, True), comparison(False)], [[0.9, 0.8, 0.1], [0.7]], 0.7)
    assert found.precision_at_threshold == pytest.approx(1 / 3, abs=1e-4)
    assert found.found_at_threshold == 0.5
    assert found.precision_of_answers == pytest.approx(1 / 3, abs=1e-4)
    assert found.works_answered == 1


def test_reliability_counts_each_pair_in_the_tenth_of_its_stated_chance() -> None:
    bins = reliability([comparison(True, False, True)], [[0.95, 0.05, 1.0]])
    assert [(each.pairs, each.stated, each.observed) for each in bins] == [(1, 0.05, 0.0), (2, 0.975, 1.0)]
    assert "minilm" in plot("minilm", bins)


def test_on_a_real_history_similarity_beats_full_text_and_means_what_it_says(real: Path) -> None:
    works = [each for each in load_history(real / "pull_requests.json") if each.merged_at]
    comparisons = compare(works, None, by_agent(works))
    calibration = calibration_for("text", 0)
    found = judge(
        comparisons,
        [[s.chance for s in score(c.title, c.body, c.candidates, calibration)] for c in comparisons],
        0.7,
    )
    assert found.precision_at_threshold is not None and found.precision_at_threshold >= 0.8
    assert found.found_at_threshold is not None and found.found_at_threshold >= 0.75
