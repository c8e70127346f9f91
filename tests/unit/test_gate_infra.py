"""A phase's stack asks for the gate before it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from errors import SettingsError
from infra.gate import ask_gate
from tests.unit.stacks import PRESETS, ROOT, settings


def evidence(tmp_path: Path, *entries: dict[str, str]) -> str:
    path = tmp_path / "gate.json"
    path.write_text(json.dumps(entries), encoding="utf-8")
    return str(path)


def test_a_gate_that_says_go_opens_the_phase(tmp_path: Path) -> None:
    file = evidence(tmp_path, {"gate": "after-2", "verdict": "go"})
    assert ask_gate(ROOT, settings(gateFile=file, gateOverride="")).passed


@pytest.mark.parametrize("verdict", ["no-go", "not enough evidence"])
def test_any_other_verdict_keeps_it_shut_and_says_what_is_missing(tmp_path: Path, verdict: str) -> None:
    file = evidence(tmp_path, {"gate": "after-2", "verdict": verdict})
    asked = ask_gate(ROOT, settings(gateFile=file, gateOverride=""))
    assert not asked.passed
    assert f"after-2 says {verdict}" in asked.message
    assert "Fix: set gateFile" in asked.message


def test_phase_4_needs_both_its_gates(tmp_path: Path) -> None:
    one, both = {"gate": "after-3", "verdict": "go"}, {"gate": "before-4", "verdict": "go"}
    asked = ask_gate(ROOT, settings("prod", gateFile=evidence(tmp_path, one), gateOverride=""))
    assert not asked.passed
    assert "before-4 says nothing" in asked.message
    assert ask_gate(ROOT, settings("prod", gateFile=evidence(tmp_path, one, both), gateOverride="")).passed


def test_the_gate_of_another_phase_does_not_count(tmp_path: Path) -> None:
    file = evidence(tmp_path, {"gate": "after-1", "verdict": "go"})
    assert not ask_gate(ROOT, settings(gateFile=file, gateOverride="")).passed


def test_a_named_override_opens_it_and_is_repeated() -> None:
    asked = ask_gate(ROOT, settings(gateFile="", gateOverride="Ada: trial until June"))
    assert asked.passed
    assert "Ada: trial until June" in asked.message


@pytest.mark.parametrize("stack", PRESETS.values())
def test_presets_override_their_gate_openly(stack: str) -> None:
    assert "overridden by" in ask_gate(ROOT, settings(stack)).message


def test_evidence_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"absent\.json.*not readable JSON"):
        ask_gate(ROOT, settings(gateFile=str(tmp_path / "absent.json")))
    with pytest.raises(SettingsError, match="lacks `gate` or `verdict`"):
        ask_gate(ROOT, settings(gateFile=evidence(tmp_path, {"gate": "after-2"})))
