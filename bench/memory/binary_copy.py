"""PostgreSQL's binary COPY format, for the rows that a peer does not load by its own means."""

from __future__ import annotations

import struct
from collections.abc import Iterable

import numpy as np

HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
TRAILER = struct.pack(">h", -1)


def record(fields: Iterable[bytes]) -> bytes:
    """One row."""
    fields = list(fields)
    return struct.pack(">h", len(fields)) + b"".join(
        struct.pack(">i", len(field)) + field for field in fields
    )


def vector(numbers: np.ndarray[tuple[int], np.dtype[np.float32]]) -> bytes:
    """pgvector's `vector`."""
    return struct.pack(">hh", len(numbers), 0) + numbers.astype(">f4").tobytes()


def jsonb(text: str) -> bytes:
    """The type `jsonb`, version 1 of its binary form."""
    return b"\x01" + text.encode()
