"""What a tool process can do, tried with real processes on this kernel."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from runner.execute.sandbox import CONFINE, Outcome, Sandbox, ToolLimits, tool_user

CANARY = "canary-5d0c7e"


@dataclass(frozen=True, slots=True)
class Place:
    """A checkout's folders, and a file outside that everyone may read."""

    tree: Path
    home: Path
    secret: Path

    async def run(self, command: str, limits: ToolLimits | None = None) -> Outcome:
        sandbox = Sandbox(limits)
        if why := await sandbox.why_unavailable():
            pytest.skip(why)
        return await sandbox.shell(command, self.tree, self.home)


@pytest.fixture
def place() -> Iterator[Place]:
    # Not below pytest's folder, which only its own user may enter: here only the confinement protects.
    folder = Path(tempfile.mkdtemp(prefix="agents-cloud-test-"))
    folder.chmod(0o755)
    secret = folder / "secret"
    secret.write_text(CANARY)
    secret.chmod(0o644)
    made = Place(folder / "tree", folder / "home", secret)
    for path in (made.tree, made.home):
        path.mkdir(mode=0o700)
        if (user := tool_user()) is not None:
            os.chown(path, user, user)
    yield made
    shutil.rmtree(folder)


def alive(marker: str) -> list[str]:
    """Command lines of running processes that carry `marker`."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            command = (process / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if process.name.isdigit() and marker in command:
            found.append(command)
    return found


async def test_a_command_works_in_the_checkout(place: Place) -> None:
    outcome = await place.run(
        "echo eight > planets && cat planets && mkdir -p a/b && mv planets a/b/ && exit 3"
    )
    assert outcome == Outcome("eight\n", 3)
    assert (place.tree / "a/b/planets").read_text() == "eight\n"


async def test_its_environment_holds_no_credential(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    outcome = await place.run("env")
    names = {line.partition("=")[0] for line in outcome.output.splitlines()}
    assert names <= {"PATH", "HOME", "TMPDIR", "LANG", "GIT_CONFIG_NOSYSTEM", "PWD", "SHLVL", "_"}
    assert CANARY not in outcome.output


@pytest.mark.parametrize(
    "command",
    [
        "cat {secret}",
        "ln -s {secret} link; cat link",
        "ln {secret} hard; cat hard",
        "cp {secret} copy; cat copy",
        "cd ..; cat secret",
        "cat /proc/{runner}/environ | tr '\\0' '\\n'",
        "head -c 100000 /proc/{runner}/mem",
        "cat /proc/$PPID/environ",
        "cat /etc/passwd",
        "ls {outside}",
        "cat < {secret}",
        "python3 -c 'print(open(\"{secret}\").read())'",
    ],
)
async def test_it_reads_nothing_outside(place: Place, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    filled = command.format(secret=place.secret, runner=os.getpid(), outside=place.secret.parent)
    outcome = await place.run(filled)
    assert CANARY not in outcome.output
    assert "root:" not in outcome.output
    assert any(word in outcome.output.lower() for word in ("denied", "not permitted", "cross-device"))


async def test_it_writes_nothing_outside(place: Place) -> None:
    before = place.secret.read_text()
    await place.run(
        f"echo x > {place.secret}; rm -f {place.secret}; touch {place.secret.parent}/new /tmp/{CANARY}"
    )
    assert place.secret.read_text() == before
    assert not (place.secret.parent / "new").exists()
    assert not Path(f"/tmp/{CANARY}").exists()


async def test_it_reaches_no_network_and_no_local_server(place: Place, tmp_path: Path) -> None:
    reached = asyncio.Event()

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.set()
        writer.close()

    listening = await asyncio.start_server(note, "127.0.0.1", 0)
    local = await asyncio.start_unix_server(note, place.tree / "local.sock")
    (place.tree / "local.sock").chmod(0o777)
    port = listening.sockets[0].getsockname()[1]
    async with listening, local:
        outcome = await place.run(
            f"exec 3<>/dev/tcp/127.0.0.1/{port}; "
            f"python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", {port}), 2)'; "
            "python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect(\"local.sock\")'; "
            "python3 -c 'import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM)'; exit 0"
        )
    assert not reached.is_set()
    assert outcome.output.lower().count("not permitted") >= 1


async def test_it_cannot_hurt_the_runner(place: Place) -> None:
    outcome = await place.run(f"kill -9 {os.getpid()}; echo still $?")
    assert "still 1" in outcome.output
    assert tool_user() is None or "uid=0" not in (await place.run("id")).output


async def test_it_is_stopped_in_time_with_all_that_it_started(place: Place) -> None:
    outcome = await place.run(
        f"(setsid sleep 1000.{os.getpid()} &); nohup sleep 1000.{os.getpid()} & sleep 1000.{os.getpid()}",
        ToolLimits(seconds=1),
    )
    assert outcome.note == "stopped after 1 s"
    assert alive(f"1000.{os.getpid()}") == []


async def test_nothing_runs_on_after_the_command(place: Place) -> None:
    outcome = await place.run(f"(setsid sleep 1001.{os.getpid()} >/dev/null 2>&1 &); echo done")
    assert outcome.output == "done\n"
    assert alive(f"1001.{os.getpid()}") == []


async def test_a_cancelled_mission_leaves_no_process(place: Place) -> None:
    running = asyncio.create_task(place.run(f"touch started; sleep 1002.{os.getpid()}"))
    await until(lambda: running.done() or (place.tree / "started").exists())
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert alive(f"1002.{os.getpid()}") == []


async def test_a_killed_runner_leaves_no_process(place: Place) -> None:
    await place.run("true")  # skips where there is no confinement
    program = (
        "import asyncio, sys; from pathlib import Path; from runner.execute.sandbox import Sandbox\n"
        "asyncio.run(Sandbox().shell(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))"
    )
    command = f"touch started; setsid sleep 1003.{os.getpid()}"
    runner = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program, command, str(place.tree), str(place.home))
    )
    try:
        await until(lambda: (place.tree / "started").exists())
    finally:
        runner.kill()
        await runner.wait()
    await until(lambda: not alive(f"1003.{os.getpid()}"))


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(100):
        while not holds():
            await asyncio.sleep(0.01)


async def test_output_memory_files_and_processes_are_limited(place: Place) -> None:
    flood = await place.run("yes", ToolLimits(drained_bytes=1_000_000, output_bytes=1_000))
    assert "stopped after 1000000 bytes" in flood.note
    assert len(flood.output) < 1_100
    assert "bytes left out" in flood.output
    large = await place.run("head -c 9000000 /dev/zero > large", ToolLimits(file_bytes=1_000_000))
    assert large.exit_code != 0
    assert (place.tree / "large").stat().st_size <= 1_000_000
    hungry = await place.run("python3 -c 'bytearray(1 << 30)'", ToolLimits(memory_bytes=100_000_000))
    assert "MemoryError" in hungry.output
    spinning = await place.run("while :; do :; done", ToolLimits(seconds=1))
    assert spinning.exit_code != 0
    if tool_user() is not None:
        bomb = await place.run(":(){ :|:& };:; sleep 1", ToolLimits(processes=64, seconds=60))
        assert "Resource temporarily unavailable" in bomb.output


async def test_without_confinement_there_is_no_shell() -> None:
    """What a kernel without Landlock would allow is played by rules that allow everything."""
    why = await Sandbox(readable=("/",)).why_unavailable()
    assert "not confined here" in why or "cannot be confined" in why


def test_a_kernel_that_refuses_the_rules_starts_nothing(place: Place) -> None:
    specification = {
        "runner": os.getpid(),
        "user": None,
        "folder": str(place.tree),
        "readable": ["/usr"],
        "writable": [],
        "environment": {},
        "limits": {"RLIMIT_OF_ANOTHER_KERNEL": 1},
    }
    command = [sys.executable, "-I", "-S", str(CONFINE), json.dumps(specification), "--", "/bin/echo", "ran"]
    ran = subprocess.run(command, capture_output=True, text=True, env={})
    assert ran.returncode != 0
    assert "ran" not in ran.stdout


OTHER_USER = 64_223
AS_ANOTHER_USER = """
import ctypes, os, sys
sys.path.insert(0, sys.argv[1])
from runner.execute import confine

