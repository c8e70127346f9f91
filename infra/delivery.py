"""How GitHub's workflows get in: short tokens for three roles, no stored key."""

from __future__ import annotations

import pulumi
from pulumi_aws import iam

from infra.access import allow, federated_trust, role
from infra.scope import Scope

STATE_KEY = "alias/agents-cloud-state"
ISSUER = "token.actions.githubusercontent.com"
# The services that the program creates resources of. IAM is narrower, below.
SERVICES = (
    "acm apigateway autoscaling budgets cloudwatch ec2 ecr eks elasticache elasticloadbalancing kms logs rds "
    "route53 s3 secretsmanager servicediscovery sns ssm"
).split()


class Delivery(pulumi.ComponentResource):
    """`push` puts images into ECR, `preview` reads, `deploy` runs `pulumi up` from the approved environment."""

    def __init__(self, scope: Scope, opts: pulumi.ResourceOptions) -> None:
        super().__init__("agents-cloud:infra:Delivery", "delivery", None, opts)
        settings = scope.settings
        child = pulumi.ResourceOptions(parent=self)
        provider: pulumi.Input[str] = settings.github_oidc_provider_arn
        if not provider:
            provider = iam.OpenIdConnectProvider(
                "delivery", url=f"https://{ISSUER}", client_id_lists=["sts.amazonaws.com"], opts=child
            ).arn
        repository = f"repo:{settings.github_repository}"
        main, pull, approved = (
            f"{repository}:ref:refs/heads/main",
            f"{repository}:pull_request",
            f"{repository}:environment:{settings.github_environment}",
        )
        account = settings.account_id
        push = role(
            scope,
            "push",
            federated_trust(provider, ISSUER, [main, approved]),
            statements=[
                allow(["ecr:GetAuthorizationToken"], "*"),
                allow(
                    [
                        "ecr:BatchCheckLayerAvailability",
                        "ecr:BatchGetImage",
                        "ecr:CompleteLayerUpload",
                        "ecr:DescribeImages",
                        "ecr:GetDownloadUrlForLayer",
                        "ecr:InitiateLayerUpload",
                        "ecr:PutImage",
                        "ecr:UploadLayerPart",
                    ],
                    f"arn:aws:ecr:*:{account}:repository/{scope.prefix}/*",
                ),
            ],
            opts=child,
        )
        # The key that encrypts the stack's secrets is older than the stack (docs/deploy.md, bootstrap).
        decrypt = allow(
            ["kms:Decrypt"],
            f"arn:aws:kms:*:{account}:key/*",
            **{"ForAnyValue:StringEquals": {"kms:ResourceAliases": STATE_KEY}},
        )
        # Forks get no token. A pull request from a branch reads, and its preview locks nothing.
        preview = role(
            scope,
            "preview",
            federated_trust(provider, ISSUER, [pull]),
            managed=["ReadOnlyAccess"],
            statements=[
                decrypt,
                # Through a node to the private API of the stack's clusters (.ci/cluster-tunnel).
                allow(
                    ["ssm:StartSession"],
                    f"arn:aws:ec2:*:{account}:instance/*",
                    StringEquals={"ssm:resourceTag/eks:cluster-name": scope.prefix},
                ),
                allow(
                    ["ssm:StartSession"],
                    "arn:aws:ssm:*::document/AWS-StartPortForwardingSessionToRemoteHost",
                ),
            ],
            opts=child,
        )
        regions = sorted(
            {r for region in settings.regions for r in (region.name, region.recovery_region)} | {"us-east-1"}
        )
        own = [f"arn:aws:iam::{account}:{kind}/{scope.prefix}-*" for kind in ("role", "instance-profile")]
        own.append(f"arn:aws:iam::{account}:oidc-provider/{ISSUER}")
        deploy = role(
            scope,
            "deploy",
            federated_trust(provider, ISSUER, [approved]),
            managed=["ReadOnlyAccess"],
            statements=[
                allow(
                    [f"{service}:*" for service in SERVICES],
                    "*",
                    StringEquals={"aws:RequestedRegion": regions},
                ),
                allow(["iam:*"], own),
                allow(
                    ["iam:CreateServiceLinkedRole"],
                    f"arn:aws:iam::{account}:role/aws-service-role/*",
                ),
            ],
            opts=child,
        )
        self.roles = {"push": push.arn, "preview": preview.arn, "deploy": deploy.arn}
        self.register_outputs({})
