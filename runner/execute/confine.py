"""Runs one program with nothing but a folder: no network, no other file, no other process.

A program of its own, started as `python -I -S confine.py SPECIFICATION -- PROGRAM ARGUMENT…` with an empty
environment; imports only the standard library. The process stays as a supervisor: when the program ends,
SIGTERM comes or the runner dies, all that the program started is killed, also what left its session.

Kernel interfaces by number, because Python 3.11 has no names for them: prctl(2), landlock(7), seccomp(2);
numbers from the kernel's include/uapi (asm-generic/unistd.h for aarch64, asm/unistd_64.h for x86-64).
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import platform
import resource
import signal
import socket
import struct
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

FAILED = 125  # exit code: the program was not started, standard error says why
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = (
    1,
    4,
    22,
    36,
    38,
)
CLONE_NEWNET = 0x40000000
LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446  # the same on every architecture
# Rights by ABI version; bits of landlock(7).
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
ALL_OF_ABI_1, REFER, TRUNCATE, IOCTL_DEV = (1 << 13) - 1, 1 << 13, 1 << 14, 1 << 15
MAKE_CHAR, MAKE_SOCK, MAKE_BLOCK = 1 << 6, 1 << 9, 1 << 11
FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
NET_BIND_AND_CONNECT_TCP = 3  # ABI 4
SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS = 3  # ABI 6

# Per machine: AUDIT_ARCH of seccomp(2), and the numbers of system calls to refuse.
# socket: no network and no sockets of local servers. io_uring_setup: it could open one past this filter.
# The others read or steer other processes, or take keys from the kernel's keyring.
REFUSED_CALLS: dict[str, tuple[int, dict[str, int]]] = {
    "x86_64": (
        0xC000003E,
        {
            "socket": 41,
            "io_uring_setup": 425,
            "ptrace": 101,
            "process_vm_readv": 310,
            "process_vm_writev": 311,
            "pidfd_getfd": 438,
            "add_key": 248,
            "request_key": 249,
            "keyctl": 250,
        },
    ),
    "aarch64": (
        0xC00000B7,
        {
            "socket": 198,
            "io_uring_setup": 425,
            "ptrace": 117,
            "process_vm_readv": 270,
            "process_vm_writev": 271,
            "pidfd_getfd": 438,
            "add_key": 217,
            "request_key": 218,
            "keyctl": 219,
        },
    ),
}

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def _call(number: int, *arguments: Any) -> int:
    result: int = _libc.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def _prctl(option: int, first: int, second: ctypes.c_char_p | None = None) -> None:
    zero = ctypes.c_ulong(0)
    if _libc.prctl(ctypes.c_int(option), ctypes.c_ulong(first), second or zero, zero, zero) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def hide_this_process() -> None:
    """Other processes of the same user can no longer read this one's memory and environment (Linux)."""
    _prctl(PR_SET_DUMPABLE, 0)


def landlock_rules(readable: list[str], writable: list[str]) -> int:
    """A ruleset (file descriptor) that allows these paths alone. OSError where there is no Landlock."""
    abi = _call(LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    handled = ALL_OF_ABI_1
    handled |= REFER if abi >= 2 else 0
    handled |= TRUNCATE if abi >= 3 else 0
    handled |= IOCTL_DEV if abi >= 5 else 0
    fields = [handled]
    if abi >= 4:
        fields.append(NET_BIND_AND_CONNECT_TCP)
    if abi >= 6:
        fields.append(SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS)
    attributes = struct.pack(f"={len(fields)}Q", *fields)
    rules = _call(LANDLOCK_CREATE, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0))
    own = handled & ~(MAKE_CHAR | MAKE_BLOCK | MAKE_SOCK)
    for path in readable:
        _allow(rules, path, (EXECUTE | READ_FILE | READ_DIR) & handled)
    for path in writable:
        _allow(rules, path, own)
    for path in ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"):
        _allow(rules, path, (READ_FILE | WRITE_FILE | TRUNCATE) & handled)
    return rules


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        target = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not Path(path).is_dir():
            rights &= FILE_RIGHTS
        rule = struct.pack("=Qi", rights, target)
        _call(LANDLOCK_ADD, ctypes.c_int(rules), ctypes.c_int(1), rule, ctypes.c_uint32(0))
    finally:
        os.close(target)