def drop():
    if os.geteuid() == 0:
        os.setgroups([]); os.setresgid(64223, 64223, 64223); os.setresuid(64223, 64223, 64223)

def readable(pid):
    try:
        return b"CANARY" in open(f"/proc/{pid}/environ", "rb").read()
    except OSError:
        return False

drop()
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # dumpable, as a process is that was started as this user
child = os.fork()
if child == 0:
    before = readable(os.getppid())
    os.write(1, f"{before} ".encode())
    os._exit(0)
os.waitpid(child, 0)
confine.hide_this_process()
child = os.fork()
if child == 0:
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
    os.write(1, str(readable(os.getppid())).encode())
    os._exit(0)
os.waitpid(child, 0)
"""


def test_a_runner_that_is_not_root_hides_its_memory_and_environment() -> None:
    root = Path(__file__).parent.parent.parent
    command = [sys.executable, "-c", AS_ANOTHER_USER, str(root)]
    ran = subprocess.run(command, capture_output=True, text=True, env={"OPENAI_API_KEY": "CANARY"})
    assert ran.stdout == "True False", ran.stderr


CONFINED_WITHOUT_ROOT = """
import os, sys
sys.path.insert(0, sys.argv[1])
from runner.execute import confine
me = os.getpid()
child = os.fork()
if child == 0:
    if os.geteuid() == 0:
        os.setgroups([]); os.setresgid(64223, 64223, 64223); os.setresuid(64223, 64223, 64223)
    specification = {
        "runner": me, "user": None, "folder": sys.argv[2], "readable": ["/usr", "/bin", "/lib", "/lib64"],
        "writable": [sys.argv[2]], "environment": {"PATH": "/usr/bin:/bin"}, "limits": {"RLIMIT_CORE": 0},
    }
    os._exit(confine.supervise(specification, ["/bin/sh", "-c", sys.argv[3]]))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_the_confinement_needs_no_root(place: Place) -> None:
    asyncio.run(place.run("true"))  # skips where there is no confinement
    if os.geteuid() == 0:
        os.chown(place.tree, OTHER_USER, OTHER_USER)
    command = f"echo hello > made; cat {place.secret} /proc/self/environ; kill -9 $PPID; echo survived"
    program = [sys.executable, "-c", CONFINED_WITHOUT_ROOT, str(Path(__file__).parent.parent.parent)]
    ran = subprocess.run([*program, str(place.tree), command], capture_output=True, text=True, env={})
    assert (place.tree / "made").read_text() == "hello\n"
    assert CANARY not in ran.stdout
    assert "survived" in ran.stdout
    assert ran.returncode == 0
