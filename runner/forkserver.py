"""Loaded by the server that forks runners, and by nothing else: it dies with whoever started it, even by kill -9.

Python's own server goes on while one of its children lives, and each child would go on while the server does.
"""

from __future__ import annotations

import ctypes
import os
import signal
from contextlib import suppress

SERVER = os.getpid()
"""The server's own process; what it forks reads the same."""
_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Ask Linux for SIGKILL when the parent of this process dies: nothing is left that a drain could reach."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


die_with_parent()
