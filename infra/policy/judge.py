"""The verdict of every rule on a recorded stack: the same functions that run under `pulumi preview --policy-pack`."""

from __future__ import annotations

from collections.abc import Sequence

from infra.plan import Plan
from infra.policy.rule import Subject
from infra.policy.rules import RULES
from infra.settings import Settings
from infra.shapes import Resource, Verdict


def judge(settings: Settings, plan: Plan, resources: Sequence[Resource]) -> list[Verdict]:
    """One verdict a rule; the message names everything that breaks it, or says what holds."""
    subject = Subject(settings, plan, resources)
    verdicts = []
    for rule in RULES:
        broken = list(rule.check(subject))
        verdicts.append(Verdict(rule.name, not broken, "; ".join(broken) or rule.description))
    return verdicts
