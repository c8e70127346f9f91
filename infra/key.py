"""The key that encrypts what a region stores. It never leaves its region and is fixed from phase 2 on."""

from __future__ import annotations

import pulumi
from pulumi_aws import kms

from infra.access import document
from infra.scope import Scope

WINDOW_DAYS = 30  # KMS's longest: time to notice that a key with data behind it is about to go


def region_key(scope: Scope, parent: pulumi.Resource) -> kms.Key:
    """One customer key for database, cache, cluster secrets, logs and topics of the region."""
    account = scope.settings.account_id
    region = scope.region.name
    key = kms.Key(
        scope.resource("key"),
        description=f"{scope.prefix} in {region}",
        enable_key_rotation=True,
        deletion_window_in_days=WINDOW_DAYS,
        policy=document(
            {
                "Sid": "AccountDecidesByIam",
                "Effect": "Allow",
                "Principal": {"AWS": f"arn:aws:iam::{account}:root"},
                "Action": "kms:*",
                "Resource": "*",
            },
            {
                "Sid": "Logs",
                "Effect": "Allow",
                "Principal": {"Service": f"logs.{region}.amazonaws.com"},
                "Action": [
                    "kms:Encrypt",
                    "kms:Decrypt",
                    "kms:ReEncrypt*",
                    "kms:GenerateDataKey*",
                    "kms:DescribeKey",
                ],
                "Resource": "*",
                "Condition": {
                    "ArnLike": {
                        "kms:EncryptionContext:aws:logs:arn": f"arn:aws:logs:{region}:{account}:log-group:*"
                    }
                },
            },
            {
                "Sid": "Alarms",
                "Effect": "Allow",
                "Principal": {"Service": ["cloudwatch.amazonaws.com", "budgets.amazonaws.com"]},
                "Action": ["kms:Decrypt", "kms:GenerateDataKey*"],
                "Resource": "*",
                "Condition": {"StringEquals": {"aws:SourceAccount": account}},
            },
        ),
        opts=scope.holds_data(parent),
    )
    kms.Alias(
        scope.resource("key"),
        name=f"alias/{scope.prefix}",
        target_key_id=key.key_id,
        opts=pulumi.ResourceOptions(parent=parent),
    )
    return key
