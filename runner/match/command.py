"""`python -m runner match`: which specialist each issue goes to, and why, for people or as JSON."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from errors import IssueError, SettingsError
from json_array import read_array
from runner.agents import load_agents
from runner.issue import Issue, issue_from_github
from runner.match import Match, Matcher, report, share_report
from runner.match.history import load_history
from runner.match.scope import refuse_swallowing
from runner.terminal import print_json

_REPOSITORY = "local/repository"
_BAR = 30  # columns of the best candidate's bar


def match_command(options: argparse.Namespace) -> int:
    """Match the issue of the command line, or those of a file. Raises InputError."""
    if (options.issues is None) == (options.title is None):
        raise SettingsError("neither or both of --issues and --title are given", "give one of them")
    agents = load_agents(options.agents)
    refuse_swallowing(agents)
    matcher = Matcher(agents, load_history(options.history) if options.history else ())
    if options.issues is not None:
        issues = read_issues(options.issues)
    else:
        given = {"number": 1, "title": options.title, "body": options.body, "labels": options.label}
        issues = [issue_from_github(given, _REPOSITORY)]
    matches = [matcher.match(issue) for issue in issues]
    if options.json:
        print_json(report(matches, issues))
    elif options.issues is None:
        _print_one(matches[0])
    else:
        _print_table(issues, matches)
    for name, share in share_report(matches).items():
        Console(stderr=True).print(
            f"note: {name} takes {share:.0%} of these issues, over the 15 % of one agent"
        )
    return 0


def read_issues(path: Path) -> list[Issue]:
    """The issues in a file as `gh issue list --json number,title,body,labels` prints it. Raises IssueError."""
    form = "write the array that `gh issue list --json number,title,body,labels` prints"
    data = read_array(path, IssueError, items="issues", shape=form, too_big="split the file")
    issues = []
    for place, item in enumerate(data, start=1):
        if not isinstance(item, dict):
            raise IssueError(f"entry {place}: a {type(item).__name__}, not an object", form, file=path)
        try:
            issues.append(issue_from_github(item, _REPOSITORY))
        except IssueError as broken:
            raise IssueError(f"entry {place}: {broken.problem}", broken.fix, file=path) from broken
    return issues


def _print_table(issues: list[Issue], matches: list[Match]) -> None:
    table = Table("issue", "agent", "score", "next best", "why")
    for issue, match in zip(issues, matches, strict=True):
        others = ", ".join(f"{c.agent} {c.score:.1f}" for c in match.candidates[:3] if c.agent != match.agent)
        title = escape(f"#{issue.number} {issue.title}"[:60])
        agent = match.agent or "[dim]abstains[/dim]"
        table.add_row(title, agent, f"{match.score:.1f}", others, escape("; ".join(match.why)))
    Console(file=sys.stdout).print(table)


def _print_one(match: Match) -> None:
    """The candidates with bars, then the reasons: one issue has room for all of them."""
    table = Table("agent", "score", "", box=SIMPLE_HEAD, pad_edge=False)
    most = max((candidate.score for candidate in match.candidates), default=0.0) or 1.0
    for candidate in match.candidates:
        style = "bold" if candidate.agent == match.agent else "dim"
        bar = "█" * round(_BAR * candidate.score / most)
        table.add_row(candidate.agent, f"{candidate.score:.1f}", bar, style=style)
    console = Console(file=sys.stdout, highlight=False)
    console.print(table)
    for reason in match.why:
        console.print(f"- {escape(reason)}")
