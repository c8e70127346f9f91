"""What AWS would answer to a creation, as data, so that the program runs where there is no account."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from infra.data import read_yaml

OUTPUTS = Path(__file__).with_name("outputs.yaml")


@cache
def known() -> Mapping[str, Mapping[str, Any]]:
    """Type → the form of its id and outputs."""
    forms: Mapping[str, Mapping[str, Any]] = read_yaml(OUTPUTS)
    return forms


def answer(
    type: str, name: str, region: str, account: str, inputs: Mapping[str, Any], salt: str = ""
) -> tuple[str, dict[str, Any]]:
    """Id and outputs of a new resource of `type`, whose Pulumi name is `name`; equal arguments give equal answers.

    Raises KeyError for a type without a form.
    """
    form = known()[type]
    digits = hashlib.sha256(f"{type}/{name}/{salt}".encode()).hexdigest()[:17]
    values: dict[str, Any] = {"region": region, "account": account, "name": name, "hex": digits}
    values |= {key: value for key, value in inputs.items() if isinstance(value, str | int)}
    id = values["id"] = _fill(form["id"], values)
    outputs = {**inputs, **_fill(form.get("outputs", {}), values)}
    for key, extra in form.get("nested", {}).items():
        outputs[key] = {**outputs[key], **_fill(extra, values)}
    return id, outputs


def _fill(template: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(template, str):
        return template.format_map(values)
    if isinstance(template, list):
        return [_fill(entry, values) for entry in template]
    if isinstance(template, dict):
        return {key: _fill(entry, values) for key, entry in template.items()}
    return template
