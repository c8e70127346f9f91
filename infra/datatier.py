"""What a region keeps through every phase: its key, its network, its database, and the alarms on it."""

from __future__ import annotations

import pulumi
import pulumi_aws as aws

from infra.alarms import Alarms, database_alarms
from infra.datastore import BackupCopy, Datastore
from infra.key import region_key
from infra.network import Network
from infra.scope import Scope
from infra.shapes import RegionPlan

RECOVERY = "-recovers-"
"""Between the two regions in the name of a provider for backup copies: regions may share one for that."""


class DataTier(pulumi.ComponentResource):
    """It stands alone, so that it can stay when all else of its region goes."""

    def __init__(self, scope: Scope) -> None:
        name = scope.region.name
        self.scope = scope
        self.provider = region_provider(scope, name, name)
        super().__init__(
            "agents-cloud:infra:DataTier",
            f"{name}-data",
            None,
            pulumi.ResourceOptions(providers=[self.provider]),
        )
        child = pulumi.ResourceOptions(parent=self)
        self.key = region_key(scope, self)
        self.network = Network(scope, nat=bool(scope.region.node_groups), opts=child)
        self.alarms = Alarms(scope, self.key, child)
        self.datastore = Datastore(scope, self.network, self.key, child)
        for alarm in database_alarms(self.datastore.instance.identifier, scope.region.database):
            self.alarms.add(alarm)
        self.copy_backups(scope.region)
        self.register_outputs({})

    def copy_backups(self, plan: RegionPlan) -> None:
        """Copy backups to the region that `plan` names for it, if it names one."""
        recovery = plan.database.backup_copy_region
        if recovery is not None:
            provider = region_provider(self.scope, recovery, f"{recovery}{RECOVERY}{self.scope.region.name}")
            options = pulumi.ResourceOptions(parent=self, provider=provider)
            BackupCopy(self.scope, plan.database, self.datastore.instance, options)


def region_provider(scope: Scope, region: str, name: str) -> aws.Provider:
    """A way to a region. It refuses every other account and puts the tags on."""
    return aws.Provider(
        name,
        region=region,
        allowed_account_ids=[scope.settings.account_id],
        default_tags={"tags": scope.tags},
    )
