"""What a rule is: a plain function over a stack that yields a message for everything that breaks it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from infra.plan import Plan
from infra.settings import Settings
from infra.shapes import Resource


@dataclass(frozen=True, slots=True)
class Subject:
    """What rules look at. Inputs that are known only after `up` are absent; `infra.preview` knows them all."""

    settings: Settings
    plan: Plan
    resources: Sequence[Resource]

    def of(self, *types: str) -> Iterator[Resource]:
        """The resources of these types, which may be written without their module's path: `aws:rds:Instance`."""
        return (resource for resource in self.resources if short(resource.type) in types)


Check = Callable[[Subject], Iterator[str]]


@dataclass(frozen=True, slots=True)
class Rule:
    """A check with the name that a report gives it. Its description is the check's docstring."""

    check: Check

    @property
    def name(self) -> str:
        return self.check.__name__.replace("_", "-")

    @property
    def description(self) -> str:
        return (self.check.__doc__ or "").split("\n")[0]


def short(type: str) -> str:
    """`aws:rds/instance:Instance` → `aws:rds:Instance`; Kubernetes types → their kind."""
    package, module, name = type.split(":")
    return name if package == "kubernetes" else f"{package}:{module.split('/')[0]}:{name}"


def at(inputs: Mapping[str, Any], *path: str | int) -> Any:
    """The value at `path`, or None where something on the way is absent."""
    value: Any = inputs
    for step in path:
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int):
            value = value[step] if step < len(value) else None
        else:
            return None
    return value


def entries(inputs: Mapping[str, Any], *path: str | int) -> list[Any]:
    """The list at `path`; empty where there is none."""
    value = at(inputs, *path)
    return value if isinstance(value, list) else []
