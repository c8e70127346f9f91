from __future__ import annotations

import random
from collections import Counter

import pytest

from runner.match import Matcher, share_report
from runner.match.fair_share import CAP, Window, cap_for, margins, over_share
from tests.unit.matching import DOCS, FEW, SECURITY, agent, issue, own_agents, work

LIKE = "Rotate the signing keys of the mail relay"
NOBODY_SPEAKS_OF = "Water the office plants"


def test_what_agents_really_did_changes_the_order() -> None:
    before = Matcher(FEW).match(issue(LIKE, number=9))
    after = Matcher(FEW, [work(8, "document-ninja", LIKE)]).match(issue(LIKE, number=9))

    assert before.agent != "document-ninja"
    assert after.agent == "document-ninja"


def test_history_never_invents_a_specialist() -> None:
    history = [work(n, "docs-tech-lead", NOBODY_SPEAKS_OF) for n in range(1, 9)]

    match = Matcher(FEW, history).match(issue(NOBODY_SPEAKS_OF, number=99))

    assert match.agent is None
    assert "docs-tech-lead" not in {candidate.agent for candidate in match.candidates}


def test_works_of_nobody_change_no_choice() -> None:
    history = [work(n, None, f"Close the vulnerability {n}") for n in range(1, 9)]

    assert Matcher(FEW, history).match(issue("Close the vulnerability", number=99)).agent == "secure-ninja"


def test_a_work_is_no_evidence_about_itself() -> None:
    history = [work(8, "document-ninja", NOBODY_SPEAKS_OF)]

    assert Matcher(FEW, history).match(issue(NOBODY_SPEAKS_OF, number=9)).agent == "document-ninja"
    assert Matcher(FEW, history).match(issue(NOBODY_SPEAKS_OF, number=8)).agent is None


def test_newer_works_count_more_than_older_ones() -> None:
    others = [work(n, "cloud-architect", f"Something else entirely {n}") for n in range(2, 62)]
    history = [
        work(1, "secure-ninja", NOBODY_SPEAKS_OF),
        *others,
        work(62, "document-ninja", NOBODY_SPEAKS_OF),
    ]

    assert Matcher(FEW, history).match(issue(NOBODY_SPEAKS_OF, number=99)).agent == "document-ninja"


def test_a_repeated_kind_of_work_is_recognised_by_its_words_not_its_numbers() -> None:
    history = [work(n, "document-ninja", f"Minutes of 2026-03-{n:02} for #{n}") for n in range(1, 5)]

    assert (
        Matcher(FEW, history).match(issue("Minutes of 2027-11-30 for #815", number=99)).agent
        == "document-ninja"
    )


@pytest.mark.parametrize("swallower", ["engineer-master", "cloud-architect"])
def test_a_history_of_almost_one_agent_does_not_let_it_swallow_the_others(swallower: str) -> None:
    agents, chance = own_agents(), random.Random(7)
    texts = [(f"{responsibility}", each.name) for each in agents for responsibility in each.responsibilities]
    chance.shuffle(texts)
    past, future = texts[: len(texts) // 2], texts[len(texts) // 2 :]
    history = [
        work(n, swallower if chance.random() < 0.9 else name, text)
        for n, (text, name) in enumerate(past, start=1)
    ]
    matcher = Matcher(agents, history)

    matches = [matcher.match(issue(text, number=10_000 + n)) for n, (text, _) in enumerate(future)]

    assert sum(match.agent is not None for match in matches) > 0.7 * len(matches), (
        "it must not help itself by abstaining"
    )
    assert share_report(matches) == {}


def test_who_is_asked_for_by_name_gets_the_issue_even_with_its_share_full() -> None:
    history = [work(n, "secure-ninja", f"Chore {n} of the house") for n in range(1, 60)]
    matcher = Matcher([*FEW, *(agent(f"maker-{n}", f"Makes thing{n}.") for n in range(20))], history)

    assert matcher.match(issue("Chore of the house", "@secure-ninja", number=99)).agent == "secure-ninja"


def test_margins_bring_the_busiest_down_to_its_share_and_leave_the_others_alone() -> None:
    busy, rare = 0, 1
    window = [[(busy, 10.0 + n / 10), (2 + n % 10, 8.0)] for n in range(90)] + [[(rare, 9.0)]] * 10

    found = margins([Window(0.12, window)], agents=20, minimum=3.0)

    winners = Counter(max(standing, key=lambda entry: entry[1] - found[entry[0]])[0] for standing in window)
    assert winners[busy] <= 0.12 * 100
    assert winners[rare] == 10
    assert found[rare] == 0.0


def test_no_history_and_few_works_need_no_margins() -> None:
    assert margins([], 5, 3.0) == [0.0] * 5
    assert margins([Window(0.12, [[(0, 9.0)]] * 9)], 5, 3.0) == [0.0] * 5


@pytest.mark.parametrize(
    ("agents", "cap"), [(1, 1.0), (2, 1.0), (4, 0.5), (13, 2 / 13), (14, CAP), (66, CAP)]
)
def test_a_small_fleet_may_share_out_less_finely(agents: int, cap: float) -> None:
    assert cap_for(agents) == pytest.approx(cap)


def test_shares_are_counted_over_missions_that_have_an_agent() -> None:
    assert over_share(["a"] * 4 + [None] * 96) == {"a": 0.2}
    assert over_share(["a"] * 3 + [None] * 97) == {}
    assert over_share([SECURITY.name] * 10 + [DOCS.name] * 10) == {"secure-ninja": 0.5, "document-ninja": 0.5}
