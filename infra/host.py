"""The phase-2 host: one Graviton machine that runs the compose file. Nothing reaches it but the front door and SSM."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pulumi
from pulumi_aws import cloudwatch, ec2, iam, kms, vpc

from infra.access import allow, role, service_trust
from infra.compose import GATEWAY_PORT
from infra.datastore import Datastore
from infra.network import Network
from infra.release import Release
from infra.schedule import host_setup
from infra.scope import Scope

SETUP = Path(__file__).with_name("host.sh")
# The newest Amazon Linux for Graviton at the time of launch; a running host keeps its own and patches itself.
IMAGE = "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64"


class Host(pulumi.ComponentResource):
    """One instance in a public subnet, for the way out; its security group has no rule that lets the internet in."""

    def __init__(
        self,
        scope: Scope,
        network: Network,
        datastore: Datastore,
        key: kms.Key,
        release: Release,
        registry: pulumi.Input[str],
        parameters: str,
        opts: pulumi.ResourceOptions,
    ) -> None:
        """`registry`: host name of ECR. `parameters`: path in SSM under which the credentials stand."""
        super().__init__("agents-cloud:infra:Host", scope.resource("host"), None, opts)
        assert scope.region.host is not None
        child = pulumi.ResourceOptions(parent=self)
        logs = cloudwatch.LogGroup(
            scope.resource("host-logs"),
            name=f"/agents-cloud/{scope.settings.stack}/host",
            retention_in_days=scope.settings.log_days,
            kms_key_id=key.arn,
            opts=child,
        )
        self.logs = logs
        self.group = ec2.SecurityGroup(
            scope.resource("host-group"),
            name=scope.name("host"),
            description="The phase-2 host: out to the internet, in from the front door only",
            vpc_id=network.vpc.id,
            tags={"Name": scope.name("host")},
            opts=child,
        )
        vpc.SecurityGroupEgressRule(
            scope.resource("host-out"),
            security_group_id=self.group.id,
            description="GitHub, models, AWS, PostgreSQL",
            ip_protocol="-1",
            cidr_ipv4="0.0.0.0/0",
            opts=child,
        )
        datastore.admit("host", group=self.group.id)
        profile = iam.InstanceProfile(
            scope.resource("host"),
            name=scope.global_name("host"),
            role=self._role(scope, datastore, key, release, logs, parameters, child).name,
            opts=child,
        )
        environment: dict[str, pulumi.Input[str]] = {
            "AWS_DEFAULT_REGION": scope.region.name,
            "BUCKET": release.bucket.bucket,
            "DATABASE_SECRET": datastore.secret_arn,
            "LOG_GROUP": logs.name,
            "PARAMETERS": parameters,
            "REGISTRY": registry,
        }
        template = ec2.LaunchTemplate(
            scope.resource("host"),
            name=scope.name("host"),
            image_id=IMAGE,
            update_default_version=True,
            # Containers reach the metadata through one more hop; they have the host's role anyway.
            metadata_options={
                "http_endpoint": "enabled",
                "http_tokens": "required",
                "http_put_response_hop_limit": 2,
            },
            block_device_mappings=[
                {
                    "device_name": "/dev/xvda",
                    "ebs": {
                        "volume_size": scope.region.host.disk_gb,
                        "volume_type": "gp3",
                        "encrypted": "true",
                        "delete_on_termination": "true",
                    },
                }
            ],
            # Surplus credits cost money; without them the host gets slower instead.
            credit_specification={"cpu_credits": "standard"},
            tag_specifications=[
                {"resource_type": kind, "tags": {"Name": scope.name("host"), **scope.tags}}
                for kind in ("instance", "volume")
            ],
            opts=child,
        )
        self.instance = ec2.Instance(
            scope.resource("host"),
            instance_type=scope.region.host.instance_type,
            launch_template={"id": template.id, "version": "$Default"},
            subnet_id=network.subnets["public"][0].id,
            associate_public_ip_address=True,
            vpc_security_group_ids=[self.group.id],
            iam_instance_profile=profile.name,
            user_data=_user_data(environment),
            user_data_replace_on_change=True,
            tags={"Name": scope.name("host")},
            opts=child,
        )
        self.register_outputs({})

    def _role(
        self,
        scope: Scope,
        datastore: Datastore,
        key: kms.Key,
        release: Release,
        logs: cloudwatch.LogGroup,
        parameters: str,
        opts: pulumi.ResourceOptions,
    ) -> iam.Role:
        account, region = scope.settings.account_id, scope.region.name
        bucket = release.bucket.arn
        return role(
            scope,
            "host",
            service_trust("ec2.amazonaws.com"),
            managed=["AmazonSSMManagedInstanceCore"],
            statements=[
                allow(["rds-db:connect"], [datastore.login_arn("agent-*"), datastore.login_arn("gateway")]),
                allow(["secretsmanager:GetSecretValue"], datastore.secret_arn),
                allow(["kms:Decrypt"], key.arn),
                allow(["s3:ListBucket"], bucket),
                allow(["s3:GetObject"], pulumi.Output.concat(bucket, "/*")),
                allow(["ssm:GetParameter"], f"arn:aws:ssm:{region}:{account}:parameter{parameters}/*"),
                allow(["logs:CreateLogStream", "logs:PutLogEvents"], pulumi.Output.concat(logs.arn, ":*")),
                # This call has no resource to name (ECR, GetAuthorizationToken).
                allow(["ecr:GetAuthorizationToken"], "*"),
                allow(
                    ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability"],
                    f"arn:aws:ecr:{region}:{account}:repository/{scope.prefix}/*",
                ),
            ],
            opts=opts,
        )

    def admit(self, scope: Scope, what: str, group: pulumi.Input[str]) -> None:
        """Let a security group reach the gateway's port."""
        vpc.SecurityGroupIngressRule(
            scope.resource(f"host-from-{what}"),
            security_group_id=self.group.id,
            description=f"Webhooks from {what}",
            ip_protocol="tcp",
            from_port=GATEWAY_PORT,
            to_port=GATEWAY_PORT,
            referenced_security_group_id=group,
            opts=pulumi.ResourceOptions(parent=self),
        )


def _user_data(environment: Mapping[str, pulumi.Input[str]]) -> pulumi.Output[str]:
    lines = [pulumi.Output.concat(name, "=", value) for name, value in environment.items()]
    setup = SETUP.read_text(encoding="utf-8").removeprefix("#!/bin/bash\n")
    return pulumi.Output.all(*lines).apply(
        lambda values: "\n".join(
            ["#!/bin/bash", "cat > /etc/agents-cloud.env <<'VALUES'", *values, "VALUES", setup + host_setup()]
        )
    )
