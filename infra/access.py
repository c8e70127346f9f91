"""IAM documents and roles. A statement names its actions and its resources; the policy pack judges wildcards."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
from pulumi_aws import iam

from infra.scope import Scope

Statement = Mapping[str, Any]
VERSION = "2012-10-17"  # older documents know no variables such as ${aws:PrincipalTag/…}


def allow(actions: Sequence[str], resources: Any, **conditions: Mapping[str, Any]) -> Statement:
    """One statement. `resources` is an ARN or a list of ARNs; `conditions` by operator, as `StringEquals={…}`."""
    statement: dict[str, Any] = {"Effect": "Allow", "Action": list(actions), "Resource": resources}
    if conditions:
        statement["Condition"] = {operator: dict(values) for operator, values in conditions.items()}
    return statement


def document(*statements: Statement) -> pulumi.Output[str]:
    """A policy document as JSON; ARNs in it may be outputs."""
    return pulumi.Output.json_dumps({"Version": VERSION, "Statement": list(statements)}, sort_keys=True)


def service_trust(service: str) -> str:
    """Lets an AWS service, such as `ec2.amazonaws.com`, take a role."""
    return _trust({"Service": service}, ["sts:AssumeRole"])


def pod_trust(cluster_arn: pulumi.Output[str]) -> pulumi.Output[str]:
    """Lets pods of one cluster take a role by EKS Pod Identity, which tags the session with the service account."""

    def trust(arn: str) -> str:
        return _trust(
            {"Service": "pods.eks.amazonaws.com"},
            ["sts:AssumeRole", "sts:TagSession"],
            {"StringEquals": {"aws:SourceArn": arn}},
        )

    return cluster_arn.apply(trust)


def federated_trust(
    provider_arn: pulumi.Input[str], issuer: str, subjects: Sequence[str]
) -> pulumi.Output[str]:
    """Lets tokens of an OIDC `issuer` with one of the `subjects` take a role."""
    condition = {"StringEquals": {f"{issuer}:aud": "sts.amazonaws.com", f"{issuer}:sub": list(subjects)}}
    return pulumi.Output.from_input(provider_arn).apply(
        lambda arn: _trust({"Federated": arn}, ["sts:AssumeRoleWithWebIdentity"], condition)
    )


def _trust(
    principal: Mapping[str, str], actions: Sequence[str], condition: Mapping[str, Any] | None = None
) -> str:
    statement: dict[str, Any] = {"Effect": "Allow", "Principal": principal, "Action": list(actions)}
    if condition:
        statement["Condition"] = condition
    return json.dumps({"Version": VERSION, "Statement": [statement]}, sort_keys=True)


def role(
    scope: Scope,
    what: str,
    trust: pulumi.Input[str],
    *,
    statements: Sequence[Statement] = (),
    managed: Sequence[str] = (),
    opts: pulumi.ResourceOptions,
) -> iam.Role:
    """A role with its own statements and AWS-managed policies (names under `arn:aws:iam::aws:policy/`)."""
    made = iam.Role(
        scope.resource(f"{what}-role"), name=scope.global_name(what), assume_role_policy=trust, opts=opts
    )
    if statements:
        iam.RolePolicy(
            scope.resource(f"{what}-role"), name=what, role=made.name, policy=document(*statements), opts=opts
        )
    for policy in managed:
        short = policy.rsplit("/", 1)[-1]
        iam.RolePolicyAttachment(
            scope.resource(f"{what}-{short}"),
            role=made.name,
            policy_arn=f"arn:aws:iam::aws:policy/{policy}",
            opts=opts,
        )
    return made
