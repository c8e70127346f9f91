"""Issues as GitHub and `gh` give them, and as a stranger may forge them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import IssueError
from runner.issue import MAX_BODY, MAX_LABELS, MAX_TITLE, Issue, issue_from_github
from runner.localgithub.load import read_file

ROOT = Path(__file__).resolve().parents[2]
REST = {
    "number": 7,
    "title": "A title",
    "body": "A body",
    "labels": [{"name": "bug", "color": "red"}, {"name": "agent:ada"}],
    "user": {"login": "alice", "type": "User"},
    "state": "open",
}


def issue(**fields: object) -> Issue:
    return issue_from_github({**REST, **fields}, "octo/planets")


def test_the_shape_of_the_rest_api_and_of_webhooks_is_read():
    read = issue()
    assert (read.repository, read.number, read.title, read.body) == ("octo/planets", 7, "A title", "A body")
    assert (read.labels, read.author, read.state) == (("bug", "agent:ada"), "alice", "open")


def test_the_shape_of_gh_is_read():
    read = issue_from_github(
        {
            "number": 1,
            "title": "t",
            "author": {"login": "bob", "is_bot": False},
            "labels": ["x"],
            "state": "OPEN",
        },
        "octo/planets",
    )
    assert (read.author, read.labels, read.state, read.body) == ("bob", ("x",), "open", "")


@pytest.mark.parametrize("name", ["samples", "real"])
def test_files_of_gh_are_read_whole(name, request):
    file = (
        ROOT / "samples" / "issues.json"
        if name == "samples"
        else request.getfixturevalue("real") / "issues.json"
    )
    loaded = read_file(file, "local/repository", "someone")
    assert len(loaded.issues) == len(json.loads(file.read_text()))
    assert all(item.issue.title for item in loaded.issues)


@pytest.mark.parametrize(
    "author",
    [{"login": "dependabot[bot]"}, {"login": "x", "type": "Bot"}],
)
def test_a_bot_is_known_by_its_type_or_its_name(author):
    assert issue(user=author).author_is_bot
    assert not issue().author_is_bot


def test_an_author_whose_name_is_no_text_is_nobody():
    assert issue(user={"login": 7}).author == ""
    assert issue(user={"login": "a\0\ud800b"}).author == "ab"


@pytest.mark.parametrize(
    ("labels", "agent"),
    [
        ([], None),
        (["agent:ada"], "ada"),
        (["bug", "agent: ada "], "ada"),
        (["agent:"], None),
        (["my-agent:ada"], None),
    ],
)
def test_a_label_may_name_the_agent(labels, agent):
    assert issue(labels=labels).assigned_agent() == agent


@pytest.mark.parametrize("number", [None, "7", 0, -1, True, 7.0, [7]])
def test_an_issue_without_a_proper_number_is_refused(number):
    with pytest.raises(IssueError, match=r"the issue's number is .*Fix: give a whole number from 1"):
        issue(number=number)


@pytest.mark.parametrize("title", [None, 7, ["t"]])
def test_an_issue_without_a_title_is_refused(title):
    with pytest.raises(IssueError, match=r"issue 7 has no title\. Fix: give `title` as a text"):
        issue(title=title)


def test_texts_are_cut_at_githubs_own_limits_and_lose_what_postgresql_cannot_hold():
    read = issue(title="t\0" * MAX_TITLE, body="b\ud800" * MAX_BODY, labels=["l"] * 1000)
    assert len(read.title) <= MAX_TITLE
    assert "\0" not in read.title
    assert len(read.body) <= MAX_BODY
    read.body.encode()
    assert len(read.labels) == MAX_LABELS


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys((*REST, "author"), JSON)))
def test_any_json_is_an_issue_or_refused(data):
    try:
        read = issue_from_github(data, "octo/planets")
    except IssueError as refused:
        assert "Fix: " in str(refused)
    else:
        "".join([read.title, read.body, read.author, *read.labels]).encode()
        assert "\0" not in read.author


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "neither a JSON array nor JSON lines"),
        ("issues", "neither a JSON array nor JSON lines"),
        ("[{]", "JSON"),
        ('[{"title": "t"}]', "number"),
        ('[{"number": 1, "title": "t"}, {"number": 1, "title": "u"}]', "issue 1 stands here and in line 1"),
        ("[7]", "object"),
        ('{"action": "opened"}', "the delivery names no event"),
    ],
)
def test_a_broken_file_of_issues_is_refused_with_file_and_remedy(tmp_path, text, problem):
    file = tmp_path / "issues.json"
    file.write_text(text)
    with pytest.raises(IssueError) as refused:
        read_file(file, "local/repository", "someone")
    message = str(refused.value)
    assert message.startswith(f"{file}")
    assert problem in message
    assert "Fix: " in message


def test_a_file_of_issues_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(IssueError, match=r"nowhere\.json.*Fix: "):
        read_file(tmp_path / "nowhere.json", "local/repository", "someone")
