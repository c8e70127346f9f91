"""Access: nothing is public but the webhook hosts, and nobody may do more than they need."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from infra.policy.rule import Subject, at, entries

WILDCARDS = Path(__file__).with_name("wildcards.yaml")
ANYWHERE = ("0.0.0.0/0", "::/0")


def nothing_is_public(subject: Subject) -> Iterator[str]:
    """Only the front door and the load balancer are reached from the internet."""
    for resource in subject.of("aws:rds:Instance"):
        if resource.inputs.get("publiclyAccessible") is not False:
            yield f"{resource.name} is reached from the internet: set publiclyAccessible to false"
    for resource in subject.of("aws:vpc:SecurityGroupIngressRule"):
        if resource.inputs.get("cidrIpv4") in ANYWHERE or resource.inputs.get("cidrIpv6") in ANYWHERE:
            yield f"{resource.name} lets the internet in"
    for resource in subject.of("aws:ec2:SecurityGroup", "aws:ec2:DefaultSecurityGroup"):
        if entries(resource.inputs, "ingress"):
            yield f"{resource.name} has rules of its own: make each a resource, so that it can be judged"
    for resource in subject.of("aws:ec2:Subnet"):
        if resource.inputs.get("mapPublicIpOnLaunch") is True:
            yield f"{resource.name} gives public addresses to whatever starts in it"
    for resource in subject.of("aws:eks:Cluster"):
        public = at(resource.inputs, "vpcConfig", "endpointPublicAccess") is not False
        allowed = entries(resource.inputs, "vpcConfig", "publicAccessCidrs")
        if public and (not allowed or any(cidr in ANYWHERE for cidr in allowed)):
            yield f"{resource.name}: everybody reaches the cluster's API"
    # By name: a bucket's own name is not known before it is made.
    closed = {resource.name for resource in subject.of("aws:s3:BucketPublicAccessBlock")}
    for resource in subject.of("aws:s3:Bucket"):
        if resource.name not in closed:
            yield f"{resource.name} has no public access block of its name"
    for resource in subject.of("aws:apigatewayv2:Api"):
        if resource.inputs.get("disableExecuteApiEndpoint") is not True:
            yield f"{resource.name} is also reached by another name than the webhook host"
    for resource in subject.of("Service"):
        if at(resource.inputs, "spec", "type") not in (None, "ClusterIP"):
            yield f"{resource.name} opens a way in beside the load balancer"


def metadata_needs_a_token(subject: Subject) -> Iterator[str]:
    """Nothing on a machine gets at its role by a plain request, and no pod gets at a node's."""
    for resource in subject.of("aws:ec2:LaunchTemplate"):
        if at(resource.inputs, "metadataOptions", "httpTokens") != "required":
            yield f"{resource.name} answers metadata without a token: set httpTokens to required"
        hops = at(resource.inputs, "metadataOptions", "httpPutResponseHopLimit")
        if "nodes" in resource.name and hops != 1:
            yield f"{resource.name}: pods reach the node's role, set httpPutResponseHopLimit to 1"


def clusters_use_access_entries(subject: Subject) -> Iterator[str]:
    """Who may use a cluster stands in access entries; there is no aws-auth ConfigMap to lose."""
    for resource in subject.of("aws:eks:Cluster"):
        if at(resource.inputs, "accessConfig", "authenticationMode") != "API":
            yield f"{resource.name}: set authenticationMode to API"
        if at(resource.inputs, "accessConfig", "bootstrapClusterCreatorAdminPermissions") is not False:
            yield f"{resource.name}: whoever makes the cluster gets an entry that stands nowhere"


def stores_know_no_password(subject: Subject) -> Iterator[str]:
    """Databases and caches are logged in to with IAM; the one password there is, RDS keeps and rotates."""
    for resource in subject.of("aws:rds:Instance"):
        if resource.inputs.get("manageMasterUserPassword") is not True or "password" in resource.inputs:
            yield f"{resource.name}: let RDS keep the password, it would stand in the state"
        if resource.inputs.get("iamDatabaseAuthenticationEnabled") is not True:
            yield f"{resource.name}: set iamDatabaseAuthenticationEnabled"
    for resource in subject.of("aws:elasticache:User"):
        if at(resource.inputs, "authenticationMode", "type") != "iam":
            yield f"{resource.name} logs in with something else than IAM"
    for resource in subject.of("aws:elasticache:ReplicationGroup"):
        if not resource.inputs.get("userGroupIds") and "userGroupIds" not in resource.unknown:
            yield f"{resource.name} lets everybody in who reaches it: set userGroupIds"


def rights_are_named(subject: Subject) -> Iterator[str]:
    """No statement allows every action or every resource without a reason in `wildcards.yaml`."""
    for resource in subject.of("aws:iam:RolePolicy", "aws:iam:Policy", "aws:kms:Key", "aws:s3:BucketPolicy"):
        policy = resource.inputs.get("policy")
        if isinstance(policy, str):
            name = resource.name.removeprefix(f"{resource.region}-")
            for statement in json.loads(policy)["Statement"]:
                for wide in _wildcards(name, statement):
                    yield f"{resource.name} {wide}: name it, or give the reason in {WILDCARDS.name}"
    for resource in subject.of("aws:iam:RolePolicyAttachment"):
        policy = str(resource.inputs.get("policyArn"))
        if (
            policy.startswith("arn:aws:iam::aws:")
            and policy.split("policy/", 1)[1] not in _reasons()["managed"]
        ):
            yield f"{resource.name} takes {policy}, for which {WILDCARDS.name} gives no reason"


def roles_trust_somebody_in_particular(subject: Subject) -> Iterator[str]:
    """A role is taken by one service, by pods of one cluster, or by named workflows; never by everybody."""
    for resource in subject.of("aws:iam:Role"):
        trust = resource.inputs.get("assumeRolePolicy")
        for statement in json.loads(trust)["Statement"] if isinstance(trust, str) else ():
            principal = statement.get("Principal")
            if principal == "*" or (isinstance(principal, dict) and "*" in principal.values()):
                yield f"{resource.name} can be taken by everybody"
            if isinstance(principal, dict) and "Federated" in principal:
                condition = at(statement, "Condition", "StringEquals") or {}
                subjects = next((value for key, value in condition.items() if key.endswith(":sub")), None)
                if not subjects or "*" in str(subjects):
                    yield f"{resource.name} can be taken by any workflow of GitHub"
            if "pods.eks" in str(principal) and not at(statement, "Condition"):
                yield f"{resource.name} can be taken by pods of any cluster"


def _wildcards(name: str, statement: Mapping[str, Any]) -> Iterator[str]:
    """What is too wide in a statement that allows something."""
    if statement.get("Effect") != "Allow":
        return
    reasons = _reasons()
    actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
    resources = statement.get("Resource", [])
    everything = "*" in (resources if isinstance(resources, list) else [resources])
    for action in actions:
        allowed = name in reasons["statements"]
        if "*" in action and not allowed:
            yield f"allows {action}"
        elif everything and not statement.get("Condition") and not allowed and not _without_resource(action):
            yield f"allows {action} on every resource"


def _without_resource(action: str) -> bool:
    return any(action.startswith(prefix) for prefix in _reasons()["actions"])


@cache
def _reasons() -> Mapping[str, Mapping[str, str]]:
    reasons: Mapping[str, Mapping[str, str]] = yaml.safe_load(WILDCARDS.read_text(encoding="utf-8"))
    return reasons
