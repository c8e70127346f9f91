"""The bucket from which the phase-2 host takes its compose file, definitions and geography."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi
from pulumi_aws import kms, s3

from infra.access import document
from infra.scope import Scope


class Release(pulumi.ComponentResource):
    """A private, encrypted, versioned bucket with one object a file. It holds no data of missions."""

    def __init__(
        self, scope: Scope, key: kms.Key, files: Mapping[str, pulumi.Input[str]], opts: pulumi.ResourceOptions
    ) -> None:
        super().__init__("agents-cloud:infra:Release", scope.resource("release"), None, opts)
        child = pulumi.ResourceOptions(parent=self)
        # Bucket names are the world's: the account makes it ours.
        bucket = s3.Bucket(
            scope.resource("release"),
            bucket=f"{scope.global_name('release')}-{scope.settings.account_id}",
            force_destroy=True,
            opts=child,
        )
        closed = s3.BucketPublicAccessBlock(
            scope.resource("release"),
            bucket=bucket.id,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=child,
        )
        s3.BucketServerSideEncryptionConfiguration(
            scope.resource("release"),
            bucket=bucket.id,
            rules=[
                {
                    "apply_server_side_encryption_by_default": {
                        "sse_algorithm": "aws:kms",
                        "kms_master_key_id": key.arn,
                    },
                    "bucket_key_enabled": True,
                }
            ],
            opts=child,
        )
        s3.BucketVersioning(
            scope.resource("release"),
            bucket=bucket.id,
            versioning_configuration={"status": "Enabled"},
            opts=child,
        )
        s3.BucketPolicy(
            scope.resource("release"),
            bucket=bucket.id,
            policy=document(
                {
                    "Sid": "OnlyOverTls",
                    "Effect": "Deny",
                    "Principal": "*",
                    "Action": "s3:*",
                    "Resource": [bucket.arn, pulumi.Output.concat(bucket.arn, "/*")],
                    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                }
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[closed]),
        )
        for name, content in files.items():
            s3.BucketObjectv2(
                scope.resource(f"release/{name}"), bucket=bucket.id, key=name, content=content, opts=child
            )
        self.bucket = bucket
        self.register_outputs({})
