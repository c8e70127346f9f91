"""Loaded by the server that forks runners, and by nothing else: it ends when whoever started it dies, even by kill -9.

Python's own server goes on while one of its children lives, and each child would go on while the server does.
"""

from __future__ import annotations

import ctypes
import signal
from contextlib import suppress

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Ask Linux for SIGTERM when the parent of this process dies."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


end_with_parent()
