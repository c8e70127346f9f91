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
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UnknownValueError

from infra.credentials import plain_config
from infra.datatier import RECOVERY
from infra.outlook import plan_stack
from infra.plan import Plan
from infra.policy.rule import Rule, Subject
from infra.policy.rules import RULES
from infra.settings import PROJECT, Settings
from infra.shapes import Resource

ROOT = Path(__file__).resolve().parents[2]
# Components hold nothing that is not judged on its own.
JUDGED = ("aws:", "kubernetes:", "pulumi:providers:aws", "pulumi:providers:kubernetes")
Inputs = dict[str, tuple[dict[str, Any], list[str]]]
"""URN → inputs, and the names of those that are known only after `up`."""


def policies(stack: str) -> list[Policy]:
    """One mandatory policy a rule, for the stack that runs; and one that reads what they judge."""
    inputs: Inputs = {}
    return [_reader(inputs), *(_policy(rule, stack, inputs) for rule in RULES)]


def _reader(inputs: Inputs) -> Policy:
    """Rules look at all resources at once, and the engine then knows outputs only.

    Outputs are empty in a cluster that does not exist yet. Inputs pass by here, one resource at a time.
    """

    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        inputs[args.urn] = _known(args.props)

    return ResourceValidationPolicy(
        name="inputs-are-read",
        description="What rules judge is read as the program gives it.",
        validate=validate,
        enforcement_level=EnforcementLevel.MANDATORY,
    )


def _policy(rule: Rule, stack: str, inputs: Inputs) -> Policy:
    def validate(args: StackValidationArgs, report: ReportViolation) -> None:
        settings, plan = _planned(stack)
        for broken in rule.check(Subject(settings, plan, list(_resources(args, inputs)))):
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


def _resources(args: StackValidationArgs, inputs: Inputs) -> Iterator[Resource]:
    for resource in args.resources:
        if resource.resource_type.startswith(JUDGED):
            # What is not a target of this run passes by nowhere; it is as it was.
            known, unknown = inputs.get(resource.urn) or _known(resource.props)
            yield Resource(
                type=resource.resource_type,
                name=resource.name,
                region=_region(resource, known),
                component="",
                inputs=known,
                protected=bool(resource.opts.protect),
                unknown=frozenset(unknown),
            )


def _region(resource: PolicyResource, inputs: Mapping[str, Any]) -> str:
    """Providers are called after their region: `REGION`, `REGION-cluster`, `REGION-recovers-OTHER`."""
    provider = resource.name if resource.provider is None else resource.provider.name
    return str(inputs.get("region") or provider).removesuffix("-cluster").split(RECOVERY)[0]


def _known(value: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """`value` as plain data without what is known only after `up`, and the names of the properties left out."""
    known: dict[str, Any] = {}
    unknown = []
    for key in value:
        try:
            known[key], missing = _plain(value[key])
            unknown += [key] if missing else []
        except UnknownValueError:
            unknown.append(key)
    return known, unknown


def _plain(value: Any) -> tuple[Any, bool]:
    """`value` without what is unknown in it, and whether something was."""
    if isinstance(value, Mapping):
        known, unknown = _known(value)
        return known, bool(unknown)
    if isinstance(value, Sequence) and not isinstance(value, str):
        entries, missing = [], False
        for index in range(len(value)):
            try:
                entry, inner = _plain(value[index])
                entries.append(entry)
                missing = missing or inner
            except UnknownValueError:
                missing = True
        return entries, missing
    return int(value) if isinstance(value, float) and value.is_integer() else value, False
