"""A runner process that was forked on one machine. It stands outside `runner.local`: what a forked process loads anew
is loaded once an agent, and that package would bring the local GitHub and the terminal."""

from __future__ import annotations

import os
import sys
from multiprocessing import parent_process

LOADED_ONCE = ("runner.forkserver", "runner.forked", "runner.cli", "runner.process", "runner.execute.recall")
"""What the server that forks runners loads before it forks them."""


def work_forked(variables: dict[str, str], log_file: str) -> None:
    """`python -m runner agent` in this process, with `variables` as its environment."""
    _die_with_the_run()
    log_to = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log_to, 1)
    os.dup2(log_to, 2)
    os.environ.clear()
    os.environ.update(variables)
    from runner.cli import main

    sys.exit(main(["agent"]))


def _die_with_the_run() -> None:
    from runner.forkserver import SERVER, die_with_parent

    die_with_parent()
    run = parent_process()
    if os.getppid() != SERVER or (run is not None and not run.is_alive()):
        os._exit(1)  # one of them died before it could be asked for
