from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(300)  # tests that run tests
CONFTEST = Path(__file__).parent.parent / "conftest.py"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A project with our conftest, one test of a ring whose program no machine has on an empty PATH."""
    engine = tmp_path / "project" / "tests" / "engine"
    engine.mkdir(parents=True)
    shutil.copy(CONFTEST, engine.parent)
    (engine / "test_engine.py").write_text("def test_engine(): pass\n")
    (tmp_path / "nothing").mkdir()
    return tmp_path / "project"


def run_pytest(checkout: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    # The machine's own environment would decide the outcome: its PATH, and the CI that hypothesis sees in it.
    env = {"PATH": str(checkout.parent / "nothing"), "PYTHONUTF8": "1"} | environment
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    return subprocess.run(command, cwd=checkout, env=env, capture_output=True, text=True, timeout=100)


def test_a_ring_without_its_program_is_skipped_with_one_line_that_says_how_to_get_it(checkout: Path) -> None:
    result = run_pytest(checkout)

    told = [line for line in result.stdout.splitlines() if line.startswith("ring ")]
    assert len(told) == 1
    assert told[0].startswith("ring engine: 1 tests skipped, no pulumi or go here. To run them: install Go")
    assert "1 skipped" in result.stdout
    assert result.returncode == 0


def test_in_ci_a_skipped_ring_fails_the_run(checkout: Path) -> None:
    result = run_pytest(checkout, AGENTS_CLOUD_NO_SKIP="1")

    assert "AGENTS_CLOUD_NO_SKIP forbids this skip" in result.stdout
    assert result.returncode == 1


def test_in_ci_every_run_tries_the_same_examples(checkout: Path) -> None:
    (checkout / "tests" / "unit").mkdir()
    (checkout / "tests" / "unit" / "test_examples.py").write_text(
        "from hypothesis import given, strategies as st\n"
        "seen = []\n"
        "@given(st.integers())\n"
        "def test_examples(number):\n"
        "    seen.append(number)\n"
        "def test_tells():\n"
        "    print('seen', seen)\n"
    )

    def seen(**environment: str) -> list[str]:
        result = run_pytest(checkout, PYTEST_ADDOPTS="-rP -k 'examples or tells'", **environment)
        return [line for line in result.stdout.splitlines() if line.startswith("seen [")]

    first = seen(AGENTS_CLOUD_NO_SKIP="1")
    assert len(first) == 1
    assert seen(AGENTS_CLOUD_NO_SKIP="1") == first
    assert seen() != first


def test_in_ci_a_module_that_skips_itself_fails_the_run(checkout: Path) -> None:
    (checkout / "tests" / "unit").mkdir()
    module = checkout / "tests" / "unit" / "test_self.py"
    module.write_text("import pytest\npytest.skip('no reason', allow_module_level=True)\n")

    result = run_pytest(checkout, AGENTS_CLOUD_NO_SKIP="1")

    assert "no reason" in result.stdout
    assert result.returncode != 0


def test_a_program_on_path_brings_its_ring_to_life(checkout: Path) -> None:
    program = checkout.parent / "nothing" / "pulumi"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)

    result = run_pytest(checkout, AGENTS_CLOUD_NO_SKIP="1")

    assert "1 passed" in result.stdout
    assert "ring engine" not in result.stdout
