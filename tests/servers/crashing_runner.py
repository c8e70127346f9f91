"""A runner process that kills itself, as SIGKILL would, when its first mission reaches a step: `… STEP`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from database.missions import Mission
from runner.process import run_agent, stop_on_signal
from runner.settings import RunnerSettings


async def main(crash_at: str) -> None:
    async def on_step(step: str, mission: Mission) -> None:
        if step == crash_at:
            os.kill(os.getpid(), signal.SIGKILL)

    async with stop_on_signal() as stop:
        await run_agent(RunnerSettings.from_environment(), stop, on_step)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
