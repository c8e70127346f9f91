"""The same issue and definitions give the same answer in every process and order, whatever the text."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from runner.match import CANDIDATES, MINIMUM, Matcher
from tests.unit.matching import FEW, ROOT, agent, issue, own_agents, work

ISSUES = (
    "Cache the dashboard's slow query",
    "Vulnerability in the webhook's signature check",
    "Move the workers to Graviton",
    "Explain how to add an agent",
    "Build breaks: flaky test in CI",
)
TWINS = tuple(agent(f"twin-{letter}", "Bakes bread.", specialization="baking") for letter in "abcd")
HISTORY = tuple(
    work(number, "secure-ninja" if number % 3 else "twin-a", f"{ISSUES[number % 5]} again {number}")
    for number in range(1, 60)
)
TEXT = st.text(max_size=200) | st.lists(
    st.sampled_from("security cloud bread @twin-a docs fix slow workflow 2026-01-01 ☁ agent:".split()),
    max_size=30,
).map(" ".join)
PROGRAM = """
import json
from runner.match import Matcher, report
from tests.unit.matching import issue
from tests.unit.test_match_stability import FEW, HISTORY, ISSUES, TWINS
issues = [issue(title, "Bake bread", "area/security", number=n) for n, title in enumerate((*ISSUES, "bread"))]
matcher = Matcher([*TWINS, *FEW], HISTORY)
print(json.dumps(report([matcher.match(each) for each in issues], issues)))
"""


def test_every_process_and_hash_seed_gives_the_same_answer() -> None:
    answers = set()
    for seed in ("0", "1", "42", "random"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        answers.add(done.stdout)

    assert len(answers) == 1
    assert len(json.loads(answers.pop())) == len(ISSUES) + 1


def test_a_thousand_orders_of_the_definitions_give_the_same_answers() -> None:
    agents, chance = [*TWINS, *FEW], random.Random(3)
    issues = [issue(title, number=number) for number, title in enumerate((*ISSUES, "Bake bread"))]
    expected = [Matcher(agents, HISTORY[-8:]).match(each) for each in issues]

    for _ in range(1_000):
        chance.shuffle(agents)
        matcher = Matcher(agents, HISTORY[-8:])
        assert [matcher.match(each) for each in issues] == expected


def test_the_order_of_66_definitions_does_not_matter_either() -> None:
    agents = list(own_agents())
    issues = [issue(title, number=number) for number, title in enumerate(ISSUES)]
    expected = [Matcher(agents).match(each) for each in issues]

    for seed in range(5):
        random.Random(seed).shuffle(agents)
        assert [Matcher(agents).match(each) for each in issues] == expected


MATCHER = Matcher([*TWINS, *FEW], HISTORY)
NAMES = {each.name for each in (*TWINS, *FEW)}


@given(title=TEXT, body=TEXT, labels=st.lists(TEXT, max_size=5), number=st.integers(1, 10**9))
def test_whatever_the_text_the_answer_is_whole(title: str, body: str, labels: list[str], number: int) -> None:
    given_issue = issue(title, body, *labels, number=number)

    match = MATCHER.match(given_issue)

    names = [candidate.agent for candidate in match.candidates]
    scores = [candidate.score for candidate in match.candidates]
    assert 1 <= len(names) <= CANDIDATES
    assert len(set(names)) == len(names)
    assert set(names) <= NAMES
    assert scores == sorted(scores, reverse=True)
    assert min(scores) >= 0
    assert match.score == scores[0]
    assert match.why
    assert all(len(reason) < 250 for reason in match.why)
    if match.agent is None:
        assert match.score < MINIMUM
    else:
        assert match.agent == names[0]
        assert match.score >= MINIMUM
    assert MATCHER.match(given_issue) == match


@given(title=TEXT, body=TEXT, name=st.sampled_from(sorted(NAMES)))
def test_whatever_the_text_a_persons_label_wins(title: str, body: str, name: str) -> None:
    assert MATCHER.match(issue(title, body, f"agent:{name}")).agent == name


@given(title=TEXT, body=TEXT)
def test_a_label_that_names_nobody_changes_no_choice(title: str, body: str) -> None:
    plain, labelled = MATCHER.match(issue(title, body)), MATCHER.match(issue(title, body, "agent:ghost"))

    assert (plain.agent, plain.candidates) == (labelled.agent, labelled.candidates)
