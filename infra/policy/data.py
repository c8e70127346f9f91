"""Data: it is protected from replacement, encrypted, and backed up."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from infra.policy.rule import Subject, at, entries
from infra.replacements import holds_data, replacing
from infra.shapes import Resource


def data_is_protected(subject: Subject) -> Iterator[str]:
    """What holds data cannot be replaced or deleted by an `up`, unless the stack lifts protection."""
    if not subject.settings.protect:
        return
    for resource in subject.resources:
        if _holds_data(resource) and not resource.protected:
            yield f"{resource.name} ({resource.type}) holds data and is not protected: a change could replace it"
    for resource in subject.of("aws:rds:Instance"):
        if resource.inputs.get("deletionProtection") is not True:
            yield f"{resource.name} can be deleted in AWS: set deletionProtection"


def fixed_inputs(resources: Sequence[Resource]) -> dict[str, dict[str, str]]:
    """Key of each resource that holds data → path of each input whose change would replace it → its value, as JSON."""
    return {
        resource.key: {
            path: json.dumps(at(resource.inputs, *path.split(".")), sort_keys=True, default=str)
            for path in sorted(replacing(resource.type))
        }
        for resource in resources
        if _holds_data(resource)
    }


def replaced_data(
    before: Mapping[str, Mapping[str, str]], after: Mapping[str, Mapping[str, str]]
) -> Iterator[str]:
    """What holds data and would be replaced or deleted between two states of the program, each as `fixed_inputs`."""
    for key, inputs in before.items():
        if key not in after:
            yield f"{key} holds data and would be deleted"
            continue
        for path, value in inputs.items():
            now = after[key].get(path, value)
            if now != value:
                yield f"{key} holds data and would be replaced: {path} changes from {value} to {now}"


def _holds_data(resource: Resource) -> bool:
    """Of the subnets, only those of the data tier do."""
    if resource.type == "aws:ec2/subnet:Subnet" and "data" not in resource.name:
        return False
    return holds_data(resource.type)


def data_is_backed_up(subject: Subject) -> Iterator[str]:
    """Databases keep backups after deletion and leave a last snapshot; from phase 3 on they stand in two zones."""
    for resource in subject.of("aws:rds:Instance"):
        inputs = resource.inputs
        if not inputs.get("backupRetentionPeriod"):
            yield f"{resource.name} has no backups: set backupRetentionPeriod"
        if subject.settings.protect and inputs.get("skipFinalSnapshot") is not False:
            yield f"{resource.name} would go without a last snapshot"
        if inputs.get("deleteAutomatedBackups") is not False:
            yield f"{resource.name} would take its backups with it"


def stored_data_is_encrypted(subject: Subject) -> Iterator[str]:
    """Everything that stores is encrypted; stores, logs, topics and cluster secrets with the region's own key."""
    with_key = {
        "aws:rds:Instance": ("kmsKeyId",),
        "aws:elasticache:ReplicationGroup": ("kmsKeyId",),
        "aws:cloudwatch:LogGroup": ("kmsKeyId",),
        "aws:sns:Topic": ("kmsMasterKeyId",),
        "aws:eks:Cluster": ("encryptionConfig", "provider", "keyArn"),
        "aws:rds:InstanceAutomatedBackupsReplication": ("kmsKeyId",),
    }
    for type, path in with_key.items():
        for resource in subject.of(type):
            if _absent(resource, path):
                yield f"{resource.name} has no key of its own: set {'.'.join(path)}"
    switches = {
        "aws:rds:Instance": "storageEncrypted",
        "aws:elasticache:ReplicationGroup": "atRestEncryptionEnabled",
        "aws:kms:Key": "enableKeyRotation",
    }
    for type, key in switches.items():
        for resource in subject.of(type):
            if resource.inputs.get(key) not in (True, "true"):
                yield f"{resource.name}: set {key}"
    for resource in subject.of("aws:ec2:LaunchTemplate"):
        for device in entries(resource.inputs, "blockDeviceMappings"):
            if at(device, "ebs", "encrypted") not in (True, "true"):
                yield f"{resource.name}: the disk {device.get('deviceName')} is not encrypted"
    for resource in subject.of("aws:ssm:Parameter"):
        if resource.inputs.get("type") != "SecureString":
            yield f"{resource.name} would be readable in clear"
    encrypted = {resource.name for resource in subject.of("aws:s3:BucketServerSideEncryptionConfiguration")}
    for resource in subject.of("aws:s3:Bucket"):
        if resource.name not in encrypted:
            yield f"{resource.name} has no encryption of its name"


def data_travels_encrypted(subject: Subject) -> Iterator[str]:
    """PostgreSQL and Valkey speak TLS only, the webhook hosts TLS 1.2 and newer."""
    for resource in subject.of("aws:rds:ParameterGroup"):
        parameters = {
            entry.get("name"): entry.get("value") for entry in entries(resource.inputs, "parameters")
        }
        if parameters.get("rds.force_ssl") != "1":
            yield f"{resource.name} lets PostgreSQL answer without TLS: set rds.force_ssl to 1"
    for resource in subject.of("aws:elasticache:ReplicationGroup"):
        if resource.inputs.get("transitEncryptionEnabled") is not True:
            yield f"{resource.name} speaks without TLS: set transitEncryptionEnabled"
    for resource in subject.of("aws:apigatewayv2:DomainName"):
        if at(resource.inputs, "domainNameConfiguration", "securityPolicy") != "TLS_1_2":
            yield f"{resource.name} accepts TLS older than 1.2"
    for resource in subject.of("Ingress"):
        annotations = at(resource.inputs, "metadata", "annotations") or {}
        if annotations.get("alb.ingress.kubernetes.io/listen-ports") != '[{"HTTPS": 443}]':
            yield f"{resource.name} listens on something else than HTTPS"
        if "TLS13" not in annotations.get("alb.ingress.kubernetes.io/ssl-policy", ""):
            yield f"{resource.name} has an old TLS policy"


def _absent(resource: Resource, path: tuple[str, ...]) -> bool:
    """Whether nothing was said at `path`. In a preview, a key that is not made yet is unknown, and not absent."""
    return at(resource.inputs, *path) is None and path[0] not in resource.unknown
