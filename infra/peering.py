"""What joins two regions: a private line between their databases, over which only the `shared` database replicates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
from pulumi_aws import ec2

from infra.region import Region
from infra.replication import replication


@dataclass(frozen=True, slots=True)
class End:
    """One end of the line."""

    region: Region
    provider: aws.Provider

    @property
    def addresses(self) -> list[str]:
        """Where its database stands. Nothing else is reached over the line."""
        return [str(subnet.cidr) for subnet in self.region.scope.region.subnets if subnet.kind == "data"]


class Peering(pulumi.ComponentResource):
    """Peering of two VPCs, routes between their data subnets, and the job in each that replicates `shared`."""

    def __init__(self, near: End, far: End) -> None:
        super().__init__("agents-cloud:infra:Peering", "peering", None)
        name = near.region.scope.prefix
        asked = ec2.VpcPeeringConnection(
            near.region.scope.resource("peering"),
            vpc_id=near.region.network.vpc.id,
            peer_vpc_id=far.region.network.vpc.id,
            peer_region=far.region.scope.region.name,
            tags={"Name": name},
            opts=pulumi.ResourceOptions(parent=self, provider=near.provider),
        )
        accepted = ec2.VpcPeeringConnectionAccepter(
            far.region.scope.resource("peering"),
            vpc_peering_connection_id=asked.id,
            auto_accept=True,
            tags={"Name": name},
            opts=pulumi.ResourceOptions(parent=self, provider=far.provider),
        )
        reached = [self._reach(near, far, accepted), self._reach(far, near, accepted)]
        replication(near.region, far.region, reached[0], self)
        replication(far.region, near.region, reached[1], self)
        self.register_outputs({})

    def _reach(
        self, source: End, target: End, line: ec2.VpcPeeringConnectionAccepter
    ) -> Sequence[pulumi.Resource]:
        """The source's database may open a connection to the target's, and is let in by it."""
        network, scope = source.region.network, source.region.scope
        routes = [
            ec2.Route(
                scope.resource(f"peer-{number}"),
                route_table_id=network.route_tables["data"].id,
                destination_cidr_block=cidr,
                vpc_peering_connection_id=line.vpc_peering_connection_id,
                opts=pulumi.ResourceOptions(parent=self, provider=source.provider),
            )
            for number, cidr in enumerate(target.addresses)
        ]
        for number, cidr in enumerate(target.addresses):
            source.region.datastore.admit(f"peer-{number}", cidr=cidr)
            source.region.datastore.let_out(f"peer-{number}", cidr)
        return routes
