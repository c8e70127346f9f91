"""Reading the program's own tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

# libyaml where the package has it: the tables are read in every run, and it takes a tenth of the time.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(path: Path, **replaced: str) -> Any:
    """The content of a YAML file, in which every key of `replaced` stands for its value.

    Raises OSError, UnicodeDecodeError, YAMLError or ValueError.
    """
    text = path.read_text(encoding="utf-8")
    for word, value in replaced.items():
        text = text.replace(word, value)
    return yaml.load(text, Loader=_LOADER)  # noqa: S506 - safe, both of them
