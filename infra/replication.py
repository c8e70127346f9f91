"""Replication of the `shared` database to another region, set up by a job and then kept by PostgreSQL itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pulumi

from infra.images import version
from infra.jobs import MIGRATE, database_job
from infra.pods import variables

if TYPE_CHECKING:
    from infra.region import Region

REPLICATE = "replicate"


def replication(
    region: Region, peer: Region, after: Sequence[pulumi.Resource], parent: pulumi.Resource
) -> None:
    """A job in `region` that publishes its rows of `shared` and subscribes to the peer's.

    It logs in as the owner of its own database. At the peer it is `replicator`, which can reach `shared` only.
    """
    scope, cluster = region.scope, region.on_cluster
    assert cluster is not None
    wanted = version(scope.settings, MIGRATE)
    environment = cluster.owner_environment() | {
        "REGION": scope.region.name,
        "PEER_REGION": peer.scope.region.name,
        "PEER_HOST": peer.data.datastore.instance.address,
    }
    objects = database_job(
        REPLICATE,
        cluster.system(MIGRATE),
        wanted,
        region.registry.image(MIGRATE, wanted),
        variables(environment, ("REPLICATION_PASSWORD",)),
    )
    cluster.run_as_owner(REPLICATE, objects, [*cluster.migrated, *after], parent)
