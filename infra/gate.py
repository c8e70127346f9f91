"""The gate before a phase: a stack goes on with evidence that says go, or with a named person's recorded override."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from errors import SettingsError
from infra.settings import Phase, Settings
from infra.shapes import Verdict

# What `python -m runner gate --json` calls the gates that must say go before a phase.
GATES: Mapping[Phase, tuple[str, ...]] = {2: ("after-1",), 3: ("after-2",), 4: ("after-3", "before-4")}


def ask_gate(root: Path, settings: Settings) -> Verdict:
    """Whether the stack may be in its phase. The evidence's path is from `root` where it is relative.

    The file holds one JSON object, or a list of them, with `gate` and `verdict` ("go", "no-go" or "not enough
    evidence"). Raises SettingsError when it cannot be read.
    """
    name = f"gate before phase {settings.phase}"
    verdicts = dict(_verdicts(root / settings.gate.file)) if settings.gate.file else {}
    missing = [gate for gate in GATES[settings.phase] if verdicts.get(gate) != "go"]
    if not missing:
        return Verdict(name, True, f"{', '.join(GATES[settings.phase])} say go in {settings.gate.file}")
    if settings.gate.override:
        return Verdict(name, True, f"overridden by {settings.gate.override}")
    said = ", ".join(f"{gate} says {verdicts.get(gate, 'nothing')}" for gate in missing)
    return Verdict(
        name,
        False,
        f"{said}. Fix: set gateFile to the JSON of `python -m runner gate`, or gateOverride to NAME: REASON",
    )


def _verdicts(path: Path) -> Iterator[tuple[str, str]]:
    """(gate, verdict) of each entry; a gate that stands twice has its last verdict."""
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        for entry in content if isinstance(content, list) else [content]:
            yield str(entry["gate"]), str(entry["verdict"])
    except (OSError, UnicodeDecodeError, ValueError) as broken:
        raise SettingsError(
            f"the gate's evidence is not readable JSON ({broken})", "correct gateFile", file=path
        ) from broken
    except (KeyError, TypeError) as broken:
        raise SettingsError(
            "the gate's evidence lacks `gate` or `verdict`",
            "write it with `python -m runner gate --json`",
            file=path,
        ) from broken
