"""Valkey, which only wakes runners: PostgreSQL holds the truth, so that nothing is lost with it."""

from __future__ import annotations

import pulumi
from pulumi_aws import ec2, elasticache, kms, vpc

from infra.network import Network
from infra.scope import Scope

PORT = 6379
ENGINE = "valkey"
VERSION = "8.0"
GATEWAY, RUNNERS = "gateway", "runners"
# The streams that wake runners (runner.stream), who lives (runner.presence), and for the gateway alone the cache of
# embeddings (database.embeddings.cache); no command that administers the server.
_COMMANDS = "resetchannels -@all +@read +@write +@stream +@connection +@transaction -@dangerous"
RIGHTS = {
    GATEWAY: f"on ~missions:* ~runner:* ~embedding:* {_COMMANDS}",
    RUNNERS: f"on ~missions:* ~runner:* {_COMMANDS}",
}


class Cache(pulumi.ComponentResource):
    """A replication group over two zones with TLS; people and pods log in with IAM tokens, there is no password."""

    def __init__(self, scope: Scope, network: Network, key: kms.Key, opts: pulumi.ResourceOptions) -> None:
        super().__init__("agents-cloud:infra:Cache", scope.resource("cache"), None, opts)
        assert scope.region.cache is not None
        plan, self._scope = scope.region.cache, scope
        child = pulumi.ResourceOptions(parent=self)
        subnets = elasticache.SubnetGroup(
            scope.resource("cache"), name=scope.name("cache"), subnet_ids=network.ids("data"), opts=child
        )
        self.group = ec2.SecurityGroup(
            scope.resource("cache-group"),
            name=scope.name("cache"),
            description="Who may reach Valkey",
            vpc_id=network.vpc.id,
            tags={"Name": scope.name("cache")},
            opts=child,
        )
        # For IAM authentication, id and name of a user have to be the same.
        self._users = {
            who: elasticache.User(
                scope.resource(f"cache-{who}"),
                user_id=scope.name(who),
                user_name=scope.name(who),
                engine=ENGINE,
                access_string=rights,
                authentication_mode={"type": "iam"},
                opts=child,
            )
            for who, rights in RIGHTS.items()
        }
        users = elasticache.UserGroup(
            scope.resource("cache"),
            user_group_id=scope.name("cache"),
            engine=ENGINE,
            user_ids=[user.user_id for user in self._users.values()],
            opts=child,
        )
        several = plan.nodes > 1
        self.replication_group = elasticache.ReplicationGroup(
            scope.resource("cache"),
            replication_group_id=scope.prefix,
            description=f"Wakes the runners of {scope.prefix}",
            engine=ENGINE,
            engine_version=VERSION,
            node_type=plan.node_type,
            num_cache_clusters=plan.nodes,
            automatic_failover_enabled=several,
            multi_az_enabled=several,
            port=PORT,
            subnet_group_name=subnets.name,
            security_group_ids=[self.group.id],
            user_group_ids=[users.user_group_id],
            transit_encryption_enabled=True,
            transit_encryption_mode="required",
            at_rest_encryption_enabled=True,
            kms_key_id=key.arn,
            auto_minor_version_upgrade=True,
            maintenance_window="sun:05:30-sun:06:30",
            snapshot_retention_limit=0,
            apply_immediately=True,
            opts=child,
        )
        self.register_outputs({})

    def url(self, who: str) -> pulumi.Output[str]:
        """REDIS_URL of `gateway` or `runners`, who log in with an IAM token; there is no password in it."""
        host = self.replication_group.primary_endpoint_address
        return pulumi.Output.concat(f"rediss://{self._scope.name(who)}@", host, f":{PORT}/0")

    def login_arns(self, who: str) -> list[pulumi.Output[str]]:
        """What an IAM statement names to let someone log in as `who`: the cache and the user."""
        return [self.replication_group.arn, self._users[who].arn]

    def admit(self, what: str, group: pulumi.Input[str]) -> None:
        vpc.SecurityGroupIngressRule(
            self._scope.resource(f"cache-from-{what}"),
            security_group_id=self.group.id,
            description=f"Valkey from {what}",
            ip_protocol="tcp",
            from_port=PORT,
            to_port=PORT,
            referenced_security_group_id=group,
            opts=pulumi.ResourceOptions(parent=self),
        )
