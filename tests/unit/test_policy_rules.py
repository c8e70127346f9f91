"""Each rule of the policy pack, with one input that breaks it and one that just passes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from infra.policy import access, cost, data, order, residency, workloads
from infra.policy.judge import judge
from infra.policy.order import coverage
from infra.policy.rule import Check, Rule, Subject, short
from infra.policy.rules import RULES
from infra.shapes import Resource
from tests.unit.stacks import outlook_of

GIVEN = "given"
"""A value that is left as the program gives it: the case is that the program itself just passes."""


@pytest.fixture(scope="module")
def host() -> Subject:
    return _subject("dev")


@pytest.fixture(scope="module")
def clusters() -> Subject:
    """Phase 4 holds every type but those of the phase-2 host."""
    return _subject("prod")


@pytest.mark.parametrize("preset", ["dev", "phase3", "prod"])
def test_the_presets_keep_every_rule(preset: str) -> None:
    subject = _subject(preset)
    verdicts = judge(subject.settings, subject.plan, subject.resources)
    assert [verdict for verdict in verdicts if not verdict.passed] == []
    assert len(verdicts) == len(RULES)


def test_the_bill_at_rest_may_reach_the_budget_and_not_pass_it(clusters: Subject) -> None:
    base = clusters.plan.bill.base
    assert _broken(cost.bill_at_rest_within_budget, _limited(clusters, budget=int(base) + 1)) == []
    (message,) = _broken(cost.bill_at_rest_within_budget, _limited(clusters, budget=int(base)))
    assert f"${base:,.2f}" in message


def test_the_worst_bill_may_reach_the_ceiling_and_not_pass_it(clusters: Subject) -> None:
    worst = clusters.plan.bill.worst
    assert _broken(cost.bill_at_worst_within_ceiling, _limited(clusters, ceiling=int(worst) + 1)) == []
    (message,) = _broken(cost.bill_at_worst_within_ceiling, _limited(clusters, ceiling=int(worst)))
    assert f"${worst:,.2f}" in message


def test_spot_has_to_save_what_is_expected_of_it(clusters: Subject) -> None:
    saving = int(clusters.plan.bill.spot_saving_percent)
    assert _broken(cost.spot_saves_enough, _limited(clusters, spot_saving=saving)) == []
    assert _broken(cost.spot_saves_enough, _limited(clusters, spot_saving=saving + 1))


# rule → type, path, a value that breaks the rule, a value that just passes
CONTAINER = "spec.template.spec.containers.0"
BY_THE_CLOCK = f"spec.jobTemplate.{CONTAINER}"
ENV = f"{CONTAINER}.env"
SECURITY = f"{CONTAINER}.securityContext"
ABROAD = "arn:aws:rds:ap-south-1:1:db:x"
VALUES: Mapping[Check, list[tuple[str, str, Any, Any]]] = {
    cost.nodes_as_planned: [
        ("aws:eks:NodeGroup", "scalingConfig.maxSize", 9, GIVEN),
        ("aws:eks:NodeGroup", "instanceTypes", ["m7g.metal"], GIVEN),
        ("aws:eks:NodeGroup", "nodeGroupName", "more", GIVEN),
    ],
    cost.stores_as_planned: [
        ("aws:rds:Instance", "instanceClass", "db.m7g.2xlarge", GIVEN),
        ("aws:rds:Instance", "multiAz", False, GIVEN),
        ("aws:elasticache:ReplicationGroup", "numCacheClusters", 3, GIVEN),
        ("aws:ec2:Instance", "instanceType", "t4g.2xlarge", GIVEN),
    ],
    cost.autoscalers_are_bounded: [
        ("HorizontalPodAutoscaler", "spec.maxReplicas", 11, 2),
    ],
    cost.nothing_costs_by_surprise: [
        ("aws:eks:Cluster", "upgradePolicy.supportType", "EXTENDED", "STANDARD"),
        ("aws:ec2:LaunchTemplate", "creditSpecification", {"cpuCredits": "unlimited"}, None),
        ("aws:ec2:VpcEndpoint", "vpcEndpointType", "Interface", "Gateway"),
        ("aws:cloudwatch:LogGroup", "retentionInDays", 0, 1),
    ],
    data.data_is_protected: [
        ("aws:rds:Instance", "deletionProtection", False, True),
    ],
    data.data_is_backed_up: [
        ("aws:rds:Instance", "backupRetentionPeriod", 0, 1),
        ("aws:rds:Instance", "skipFinalSnapshot", True, False),
        ("aws:rds:Instance", "deleteAutomatedBackups", True, False),
    ],
    data.stored_data_is_encrypted: [
        ("aws:rds:Instance", "storageEncrypted", False, True),
        ("aws:rds:Instance", "kmsKeyId", None, "arn:aws:kms:us-west-2:1:key/a"),
        ("aws:elasticache:ReplicationGroup", "atRestEncryptionEnabled", False, True),
        ("aws:cloudwatch:LogGroup", "kmsKeyId", None, GIVEN),
        ("aws:sns:Topic", "kmsMasterKeyId", None, GIVEN),
        ("aws:eks:Cluster", "encryptionConfig", None, GIVEN),
        ("aws:kms:Key", "enableKeyRotation", False, True),
        ("aws:ec2:LaunchTemplate", "blockDeviceMappings", [{"ebs": {"encrypted": "false"}}], []),
        ("aws:rds:InstanceAutomatedBackupsReplication", "kmsKeyId", None, GIVEN),
    ],
    data.data_travels_encrypted: [
        ("aws:rds:ParameterGroup", "parameters", [{"name": "rds.force_ssl", "value": "0"}], GIVEN),
        ("aws:elasticache:ReplicationGroup", "transitEncryptionEnabled", False, True),
        ("aws:apigatewayv2:DomainName", "domainNameConfiguration.securityPolicy", "TLS_1_0", "TLS_1_2"),
        (
            "Ingress",
            "metadata.annotations",
            {"alb.ingress.kubernetes.io/listen-ports": '[{"HTTP": 80}]'},
            GIVEN,
        ),
    ],
    access.nothing_is_public: [
        ("aws:rds:Instance", "publiclyAccessible", True, False),
        ("aws:vpc:SecurityGroupIngressRule", "cidrIpv4", "0.0.0.0/0", "10.30.0.0/16"),
        ("aws:ec2:SecurityGroup", "ingress", [{"fromPort": 22}], []),
        ("aws:ec2:DefaultSecurityGroup", "ingress", [{"fromPort": 0}], []),
        ("aws:ec2:Subnet", "mapPublicIpOnLaunch", True, False),
        (
            "aws:eks:Cluster",
            "vpcConfig",
            {"endpointPublicAccess": True, "publicAccessCidrs": ["0.0.0.0/0"]},
            {"endpointPublicAccess": True, "publicAccessCidrs": ["192.0.2.0/24"]},
        ),
        ("aws:apigatewayv2:Api", "disableExecuteApiEndpoint", False, True),
        ("Service", "spec.type", "LoadBalancer", "ClusterIP"),
    ],
    access.metadata_needs_a_token: [
        ("aws:ec2:LaunchTemplate", "metadataOptions.httpTokens", "optional", "required"),
    ],
    access.clusters_use_access_entries: [
        ("aws:eks:Cluster", "accessConfig.authenticationMode", "API_AND_CONFIG_MAP", "API"),
        ("aws:eks:Cluster", "accessConfig.bootstrapClusterCreatorAdminPermissions", True, False),
    ],
    access.stores_know_no_password: [
        ("aws:rds:Instance", "manageMasterUserPassword", False, True),
        ("aws:rds:Instance", "iamDatabaseAuthenticationEnabled", False, True),
        ("aws:elasticache:User", "authenticationMode.type", "password", "iam"),
        ("aws:elasticache:ReplicationGroup", "userGroupIds", [], ["group"]),
    ],
    access.rights_are_named: [
        (
            "aws:iam:RolePolicyAttachment",
            "policyArn",
            "arn:aws:iam::aws:policy/AdministratorAccess",
            "arn:aws:iam::aws:policy/ReadOnlyAccess",
        ),
    ],
    workloads.images_never_change: [
        ("Deployment", f"{CONTAINER}.image", "runner:latest", "runner:1.0.0"),
        ("Deployment", f"{CONTAINER}.image", "runner", "runner@sha256:" + "0" * 64),
        ("CronJob", f"{BY_THE_CLOCK}.image", "migrate:latest", "migrate:1.0.0"),
        ("aws:ecr:Repository", "imageTagMutability", "MUTABLE", "IMMUTABLE"),
        ("Release", "version", "", "1.0.0"),
    ],
    workloads.pods_are_confined: [
        ("Deployment", f"{SECURITY}.runAsNonRoot", False, True),
        ("CronJob", f"{BY_THE_CLOCK}.securityContext.runAsNonRoot", False, True),
        ("Deployment", f"{SECURITY}.privileged", True, False),
        ("Deployment", f"{SECURITY}.capabilities", {}, {"drop": ["ALL"]}),
        ("DaemonSet", f"{SECURITY}.readOnlyRootFilesystem", False, True),
        ("Job", f"{CONTAINER}.resources.limits", {"cpu": "1"}, {"cpu": "1", "memory": "1Gi"}),
        (
            "Deployment",
            "spec.template.spec.securityContext",
            {},
            {"seccompProfile": {"type": "RuntimeDefault"}},
        ),
        (
            "Namespace",
            "metadata.labels",
            {"pod-security.kubernetes.io/enforce": "baseline"},
            {"pod-security.kubernetes.io/enforce": "restricted"},
        ),
    ],
    workloads.secrets_stay_out_of_manifests: [
        (
            "Deployment",
            ENV,
            [{"name": "GITHUB_TOKEN", "value": "x"}],
            [{"name": "GITHUB_TOKEN", "valueFrom": {}}],
        ),
        (
            "Deployment",
            ENV,
            [{"name": "URL", "value": "postgresql://a:b@c/d"}],
            [{"name": "URL", "value": "postgresql://a@c/d"}],
        ),
    ],
    workloads.rollouts_keep_serving: [
        ("Deployment", "spec.strategy.rollingUpdate.maxUnavailable", 1, 0),
        ("Deployment", "metadata.name", "without-a-budget", GIVEN),
    ],
    residency.nothing_copies_itself_across_zones: [
        ("aws:rds:Instance", "replicateSourceDb", ABROAD, None),
        ("aws:kms:Key", "multiRegion", True, False),
        ("aws:elasticache:ReplicationGroup", "globalReplicationGroupId", "g", ""),
        ("aws:rds:InstanceAutomatedBackupsReplication", "sourceDbInstanceArn", ABROAD, GIVEN),
    ],
    residency.models_answer_inside_the_zone: [
        ("Deployment", ENV, [{"name": "OPENAI_BASE_URL", "value": "https://elsewhere.example"}], []),
        (
            "CronJob",
            f"{BY_THE_CLOCK}.env",
            [{"name": "OPENAI_BASE_URL", "value": "https://elsewhere.example"}],
            [],
        ),
    ],
    residency.webhooks_stay_in_their_zone: [
        ("aws:route53:Record", "latencyRoutingPolicies", [{"region": "ap-south-1"}], []),
    ],
    residency.peers_reach_databases_only: [
        ("aws:vpc:SecurityGroupIngressRule", "cidrIpv4", "10.99.0.0/16", None),
    ],
    order.providers_are_bound: [
        ("pulumi:providers:aws", "allowedAccountIds", '["111111111111"]', '["000000000000"]'),
        ("pulumi:providers:aws", "region", "", "us-west-2"),
    ],
    order.everything_is_tagged: [
        ("pulumi:providers:aws", "defaultTags", '{"tags": {"project": "x"}}', GIVEN),
        ("aws:ec2:LaunchTemplate", "tagSpecifications", [], GIVEN),
    ],
}
CASES = [(rule, *case) for rule, cases in VALUES.items() for case in cases]


@pytest.mark.parametrize(("rule", "type", "path", "breaks", "passes"), CASES)
def test_a_rule_tells_one_value_from_another(
    host: Subject, clusters: Subject, rule: Check, type: str, path: str, breaks: Any, passes: Any
) -> None:
    subject = clusters if any(clusters.of(type)) else host
    assert any(_broken_by(rule, subject, type, path, breaks).values())
    if passes != GIVEN:
        assert not any(_broken_by(rule, subject, type, path, passes).values())


@pytest.mark.parametrize(
    ("name", "statement"),
    [
        ("runner-role", {"Action": ["s3:*"], "Resource": "arn:aws:s3:::bucket"}),
        ("runner-role", {"Action": ["s3:GetObject"], "Resource": "*"}),
        ("runner-role", {"Action": "*", "Resource": ["*"]}),
    ],
)
def test_a_wildcard_needs_a_reason(clusters: Subject, name: str, statement: Mapping[str, Any]) -> None:
    def of(statement: Mapping[str, Any], called: str) -> Subject:
        policy = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})
        made = Resource(
            "aws:iam/rolePolicy:RolePolicy", f"eu-west-1-{called}", "eu-west-1", "", {"policy": policy}
        )
        return replace(clusters, resources=[made])

    assert _broken(access.rights_are_named, of(statement, name))
    assert not _broken(access.rights_are_named, of(statement, "deploy-role"))
    named = {"Action": ["s3:GetObject"], "Resource": "arn:aws:s3:::bucket/*"}
    assert not _broken(access.rights_are_named, of(named, name))
    assert not _broken(
        access.rights_are_named, of({"Action": ["ec2:DescribeSubnets"], "Resource": "*"}, name)
    )


@pytest.mark.parametrize(
    "statement",
    [
        {"Principal": "*"},
        {"Principal": {"AWS": "*"}},
        {"Principal": {"Federated": "arn"}, "Condition": {"StringEquals": {"x:aud": "y"}}},
        {"Principal": {"Federated": "arn"}, "Condition": {"StringEquals": {"x:sub": ["repo:o/*"]}}},
        {"Principal": {"Service": "pods.eks.amazonaws.com"}},
    ],
)
def test_a_role_that_anybody_could_take_is_refused(clusters: Subject, statement: Mapping[str, Any]) -> None:
    role = next(clusters.of("aws:iam:Role"))
    trust = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})
    open_role = replace(role, inputs={**role.inputs, "assumeRolePolicy": trust})
    assert _broken(access.roles_trust_somebody_in_particular, replace(clusters, resources=[open_role]))
    assert not _broken(access.roles_trust_somebody_in_particular, replace(clusters, resources=[role]))


def test_data_that_is_not_protected_is_refused_unless_the_stack_lifts_protection(clusters: Subject) -> None:
    bare = replace(next(clusters.of("aws:rds:Instance")), protected=False)
    subject = replace(clusters, resources=[bare])
    assert _broken(data.data_is_protected, subject)
    lifted = replace(subject, settings=replace(subject.settings, protect=False))
    assert not _broken(data.data_is_protected, lifted)


def test_a_replacement_of_data_is_seen_before_it_happens(clusters: Subject) -> None:
    database = next(clusters.of("aws:rds:Instance"))
    larger = replace(database, inputs={**database.inputs, "instanceClass": "db.m7g.large"})
    renamed = replace(database, inputs={**database.inputs, "dbName": "other"})

    def lost(*after: Resource) -> list[str]:
        return list(data.replaced_data(data.fixed_inputs([database]), data.fixed_inputs(after)))

    assert lost(database) == []
    assert lost(larger) == []
    (message,) = lost(renamed)
    assert 'dbName changes from "agents" to "other"' in message
    (message,) = lost()
    assert "deleted" in message


@pytest.mark.parametrize("rule", [access.nothing_is_public, data.stored_data_is_encrypted])
def test_a_bucket_needs_its_block_and_its_encryption(host: Subject, rule: Check) -> None:
    assert not _broken(rule, host)
    alone = [resource for resource in host.resources if resource.type == "aws:s3/bucket:Bucket"]
    assert _broken(rule, replace(host, resources=alone))


def test_an_unprotected_parameter_is_refused(host: Subject) -> None:
    parameter = Resource("aws:ssm/parameter:Parameter", "p", "us-west-2", "", {"type": "String"})
    assert _broken(data.stored_data_is_encrypted, replace(host, resources=[parameter]))
    secure = replace(parameter, inputs={"type": "SecureString"})
    assert not _broken(data.stored_data_is_encrypted, replace(host, resources=[secure]))


def test_a_pod_that_reaches_its_nodes_role_is_refused(clusters: Subject) -> None:
    template = next(clusters.of("aws:ec2:LaunchTemplate"))
    two_hops = _with(template, "metadataOptions.httpPutResponseHopLimit", 2)
    assert _broken(access.metadata_needs_a_token, replace(clusters, resources=[two_hops]))
    assert not _broken(access.metadata_needs_a_token, replace(clusters, resources=[template]))


def test_a_global_store_and_a_resource_elsewhere_are_refused(clusters: Subject) -> None:
    copy = Resource("aws:rds/globalCluster:GlobalCluster", "g", "us-west-2", "", {})
    assert _broken(residency.nothing_copies_itself_across_zones, replace(clusters, resources=[copy]))
    assert not _broken(residency.regions_stand_in_their_zone, replace(clusters, resources=[copy]))
    elsewhere = replace(copy, region="ap-south-1")
    assert _broken(residency.regions_stand_in_their_zone, replace(clusters, resources=[elsewhere]))


def test_a_recovery_region_of_another_zone_is_refused(clusters: Subject) -> None:
    home, second = clusters.settings.regions
    crossing = replace(clusters.settings, regions=(home, replace(second, recovery_region="us-east-1")))
    assert _broken(residency.regions_stand_in_their_zone, replace(clusters, settings=crossing))


def test_a_route_between_regions_leads_to_a_data_tier(clusters: Subject) -> None:
    route = next(r for r in clusters.of("aws:ec2:Route") if r.inputs.get("vpcPeeringConnectionId"))
    assert not _broken(residency.peers_reach_databases_only, replace(clusters, resources=[route]))
    wide = _with(route, "destinationCidrBlock", "10.30.0.0/16")
    assert _broken(residency.peers_reach_databases_only, replace(clusters, resources=[wide]))


def test_a_type_that_nobody_judges_is_refused(clusters: Subject) -> None:
    unknown = Resource("aws:sqs/queue:Queue", "q", "us-west-2", "", {})
    assert _broken(order.every_type_is_judged, replace(clusters, resources=[unknown]))


def test_coverage_names_rules_that_read_the_type_and_nothing_that_is_gone(
    host: Subject, clusters: Subject
) -> None:
    rules = {Rule(rule.check).name: rule.check for rule in RULES}
    made = {
        resource.type for subject in (host, clusters, _subject("phase3")) for resource in subject.resources
    }
    for type, entry in coverage().items():
        assert type in made or type == "aws:ssm/parameter:Parameter", (
            f"{type} is in coverage.yaml and in no stack"
        )
        assert entry.keys() in ({"rules"}, {"reason"}), type
        for name in entry.get("rules", []):  # type: ignore[attr-defined]
            names = rules[name].__code__.co_consts
            reads = short(type) in str(names) or name in ("data-is-protected", "rights-are-named")
            assert reads, f"{name} does not look at {type}"


def _subject(preset: str) -> Subject:
    outlook = outlook_of(preset)
    return Subject(outlook.settings, outlook.plan, outlook.resources)


def _limited(subject: Subject, **limits: int) -> Subject:
    changed = replace(subject.settings.limits, **limits)
    return replace(subject, settings=replace(subject.settings, limits=changed))


def _broken(rule: Callable[[Subject], Iterator[str]], subject: Subject) -> list[str]:
    return list(rule(subject))


def _broken_by(rule: Check, subject: Subject, type: str, path: str, value: Any) -> dict[str, list[str]]:
    """What breaks when one of some resources of `type` has `value` at `path`, beside the program's own others."""
    found = {}
    for resource in [*subject.of(type)][:2] + [*subject.of(type)][-2:]:
        others = [other for other in subject.resources if other is not resource]
        changed = replace(subject, resources=[*others, _with(resource, path, value)])
        found[resource.name] = _broken(rule, changed)
    assert found, f"no stack has a {type}"
    return found


def _with(resource: Resource, path: str, value: Any) -> Resource:
    inputs = json.loads(json.dumps(resource.inputs))
    target: Any = inputs
    *steps, last = (int(step) if step.isdigit() else step for step in path.split("."))
    for step in steps:
        target = target[step]
    target[last] = value
    return replace(resource, inputs=inputs)
