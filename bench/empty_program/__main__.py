"""As many empty resources as the environment variable RESOURCES says: what the engine itself costs."""

from __future__ import annotations

import os

import pulumi
import pulumi_aws as aws

provider = aws.Provider("us-west-2", region="us-west-2", allowed_account_ids=["000000000000"])
for number in range(int(os.environ["RESOURCES"]) - 1):
    pulumi.CustomResource(
        "aws:ec2/internetGateway:InternetGateway",
        f"empty-{number}",
        {},
        pulumi.ResourceOptions(provider=provider),
    )
