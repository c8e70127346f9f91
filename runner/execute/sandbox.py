"""Tool processes: what an agent runs in its checkout, without network, credentials or sight of anything else.

`confine.py` does it in the kernel: Landlock leaves the checkout and the system's programs, seccomp takes
sockets and other processes away, a supervisor ends everything in time. As root, tool processes are another
user and another network namespace besides.
Where the kernel cannot do that, there is no shell: `why_unavailable` says what is missing.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from errors import ExecutionError
from runner.execute import confine
from runner.execute.uncancelled import to_the_end

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Programs and libraries; of /etc only what these need, because settings and secrets live there too.
READABLE = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt"),
    *("/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime"),
    *("/etc/mime.types", "/etc/nsswitch.conf", "/etc/ssl/certs"),
)
# A user that owns nothing else on the machine; outside the ranges that systemd and distributions give out.
TOOL_USER = 64_222
CONFINE = Path(__file__).with_name("confine.py")


@dataclass(frozen=True, slots=True)
class ToolLimits:
    """Seconds and bytes, for one tool process and all that it starts; the memory is that of each process."""

    seconds: float = 120
    output_bytes: int = 16_384
    """What is kept of the output: its beginning and its end."""
    drained_bytes: int = 16_777_216
    """A process that writes more is stopped."""
    memory_bytes: int = 1_073_741_824
    file_bytes: int = 67_108_864
    open_files: int = 256
    processes: int = 256
    """Counted only as root: otherwise the runner's own user would be counted."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a tool process did. `note` says what cut it short."""

    output: str
    exit_code: int
    note: str = ""


def tool_user() -> int | None:
    """The user of tool processes: another one as root, else None for the runner's own."""
    return TOOL_USER if os.geteuid() == 0 else None


class Sandbox:
    """Runs programs in a checkout. From its making on, no process of this user reads the runner's memory."""

    def __init__(self, limits: ToolLimits | None = None, readable: Sequence[str] = READABLE) -> None:
        self._limits = limits or ToolLimits()
        self._readable = tuple(readable)
        self._user = tool_user()
        self._missing: str | None = None
        if sys.platform == "linux":
            confine.hide_this_process()

    async def why_unavailable(self) -> str:
        """Empty when a tool process was tried and could reach nothing it must not; else the reason."""
        if self._missing is None:
            self._missing = await self._try_out()
        return self._missing

    async def shell(self, command: str, tree: Path, home: Path) -> Outcome:
        """Run `command` with bash, or sh where there is none, in `tree`. ExecutionError where it cannot."""
        program = shutil.which("bash", path=SEARCH_PATH)
        arguments = [program, "--noprofile", "--norc", "-c"] if program else ["/bin/sh", "-c"]
        specification = self._specification(tree, [tree, home], {"HOME": str(home), "TMPDIR": str(home)})
        outcome = await self._run(specification, [*arguments, command])
        if outcome.exit_code == confine.FAILED and outcome.output.startswith("not started: "):
            raise ExecutionError(f"the tool process was {outcome.output.strip()}")
        return outcome

    async def _try_out(self) -> str:
        if sys.platform != "linux":
            return f"tool processes cannot be confined on {sys.platform}"
        # World-readable, so that only the confinement keeps a process from it.
        with tempfile.NamedTemporaryFile(prefix="agents-cloud-canary-") as canary:
            os.fchmod(canary.fileno(), 0o644)
            specification = self._specification(Path("/"), [], {}) | {"canary": canary.name}
            outcome = await self._run(specification, [])
        try:
            holes = json.loads(outcome.output)
        except ValueError:
            return f"tool processes cannot be confined here ({outcome.output.strip()[:200]})"
        return f"tool processes are not confined here: one {', '.join(holes)}" if holes else ""

    def _specification(
        self, folder: Path, writable: Sequence[Path], environment: Mapping[str, str]
    ) -> dict[str, object]:
        limits = {
            "RLIMIT_CPU": int(self._limits.seconds) + 1,
            "RLIMIT_DATA": self._limits.memory_bytes,
            "RLIMIT_FSIZE": self._limits.file_bytes,
            "RLIMIT_NOFILE": self._limits.open_files,
            "RLIMIT_CORE": 0,
        }
        if self._user is not None:
            limits["RLIMIT_NPROC"] = self._limits.processes
        return {
            "runner": os.getpid(),
            "user": self._user,
            "folder": str(folder),
            "readable": self._readable,
            "writable": [str(path) for path in writable],
            "environment": {
                "PATH": SEARCH_PATH,
                "LANG": "C.UTF-8",
                "GIT_CONFIG_NOSYSTEM": "1",
                **environment,
            },
            "limits": limits,
        }

    async def _run(self, specification: Mapping[str, object], program: Sequence[str]) -> Outcome:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(CONFINE), json.dumps(specification), "--", *program),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={},
            start_new_session=True,
        )
        output = _Output(self._limits.output_bytes)
        note = ""
        try:
            async with asyncio.timeout(self._limits.seconds):
                note = await self._drain(process, output)
        except TimeoutError:
            note = f"stopped after {self._limits.seconds:g} s"
        finally:
            await to_the_end(_end(process))
        return Outcome(output.text(), process.returncode or 0, note)

    async def _drain(self, process: asyncio.subprocess.Process, output: _Output) -> str:
        assert process.stdout is not None
        while block := await process.stdout.read(65_536):
            output.add(block)
            if output.total > self._limits.drained_bytes:
                return f"stopped after {self._limits.drained_bytes} bytes of output"
        await process.wait()
        return ""


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        process.terminate()  # the supervisor kills what it supervises, then itself
    try:
        async with asyncio.timeout(10):
            # Read on: asyncio calls a process ended only when its pipes are.
            while process.stdout is not None and await process.stdout.read(65_536):
                pass
            await process.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


class _Output:
    """The beginning and the end of a stream, each half of `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self._half = limit // 2
        self._head = bytearray()
        self._tail = bytearray()
        self.total = 0

    def add(self, block: bytes) -> None:
        self.total += len(block)
        room = self._half - len(self._head)
        self._head += block[:room]
        self._tail += block[room:] if room > 0 else block
        del self._tail[: -self._half]

    def text(self) -> str:
        left_out = self.total - len(self._head) - len(self._tail)
        middle = f"\n… ({left_out} bytes left out) …\n".encode() if left_out else b""
        return (bytes(self._head) + middle + bytes(self._tail)).decode("utf-8", "replace")
