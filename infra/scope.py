"""What every component of a region needs to know: settings, the region's plan, and how things are called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pulumi

from infra.settings import Settings
from infra.shapes import RegionPlan


@dataclass(frozen=True, slots=True)
class Scope:
    """One region of one stack."""

    settings: Settings
    region: RegionPlan

    def resource(self, what: str) -> str:
        """Name in Pulumi's state. It starts with the region, so that `--target '**::REGION-*'` is one region."""
        return f"{self.region.name}-{what}"

    @property
    def prefix(self) -> str:
        """How names in AWS begin; several stacks may share an account."""
        return f"{self.settings.project}-{self.settings.stack}"

    def name(self, what: str) -> str:
        """Name in AWS of something that is unique in a region."""
        return f"{self.prefix}-{what}"

    def global_name(self, what: str) -> str:
        """Name in AWS of something that is unique in the account, such as a role."""
        return f"{self.prefix}-{self.region.name}-{what}"

    def holds_data(self, parent: pulumi.Resource, **options: Any) -> pulumi.ResourceOptions:
        """Options of what holds data, or what that stands in: `pulumi up` may neither replace nor delete it."""
        return pulumi.ResourceOptions(parent=parent, protect=self.settings.protect, **options)

    @property
    def tags(self) -> dict[str, str]:
        """What every resource carries, by the provider's default tags."""
        return {
            "project": self.settings.project,
            "stack": self.settings.stack,
            "owner": self.settings.owner,
            "zone": self.region.zone,
        }
