"""The credentials of the phase-2 host as encrypted parameters, in the free tier of SSM."""

from __future__ import annotations

import pulumi
from pulumi_aws import kms, ssm

from infra.credentials import Credentials
from infra.scope import Scope


def store(scope: Scope, key: kms.Key, credentials: Credentials, parent: pulumi.Resource) -> str:
    """Store what is set; the path under which it stands."""
    path = f"/{scope.settings.project}/{scope.settings.stack}"
    values = {
        "webhook-secret": credentials.webhook_secret,
        "model-api-key": credentials.model_api_key,
        "github-app-id": credentials.github_app_id,
        "github-app-key": credentials.github_app_key,
        "github-read-token": credentials.github_read_token,
    }
    for name, value in values.items():
        if value is not None:
            ssm.Parameter(
                scope.resource(f"parameter-{name}"),
                name=f"{path}/{name}",
                type="SecureString",
                key_id=key.key_id,
                value=value,
                opts=pulumi.ResourceOptions(parent=parent),
            )
    return path
