"""`python -m infra.preview`: what it prints, its document, its exit codes, and a pull request's difference."""

from __future__ import annotations

import io
import json
import subprocess
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from infra.diff import MARKER, difference
from infra.document import to_document
from infra.preview import main
from infra.shapes import Verdict
from infra.show import show
from tests.unit.stacks import ROOT, outlook_of


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """(exit code, standard output, standard error)"""
    code = main(arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def shown(stack: str) -> str:
    """What a person sees of a preset."""
    page = io.StringIO()
    show(outlook_of(stack), page)
    return page.getvalue()


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(json.dumps(to_document(outlook_of("prod"))))
    return parsed


@pytest.fixture
def one_agent(tmp_path: Path) -> tuple[str, ...]:
    """Arguments that name another checkout's only agent: few resources, for what does not depend on their number."""
    folder = tmp_path / "agents"
    folder.mkdir()
    text = (ROOT / ".github" / "agents" / "steam-machine.md").read_text(encoding="utf-8")
    (folder / "lone-wolf.md").write_text(
        text.replace("name: steam-machine", "name: lone-wolf"), encoding="utf-8"
    )
    geography = tmp_path / "geography.yaml"
    geography.write_text("regions: {us-west-2: {location: Oregon, agents: [lone-wolf]}}", encoding="utf-8")
    return "--agents", str(folder), "--geography", str(geography)


def test_the_document_has_the_agreed_parts(document: dict[str, Any]) -> None:
    assert set(document) == {"phase", "resources", "capacity", "bill", "policies", "plan"}
    assert document["phase"] == 4
    assert {frozenset(entry) for entry in document["resources"]} == {frozenset({"type", "name", "region"})}
    assert set(document["bill"]) == {"base", "worst", "budget", "ceiling", "lines"}
    expected = {"item", "region", "quantity", "unit_price", "monthly", "source"}
    assert all(set(line) == expected for line in document["bill"]["lines"])


def test_the_documents_lines_add_up_to_base(document: dict[str, Any]) -> None:
    lines = document["bill"]["lines"]
    assert sum(line["monthly"] for line in lines) == pytest.approx(document["bill"]["base"], abs=0.005)
    assert all(
        line["quantity"] * line["unit_price"] == pytest.approx(line["monthly"], abs=0.00501) for line in lines
    )


def test_resources_carry_pulumis_type_tokens_and_their_region(document: dict[str, Any]) -> None:
    found = {(entry["type"], entry["region"]) for entry in document["resources"]}
    assert ("aws:rds/instance:Instance", "us-west-2") in found
    assert ("aws:rds/instance:Instance", "eu-west-1") in found
    assert not any(region == "" for _, region in found)


def test_the_document_says_for_outsiders_what_stands_where(document: dict[str, Any]) -> None:
    regions = {region["name"]: region for region in document["plan"]["regions"]}
    assert regions["eu-west-1"]["database"]["backup_copy_region"] == "eu-central-1"
    assert {agent["name"] for agent in regions["eu-west-1"]["agents"]} >= {
        "secure-specialist",
        "document-ninja",
    }
    assert document["capacity"]["us-west-2"]["fits"] is True


def test_a_person_sees_tree_capacity_bill_limits_and_what_is_assumed() -> None:
    out = shown("phase3")
    for words in (
        "Stack phase3: phase 3",
        "Datastore",
        "CPU at rest",
        "rds/db.t4g.medium",
        "assumed",
        "of the budget $600",
    ):
        assert words in out
    assert "of the ceiling $1,000" in out
    assert "us-west-2     database" in out  # a bar for each region and kind
    assert "█" in out


def test_phase_4_shows_the_proposals_split_beside_ours() -> None:
    assert "the proposal's: compute 800, database 250, services 150" in shown("prod")


def test_a_stack_can_be_looked_at_in_another_phase(
    one_agent: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = run(capsys, "--stack", "prod", "--phase", "2", *one_agent, "--json")
    assert json.loads(out)["phase"] == 2
    assert json.loads(out)["plan"]["stack"] == "prod"


def test_another_checkouts_agents_and_geography_are_taken(
    one_agent: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, "--phase", "3", *one_agent, "--json")
    assert code == 0
    region = json.loads(out)["plan"]["regions"][0]
    assert [agent["name"] for agent in region["agents"]] == ["lone-wolf"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "neither --stack nor --phase"),
        (("--stack", "nowhere"), "Pulumi.nowhere.yaml: there is no such file"),
        (("--phase", "3", "--set", "homeFlexMaxSize"), "has no `=`"),
        (("--phase", "3", "--set", "homeFlexMaxSiz=4"), "did you mean homeFlexMaxSize?"),
        (("--phase", "3", "--set", "homeFlexMaxSize=3"), "do not fit on 3 flex nodes"),
        (("--phase", "3", "--agents", "no-such-folder"), "no-such-folder is not a folder"),
        (("--phase", "3", "--geography", "no-such-file"), "no-such-file"),
        (("--phase", "3", "--diff", "no-such-revision"), "no-such-revision"),
        (("--phase", "3", "--diff", "--output=/tmp/x"), "--diff"),
    ],
)
def test_wrong_input_is_exit_code_1_with_the_reason(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(arguments)
    except SystemExit as wrong_usage:
        code = int(str(wrong_usage.code))
    assert code == 1
    assert message in capsys.readouterr().err


def test_a_broken_rule_is_exit_code_2_and_is_named(
    one_agent: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, "--phase", "3", *one_agent, "--set", "gateOverride=", "--json")
    assert code == 2
    broken = {
        policy["name"]: policy["message"] for policy in json.loads(out)["policies"] if not policy["passed"]
    }
    assert set(broken) == {"gate before phase 3"}
    assert "after-2 says nothing" in broken["gate before phase 3"]


def test_a_larger_group_breaks_the_ceiling_and_tells_the_sum(
    one_agent: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, "--phase", "3", *one_agent, "--set", "homeFlexMaxSize=6")
    assert code == 2
    # The worst bill counts what is allowed, however few agents there are.
    worst = outlook_of("phase3").plan.bill.worst
    # One more spot node at the dearest on-demand price, with its disk.
    assert f"the worst bill is ${worst + Decimal('99.28') + Decimal('1.60'):,.2f} a month" in out
    assert "the ceiling $1,000" in out


def test_a_person_sees_each_rule_hold_or_break() -> None:
    held = outlook_of("phase3")
    page = io.StringIO()
    show(replace(held, verdicts=(*held.verdicts, Verdict("nothing is dear", False, "$5 is"))), page)
    assert "holds   gate before phase 3: overridden by" in page.getvalue()
    assert "broken  nothing is dear: $5 is" in page.getvalue()


def test_a_difference_tells_dollars_resources_and_rules_in_a_pull_requests_language() -> None:
    def state(base: float, inputs: dict[str, str], passed: bool) -> dict[str, Any]:
        line = {"item": "ec2/t4g.large", "region": "us-west-2", "monthly": base}
        return {
            "phase": 3,
            "bill": {"base": base, "worst": 2 * base, "budget": 600, "ceiling": 1000, "lines": [line]},
            "policies": [{"name": "bill at rest", "passed": passed, "message": f"{base} of 600"}],
            "plan": {"inputs": inputs, "data": {}},
        }

    before = state(500.0, {"us-west-2 aws:kms/key:Key a": "1", "us-west-2 aws:kms/key:Key b": "1"}, True)
    after = state(650.5, {"us-west-2 aws:kms/key:Key a": "2", "us-west-2 aws:kms/key:Key c": "1"}, False)
    text = difference(before, after, "main")
    assert text.startswith(MARKER)
    assert "| at rest | $500.00 | $650.50 | +$150.50 | $600.00 |" in text
    assert "| ec2/t4g.large | us-west-2 | $500.00 | $650.50 | +$150.50 |" in text
    assert "**Resources**: 1 created, 1 changed, 1 removed, 2 in all." in text
    assert "- created: 1 × `aws:kms/key:Key` in us-west-2: c" in text
    assert "- changed: 1 × `aws:kms/key:Key` in us-west-2: a" in text
    assert "- removed: 1 × `aws:kms/key:Key` in us-west-2: b" in text
    assert "**bill at rest** (newly broken): 650.5 of 600" in text


def test_a_change_that_would_replace_data_breaks_a_rule_and_names_the_input(
    one_agent: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("--phase", "2", *one_agent)
    _, told, _ = run(capsys, *arguments, "--json")
    before = json.loads(told)
    monkeypatch.setattr("infra.preview.document_at", lambda *_: before)
    code, out, _ = run(capsys, *arguments, "--diff", "main")
    assert (code, "data-stays" in out) == (0, False)
    (database,) = (key for key in before["plan"]["data"] if "aws:rds/instance:Instance" in key)
    before["plan"]["data"][database]["dbName"] = '"former"'
    code, out, _ = run(capsys, *arguments, "--diff", "main")
    assert code == 2
    assert (
        f"**data-stays** (newly broken): {database} holds data and would be replaced: dbName changes" in out
    )
    assert "**Rules**: all" not in out


def test_a_revision_without_a_preview_counts_as_empty(
    one_agent: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    first = subprocess.run(
        ["git", "-C", str(ROOT), "rev-list", "--max-parents=0", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    if first.returncode or not first.stdout.strip():
        pytest.skip("not a git checkout with history")
    code, out, _ = run(capsys, "--phase", "2", *one_agent, "--diff", first.stdout.split()[0])
    assert code == 0
    assert "0 changed, 0 removed" in out
    assert "| at rest | $0.00 |" in out
