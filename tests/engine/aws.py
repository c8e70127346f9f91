"""What AWS answers, as far as data can say: outputs of the right form, replacements, and cheap refusals."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from infra.outputs import OUTPUTS, answer, known
from infra.replacements import replacing
from tests.engine.provider import UNKNOWN, Change, Cloud, Properties, Refused, Thing, changed_paths

ACCOUNT = "000000000000"
# Limits of names, from the services' API references (CreateRole, CreateDBInstance, CreateReplicationGroup, …).
NAMES: Mapping[str, tuple[str, str]] = {
    "aws:iam/role:Role": ("name", r"[\w+=,.@-]{1,64}"),
    "aws:iam/policy:Policy": ("name", r"[\w+=,.@-]{1,128}"),
    "aws:rds/instance:Instance": ("identifier", r"[a-z](?!.*--)[a-z0-9-]{0,61}[a-z0-9]"),
    "aws:elasticache/replicationGroup:ReplicationGroup": (
        "replicationGroupId",
        r"[a-z](?!.*--)[a-z0-9-]{0,38}[a-z0-9]",
    ),
    "aws:elasticache/user:User": ("userId", r"[a-z](?!.*--)[a-z0-9-]{0,38}[a-z0-9]"),
    "aws:eks/cluster:Cluster": ("name", r"[0-9A-Za-z][A-Za-z0-9_-]{0,99}"),
    "aws:ecr/repository:Repository": (
        "name",
        r"(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*",
    ),
    "aws:sns/topic:Topic": ("name", r"[\w-]{1,256}"),
    "aws:lb/targetGroup:TargetGroup": ("name", r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,30}[A-Za-z0-9])?"),
    "aws:eks/podIdentityAssociation:PodIdentityAssociation": (
        "serviceAccount",
        r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?",
    ),
}
# What may exist once with the same values, in an account and region (or in the account, for IAM and Route 53).
UNIQUE: Mapping[str, tuple[str, ...]] = {
    "aws:iam/role:Role": ("name",),
    "aws:rds/instance:Instance": ("identifier",),
    "aws:eks/cluster:Cluster": ("name",),
    "aws:ecr/repository:Repository": ("name",),
    "aws:elasticache/replicationGroup:ReplicationGroup": ("replicationGroupId",),
    "aws:eks/podIdentityAssociation:PodIdentityAssociation": ("clusterName", "namespace", "serviceAccount"),
    "aws:route53/record:Record": ("zoneId", "name", "type", "setIdentifier"),
    "aws:ssm/parameter:Parameter": ("name",),
    "aws:cloudwatch/logGroup:LogGroup": ("name",),
}
GLOBAL = ("aws:iam/", "aws:route53/", "aws:budgets/")
# DescribeXxx calls these a dependency: the holder must go first.
HELD_BY: Mapping[str, tuple[tuple[str, str], ...]] = {
    "aws:ec2/vpc:Vpc": (("aws:ec2/subnet:Subnet", "vpcId"), ("aws:ec2/securityGroup:SecurityGroup", "vpcId")),
    "aws:ec2/subnet:Subnet": (
        ("aws:ec2/natGateway:NatGateway", "subnetId"),
        ("aws:ec2/instance:Instance", "subnetId"),
    ),
    "aws:eks/cluster:Cluster": (("aws:eks/nodeGroup:NodeGroup", "clusterName"),),
}


@dataclass
class Aws(Cloud):
    name: str = "aws"
    account: str = ACCOUNT
    made: int = 0
    on_cluster_gone: Callable[[str], None] = field(default=lambda region: None)
    """Told the region of a cluster that is deleted: its objects are gone with it."""

    def region(self, configuration: Mapping[str, Any]) -> str:
        accounts = configuration.get("allowedAccountIds")
        accounts = json.loads(accounts) if isinstance(accounts, str) else accounts
        if accounts != [self.account]:
            raise AssertionError(f"a provider accepts the accounts {accounts}, not only {self.account}")
        return str(configuration["region"])

    def check(self, type: str, name: str, inputs: Properties, olds: Properties) -> Properties:
        if type not in known():
            raise Refused(f"{type} is unknown to this stand-in: describe it in {OUTPUTS}")
        key, pattern = NAMES.get(type, ("", ""))
        value = inputs.get(key)
        if isinstance(value, str) and not re.fullmatch(pattern, value):
            raise Refused(f"{key} {value!r} does not match {pattern}")
        return inputs

    def diff(self, type: str, old: Properties, new: Properties) -> Change:
        changed = changed_paths(old, new)
        paths = replacing(type)
        return Change(changed, [path for path in changed if _prefixes(path) & paths])

    def planned(self, type: str, inputs: Properties) -> Properties:
        nested = known()[type].get("nested")
        if not nested:
            return inputs
        return inputs | {key: inputs[key] | dict.fromkeys(form, UNKNOWN) for key, form in nested.items()}

    def create(self, type: str, name: str, region: str, inputs: Properties) -> Thing:
        self._refuse(type, region, inputs)
        self.made += 1  # a resource that is made again gets another id, as in AWS
        id, outputs = answer(type, name, region, self.account, inputs, salt=str(self.made))
        return Thing(type, id, region, inputs, outputs)

    def update(self, thing: Thing, inputs: Properties) -> Properties:
        if (
            thing.type == "aws:rds/instance:Instance"
            and inputs["allocatedStorage"] < thing.inputs["allocatedStorage"]
        ):
            raise Refused("InvalidParameterCombination: allocated storage cannot be reduced")
        return super().update(thing, inputs)

    def delete(self, thing: Thing) -> None:
        if (
            thing.inputs.get("deletionProtection") is True
            or thing.inputs.get("deletionProtectionEnabled") is True
        ):
            raise Refused(f"{thing.id} has deletion protection: lift it first")
        for holder, key in HELD_BY.get(thing.type, ()):
            held = [
                other.id
                for other in self.of_type(holder)
                if other.region == thing.region and other.inputs.get(key) == thing.id
            ]
            if held:
                raise Refused(f"DependencyViolation: {thing.id} is held by {', '.join(held)}")
        if thing.type == "aws:eks/cluster:Cluster":
            self.on_cluster_gone(thing.region)

    def _refuse(self, type: str, region: str, inputs: Properties) -> None:
        keys = UNIQUE.get(type, ())
        for other in self.of_type(type) if keys else ():
            same_place = other.region == region or type.startswith(GLOBAL)
            if same_place and all(other.inputs.get(key) == inputs.get(key) for key in keys):
                raise Refused(
                    f"AlreadyExists: {type} with {', '.join(f'{key} {inputs.get(key)}' for key in keys)}"
                )
        if type == "aws:ec2/subnet:Subnet":
            self._refuse_subnet(region, inputs)
        for key in ("policy", "assumeRolePolicy"):
            if key in inputs and type != "aws:ecr/lifecyclePolicy:LifecyclePolicy":
                _refuse_policy(type, key, inputs[key])

    def _refuse_subnet(self, region: str, inputs: Properties) -> None:
        vpc = self.things.get((region, "aws:ec2/vpc:Vpc", inputs["vpcId"]))
        if vpc is None:
            raise Refused(f"InvalidVpcID.NotFound: {inputs['vpcId']} in {region}")
        block = ipaddress.IPv4Network(inputs["cidrBlock"])
        if not block.subnet_of(ipaddress.IPv4Network(vpc.inputs["cidrBlock"])):
            raise Refused(f"InvalidSubnet.Range: {block} lies outside {vpc.inputs['cidrBlock']}")
        for other in self.of_type("aws:ec2/subnet:Subnet"):
            if other.inputs["vpcId"] == vpc.id and block.overlaps(
                ipaddress.IPv4Network(other.inputs["cidrBlock"])
            ):
                raise Refused(f"InvalidSubnet.Conflict: {block} overlaps {other.inputs['cidrBlock']}")


def _refuse_policy(type: str, key: str, text: str) -> None:
    """IAM's quota: 6,144 characters for a managed policy, 10,240 for a role's inline ones, 2,048 for trust."""
    try:
        document = json.loads(text)
    except ValueError as broken:
        raise Refused(f"MalformedPolicyDocument: {broken}") from broken
    limit = 2048 if key == "assumeRolePolicy" else 6144 if type == "aws:iam/policy:Policy" else 10240
    size = len(re.sub(r"\s", "", text))
    if size > limit:
        raise Refused(f"LimitExceeded: {key} has {size} characters, at most {limit}")
    if document.get("Version") != "2012-10-17":
        raise Refused(
            "MalformedPolicyDocument: Version is not 2012-10-17, so that variables are no variables"
        )


def _prefixes(path: str) -> set[str]:
    """A path and everything it lies in: `a.b.c` → a, a.b, a.b.c."""
    parts = path.split(".")
    return {".".join(parts[: length + 1]) for length in range(len(parts))}
