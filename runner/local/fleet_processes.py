"""One process per agent on one machine: forked from a server that has loaded everything once, and kept alive."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from signal import SIG_BLOCK, SIG_SETMASK, SIGINT, pthread_sigmask

from runner.forked import LOADED_ONCE, work_forked

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.5
_FIRST_RESTART_SECONDS = 0.5
_LONGEST_RESTART_SECONDS = 30.0


class FleetProcesses:
    """Starts the runners of a fleet, starts one again that dies, and stops all in order."""

    def __init__(self, environments: Mapping[str, Mapping[str, str]], logs: Path) -> None:
        self._environments = environments
        self._logs = logs
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([*LOADED_ONCE])
        self._processes: dict[str, ForkServerProcess] = {}
        self._delays: dict[str, float] = {}
        self.restarts = 0

    def start(self) -> None:
        """Start every runner; they get ready on their own."""
        for agent in self._environments:
            self._start(agent)

    def _start(self, agent: str) -> None:
        process = self._context.Process(
            target=work_forked,
            args=(dict(self._environments[agent]), str(self._logs / f"{agent}.log")),
            name=agent,
        )
        with _ctrl_c_blocked():
            process.start()
        self._processes[agent] = process

    async def keep_alive(self) -> None:
        """Start a runner again that died, after a growing delay; until cancelled."""
        due: dict[str, float] = {}
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            for agent, process in self._processes.items():
                if process.is_alive():
                    continue
                if agent not in due:
                    delay = self._delays.get(agent, _FIRST_RESTART_SECONDS)
                    self._delays[agent] = min(delay * 2, _LONGEST_RESTART_SECONDS)
                    due[agent] = loop.time() + delay
                    log.warning(
                        "the runner of %s ended with %s; again in %.1f s", agent, process.exitcode, delay
                    )
            for agent in [agent for agent, moment in due.items() if loop.time() >= moment]:
                del due[agent]
                self._start(agent)
                self.restarts += 1

    def processes(self) -> Mapping[str, int | None]:
        """The process id of each agent's runner."""
        return {agent: process.pid for agent, process in self._processes.items()}

    async def stop(self, seconds: float) -> None:
        """SIGTERM to all, so that they drain; SIGKILL to what is left after `seconds`."""
        for process in self._processes.values():
            process.terminate()
        deadline = asyncio.get_running_loop().time() + seconds
        while self._alive() and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.05)
        for process in self._alive():
            process.kill()
        for process in self._processes.values():
            process.join(5)

    def _alive(self) -> Sequence[ForkServerProcess]:
        return [process for process in self._processes.values() if process.is_alive()]


@contextmanager
def _ctrl_c_blocked() -> Iterator[None]:
    """For what is started here, from its first moment on, and what it forks: one process stops all in order.

    What a runner ignored only once it ran could end it before.
    """
    resource_tracker.ensure_running()  # first, since it unblocks what is blocked
    before = pthread_sigmask(SIG_BLOCK, {SIGINT})
    try:
        yield
    finally:
        pthread_sigmask(SIG_SETMASK, before)
