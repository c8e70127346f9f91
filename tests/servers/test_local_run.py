"""`python -m runner run`: the whole ecosystem on one machine, as a person and a judge start it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from runner.local.embedded import free_port
from runner.localgithub import LocalGitHub, LocalGitHubSettings
from tests.servers.conftest import write_definitions
from tests.servers.system import AGENTS, CLOUD, DOCS, NOBODY

KEYS = {"agents", "issues", "missions", "lost", "duplicates", "by_agent", "seconds", "latency_ms", "recall"}
ENVIRONMENT = {**os.environ, "EMBEDDING_MODEL": "none"}


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "runner", "run", "--port", "0", *map(str, arguments)]


def run(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command(*arguments), env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture
def small(tmp_path: Path) -> list[object]:
    """Arguments for a few agents and issues, the last of which is for nobody."""
    titles = [CLOUD, DOCS, f"{CLOUD} again", NOBODY]
    issues = [
        {"number": n, "title": title, "body": "", "labels": []} for n, title in enumerate(titles, start=1)
    ]
    (tmp_path / "issues.json").write_text(json.dumps(issues))
    agents = write_definitions(tmp_path / "agents", AGENTS)
    return ["--agents", agents, "--issues", tmp_path / "issues.json", "--data", tmp_path / "data"]


def report_of(arguments: list[object], path: Path) -> dict[str, Any]:
    run(*arguments, "--until-idle", "--report", path)
    report: dict[str, Any] = json.loads(path.read_text())
    return report


def processes_of(folder: Path) -> dict[int, str]:
    """The command lines of processes that name `folder`, there, in their environment or by an open file."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                variables = (entry / "environ").read_bytes().decode(errors="replace")
                open_files = " ".join(str(file.readlink()) for file in (entry / "fd").iterdir())
            except OSError:
                continue
            if str(folder) in line + variables + open_files:
                found[int(entry.name)] = line
    return found


def until_none_is_left(folder: Path) -> None:
    while processes_of(folder):
        time.sleep(0.05)


def test_a_run_ends_when_every_issue_is_final_and_reports_what_became_of_them(small, tmp_path):
    report = report_of(small, tmp_path / "report.json")
    assert set(report) == KEYS
    assert (report["agents"], report["issues"]) == (len(AGENTS), 4)
    assert report["missions"] == {"done": 3, "declined": 0, "abstained": 1, "failed": 0}
    assert (report["lost"], report["duplicates"]) == (0, 0)
    assert report["by_agent"] == {"cloud-architect": 2, "document-ninja": 1}
    assert processes_of(tmp_path) == {}


def test_a_second_run_on_the_same_data_does_nothing_twice(small, tmp_path):
    first = report_of(small, tmp_path / "first.json")
    second = report_of(small, tmp_path / "second.json")
    for key in KEYS - {"seconds"}:
        assert second[key] == first[key], key


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda data: data.write_text("a file"), "is not a folder"),
        (lambda data: (data.mkdir(), (data / "thesis.tex").write_text("…")), "holds other files"),
        (
            lambda data: (data.mkdir(), (data / "agents-cloud.json").write_text('{"format": 0}')),
            "has format 0, this version writes 1",
        ),
    ],
)
def test_a_data_folder_that_is_not_ours_is_left_alone(small, tmp_path, break_it, message):
    break_it(tmp_path / "data")
    before = sorted(path.name for path in tmp_path.rglob("*"))
    assert message in run(*small, code=1).stderr
    after = sorted(path.name for path in tmp_path.rglob("*") if path.name != "lock")
    assert after == before


def test_a_busy_port_is_named_before_anything_is_started(small, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"port {port} is busy" in run(*small, "--port", port, code=1).stderr
    assert not (tmp_path / "data").exists()


def test_a_servers_port_is_none_that_an_outgoing_connection_could_take_before_it():
    first_outgoing = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert all(1024 < free_port() < first_outgoing for _ in range(100))


def test_files_that_are_not_there_are_named(small, tmp_path):
    missing = tmp_path / "missing"
    assert "missing is not a folder" in run(*small, "--agents", missing, code=1).stderr
    assert "missing" in run(*small, "--geography", missing, code=1).stderr
    assert "missing" in run(*small, "--issues", missing, code=1).stderr
    assert processes_of(tmp_path) == {}


@contextmanager
def begun(arguments: list[object]) -> Iterator[subprocess.Popen[str]]:
    """A run whose start is not over."""
    # As in a terminal, also where the shell that started the tests has told its jobs to ignore Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    started = subprocess.Popen(
        command(*arguments), env=ENVIRONMENT, stderr=subprocess.PIPE, text=True, process_group=0
    )
    signal.signal(signal.SIGINT, before)
    with started as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def started(small, tmp_path) -> Iterator[subprocess.Popen[str]]:
    """A run that stays up, with its page answering."""
    with begun(small) as process:
        while not (tmp_path / "data" / "running.json").exists():
            assert process.poll() is None, process.stderr and process.stderr.read()
        yield process


