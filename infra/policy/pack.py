"""The rules as policies of CrossGuard, which see a stack as the engine is about to make it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pulumi_policy import (
    EnforcementLevel,
    Policy,
    PolicyResource,
    ReportViolation,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UnknownValueError

from infra.credentials import plain_config
from infra.outlook import plan_stack
from infra.plan import Plan
from infra.policy.rule import Rule, Subject
from infra.policy.rules import RULES
from infra.settings import PROJECT, Settings
from infra.shapes import Resource

JUDGED = ("aws:", "kubernetes:", "pulumi:providers:aws", "pulumi:providers:kubernetes")
ROOT = Path(__file__).resolve().parents[2]


def policies(stack: str) -> list[Policy]:
    """One mandatory policy a rule, for the stack that runs."""
    return [_policy(rule, stack) for rule in RULES]


def _policy(rule: Rule, stack: str) -> Policy:
    def validate(args: StackValidationArgs, report: ReportViolation) -> None:
        settings, plan = _planned(stack)
        for broken in rule.check(Subject(settings, plan, list(_resources(args)))):
            report(broken, None)

    return StackValidationPolicy(
        name=rule.name,
        description=rule.description,
        validate=validate,
        enforcement_level=EnforcementLevel.MANDATORY,
    )


@cache
def _planned(stack: str) -> tuple[Settings, Plan]:
    """Settings and plan from the configuration that the engine hands to the pack, as it does to the program."""
    return plan_stack(ROOT, plain_config(PROJECT), stack)


def _resources(args: StackValidationArgs) -> Iterator[Resource]:
    for resource in args.resources:
        # Components hold nothing that is not judged on its own.
        if resource.resource_type.startswith(JUDGED):
            inputs, unknown = _known(resource.props)
            yield Resource(
                type=resource.resource_type,
                name=resource.name,
                region=_region(resource, inputs),
                component="",
                inputs=inputs,
                protected=bool(resource.opts.protect),
                unknown=frozenset(unknown),
            )


def _region(resource: PolicyResource, inputs: Mapping[str, Any]) -> str:
    """Providers are called after their region, and those of a cluster `REGION-cluster`."""
    provider = resource.name if resource.provider is None else resource.provider.name
    return str(inputs.get("region") or provider).removesuffix("-cluster")


def _known(value: Any) -> tuple[Any, list[str]]:
    """`value` as plain data without what is known only after `up`, and the names of the properties left out."""
    if isinstance(value, Mapping):
        known, unknown = {}, []
        for key in value:
            try:
                known[key], inner = _known(value[key])
                unknown += [str(key)] if inner else []
            except UnknownValueError:
                unknown.append(str(key))
        return known, unknown
    if isinstance(value, Sequence) and not isinstance(value, str):
        return _known_list(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value, []


def _known_list(value: Sequence[Any]) -> tuple[list[Any], list[str]]:
    known, unknown = [], []
    for index in range(len(value)):
        try:
            entry, inner = _known(value[index])
            known.append(entry)
            unknown += inner
        except UnknownValueError:
            unknown.append(str(index))
    return known, unknown
