"""Secrets that people give a stack. They come from Pulumi's encrypted configuration and never pass through the plan."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pulumi

from infra.settings import Settings
from infra.shapes import RegionPlan

KEYS = (
    "homeWebhookSecret",
    "secondWebhookSecret",
    "homeModelApiKey",
    "secondModelApiKey",
    "githubAppId",
    "githubAppKey",
    "githubReadToken",
    "replicationPassword",
)
"""`pulumi config set --secret KEY` for each; docs/deploy.md says what each is for."""
Secret = pulumi.Output[str]


def plain_config(project: str, environment: Mapping[str, str] = os.environ) -> dict[str, object]:
    """The running stack's configuration as the engine hands it over, with bare keys and without its secrets."""
    prefix = f"{project}:"
    values: dict[str, object] = json.loads(environment.get("PULUMI_CONFIG") or "{}")
    secret = set(json.loads(environment.get("PULUMI_CONFIG_SECRET_KEYS") or "[]"))
    return {
        key.removeprefix(prefix): value
        for key, value in values.items()
        if key.startswith(prefix) and key not in secret and key.removeprefix(prefix) not in KEYS
    }


@dataclass(frozen=True, slots=True)
class Credentials:
    """The secrets of one region; what nobody set is None. Regions share none, so that a leak ends at the border."""

    webhook_secret: Secret | None
    model_api_key: Secret | None
    github_app_id: Secret | None
    github_app_key: Secret | None
    github_read_token: Secret | None
    replication_password: Secret | None

    @classmethod
    def read(cls, config: pulumi.Config, region: RegionPlan) -> Credentials:
        prefix = "home" if region.home else "second"
        return cls(
            webhook_secret=config.get_secret(f"{prefix}WebhookSecret"),
            model_api_key=config.get_secret(f"{prefix}ModelApiKey"),
            github_app_id=config.get_secret("githubAppId"),
            github_app_key=config.get_secret("githubAppKey"),
            github_read_token=config.get_secret("githubReadToken"),
            replication_password=config.get_secret("replicationPassword"),
        )

    def missing(self, settings: Settings, region: RegionPlan) -> Iterator[str]:
        """Configuration keys that this region cannot work without. A first `up` may come before them."""
        prefix = "home" if region.home else "second"
        if self.webhook_secret is None:
            yield f"{prefix}WebhookSecret"
        if self.model_api_key is None and settings.models.executor == "model":
            yield f"{prefix}ModelApiKey"
        if self.github_app_id is None:
            yield "githubAppId"
        if self.github_app_key is None:
            yield "githubAppKey"
        if self.replication_password is None and settings.phase == 4:
            yield "replicationPassword"