def seccomp_program() -> bytes:
    """BPF that refuses REFUSED_CALLS and kills on foreign calls. KeyError on an unknown machine."""
    architecture, refused = REFUSED_CALLS[platform.machine()]
    load, equal, at_least, answer = 0x20, 0x15, 0x35, 0x06
    kill, refuse, allow = 0x80000000, 0x00050001, 0x7FFF0000
    numbers = list(refused.values())
    steps = [
        (load, 0, 0, 4),  # the architecture
        (equal, 1, 0, architecture),
        (answer, 0, 0, kill),
        (load, 0, 0, 0),  # the call's number
        (at_least, len(numbers) + 1, 0, 0x40000000),  # x32 calls have other numbers for the same
    ]
    steps += [(equal, len(numbers) - at, 0, number) for at, number in enumerate(numbers)]
    steps += [(answer, 0, 0, allow), (answer, 0, 0, refuse)]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


def _install_seccomp(program: bytes) -> None:
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
    _prctl(PR_SET_SECCOMP, 2, ctypes.c_char_p(header))


def confine(specification: dict[str, Any]) -> None:
    """Confine this process for good. OSError or KeyError where the kernel cannot."""
    for name, limit in specification["limits"].items():
        resource.setrlimit(getattr(resource, name), (limit, limit))
    with contextlib.suppress(OSError), Path("/proc/self/oom_score_adj").open("w") as score:
        score.write("1000")  # short of memory, the kernel kills this before the runner
    rules = landlock_rules(specification["readable"], specification["writable"])
    user = specification["user"]
    if user is not None:
        with contextlib.suppress(OSError):  # not allowed in every container; seccomp closes the network too
            _libc.unshare(CLONE_NEWNET)
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    _call(LANDLOCK_RESTRICT, ctypes.c_int(rules), ctypes.c_uint32(0))
    os.close(rules)
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    _install_seccomp(seccomp_program())


def supervise(specification: dict[str, Any], program: list[str]) -> int:
    """Run `program` confined; its exit code, or 128 + signal. Afterwards no process of it is left."""
    # Orphans of the program become children of this process, whatever session they moved to.
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != specification["runner"]:  # the runner died before the line above
        return FAILED

    def stop(_signal: int, _frame: FrameType | None) -> NoReturn:
        _kill_children()
        os._exit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
    child = os.fork()
    if child == 0:
        _become(specification, program)
    _, status = os.waitpid(child, 0)
    _kill_children()
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _become(specification: dict[str, Any], program: list[str]) -> NoReturn:
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.setsid()
        os.chdir(specification["folder"])
        confine(specification)
        if not program:
            os.write(1, json.dumps(observed(specification)).encode())
            os._exit(0)
        os.execve(program[0], program, specification["environment"])  # noqa: S606 - confined by now
    except (OSError, KeyError, ValueError) as error:
        os.write(2, f"not started: {type(error).__name__} {error}".encode())
    finally:
        os._exit(FAILED)


def _kill_children() -> None:
    """Kill and reap until none is left; a child of a killed process comes to this one and is next."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        for pid in _children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.002)


def _children() -> list[int]:
    me = str(os.getpid())
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (process / "stat").read_text(errors="replace")
                # The command's name, in brackets, may hold anything; the parent is the second field after it.
                if stat.rpartition(")")[2].split()[1] == me:
                    found.append(int(process.name))
    return found


def observed(specification: dict[str, Any]) -> list[str]:
    """What this process can still do though it must not; tried, not derived from the kernel's version."""
    holes = []
    runner = specification["runner"]
    for path in (specification["canary"], f"/proc/{runner}/environ", f"/proc/{runner}/mem"):
        with contextlib.suppress(OSError), Path(path).open("rb"):
            holes.append(f"reads {path}")
    for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
        with contextlib.suppress(OSError):
            socket.socket(family).close()
            holes.append(f"opens sockets of family {family.name}")
    return holes


if __name__ == "__main__":
    sys.exit(supervise(json.loads(sys.argv[1]), sys.argv[3:]))
