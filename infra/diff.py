"""What changes between a git revision and now, in resources, dollars and verdicts, as Markdown for a pull request."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from errors import SettingsError
from infra.policy.data import replaced_data

MARKER = "<!-- agents-cloud preview -->"  # by which a workflow finds the comment that it updates
TIMEOUT_SECONDS = 300
LISTED = 10  # names of a kind of resource that are written out
EMPTY: dict[str, Any] = {
    "resources": [],
    "bill": {"base": 0.0, "worst": 0.0, "lines": []},
    "policies": [],
    "plan": {"inputs": {}, "data": {}},
}


def document_at(root: Path, revision: str, arguments: Sequence[str]) -> dict[str, Any]:
    """The preview document of `revision` of the repository at `root`, made by that revision's own code and files.

    A revision that has no preview yet counts as empty. Raises SettingsError when the revision is unknown or its
    preview fails.
    """
    commit = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    with tempfile.TemporaryDirectory(prefix="agents-cloud-") as folder:
        archive = _git(root, "archive", "--format=tar", commit.decode().strip())
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(folder, filter="data")
        if not (Path(folder) / "infra" / "preview.py").is_file():
            return EMPTY
        process = subprocess.run(
            [sys.executable, "-m", "infra.preview", *arguments],
            cwd=folder,
            capture_output=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    try:
        document: dict[str, Any] = json.loads(process.stdout)
    except ValueError as broken:
        reason = process.stderr.decode(errors="replace").strip().splitlines()
        raise SettingsError(
            f"{revision} cannot be previewed ({reason[-1] if reason else 'no output'})",
            "compare with another revision",
        ) from broken
    return document


def difference(before: dict[str, Any], after: dict[str, Any], revision: str) -> str:
    """Markdown that a reviewer reads in a minute: the bill, then what is made, changed and removed, then the rules."""
    return "\n".join(
        [MARKER, *_bill(before, after, revision), *_resources(before, after), *_rules(before, after), ""]
    )


def lost_data(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What holds data in `before` and would be replaced or deleted by `after`."""
    # A revision from before this rule does not tell which inputs hold its data in place.
    return list(replaced_data(before["plan"].get("data", {}), after["plan"]["data"]))


def _bill(before: dict[str, Any], after: dict[str, Any], revision: str) -> Iterator[str]:
    old, new = before["bill"], after["bill"]
    yield f"### Preview of phase {after['phase']} against {revision}"
    yield ""
    yield "| a month | before | after | change | limit |"
    yield "|---|---:|---:|---:|---:|"
    for label, key, limit in (("at rest", "base", "budget"), ("worst", "worst", "ceiling")):
        change = _signed(new[key] - old[key])
        yield f"| {label} | {_dollars(old[key])} | {_dollars(new[key])} | {change} | {_dollars(new[limit])} |"
    changes = _line_changes(old["lines"], new["lines"])
    if changes:
        yield ""
        yield "| item | region | before | after | change |"
        yield "|---|---|---:|---:|---:|"
        for (item, region), (was, becomes) in changes.items():
            yield f"| {item} | {region} | {_dollars(was)} | {_dollars(becomes)} | {_signed(becomes - was)} |"
    yield ""


def _line_changes(
    old: Sequence[dict[str, Any]], new: Sequence[dict[str, Any]]
) -> dict[tuple[str, str], tuple[float, float]]:
    """(item, region) → (before, after) where they differ, the dearest change first."""
    was, becomes = _sums(old), _sums(new)
    changed = {
        key: (was.get(key, 0.0), becomes.get(key, 0.0))
        for key in was.keys() | becomes.keys()
        if round(was.get(key, 0.0), 2) != round(becomes.get(key, 0.0), 2)
    }
    return dict(sorted(changed.items(), key=lambda entry: (-abs(entry[1][1] - entry[1][0]), entry[0])))


def _sums(lines: Sequence[dict[str, Any]]) -> dict[tuple[str, str], float]:
    sums: Counter[tuple[str, str]] = Counter()
    for line in lines:
        sums[line["item"], line["region"]] += line["monthly"]
    return dict(sums)


def _resources(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    old, new = before["plan"]["inputs"], after["plan"]["inputs"]
    groups = {
        "created": sorted(new.keys() - old.keys()),
        "changed": sorted(key for key in new.keys() & old.keys() if new[key] != old[key]),
        "removed": sorted(old.keys() - new.keys()),
    }
    counts = ", ".join(f"{len(keys)} {what}" for what, keys in groups.items())
    yield f"**Resources**: {counts}, {len(new)} in all."
    for what, keys in groups.items():
        by_kind: dict[tuple[str, str], list[str]] = {}
        for key in keys:
            region, kind, name = key.split(" ", 2)
            by_kind.setdefault((region, kind), []).append(name)
        for (region, kind), names in by_kind.items():
            more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
            yield f"- {what}: {len(names)} × `{kind}` in {region}: {', '.join(names[:LISTED])}{more}"
    yield ""


def _rules(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    broken = [policy for policy in after["policies"] if not policy["passed"]]
    already = {policy["name"] for policy in before["policies"] if not policy["passed"]}
    lost = lost_data(before, after)
    yield from (f"- **data-stays** (newly broken): {message}" for message in lost)
    if not broken and not lost:
        yield f"**Rules**: all {len(after['policies'])} hold."
    for policy in broken:
        since = "was broken before" if policy["name"] in already else "newly broken"
        yield f"- **{policy['name']}** ({since}): {policy['message']}"


def _dollars(amount: float) -> str:
    return f"${amount:,.2f}"


def _signed(amount: float) -> str:
    return "0" if round(amount, 2) == 0 else f"{'+' if amount > 0 else '−'}${abs(amount):,.2f}"


def _git(root: Path, *arguments: str) -> bytes:
    process = subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, timeout=TIMEOUT_SECONDS, check=False
    )
    if process.returncode != 0:
        reason = process.stderr.decode(errors="replace").strip() or "git does not know it"
        raise SettingsError(
            f"git {arguments[0]} failed for {arguments[-1]} ({reason})", "name an existing revision"
        )
    return process.stdout
