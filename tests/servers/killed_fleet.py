"""Starts a fleet and is gone, as by kill -9, before its runner has run a line: `… LOGS`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from runner.local.fleet_processes import FleetProcesses


class UntilItsServerIsDead:
    """Comes out of the pickle, in the runner's process, when what forked that is dead."""

    def __reduce__(self) -> tuple[object, tuple[()]]:
        return until_its_server_is_dead, ()


def until_its_server_is_dead() -> str:
    while b"forkserver" in Path(f"/proc/{os.getppid()}/cmdline").read_bytes():
        pass
    return ""


if __name__ == "__main__":
    from tests.servers.killed_fleet import UntilItsServerIsDead as Held  # as the runner's process knows it

    FleetProcesses({"early": {"HELD": Held()}}, Path(sys.argv[1])).start()  # type: ignore[dict-item]
    os.kill(os.getpid(), signal.SIGKILL)
