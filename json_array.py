"""A file with one JSON array, as `gh … --json` prints it."""

from __future__ import annotations

import json
from pathlib import Path

from errors import InputError

MAX_FILE_BYTES = 256 * 1024 * 1024


def read_array(path: Path, error: type[InputError], *, items: str, shape: str, too_big: str) -> list[object]:
    """The array in `path`. Raises `error`, which names the file and, for bad JSON, the line.

    `items` is what the array should hold, `shape` and `too_big` are the ways out.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise error(f"over {MAX_FILE_BYTES} bytes", too_big, file=path)
        data = json.loads(path.read_bytes())
    except OSError as broken:
        raise error(f"it cannot be read: {broken.strerror}", "check the path", file=path) from broken
    except json.JSONDecodeError as broken:
        raise error(f"not JSON: {broken.msg}", shape, file=path, line=broken.lineno) from broken
    except (UnicodeDecodeError, RecursionError) as broken:
        raise error("not JSON in UTF-8", shape, file=path) from broken
    if not isinstance(data, list):
        raise error(f"a {type(data).__name__}, not an array of {items}", shape, file=path)
    return data
