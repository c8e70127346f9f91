"""Order: everything can be traced to its owner, comes by an explicit provider, and is known to the rules."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from infra.policy.rule import Subject, at, entries
from infra.shapes import Resource

COVERAGE = Path(__file__).with_name("coverage.yaml")
REQUIRED = ("project", "stack", "owner", "zone")


def everything_is_tagged(subject: Subject) -> Iterator[str]:
    """Providers put the required tags on all they make; what EC2 makes by itself gets them from its template."""
    for resource in subject.of("pulumi:providers:aws"):
        missing = _missing(at(_setting(resource, "defaultTags"), "tags"))
        if missing:
            yield f"the provider {resource.name} does not tag with {missing}"
    for resource in subject.of("aws:ec2:LaunchTemplate"):
        tagged = {
            entry.get("resourceType"): entry.get("tags")
            for entry in entries(resource.inputs, "tagSpecifications")
        }
        for kind in ("instance", "volume"):
            if _missing(tagged.get(kind)):
                yield f"{resource.name} does not tag each {kind} with {_missing(tagged.get(kind))}"


def providers_are_bound(subject: Subject) -> Iterator[str]:
    """Every AWS provider names its region and the one account that it accepts."""
    for resource in subject.of("pulumi:providers:aws"):
        if _setting(resource, "allowedAccountIds") != [subject.settings.account_id]:
            yield f"the provider {resource.name} accepts other accounts than {subject.settings.account_id}"
        if not resource.inputs.get("region"):
            yield f"the provider {resource.name} takes its region from wherever it runs"


def every_type_is_judged(subject: Subject) -> Iterator[str]:
    """Every type of AWS resource is checked by a rule, or `coverage.yaml` says why none applies."""
    for type in sorted({resource.type for resource in subject.resources}):
        if type.startswith("aws:") and type not in coverage():
            yield f"{type} is checked by no rule: write one, or give the reason in {COVERAGE.name}"


@cache
def coverage() -> Mapping[str, Mapping[str, object]]:
    """Type → `rules` that check it, or the `reason` why none does."""
    known: Mapping[str, Mapping[str, object]] = yaml.safe_load(COVERAGE.read_text(encoding="utf-8"))
    return known


def _setting(provider: Resource, key: str) -> Any:
    """A setting of a provider, which reach it as JSON."""
    value = provider.inputs.get(key)
    return json.loads(value) if isinstance(value, str) else value


def _missing(tags: object) -> str:
    given = tags if isinstance(tags, Mapping) else {}
    return ", ".join(tag for tag in REQUIRED if not given.get(tag))
