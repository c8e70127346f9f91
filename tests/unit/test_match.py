from __future__ import annotations

from pathlib import Path

import pytest

from errors import DefinitionError
from runner.agents import load_agents
from runner.match import MINIMUM, Match, Matcher, report, share_report
from tests.unit.matching import DOCS, FEW, SECURITY, agent, issue, work

MATCHER = Matcher(FEW)


def candidates(match: Match) -> list[str]:
    return [candidate.agent for candidate in match.candidates]


def test_the_specialist_whose_definition_speaks_of_it_gets_the_issue() -> None:
    match = MATCHER.match(issue("Close the vulnerability in access control"))

    assert match.agent == "secure-ninja"
    assert match.score >= MINIMUM
    assert match.candidates[0].agent == "secure-ninja"
    assert match.candidates[0].score == match.score
    assert any("word `vulnerability` in its description +" in reason for reason in match.why)


def test_words_of_one_field_meet_though_the_definition_uses_none_of_them() -> None:
    match = MATCHER.match(issue("EKS upgrade leaves Terraform state behind"))

    assert match.agent == "cloud-architect"
    assert any(reason.startswith("field cloud (`eks`, `terraform`) in its name") for reason in match.why)


@pytest.mark.parametrize(
    "title", ["", "thanks!", "zxcv qwerty plugh", "🎉🎉🎉", "+1", "???", "\0", "me too, please"]
)
def test_an_issue_that_says_nothing_is_left_to_people(title: str) -> None:
    match = MATCHER.match(issue(title))

    assert match.agent is None
    assert match.score < MINIMUM
    assert match.candidates, "who abstains still names who might be asked"
    assert match.why[0].startswith("abstains: the best score ")


def test_a_keyword_inside_a_longer_word_is_no_evidence() -> None:
    matcher = Matcher([agent("fix-master", "fix"), agent("test-master", "test"), agent("log-master", "log")])

    for title in ("Choose another prefix and suffix", "The contestants protested", "Catalogue of dialogues"):
        assert matcher.match(issue(title)).agent is None, title


def test_every_inflection_of_a_word_is_evidence() -> None:
    matcher = Matcher([agent("investigate-champion", "Looks into things."), DOCS])

    for title in ("Investigate", "Investigation of it", "We are investigating", "It was investigated"):
        assert matcher.match(issue(title)).agent == "investigate-champion", title


@pytest.mark.parametrize("label", ["security", "area/security", "kind: security", "Security"])
def test_a_label_is_evidence(label: str) -> None:
    assert MATCHER.match(issue("Look at this", "", label)).agent == "secure-ninja"


@pytest.mark.parametrize(
    "label", ["no-security-impact", "ai-security-requested", "insecurity", "security_waived"]
)
def test_a_keyword_inside_a_longer_label_segment_is_no_evidence(label: str) -> None:
    assert MATCHER.match(issue("Look at this", "", label)).agent is None


def test_the_label_ai_fix_requested_does_not_call_who_fixes() -> None:
    matcher = Matcher([agent("fix-master", "Fixes what is asked for, by AI or not."), DOCS])

    assert matcher.match(issue("Document the release", "", "ai-fix-requested")).agent == "document-ninja"


def test_a_persons_label_decides_against_all_words() -> None:
    match = MATCHER.match(issue("Close the vulnerability", "security", "security", "agent:document-ninja"))

    assert match.agent == "document-ninja"
    assert candidates(match)[:2] == ["document-ninja", "secure-ninja"]
    assert match.candidates[0].score >= match.candidates[1].score
    assert match.why == ("label `agent:document-ninja` decides",)


def test_a_persons_label_decides_where_nothing_else_speaks() -> None:
    match = MATCHER.match(issue("thanks!", "", "agent:Document-Ninja"))

    assert (match.agent, match.score) == ("document-ninja", MINIMUM)


def test_a_label_that_names_nobody_is_ignored_and_told() -> None:
    match = MATCHER.match(issue("Close the vulnerability", "", "agent:ghost"))

    assert match.agent == "secure-ninja"
    assert "label `agent:ghost` ignored: no such agent" in match.why
    assert "ghost" not in candidates(match)


def test_of_two_labels_one_decides_whatever_their_order() -> None:
    labels = ("agent:secure-ninja", "agent:document-ninja")

    assert MATCHER.match(issue("x", "", *labels)) == MATCHER.match(issue("x", "", *reversed(labels)))


@pytest.mark.parametrize("text", ["@document-ninja please look", "for document-ninja", "cc @Document-Ninja."])
def test_an_agent_named_in_the_text_is_preferred(text: str) -> None:
    match = MATCHER.match(issue("Please look", text))

    assert match.agent == "document-ninja"
    assert any(reason.startswith("named in the text +") for reason in match.why)


