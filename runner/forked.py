"""A runner process that was forked on one machine. It stands outside `runner.local`: what a forked process loads anew
is loaded once an agent, and that package would bring the local GitHub and the terminal."""

from __future__ import annotations

import os
import sys

LOADED_ONCE = ("runner.forkserver", "runner.forked", "runner.cli", "runner.process", "runner.execute.recall")
"""What the server that forks runners loads before it forks them."""


def work_forked(variables: dict[str, str], log_file: str) -> None:
    """`python -m runner agent` in this process, with `variables` as its environment."""
    from runner.forkserver import end_with_parent

    end_with_parent()
    log_to = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log_to, 1)
    os.dup2(log_to, 2)
    os.environ.clear()
    os.environ.update(variables)
    from runner.cli import main

    sys.exit(main(["agent"]))
