"""Golden issues over our own definitions and over those of a real ecosystem, and how often real works are right."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest

from runner.agents import load_agents
from runner.issue import Issue, issue_from_github
from runner.match import Match, Matcher, share_report
from runner.match.history import load_history
from tests.conftest import REAL
from tests.unit.matching import issue, own_agents

# Who may rightly get work on cloud and infrastructure: the architect, who builds what runs there, who watches over it.
CLOUD = ("cloud-architect", "infrastructure-specialist", "create-guru", "engineer-master")
GOLDEN = {
    "Move our EKS clusters to Graviton nodes": CLOUD,
    "Set up an AWS VPC with private subnets in eu-west-1": CLOUD,
    "Kubernetes pods stay Pending after the node upgrade": CLOUD,
    "Terraform module for RDS Postgres": CLOUD,
    "Cut the AWS bill: NAT gateway and idle load balancers": CLOUD,
    "Helm chart for the gateway on GKE": CLOUD,
    "Serverless: cold start of the Lambda function": CLOUD,
    "Multi-cloud failover between Azure and AWS": CLOUD,
    "Vulnerability: path traversal lets anybody read secrets": ("secure-", "guard", "monitor-", "valid"),
    "Tutorial for newcomers: document how to add an agent": ("document-", "clarify-", "create-champion",
                                                              "communicator-", "guide-", "support-master"),
    "Dashboard is slow: cache the query, profile the hot path": ("accelerate-", "optimizer-"),
    "Workflow run fails on GitHub Actions after the upgrade": ("troubleshoot-", "workflows-tech-lead", "orchestrator-",
                                                               "align-", "coordinate-"),
    "Remove duplication and untangle the code structure": ("organize-", "refactor-", "restructure-", "simplify-",
                                                           "cleaner-"),
    "Raise test coverage of edge cases": ("assert-", "edge-cases-", "valid", "verify-", "prove"),
}  # fmt: skip


@cache
def wild() -> Matcher:
    return Matcher(load_agents(REAL / "agents"))


@pytest.mark.parametrize("title", GOLDEN)
def test_golden_issues_reach_their_specialist_among_our_own(title: str) -> None:
    match = Matcher(own_agents()).match(issue(title))

    assert match.agent is not None
    assert match.agent.startswith(GOLDEN[title]), match


@pytest.mark.parametrize("title", GOLDEN)
def test_golden_issues_reach_their_specialist_among_definitions_in_the_wild(title: str, real: Path) -> None:
    match = wild().match(issue(title))

    assert match.agent is not None
    assert match.agent.startswith(GOLDEN[title]), match


@pytest.mark.parametrize("title", ["thanks!", "", "zxcv qwerty plugh", "hello", "???"])
def test_nothing_said_is_nobodys_among_66(title: str, real: Path) -> None:
    assert wild().match(issue(title)).agent is None
    assert Matcher(own_agents()).match(issue(title)).agent is None


def right(matches: list[Match], truth: list[str | None]) -> tuple[float, float]:
    first = sum(match.agent == agent for match, agent in zip(matches, truth, strict=True))
    three = sum(
        agent in {candidate.agent for candidate in match.candidates[:3]}
        for match, agent in zip(matches, truth, strict=True)
    )
    return first / len(truth), three / len(truth)


def test_real_works_are_right_more_often_than_the_yardsticks(real: Path) -> None:
    agents, history = load_agents(real / "agents"), load_history(real / "pull_requests.json")
    works = [work for work in history if work.agent]
    alone, after = [], []
    learned = Matcher(agents)
    for count, work in enumerate(works):
        if count % 8 == 0:  # anew for every eighth work, to save time; the bench does it for each
            learned = Matcher(agents, history[: history.index(work)])
        hidden = Issue("owner/name", work.number, work.title, work.body, work.labels)
        alone.append(wild().match(hidden))
        after.append(learned.match(hidden))
    truth = [work.agent for work in works]

    first, three = right(alone, truth)
    assert (first, three) > (0.25, 0.40)
    assert three > 0.40
    first, three = right(after, truth)
    assert first > 0.43
    assert three > 0.66
    assert all(share < 0.18 for share in share_report(after).values())


def test_with_its_history_no_agent_takes_more_than_its_share_of_the_real_issues(real: Path) -> None:
    data = json.loads((real / "issues.json").read_bytes())
    issues = [issue_from_github(each, "owner/name") for each in data]
    matcher = Matcher(load_agents(real / "agents"), load_history(real / "pull_requests.json"))

    matches = [matcher.match(each) for each in issues]

    assert share_report(matches) == {}
    assert sum(match.agent is not None for match in matches) > 0.8 * len(matches)
    assert len({match.agent for match in matches}) > 40
