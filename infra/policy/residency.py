"""Residency: data of a zone stays in it, and so do its copies, its models and its webhooks."""

from __future__ import annotations

from collections.abc import Iterator

from infra.datastore import PORT
from infra.policy.rule import Subject, at, entries, short
from infra.policy.workloads import KINDS, containers
from runner.geography import zone_of_region

# Each of these copies data to another region by itself.
CROSSING = (
    "aws:rds:GlobalCluster",
    "aws:elasticache:GlobalReplicationGroup",
    "aws:s3:BucketReplicationConfig",
    "aws:dynamodb:GlobalTable",
    "aws:ecr:ReplicationConfiguration",
    "aws:kms:ReplicaKey",
    "aws:backup:Plan",
)


def nothing_copies_itself_across_zones(subject: Subject) -> Iterator[str]:
    """No replica, backup copy, global store or key reaches into another zone."""
    for resource in subject.resources:
        if short(resource.type) in CROSSING:
            yield f"{resource.name} ({resource.type}) copies data between regions by itself"
    for resource in subject.of("aws:kms:Key"):
        if resource.inputs.get("multiRegion") is True:
            yield f"{resource.name} can leave its region: a multi-region key opens data elsewhere"
    for resource in subject.of("aws:elasticache:ReplicationGroup"):
        if resource.inputs.get("globalReplicationGroupId"):
            yield f"{resource.name} is part of a global store"
    sources = {
        "aws:rds:Instance": "replicateSourceDb",
        "aws:rds:InstanceAutomatedBackupsReplication": "sourceDbInstanceArn",
    }
    for type, key in sources.items():
        for resource in subject.of(type):
            source = str(resource.inputs.get(key) or "")
            if source.startswith("arn:"):
                origin = source.split(":")[3]
                if zone_of_region(origin) != zone_of_region(resource.region):
                    yield f"{resource.name} copies data from {origin} to {resource.region}, another zone"


def regions_stand_in_their_zone(subject: Subject) -> Iterator[str]:
    """Every resource stands in a region of the plan, or where that region's backups may go."""
    allowed = {region.name for region in subject.settings.regions}
    allowed |= {region.recovery_region for region in subject.settings.regions}
    for region in subject.settings.regions:
        if {zone_of_region(region.name), zone_of_region(region.recovery_region)} != {region.zone}:
            yield f"{region.name} is called {region.zone}, but it or {region.recovery_region} lies elsewhere"
    for resource in subject.resources:
        if resource.region not in allowed:
            yield f"{resource.name} stands in {resource.region}, which is in no plan"


def models_answer_inside_the_zone(subject: Subject) -> Iterator[str]:
    """A region's pods know one model endpoint, its own; no EU endpoint is given to the US, nor the other way round."""
    endpoints = {region.name: region.model_endpoint for region in subject.settings.regions}
    for resource in subject.of(*KINDS):
        for container in containers(resource):
            for variable in entries(container, "env"):
                if variable.get("name") in ("OPENAI_BASE_URL", "MODEL_ENDPOINTS"):
                    given = str(variable.get("value"))
                    if given != endpoints.get(resource.region):
                        yield f"{resource.name}: {given} is not the endpoint of {resource.region}"


def webhooks_stay_in_their_zone(subject: Subject) -> Iterator[str]:
    """A zone's webhook host leads to regions of that zone only."""
    hosts = {region.webhook_host: region.zone for region in subject.plan.regions}
    for resource in subject.of("aws:route53:Record"):
        zone = hosts.get(str(resource.inputs.get("name")))
        for policy in entries(resource.inputs, "latencyRoutingPolicies"):
            target = str(at(policy, "region"))
            if zone is not None and zone_of_region(target) != zone:
                yield f"{resource.name} leads {resource.inputs.get('name')} of zone {zone} to {target}"


def peers_reach_databases_only(subject: Subject) -> Iterator[str]:
    """Between regions only data tiers are routed, and only PostgreSQL's port is open."""
    data = {
        str(subnet.cidr)
        for region in subject.plan.regions
        for subnet in region.subnets
        if subnet.kind == "data"
    }
    for resource in subject.of("aws:ec2:Route"):
        # Only a route over the line has no other target.
        over = resource.inputs.get("vpcPeeringConnectionId") or "vpcPeeringConnectionId" in resource.unknown
        if over and resource.inputs.get("destinationCidrBlock") not in data:
            yield f"{resource.name} routes {resource.inputs.get('destinationCidrBlock')} to the other region"
    for resource in subject.of("aws:vpc:SecurityGroupIngressRule"):
        cidr = resource.inputs.get("cidrIpv4")
        ports = (resource.inputs.get("fromPort"), resource.inputs.get("toPort"))
        if cidr and (cidr not in data or ports != (PORT, PORT)):
            yield f"{resource.name} lets {cidr} in on ports {ports[0]} to {ports[1]}"