@pytest.mark.parametrize(
    "text", ["ask@document-ninja.example", "document-ninjas", "pre-document-ninja", "@document"]
)
def test_a_name_inside_a_longer_one_is_no_mention(text: str) -> None:
    assert not any("named" in reason for reason in MATCHER.match(issue("Please look", text)).why)


def test_without_agents_there_is_a_clear_error() -> None:
    with pytest.raises(
        DefinitionError, match=r"there is no agent to match issues with\. Fix: add a definition"
    ):
        Matcher([])


def test_one_agent_alone_is_chosen_for_its_work_and_for_nothing_else() -> None:
    alone = Matcher([SECURITY])

    assert alone.match(issue("Security: close the vulnerability")).agent == "secure-ninja"
    assert alone.match(issue("Bake bread")).agent is None


def test_a_new_definition_works_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "beekeeper.md").write_text(
        "---\nname: beekeeper\ndescription: Looks after hives and queens.\n---\n# Bees\nHoney comes first.\n"
    )
    matcher = Matcher([*FEW, *load_agents(tmp_path)])

    assert matcher.match(issue("Two hives lost their queen")).agent == "beekeeper"


def test_boilerplate_that_all_definitions_share_weighs_nothing() -> None:
    shared = "You are part of the Example ecosystem.\n- Peer Review: quality of reviews provided\n"
    agents = [agent(f"maker-of-{thing}", f"Makes {thing}.", body=f"{shared}{thing}") for thing in _THINGS]
    matcher = Matcher(agents)

    assert matcher.match(issue("Peer review of the quality of the ecosystem")).agent is None
    assert matcher.match(issue("The violins are out of tune")).agent == "maker-of-violins"


def test_ties_are_spread_over_the_twins_and_stay_as_they_are() -> None:
    twins = [agent(f"{name}", "Bakes bread.", specialization="baking") for name in ("anna-one", "berta-one")]
    matcher = Matcher([*twins, *FEW])

    chosen = [matcher.match(issue("Bake bread", number=number)).agent for number in range(200)]

    assert 60 < chosen.count("anna-one") < 140
    assert chosen.count("anna-one") + chosen.count("berta-one") == 200
    assert chosen == [matcher.match(issue("Bake bread", number=number)).agent for number in range(200)]
    why = matcher.match(issue("Bake bread", number=7)).why
    assert any(reason.startswith("tie with ") for reason in why)


def test_of_a_huge_body_only_the_beginning_counts() -> None:
    start = "vulnerability @document-ninja cloud-architect ".ljust(4_000)

    match = MATCHER.match(issue("Security", start + "bread " * 200_000))

    assert match == MATCHER.match(issue("Security", start))
    assert match.agent is not None


@pytest.mark.parametrize(
    "text", ["café ☕ naïve", "安全 漏洞", "\ud800 broken", "ﬁx ＳＥＣＵＲＩＴＹ", "İstanbul ß", "a" * 10_000]
)
def test_any_text_is_matched_without_an_error(text: str) -> None:
    assert isinstance(MATCHER.match(issue(text, text, text)), Match)


def test_the_report_has_the_shape_that_the_command_prints() -> None:
    issues = [issue("Close the vulnerability", number=7), issue("thanks!", number=8)]

    first, second = report([MATCHER.match(each) for each in issues], issues)

    assert set(first) == set(second) == {"number", "agent", "score", "candidates", "why"}
    assert (first["number"], first["agent"]) == (7, "secure-ninja")
    assert first["candidates"][0] == {"agent": "secure-ninja", "score": first["score"]}
    assert second["agent"] is None
    assert second["candidates"]


def test_who_takes_over_fifteen_percent_of_a_window_is_reported() -> None:
    def chosen(name: str | None) -> Match:
        return Match(name, 5.0, (), ())

    window = [chosen("busy")] * 30 + [chosen(f"agent-{n}") for n in range(70)] + [chosen(None)] * 50

    assert share_report(window) == {"busy": 0.3}
    assert share_report([chosen("first")]) == {}, "one mission is no window"
    assert share_report([]) == {}


def test_past_works_are_cited() -> None:
    matcher = Matcher(FEW, [work(41, "cloud-architect", "Weekly hive inspection")])

    match = matcher.match(issue("Weekly hive inspection", number=42))

    assert match.agent == "cloud-architect"
    assert "did #41 “Weekly hive inspection” (100% alike) +45.0" in match.why


_THINGS = "violins kettles ladders mirrors nails ovens pillows quilts ropes saddles tents umbrellas".split()
