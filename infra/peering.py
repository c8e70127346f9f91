"""What joins two regions: a private line between their databases, over which only the `shared` database replicates."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi
from pulumi_aws import ec2

from infra.region import Region
from infra.replication import replication


class Peering(pulumi.ComponentResource):
    """Peering of two VPCs, routes between their data subnets, and the job in each that replicates `shared`."""

    def __init__(self, near: Region, far: Region) -> None:
        super().__init__("agents-cloud:infra:Peering", "peering", None)
        name = near.scope.prefix
        asked = ec2.VpcPeeringConnection(
            near.scope.resource("peering"),
            vpc_id=near.data.network.vpc.id,
            peer_vpc_id=far.data.network.vpc.id,
            peer_region=far.scope.region.name,
            tags={"Name": name},
            opts=pulumi.ResourceOptions(parent=self, provider=near.data.provider),
        )
        accepted = ec2.VpcPeeringConnectionAccepter(
            far.scope.resource("peering"),
            vpc_peering_connection_id=asked.id,
            auto_accept=True,
            tags={"Name": name},
            opts=pulumi.ResourceOptions(parent=self, provider=far.data.provider),
        )
        reached = [self._reach(near, far, accepted), self._reach(far, near, accepted)]
        replication(near, far, reached[0], self)
        replication(far, near, reached[1], self)
        self.register_outputs({})

    def _reach(
        self, source: Region, target: Region, line: ec2.VpcPeeringConnectionAccepter
    ) -> Sequence[pulumi.Resource]:
        """The source's database may open a connection to the target's, and is let in by it."""
        network, scope = source.data.network, source.scope
        # Where databases stand. Nothing else is reached over the line.
        addresses = [str(subnet.cidr) for subnet in target.scope.region.subnets if subnet.kind == "data"]
        routes = [
            ec2.Route(
                scope.resource(f"peer-{number}"),
                route_table_id=network.route_tables["data"].id,
                destination_cidr_block=cidr,
                vpc_peering_connection_id=line.vpc_peering_connection_id,
                opts=pulumi.ResourceOptions(parent=self, provider=source.data.provider),
            )
            for number, cidr in enumerate(addresses)
        ]
        for number, cidr in enumerate(addresses):
            source.data.datastore.admit(f"peer-{number}", cidr=cidr)
            source.data.datastore.let_out(f"peer-{number}", cidr)
        return routes
