"""PostgreSQL with pgvector: private, encrypted, TLS only, without a password that anybody knows."""

from __future__ import annotations

import pulumi
from pulumi_aws import cloudwatch, ec2, kms, rds, vpc

from infra.network import Network
from infra.scope import Scope
from infra.shapes import DatabasePlan

PORT = 5432
DATABASE = "agents"
OWNER = "agents_owner"
"""The master user: owns the schema and runs migrations. RDS keeps and rotates its password."""
# Where the images keep the authorities that sign RDS's certificates (truststore.pki.rds.amazonaws.com).
AUTHORITIES = "/etc/ssl/rds/global-bundle.pem"
# Applied at once (dynamic) or at the next start (static), as RDS lists them for PostgreSQL 16.
DYNAMIC, STATIC = "immediate", "pending-reboot"
PARAMETERS = (
    ("rds.force_ssl", "1", DYNAMIC),
    # From phase 2 on, although only phase 4 replicates: switching it needs a restart.
    ("rds.logical_replication", "1", STATIC),
    # A peer that is away for long must not fill the disk with log that waits for it (MB).
    ("max_slot_wal_keep_size", "4096", DYNAMIC),
    # Values of a failing statement are personal data and no business of a log.
    ("log_parameter_max_length_on_error", "0", DYNAMIC),
    ("idle_in_transaction_session_timeout", "60000", DYNAMIC),
)
LOGS = ("postgresql", "upgrade")


class Datastore(pulumi.ComponentResource):
    """One RDS instance. What would replace it is fixed from phase 2 on; class, storage and Multi-AZ are not."""

    def __init__(self, scope: Scope, network: Network, key: kms.Key, opts: pulumi.ResourceOptions) -> None:
        super().__init__("agents-cloud:infra:Datastore", scope.resource("datastore"), None, opts)
        child = pulumi.ResourceOptions(parent=self)
        plan, settings = scope.region.database, scope.settings
        self._scope = scope
        subnets = rds.SubnetGroup(
            scope.resource("database"),
            name=scope.name("database"),
            subnet_ids=network.ids("data"),
            opts=scope.holds_data(self),
        )
        self.group = ec2.SecurityGroup(
            scope.resource("database-group"),
            name=scope.name("database"),
            description="Who may reach PostgreSQL",
            vpc_id=network.vpc.id,
            tags={"Name": scope.name("database")},
            opts=scope.holds_data(self),
        )
        family = f"postgres{plan.engine_version.split('.')[0]}"
        parameters = rds.ParameterGroup(
            scope.resource("database"),
            # The family is in the name, so that a new major version gets a group beside the old one.
            name=scope.name(family),
            family=family,
            parameters=[{"name": n, "value": v, "apply_method": method} for n, v, method in PARAMETERS],
            opts=scope.holds_data(self),
        )
        identifier = scope.prefix
        logs = [
            cloudwatch.LogGroup(
                scope.resource(f"database-{log}"),
                name=f"/aws/rds/instance/{identifier}/{log}",
                retention_in_days=settings.log_days,
                kms_key_id=key.arn,
                opts=child,
            )
            for log in LOGS
        ]
        self.instance = rds.Instance(
            scope.resource("database"),
            identifier=identifier,
            engine="postgres",
            engine_version=plan.engine_version,
            auto_minor_version_upgrade=True,
            # A new major version comes by the setting alone, and then is meant (docs/upgrades.md).
            allow_major_version_upgrade=True,
            instance_class=plan.instance_class,
            multi_az=plan.multi_az,
            allocated_storage=plan.storage_gb,
            max_allocated_storage=plan.max_storage_gb,
            storage_type="gp3",
            storage_encrypted=True,
            kms_key_id=key.arn,
            db_name=DATABASE,
            username=OWNER,
            manage_master_user_password=True,
            master_user_secret_kms_key_id=key.key_id,
            iam_database_authentication_enabled=True,
            port=PORT,
            db_subnet_group_name=subnets.name,
            vpc_security_group_ids=[self.group.id],
            publicly_accessible=False,
            parameter_group_name=parameters.name,
            ca_cert_identifier="rds-ca-rsa2048-g1",
            backup_retention_period=plan.backup_days,
            backup_window="03:00-04:00",
            maintenance_window="sun:04:30-sun:05:30",
            copy_tags_to_snapshot=True,
            delete_automated_backups=False,
            enabled_cloudwatch_logs_exports=list(LOGS),
            deletion_protection=settings.protect,
            skip_final_snapshot=not settings.protect,
            final_snapshot_identifier=f"{identifier}-final",
            opts=scope.holds_data(self, depends_on=logs),
        )
        self.secret_arn = self.instance.master_user_secrets[0]["secret_arn"]
        self.register_outputs({})

    def url(self, role: str) -> pulumi.Output[str]:
        """DATABASE_URL of a role that logs in with an IAM token; there is no password in it."""
        return pulumi.Output.concat(
            f"postgresql://{role}@",
            self.instance.endpoint,
            f"/{DATABASE}?sslmode=verify-full&sslrootcert={AUTHORITIES}",
        )

    def login_arn(self, role: str) -> pulumi.Output[str]:
        """What an IAM statement names to let someone log in as `role`, which may hold policy variables."""
        home = f"arn:aws:rds-db:{self._scope.region.name}:{self._scope.settings.account_id}"
        return pulumi.Output.concat(home, ":dbuser:", self.instance.resource_id, "/", role)

    def admit(self, what: str, *, group: pulumi.Input[str] | None = None, cidr: str | None = None) -> None:
        """Let a security group, or the addresses of a peer, reach PostgreSQL."""
        vpc.SecurityGroupIngressRule(
            self._scope.resource(f"database-from-{what}"),
            security_group_id=self.group.id,
            description=f"PostgreSQL from {what}",
            ip_protocol="tcp",
            from_port=PORT,
            to_port=PORT,
            referenced_security_group_id=group,
            cidr_ipv4=cidr,
            opts=pulumi.ResourceOptions(parent=self),
        )

    def let_out(self, what: str, cidr: str) -> None:
        """Let PostgreSQL itself open a connection to a peer's, which is how a subscription works."""
        vpc.SecurityGroupEgressRule(
            self._scope.resource(f"database-to-{what}"),
            security_group_id=self.group.id,
            description=f"PostgreSQL of {what}",
            ip_protocol="tcp",
            from_port=PORT,
            to_port=PORT,
            cidr_ipv4=cidr,
            opts=pulumi.ResourceOptions(parent=self),
        )


class BackupCopy(pulumi.ComponentResource):
    """Automated backups of a database, copied to another region of the same legal zone for recovery there."""

    def __init__(
        self, scope: Scope, plan: DatabasePlan, source: rds.Instance, opts: pulumi.ResourceOptions
    ) -> None:
        """`opts` carry the provider of the recovery region."""
        super().__init__("agents-cloud:infra:BackupCopy", scope.resource("backup-copy"), None, opts)
        key = kms.Key(
            scope.resource("backup-key"),
            description=f"Backup copies of {scope.prefix} from {scope.region.name}",
            enable_key_rotation=True,
            deletion_window_in_days=30,
            opts=scope.holds_data(self),
        )
        rds.InstanceAutomatedBackupsReplication(
            scope.resource("backup-copy"),
            source_db_instance_arn=source.arn,
            kms_key_id=key.arn,
            retention_period=plan.backup_days,
            opts=scope.holds_data(self),
        )
        self.register_outputs({})
