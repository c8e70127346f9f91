"""The workflow that previews a pull request, on the local Actions runner and against a stand-in for `gh`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.engine.conftest import build_tool
from tests.engine.stack import ROOT

WORKFLOW = ".github/workflows/preview.yml"
# Keeps the comment in a file, as GitHub would under the pull request.
GH = """#!/bin/sh
echo "$*" >> "$CALLS"
case "$*" in
    *--paginate*) if [ -f "$CALLS.comment" ]; then echo 7; fi ;;
    *POST*|*PATCH*)
        for argument; do
            case $argument in body=@*) cp "${argument#body=@}" "$CALLS.comment" ;; esac
        done ;;
esac
"""


@pytest.fixture(scope="module")
def act() -> str:
    return shutil.which("act") or str(build_tool("act") / "act")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A clone with a change that costs money, on top of what is committed."""
    clone = tmp_path / "clone"
    _git(tmp_path, "clone", "--quiet", str(ROOT), str(clone))
    # Of a detached checkout the clone has no branch, and the runner copies no empty `.git/refs`.
    _git(clone, "checkout", "--quiet", "-B", "change")
    (clone / ".venv").symlink_to(ROOT / ".venv")
    stack = clone / "Pulumi.dev.yaml"
    stack.write_text(stack.read_text() + "  agents-cloud:databaseStorageGb: 35\n")
    _git(
        clone,
        "-c",
        "user.name=Tester",
        "-c",
        "user.email=tester@example.org",
        "commit",
        "-qam",
        "More storage",
    )
    return clone


def test_a_pull_request_gets_one_comment_that_later_runs_renew(
    act: str, checkout: Path, tmp_path: Path
) -> None:
    first = _pull_request(act, checkout, tmp_path)
    assert [call for call in first if "POST" in call]
    comment = (tmp_path / "calls.comment").read_text()
    assert "phase 2" in comment
    assert "phase 4" in comment
    assert "$" in comment

    second = _pull_request(act, checkout, tmp_path)[len(first) :]
    assert [call for call in second if "PATCH" in call and "/comments/7" in call]
    assert not [call for call in second if "POST" in call]


def _pull_request(act: str, checkout: Path, folder: Path) -> list[str]:
    """Run the workflow's offline job. Gives all calls of `gh` so far."""
    bin = folder / "bin"
    bin.mkdir(exist_ok=True)
    (bin / "gh").write_text(GH)
    (bin / "gh").chmod(0o755)
    base = _git(checkout, "rev-parse", "HEAD~1")
    head = {
        "repo": {"fork": False, "full_name": "example/agents-cloud"},
        "sha": _git(checkout, "rev-parse", "HEAD"),
    }
    event = folder / "event.json"
    event.write_text(json.dumps({"pull_request": {"number": 3, "base": {"sha": base}, "head": head}}))
    calls = folder / "calls"
    environment = os.environ | {"PATH": f"{bin}{os.pathsep}{os.environ['PATH']}", "CALLS": str(calls)}
    options = ["pull_request", "--eventpath", str(event), "--workflows", WORKFLOW, "--job", "offline"]
    local = [
        "--platform",
        "ubuntu-latest=-self-hosted",
        "--env",
        f"CALLS={calls}",
        "--secret",
        "GITHUB_TOKEN=x",
    ]
    ran = subprocess.run(
        [act, *options, *local],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-2000:]
    return calls.read_text().splitlines()


def _git(folder: Path, *arguments: str) -> str:
    ran = subprocess.run(
        ["git", *arguments], cwd=folder, check=True, capture_output=True, text=True, timeout=120
    )
    return ran.stdout.strip()
