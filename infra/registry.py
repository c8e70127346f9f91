"""Where images lie: one repository an agent, and one each for the gateway and the migration."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pulumi
from pulumi_aws import ecr

from infra.scope import Scope

KEPT_IMAGES = 10
"""Enough to go back some releases; storage is metered."""
_LIFECYCLE = json.dumps(
    {
        "rules": [
            {
                "rulePriority": 1,
                "description": f"Keep the last {KEPT_IMAGES} images",
                "selection": {
                    "tagStatus": "any",
                    "countType": "imageCountMoreThan",
                    "countNumber": KEPT_IMAGES,
                },
                "action": {"type": "expire"},
            }
        ]
    },
    sort_keys=True,
)


class Registry(pulumi.ComponentResource):
    """ECR repositories `PROJECT-STACK/NAME`. They refuse to overwrite a tag, so that a tag means one image for ever."""

    def __init__(self, scope: Scope, names: Iterable[str], opts: pulumi.ResourceOptions) -> None:
        super().__init__("agents-cloud:infra:Registry", scope.resource("registry"), None, opts)
        child = pulumi.ResourceOptions(parent=self)
        self._urls: dict[str, pulumi.Output[str]] = {}
        for name in names:
            repository = ecr.Repository(
                scope.resource(f"image-{name}"),
                name=f"{scope.prefix}/{name}",
                image_tag_mutability="IMMUTABLE",
                image_scanning_configuration={"scan_on_push": True},
                encryption_configurations=[{"encryption_type": "AES256"}],
                # Images are made from the repository's commits again at any time.
                force_delete=True,
                tags={"agent": name},
                opts=child,
            )
            ecr.LifecyclePolicy(
                scope.resource(f"image-{name}"), repository=repository.name, policy=_LIFECYCLE, opts=child
            )
            self._urls[name] = repository.repository_url
        self.host = next(iter(self._urls.values())).apply(lambda url: url.split("/")[0])
        self.register_outputs({})

    def image(self, name: str, version: str) -> pulumi.Output[str]:
        """The image of `name` at `version`, which is `:TAG` or `@sha256:…`."""
        return pulumi.Output.concat(self._urls[name], version)
