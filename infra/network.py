"""The network of a region: one VPC whose addresses never change, and as little way out as the phase needs."""

from __future__ import annotations

import pulumi
from pulumi_aws import ec2

from infra.scope import Scope
from infra.shapes import SubnetKind

# What the ALB controller looks for when it places a load balancer.
_LOAD_BALANCER_TAGS: dict[SubnetKind, dict[str, str]] = {
    "public": {"kubernetes.io/role/elb": "1"},
    "private": {"kubernetes.io/role/internal-elb": "1"},
    "data": {},
}


class Network(pulumi.ComponentResource):
    """VPC, subnets, routes, and the S3 gateway endpoint that carries image layers for free.

    `nat`: private subnets reach the internet through one NAT gateway. Its zone's loss stops new connections out of
    the region until it is back; a second one would cost as much again.
    """

    def __init__(self, scope: Scope, *, nat: bool, opts: pulumi.ResourceOptions) -> None:
        super().__init__("agents-cloud:infra:Network", scope.resource("network"), None, opts)
        self._scope = scope
        child = pulumi.ResourceOptions(parent=self)
        # Everything that holds data stands in it: protected like the data.
        self.vpc = ec2.Vpc(
            scope.resource("vpc"),
            cidr_block=str(scope.region.cidr),
            enable_dns_support=True,
            enable_dns_hostnames=True,
            tags={"Name": scope.prefix},
            opts=scope.holds_data(self),
        )
        # Without rules: nothing lands in it by forgetting to name a group.
        ec2.DefaultSecurityGroup(scope.resource("default-group"), vpc_id=self.vpc.id, opts=child)
        gateway = ec2.InternetGateway(scope.resource("internet"), vpc_id=self.vpc.id, opts=child)
        self.subnets: dict[SubnetKind, list[ec2.Subnet]] = {"public": [], "private": [], "data": []}
        for subnet in scope.region.subnets:
            self.subnets[subnet.kind].append(
                ec2.Subnet(
                    scope.resource(subnet.name),
                    vpc_id=self.vpc.id,
                    cidr_block=str(subnet.cidr),
                    availability_zone=subnet.availability_zone,
                    tags={"Name": f"{scope.prefix}-{subnet.name}", **_LOAD_BALANCER_TAGS[subnet.kind]},
                    opts=scope.holds_data(self) if subnet.kind == "data" else child,
                )
            )
        self.route_tables = {kind: self._route_table(kind) for kind in self.subnets}
        ec2.Route(
            scope.resource("public-internet"),
            route_table_id=self.route_tables["public"].id,
            destination_cidr_block="0.0.0.0/0",
            gateway_id=gateway.id,
            opts=child,
        )
        ec2.VpcEndpoint(
            scope.resource("s3"),
            vpc_id=self.vpc.id,
            service_name=f"com.amazonaws.{scope.region.name}.s3",
            vpc_endpoint_type="Gateway",
            route_table_ids=[self.route_tables["public"].id, self.route_tables["private"].id],
            opts=child,
        )
        if nat:
            self._nat(gateway)
        self.register_outputs({})

    def ids(self, kind: SubnetKind) -> list[pulumi.Output[str]]:
        return [subnet.id for subnet in self.subnets[kind]]

    def _route_table(self, kind: SubnetKind) -> ec2.RouteTable:
        scope, child = self._scope, pulumi.ResourceOptions(parent=self)
        table = ec2.RouteTable(
            scope.resource(f"{kind}-routes"),
            vpc_id=self.vpc.id,
            tags={"Name": f"{scope.prefix}-{kind}"},
            opts=child,
        )
        for planned, subnet in zip(
            (s for s in scope.region.subnets if s.kind == kind), self.subnets[kind], strict=True
        ):
            ec2.RouteTableAssociation(
                scope.resource(f"{planned.name}-routes"),
                subnet_id=subnet.id,
                route_table_id=table.id,
                opts=child,
            )
        return table

    def _nat(self, gateway: ec2.InternetGateway) -> None:
        scope, child = self._scope, pulumi.ResourceOptions(parent=self)
        address = ec2.Eip(
            scope.resource("nat-address"), domain="vpc", tags={"Name": f"{scope.prefix}-nat"}, opts=child
        )
        nat = ec2.NatGateway(
            scope.resource("nat"),
            subnet_id=self.subnets["public"][0].id,
            allocation_id=address.id,
            tags={"Name": scope.prefix},
            opts=pulumi.ResourceOptions(parent=self, depends_on=[gateway]),
        )
        ec2.Route(
            scope.resource("private-internet"),
            route_table_id=self.route_tables["private"].id,
            destination_cidr_block="0.0.0.0/0",
            nat_gateway_id=nat.id,
            opts=child,
        )
