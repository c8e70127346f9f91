"""A runner process that was forked on one machine. It stands outside `runner.local`: what a forked process loads anew
is loaded once an agent, and that package would bring the local GitHub and the terminal."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from contextlib import suppress

LOADED_ONCE = ("runner.forked", "runner.cli", "runner.process", "runner.execute.recall")
"""What the server that forks runners loads before it forks them."""
_PR_SET_PDEATHSIG = 1


def work_forked(variables: dict[str, str], log_file: str) -> None:
    """`python -m runner agent` in this process, with `variables` as its environment."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one that stops everything in order
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    log_to = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log_to, 1)
    os.dup2(log_to, 2)
    os.environ.clear()
    os.environ.update(variables)
    from runner.cli import main

    sys.exit(main(["agent"]))
