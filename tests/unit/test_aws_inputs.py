"""Every AWS input is one that pulumi-aws's own types know, to the last nested key, and nothing required is missing."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator, Mapping
from typing import Any, get_args

import pytest
from pulumi import _types

from infra.shapes import Resource
from tests.unit.stacks import outlook_of


@pytest.mark.parametrize("preset", ["dev", "phase3", "prod"])
def test_every_input_is_known_to_the_provider(preset: str) -> None:
    unknown = {
        f"{resource.type}: {problem}"
        for resource in outlook_of(preset).resources
        if resource.type.startswith("aws:")
        for problem in _problems(_arguments(resource), dict(resource.inputs))
    }
    assert unknown == set()


def test_a_misspelt_nested_input_is_seen() -> None:
    repository = next(r for r in outlook_of("dev").resources if r.type == "aws:ecr/repository:Repository")
    inputs = {**repository.inputs, "imageScanningConfiguration": {"scanOnPull": True}}
    assert set(_problems(_arguments(repository), inputs)) == {
        "imageScanningConfiguration.scanOnPull is unknown",
        "imageScanningConfiguration.scanOnPush is missing",
    }


def _arguments(resource: Resource) -> type:
    """The SDK's class of a resource's arguments; where a nested type has that name already, it is called InitArgs."""
    _, module, name = resource.type.split(":")
    package = importlib.import_module(f"pulumi_aws.{module.split('/')[0]}")
    arguments: type = getattr(package, f"{name}InitArgs", None) or getattr(package, f"{name}Args")
    return arguments


def _problems(arguments: type, inputs: Mapping[str, Any], path: str = "") -> Iterator[str]:
    known = _types.input_type_types(arguments)
    for key, value in inputs.items():
        if key not in known:
            yield f"{path}{key} is unknown"
            continue
        nested = _nested(known[key])
        entries = value if isinstance(value, list) else [value]
        for entry in entries if nested is not None else ():
            if isinstance(entry, dict):
                yield from _problems(nested, entry, f"{path}{key}.")
    names = _types.input_type_py_to_pulumi_names(arguments)
    for parameter in inspect.signature(arguments).parameters.values():
        key = names.get(parameter.name, "")
        if key and parameter.default is inspect.Parameter.empty and key not in inputs:
            yield f"{path}{key} is missing"


def _nested(annotation: Any) -> Any:
    """The class of arguments that `annotation` holds, on its own or in a list, or None."""
    if isinstance(annotation, type) and _types.is_input_type(annotation):
        return annotation
    for inner in get_args(annotation):
        found = _nested(inner)
        if found is not None:
            return found
    return None
