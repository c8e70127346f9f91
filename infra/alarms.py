"""Alarms to the configured address: what a person has to act on, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi
from pulumi_aws import cloudwatch, kms, sns

from infra.access import allow, document
from infra.scope import Scope
from infra.shapes import DatabasePlan

NAMESPACE = "agents-cloud"
GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Alarm:
    """Goes off when `statistic` of a metric was beyond `threshold` in every one of `periods` × `seconds`."""

    name: str
    description: str
    namespace: str
    metric: str
    threshold: float
    dimensions: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    statistic: str = "Average"
    below: bool = False
    periods: int = 3
    seconds: int = 300
    missing: str = "notBreaching"


def database_alarms(identifier: pulumi.Input[str], plan: DatabasePlan) -> list[Alarm]:
    """Each leaves time to act before missions fail."""
    database = {"DBInstanceIdentifier": identifier}
    free, connections = 0.15 * plan.storage_gb * GIB, 0.8 * plan.max_connections
    return [
        Alarm(
            "database-storage",
            "Less than 15 % of the first storage is free",
            "AWS/RDS",
            "FreeStorageSpace",
            free,
            database,
            below=True,
        ),
        Alarm(
            "database-connections",
            "80 % of the connections are taken",
            "AWS/RDS",
            "DatabaseConnections",
            connections,
            database,
        ),
        Alarm(
            "database-cpu",
            "CPU above 90 % for a quarter of an hour",
            "AWS/RDS",
            "CPUUtilization",
            90,
            database,
        ),
        # db.t4g bursts without a limit, and what it has no credits for is charged.
        Alarm(
            "database-credits",
            "CPU is bought beyond what the class includes",
            "AWS/RDS",
            "CPUSurplusCreditsCharged",
            0,
            database,
            statistic="Sum",
        ),
        Alarm(
            "database-log-kept",
            "A replica that is away makes PostgreSQL keep 2 GB of log",
            "AWS/RDS",
            "TransactionLogsDiskUsage",
            2 * GIB,
            database,
        ),
    ]


class Alarms(pulumi.ComponentResource):
    """A topic with one subscriber, and the alarms of a region. The stack's output `testAlarm` sets one off."""

    def __init__(self, scope: Scope, key: kms.Key, opts: pulumi.ResourceOptions) -> None:
        super().__init__("agents-cloud:infra:Alarms", scope.resource("alarms"), None, opts)
        self._scope = scope
        child = pulumi.ResourceOptions(parent=self)
        self.topic = sns.Topic(
            scope.resource("alarms"), name=scope.name("alarms"), kms_master_key_id=key.key_id, opts=child
        )
        account = scope.settings.account_id
        sns.TopicPolicy(
            scope.resource("alarms"),
            arn=self.topic.arn,
            policy=document(
                {
                    **allow(["sns:Publish"], self.topic.arn, StringEquals={"aws:SourceAccount": account}),
                    "Principal": {"Service": ["cloudwatch.amazonaws.com", "budgets.amazonaws.com"]},
                }
            ),
            opts=child,
        )
        sns.TopicSubscription(
            scope.resource("alarms"),
            topic=self.topic.arn,
            protocol="email",
            endpoint=scope.settings.alarm_email,
            opts=child,
        )
        self.register_outputs({})

    def add(self, alarm: Alarm) -> None:
        scope = self._scope
        cloudwatch.MetricAlarm(
            scope.resource(f"alarm-{alarm.name}"),
            name=scope.name(alarm.name),
            alarm_description=alarm.description,
            namespace=alarm.namespace,
            metric_name=alarm.metric,
            dimensions=dict(alarm.dimensions),
            statistic=alarm.statistic,
            comparison_operator="LessThanThreshold" if alarm.below else "GreaterThanThreshold",
            threshold=alarm.threshold,
            period=alarm.seconds,
            evaluation_periods=alarm.periods,
            treat_missing_data=alarm.missing,
            alarm_actions=[self.topic.arn],
            ok_actions=[self.topic.arn],
            opts=pulumi.ResourceOptions(parent=self),
        )

    def add_errors(self, logs: cloudwatch.LogGroup) -> None:
        """An alarm on error lines in a log group: the metric comes from the log, so that no agent has to send it."""
        self.add(
            Alarm(
                "errors",
                "More than 10 error lines in each of three spans of five minutes",
                NAMESPACE,
                self._counted("errors", "ERROR", logs),
                10,
                statistic="Sum",
            )
        )

    def add_audit(self, logs: cloudwatch.LogGroup) -> None:
        """Alarms on the line with which `python -m database audit` ends: what it found, and that it is missing."""
        self.add(
            Alarm(
                "audit-off",
                "The audit found that agents may reach each other's memory, or could not finish: its log says what",
                NAMESPACE,
                self._counted("audit-off", '"AUDIT OFF"', logs),
                0,
                statistic="Sum",
                periods=1,
            )
        )
        self.add(
            Alarm(
                "audit-missing",
                "No audit has passed for a week",
                NAMESPACE,
                self._counted("audit-sound", '"AUDIT SOUND"', logs),
                1,
                statistic="Sum",
                below=True,
                periods=7,  # days, the most that CloudWatch looks back
                seconds=24 * 3600,
                missing="breaching",
            )
        )

    def _counted(self, what: str, pattern: str, logs: cloudwatch.LogGroup) -> str:
        """The metric that counts the lines of a log group that hold `pattern`."""
        # Dimensions would cost a metric each; the region is the alarm's own.
        metric = f"{self._scope.prefix}-{what}"
        cloudwatch.LogMetricFilter(
            self._scope.resource(what),
            name=self._scope.name(what),
            log_group_name=logs.name,
            pattern=pattern,
            metric_transformation={
                "namespace": NAMESPACE,
                "name": metric,
                "value": "1",
                "default_value": "0",
            },
            opts=pulumi.ResourceOptions(parent=self),
        )
        return metric