def test_a_second_instance_on_the_same_folder_is_refused_with_the_process_that_has_it(started, small):
    assert f"another instance (process {started.pid})" in run(*small, code=1).stderr


def test_ctrl_c_stops_everything_and_leaves_no_process(started, tmp_path):
    os.killpg(started.pid, signal.SIGINT)  # as a terminal does: every process gets it
    assert started.wait() == 0
    assert started.stderr.read() == ""
    assert processes_of(tmp_path) == {}
    assert not (tmp_path / "data" / "running.json").exists()


def test_after_a_kill_of_the_whole_the_next_run_goes_on_where_it_was(started, small, tmp_path):
    started.kill()
    until_none_is_left(tmp_path)
    report = report_of(small, tmp_path / "report.json")
    assert (report["issues"], report["lost"], report["duplicates"]) == (4, 0, 0)


def test_what_a_killed_run_did_not_get_to_deliver_waits_for_the_gateway(small, tmp_path):
    async def opened_and_not_delivered() -> None:
        settings = LocalGitHubSettings(
            tmp_path / "data" / "github", webhook_url="http://127.0.0.1:1/", deliver_at_once=False
        )
        async with LocalGitHub(settings) as github:
            assert await github.load(tmp_path / "issues.json") == 4

    (tmp_path / "data" / "github").mkdir(parents=True)
    (tmp_path / "data" / "agents-cloud.json").write_text('{"format": 1}')
    asyncio.run(opened_and_not_delivered())
    report = report_of(small, tmp_path / "report.json")
    assert (report["issues"], report["lost"], report["duplicates"]) == (4, 0, 0)


def test_a_kill_of_the_whole_ends_also_what_answers_no_more(started, tmp_path):
    def killable() -> list[int]:
        others = processes_of(tmp_path).items()
        return [pid for pid, line in others if "postgres" not in line and pid != started.pid]

    while len(killable()) < len(AGENTS) + 2:  # the runners, the gateway and Redis
        time.sleep(0.05)
    for pid in killable():
        os.kill(pid, signal.SIGSTOP)
    started.kill()
    until_none_is_left(tmp_path)


MOMENTS = ("initdb", "bin/postgres", "redis-server", "runner gateway", "the first runner")


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_kill_in_the_middle_of_the_start_leaves_no_process(small, tmp_path, moment):
    def came() -> bool:
        if moment == "the first runner":
            return any(log.name != "gateway.log" for log in tmp_path.glob("data/logs/*.log"))
        return moment in " ".join(processes_of(tmp_path).values())

    with begun(small) as process:
        while not came() and not (tmp_path / "data" / "running.json").exists():
            assert process.poll() is None, process.stderr and process.stderr.read()
        process.kill()
        until_none_is_left(tmp_path)
    assert report_of(small, tmp_path / "report.json")["lost"] == 0


def test_a_runner_forked_while_its_fleet_is_killed_ends_before_it_begins(tmp_path):
    killed = subprocess.run(
        [sys.executable, "-m", "tests.servers.killed_fleet", str(tmp_path)], stdout=subprocess.PIPE
    )  # which returns when nobody is left that could write to it
    assert killed.returncode == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == [], "a runner that began has a log"


def test_what_dies_with_its_parent_does_not_start_under_another():
    code = (
        "import os; from runner.local.embedded import dies_with_parent;"
        "program = [*dies_with_parent('KILL'), 'echo', 'started']; me = os.getpid();"
        "os.fork() and os._exit(0);"
        "any(iter(lambda: os.getppid() != me, True));"
        "os.execvp(program[0], program)"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE).stdout == b""


def test_operators_commands_reach_what_runs_on_a_data_folder(started, tmp_path):
    def operate(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "runner", *arguments, "--data", str(tmp_path / "data")],
            capture_output=True,
            text=True,
        )
        return done.stdout + done.stderr

    assert operate("pause") == "all is paused; what runs is finished\n"
    assert operate("resume") == "all goes on\n"
    assert operate("pause", "cloud-architect") == "agent:cloud-architect is paused; what runs is finished\n"
    assert "there is no agent 'nobody'" in operate("pause", "nobody")
    assert operate("cap", "day", "10") == "the cap for each day is $10\n"
    assert "'much' is not an amount" in operate("cap", "day", "much")
    assert "has no mission" in operate("cancel", "local/repository#99")
    assert "is no mission" in operate("retry", "xyz")


@pytest.mark.timeout(900)
def test_the_real_issues_all_end_once_and_are_routed_alike_in_two_runs(real, tmp_path):
    reports = []
    for attempt in ("first", "second"):
        arguments = [
            "--agents",
            real / "agents",
            "--issues",
            real / "issues.json",
            "--data",
            tmp_path / attempt,
        ]
        reports.append(report_of(arguments, tmp_path / f"{attempt}.json"))
    for report in reports:
        assert (report["agents"], report["issues"]) == (66, 584)
        assert sum(report["missions"].values()) == 584
        assert (report["lost"], report["duplicates"]) == (0, 0)
        assert report["missions"]["failed"] == 0
    assert reports[0]["by_agent"] == reports[1]["by_agent"]
