"""What makes an earlier work similar, and what does not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from database.calibration import calibration_for
from database.similarity import Candidate, Similarity, landmarks, score, words

MINILM = calibration_for("minilm", 384)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def work(title: str, *paths: str, body: str = "", cosine: float | None = 0.4, age: int = 0) -> Candidate:
    return Candidate(title, body, paths, NOW - timedelta(days=age), cosine)


def chances(title: str, candidates: list[Candidate], body: str = "") -> list[float]:
    return [found.chance for found in score(title, body, candidates, MINILM)]


def test_without_candidates_nothing_is_similar() -> None:
    assert score("Login fails", "", [], MINILM) == []


def test_a_higher_cosine_is_more_similar() -> None:
    near, far = chances(
        "Login fails", [work("Sign-in is broken", cosine=0.8), work("Add a logo", cosine=0.2)]
    )
    assert near > far


def test_a_name_in_the_title_that_stands_only_in_a_works_paths_counts() -> None:
    named, other = chances(
        "Syntax error in prompt-tracker.yml",
        [
            work("Automate the generator", ".github/workflows/prompt-tracker.yml"),
            work("Automate the build", "a.txt"),
        ],
    )
    assert named > other


def test_a_rare_word_says_more_than_one_that_every_work_has() -> None:
    many = [work(f"Fix workflow number {number}", f"{number}.txt") for number in range(6)]
    title = "Fix workflow telemetry"
    rare, common, *_ = chances(title, [work("Add telemetry", "t.txt"), work("Fix workflow", "w.txt"), *many])
    assert rare > common


def test_similar_works_that_changed_the_same_files_back_each_other_up() -> None:
    def of_three(*paths: str) -> float:
        return chances(
            "Repair the cache",
            [work("Repair the cache of users", path, cosine=0.7) for path in paths],
        )[0]

    assert of_three("cache.py", "cache.py", "cache.py") > 0.7 > of_three("a.py", "b.py", "c.py")


def test_a_work_whose_files_are_unknown_is_judged_by_its_text_alone() -> None:
    title = "Repair the cache of users"
    unknown = [work(title, cosine=0.95), work("Add a logo", "logo.svg", cosine=0.1)]
    known = [work(title, "cache.py", cosine=0.95), work("Add a logo", "logo.svg", cosine=0.1)]
    found = score(title, "", unknown, MINILM)[0]
    assert (found.signals.support, found.signals.crowd) == (0, 0)
    assert found.chance == pytest.approx(chances(title, known)[0], abs=0.05)
    assert found.chance > 0.7


def test_of_equal_works_the_newer_is_more_similar() -> None:
    old, new = chances("Fix login", [work("Fix login", "a.py", age=9), work("Fix login", "b.py", age=1)])
    assert new > old


def test_nothing_in_common_stays_far_below_the_threshold() -> None:
    (chance,) = chances("Login fails behind a proxy", [work("Add a logo", "logo.svg", cosine=0.05)])
    assert chance < 0.1


def test_an_unknown_cosine_counts_as_none() -> None:
    assert chances("Fix login", [work("Fix login", cosine=None)]) == chances(
        "Fix login", [work("Fix login", cosine=0)]
    )


def test_a_model_that_nobody_calibrated_is_judged_by_full_text_alone() -> None:
    calibration = calibration_for("text-embedding-ada-002", 1536)
    near, far = (
        score("Fix login", "", [work("Fix login", "a.py", cosine=cosine)], calibration)[0].chance
        for cosine in (0.9, 0.1)
    )
    assert near == far
    assert calibration != MINILM


def test_the_reason_names_rare_words_first_and_the_backing_of_other_works() -> None:
    found = score(
        "Fix cache eviction",
        "",
        [
            work("Fix cache eviction", "c.py", cosine=0.8),
            work("Fix cache", "c.py", cosine=0.7),
            work("Fix it", "x.py"),
        ],
        MINILM,
    )
    assert found[0].why().startswith("shares eviction, cache, fix; cosine 0.80; ")
    assert "changed the same files" in found[0].why()
    assert score("Login", "", [work("Logo", cosine=None)], MINILM)[0].why() == "nothing in common"


@pytest.mark.parametrize(
    ("one", "other", "related"),
    [
        ("src/a.py", "src/a.py", True),
        ("src/a.py", "src/b.py", False),
        ("src/web/a.py", "src/web/b.py", False),
        ("src/web/api/a.py", "src/web/api/b.py", True),
        ("src/web/api/v1/a.py", "src/web/api/v2/b.py", True),
        ("src/web/api/a.py", "src/web/apis/a.py", False),
    ],
)
def test_works_are_related_by_a_file_or_a_folder_below_the_second_level(
    one: str, other: str, related: bool
) -> None:
    assert landmarks([one]).isdisjoint(landmarks([other])) is not related


def test_a_compound_name_is_found_by_its_parts_and_as_a_whole() -> None:
    assert words("Agent_Spawner fails") == ["agent", "spawner", "fails", "agent-spawner"]


texts = st.text(max_size=80)
candidates = st.builds(
    Candidate,
    title=texts,
    body=texts,
    paths=st.lists(texts, max_size=4).map(tuple),
    created_at=st.datetimes(timezones=st.just(UTC)),
    cosine=st.none() | st.floats(-1, 1),
)


@given(title=texts, body=texts, earlier=st.lists(candidates, max_size=6))
def test_any_text_gives_a_chance_for_each_candidate(title: str, body: str, earlier: list[Candidate]) -> None:
    found = score(title, body, earlier, MINILM)
    assert len(found) == len(earlier)
    assert all(isinstance(each, Similarity) and 0 <= each.chance <= 1 for each in found)


@given(title=texts, earlier=st.lists(candidates, max_size=6, unique_by=lambda each: each.created_at))
def test_the_order_of_the_candidates_does_not_matter(title: str, earlier: list[Candidate]) -> None:
    forth = [each.chance for each in score(title, "", earlier, MINILM)]
    back = [each.chance for each in score(title, "", earlier[::-1], MINILM)]
    assert forth == pytest.approx(back[::-1])
