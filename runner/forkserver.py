"""Loaded by the server that forks runners, and by nothing else: it ends when whoever started it dies, even by kill -9.

Python's own server goes on while one of its children lives, and each child would go on while the server does.
"""

from __future__ import annotations

import ctypes
import signal
from contextlib import suppress

_PR_SET_PDEATHSIG = 1


def end_with_parent(signal_number: int = signal.SIGTERM) -> None:
    """Ask Linux for a signal when the parent of this process dies."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal_number)


end_with_parent()
