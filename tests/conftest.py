"""The rings: a folder of tests, the programs it needs, how to get them, how long one test may take.

A ring whose programs are missing is skipped with one line. With AGENTS_CLOUD_NO_SKIP=1 (CI) every skip fails.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

TESTS = Path(__file__).resolve().parent
REAL = TESTS.parent.parent / "shared" / "real"
NO_SKIP = os.environ.get("AGENTS_CLOUD_NO_SKIP") == "1"

# A test's database is a thousand files, made and dropped three times as quickly in memory as on a disk.
MEMORY, ROOM = Path("/dev/shm"), 4 * 1024**3
if (
    MEMORY.is_dir()
    and shutil.disk_usage(MEMORY).free > ROOM
    and not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC  # as in a container: tests make programs
):
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))

# Wall-clock deadlines of single examples fail on a busy machine; the time-out of the test bounds them all.
settings.register_profile("agents-cloud", deadline=None, print_blob=True)
# A change is judged by the same examples as the one before it; new ones are looked for where somebody can mend.
settings.register_profile("ci", settings.get_profile("agents-cloud"), derandomize=True)
settings.load_profile("ci" if NO_SKIP else "agents-cloud")


@dataclass(frozen=True, slots=True)
class Ring:
    """Tests in `tests/<folder>`, at most `seconds` each; of each group in `programs` one must be on PATH."""

    folder: str
    seconds: int
    programs: tuple[tuple[str, ...], ...] = ()
    remedy: str = ""

    def missing(self) -> str:
        """The programs that are not here, in words; empty where the ring can run."""
        groups = (group for group in self.programs if not any(shutil.which(program) for program in group))
        return " and ".join(" or ".join(group) for group in groups)


GO = "install Go 1.26 or newer (https://go.dev/dl)"
# What never ends is ended; a busy machine is not. The first test of a Go ring also builds its tools.
RINGS = (
    Ring("unit", 300),
    Ring("servers", 600),
    Ring("engine", 1800, (("pulumi", "go"),), f"{GO}, from which the Pulumi CLI is built"),
    Ring("cluster", 1800, (("go",), ("kubectl",)), f"{GO} and apt-get install kubernetes-client"),
    Ring("containers", 900, (("podman",),), "apt-get install podman buildah runc debootstrap"),
    Ring("browser", 600, (("chromium", "chromium-browser", "google-chrome"),), "apt-get install chromium"),
)


def pytest_configure(config: pytest.Config) -> None:
    for ring in RINGS:
        config.addinivalue_line("markers", f"{ring.folder}: the tests of tests/{ring.folder}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rings = {ring.folder: (ring, ring.missing()) for ring in RINGS}
    for item in items:
        folder = item.path.relative_to(TESTS).parts[0]
        if folder not in rings:
            raise pytest.UsageError(
                f"{item.path}: {folder} is no ring. Fix: move it to tests/{{{','.join(rings)}}}"
            )
        ring, missing = rings[folder]
        item.add_marker(ring.folder)
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(ring.seconds))
        if missing:
            item.add_marker(pytest.mark.skip(reason=f"needs {missing}: {ring.remedy}"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if NO_SKIP and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"AGENTS_CLOUD_NO_SKIP forbids this skip: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if NO_SKIP and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"AGENTS_CLOUD_NO_SKIP forbids this skip: {report.longrepr}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    # Counted from the reports: tests are collected and run in other processes than this one.
    skipped = terminalreporter.getreports("skipped")
    for ring in RINGS:
        count = sum(ring.folder in report.keywords for report in skipped)
        if count and (missing := ring.missing()):
            terminalreporter.write_line(
                f"ring {ring.folder}: {count} tests skipped, no {missing} here. To run them: {ring.remedy}"
            )


@pytest.fixture(scope="session")
def real() -> Path:
    """Folder with public data of a real ecosystem: `agents/`, `issues.json`, `pull_requests.json`."""
    if not REAL.is_dir():
        pytest.skip("no ../shared/real beside the checkout, where public data of a real ecosystem lies")
    return REAL
