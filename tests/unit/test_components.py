"""What the components make in each phase, recorded without a cloud: what is there, and what must not be."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.outlook import look
from infra.policy.workloads import containers
from infra.shapes import Resource
from tests.unit.stacks import ROOT, outlook_of
from tests.unit.stacks import preset as configuration

DATABASE = "aws:rds/instance:Instance"
CLUSTER = "aws:eks/cluster:Cluster"


def test_phase_2_has_a_host_and_neither_cluster_nor_nat_gateway_nor_cache() -> None:
    types = {resource.type for resource in outlook_of("dev").resources}
    assert "aws:ec2/instance:Instance" in types
    assert not types & {
        CLUSTER,
        "aws:ec2/natGateway:NatGateway",
        "aws:elasticache/replicationGroup:ReplicationGroup",
    }
    assert not [type for type in types if type.startswith("kubernetes:")]


def test_phase_3_has_one_cluster_one_nat_gateway_and_no_host() -> None:
    types = [resource.type for resource in outlook_of("phase3").resources]
    assert types.count(CLUSTER) == types.count("aws:ec2/natGateway:NatGateway") == 1
    assert "aws:ec2/instance:Instance" not in types
    assert "aws:ec2/vpcPeeringConnection:VpcPeeringConnection" not in types


def test_phase_4_has_a_cluster_a_database_and_a_webhook_host_in_each_region() -> None:
    for type in (CLUSTER, DATABASE, "aws:route53/healthCheck:HealthCheck"):
        assert sorted(resource.region for resource in _of("prod", type)) == ["eu-west-1", "us-west-2"]
    hosts = {
        r.inputs["name"]: r.region
        for r in _of("prod", "aws:route53/record:Record")
        if r.inputs["type"] == "A"
    }
    assert hosts == {"eu.hooks.agents.example.org": "eu-west-1", "us.hooks.agents.example.org": "us-west-2"}


def test_backup_copies_stay_in_their_zone() -> None:
    copies = _of("prod", "aws:rds/instanceAutomatedBackupsReplication:InstanceAutomatedBackupsReplication")
    sources = {copy.region: copy.inputs["sourceDbInstanceArn"].split(":")[3] for copy in copies}
    assert sources == {"us-east-1": "us-west-2", "eu-central-1": "eu-west-1"}


def test_no_two_resources_share_a_name_even_where_two_regions_recover_in_the_same_one(tmp_path: Path) -> None:
    placed = {"us-west-2": "engineer-master", "us-east-1": "cloud-architect"}
    for name in placed.values():
        shutil.copy(ROOT / ".github" / "agents" / f"{name}.md", tmp_path)
    geography = tmp_path / "geography.yaml"
    regions = {region: {"location": region, "agents": [name]} for region, name in placed.items()}
    geography.write_text(yaml.safe_dump({"regions": regions}))
    config = configuration("prod") | {
        "agentsDir": str(tmp_path),
        "geographyFile": str(geography),
        "homeRecoveryRegion": "us-east-1",
        "secondRegion": "us-east-1",
        "secondZones": ["us-east-1a", "us-east-1b"],
        "secondRecoveryRegion": "us-west-2",
        "secondModelEndpoint": "https://api.openai.com/v1",
    }
    outlook = look(ROOT, config, "prod")
    names = Counter((resource.type, resource.name) for resource in outlook.resources)
    assert [name for name, count in names.items() if count > 1] == []


def test_longest_role_names_fit_for_every_stack_and_region() -> None:
    roles = {role.inputs["name"] for role in _of("prod", "aws:iam/role:Role")}
    longest = max(len(name.replace("us-west-2", "eu-central-1")) for name in roles if "us-west-2" in name)
    assert longest - len("prod") + 9 <= 64


def test_whoever_runs_pulumi_is_let_into_the_cluster_by_an_entry_that_stands_in_the_program() -> None:
    (cluster,) = _of("phase3", CLUSTER)
    assert cluster.inputs["accessConfig"]["bootstrapClusterCreatorAdminPermissions"] is False
    allowed = {
        association.inputs["principalArn"].rsplit("-", 1)[1]: association.inputs["policyArn"].rsplit("/", 1)[
            1
        ]
        for association in _of("phase3", "aws:eks/accessPolicyAssociation:AccessPolicyAssociation")
    }
    assert allowed == {"deploy": "AmazonEKSClusterAdminPolicy", "preview": "AmazonEKSViewPolicy"}


def test_what_would_replace_a_database_is_the_same_in_every_phase() -> None:
    fixed = ("engine", "dbName", "username", "storageEncrypted", "port", "iamDatabaseAuthenticationEnabled")
    home = [
        next(r for r in _of(preset, DATABASE) if r.region == "us-west-2")
        for preset in ("dev", "phase3", "prod")
    ]
    for key in fixed:
        assert len({str(resource.inputs[key]) for resource in home}) == 1, key
    blocks = [
        {
            r.name: r.inputs["cidrBlock"]
            for r in _of(preset, "aws:ec2/subnet:Subnet")
            if r.region == "us-west-2"
        }
        for preset in ("dev", "phase3", "prod")
    ]
    assert blocks[0] == blocks[1] == blocks[2]
    parameters = {
        entry["name"]: entry["value"]
        for entry in _of("dev", "aws:rds/parameterGroup:ParameterGroup")[0].inputs["parameters"]
    }
    assert parameters["rds.logical_replication"] == parameters["rds.force_ssl"] == "1"


def test_no_url_carries_a_password_but_the_one_that_the_host_fills_in() -> None:
    for preset in ("dev", "phase3", "prod"):
        for resource in outlook_of(preset).resources:
            text = json.dumps(resource.inputs).replace("agents_owner:${OWNER_PASSWORD}@", "")
            assert not re.search(r"(postgresql|rediss?)://[^/@\s]*:[^/@\s]*@", text), resource.name


def test_the_host_can_be_reached_by_the_front_door_alone() -> None:
    rules = _of("dev", "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule")
    assert {rule.name for rule in rules} == {"us-west-2-host-from-front-door", "us-west-2-database-from-host"}
    assert not [rule for rule in rules if rule.inputs.get("cidrIpv4")]


def test_the_hosts_compose_file_includes_every_agent_and_restarts_one_by_its_digest() -> None:
    files = {r.inputs["key"]: r.inputs["content"] for r in _of("dev", "aws:s3/bucketObjectv2:BucketObjectv2")}
    shared = yaml.safe_load(files["compose.yaml"])
    assert {"redis", "migrate", "gateway", "index", "audit"} == shared["services"].keys()
    assert len(shared["include"]) == 66
    fragment = yaml.safe_load(files["agents/engineer-master.yaml"])["services"]["engineer-master"]
    assert fragment["labels"]["definition"]
    assert fragment["read_only"] is True
    assert fragment["command"] == ["python", "-m", "runner", "agent"]
    assert all(f"agents/{name}.yaml" in files for name in ("apis-architect", "workflows-tech-lead"))


def test_the_hosts_setup_fits_into_user_data() -> None:
    (host,) = _of("dev", "aws:ec2/instance:Instance")
    assert len(host.inputs["userData"]) < 16 * 1024  # EC2's limit


def test_all_agents_share_one_role_that_logs_in_as_the_pods_own_service_account() -> None:
    (policy,) = [
        r for r in _of("phase3", "aws:iam/rolePolicy:RolePolicy") if r.name == "us-west-2-runner-role"
    ]
    login = json.loads(policy.inputs["policy"])["Statement"][0]
    assert login["Action"] == ["rds-db:connect"]
    assert login["Resource"].endswith("/agent-${aws:PrincipalTag/kubernetes-service-account}")
    associations = _of("phase3", "aws:eks/podIdentityAssociation:PodIdentityAssociation")
    assert len([a for a in associations if a.inputs["roleArn"].endswith("-runner")]) == 66


def test_nodes_get_the_pods_and_reserves_of_the_plan() -> None:
    groups = {group.name: group for group in outlook_of("phase3").plan.regions[0].node_groups}
    for template in _of("phase3", "aws:ec2/launchTemplate:LaunchTemplate"):
        mime = base64.b64decode(template.inputs["userData"]).decode()
        config = json.loads(mime[mime.index("{") : mime.rindex("}") + 1])["spec"]["kubelet"]["config"]
        group = groups["critical" if "critical" in template.name else "flex"]
        assert config["maxPods"] == group.max_pods
        assert config["kubeReserved"]["cpu"] == f"{group.kube_reserved.cpu_millicores}m"


def test_spot_nodes_take_agents_that_may_wait_and_nothing_else() -> None:
    groups = {
        group.inputs["nodeGroupName"]: group.inputs for group in _of("phase3", "aws:eks/nodeGroup:NodeGroup")
    }
    assert groups["flex"]["capacityType"] == "SPOT"
    assert len(groups["flex"]["instanceTypes"]) > 1
    assert groups["critical"]["capacityType"] == "ON_DEMAND"
    tolerant = {name for name, spec in _pods("phase3") if "tolerations" in spec and name != "fluent-bit"}
    flexible = {
        a.resource_name for a in outlook_of("phase3").plan.regions[0].agents if a.node_class == "flex"
    }
    assert tolerant == flexible


@pytest.mark.parametrize(
    ("agent", "least", "most", "cpu"), [("engineer-master", 2, 5, "200m"), ("cloud-architect", 1, 10, "100m")]
)
def test_an_agent_is_deployed_as_the_proposal_says(agent: str, least: int, most: int, cpu: str) -> None:
    autoscaler = _object("phase3", "HorizontalPodAutoscaler", agent)["spec"]
    assert (autoscaler["minReplicas"], autoscaler["maxReplicas"]) == (least, most)
    targets = {
        m["resource"]["name"]: m["resource"]["target"]["averageUtilization"]
        for m in autoscaler["metrics"]
        if m["type"] == "Resource"
    }
    assert targets == {"cpu": 70, "memory": 80}
    assert autoscaler["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 300
    deployment = _object("phase3", "Deployment", agent)["spec"]
    assert "replicas" not in deployment
    assert deployment["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    container = deployment["template"]["spec"]["containers"][0]
    assert container["resources"]["requests"] == {"cpu": cpu, "memory": "256Mi"}
    assert container["livenessProbe"]["httpGet"]["path"] == "/health"
    assert container["readinessProbe"]["httpGet"]["path"] == "/ready"


def test_an_autoscaler_also_looks_at_its_own_agents_backlog() -> None:
    metrics = _object("phase3", "HorizontalPodAutoscaler", "apis-architect")["spec"]["metrics"]
    (external,) = [metric["external"] for metric in metrics if metric["type"] == "External"]
    assert external["metric"] == {
        "name": "agent_backlog",
        "selector": {"matchLabels": {"agent": "APIs-architect"}},
    }


def test_pods_talk_to_stores_the_gateway_and_https_and_to_nothing_else() -> None:
    default = _object("phase3", "NetworkPolicy", "default")["spec"]
    assert default["podSelector"] == {}
    assert default["ingress"] == []
    runner = _object("phase3", "NetworkPolicy", "runner")["spec"]
    ports = [port["port"] for rule in runner["egress"] for port in rule["ports"]]
    assert sorted(ports) == [443, 5432, 6379, 8080]
    (internet,) = [
        b["ipBlock"]
        for rule in runner["egress"]
        for b in rule["to"]
        if b.get("ipBlock", {}).get("cidr") == "0.0.0.0/0"
    ]
    assert "169.254.169.254/32" in internet["except"]
    assert "10.20.0.0/16" in internet["except"]


def test_eu_pods_are_given_no_us_address() -> None:
    for resource in outlook_of("prod").resources:
        # Only the job that replicates `shared` knows its peer.
        if resource.region == "eu-west-1" and "replicate" not in resource.name:
            for container in containers(resource):
                assert "us-west-2" not in json.dumps(container.get("env")), resource.name


def test_budgets_warn_on_the_way_and_before_the_end() -> None:
    (budget,) = _of("phase3", "aws:budgets/budget:Budget")
    watched = {(n["threshold"], n["notificationType"]) for n in budget.inputs["notifications"]}
    assert watched == {(50, "ACTUAL"), (80, "ACTUAL"), (100, "ACTUAL"), (100, "FORECASTED")}
    assert budget.inputs["limitAmount"] == "600"
    assert not outlook_of("dev").settings.account_budgets or _of("dev", "aws:budgets/budget:Budget")


def _of(preset: str, type: str) -> list[Resource]:
    return [resource for resource in outlook_of(preset).resources if resource.type == type]


def _object(preset: str, kind: str, name: str) -> Mapping[str, Any]:
    (made,) = (
        resource.inputs
        for resource in outlook_of(preset).resources
        if resource.type.endswith(f":{kind}") and resource.inputs["metadata"]["name"] == name
    )
    return made


def _pods(preset: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for resource in outlook_of(preset).resources:
        if resource.type.split(":")[-1] in ("Deployment", "DaemonSet"):
            yield resource.inputs["metadata"]["name"], resource.inputs["spec"]["template"]["spec"]
