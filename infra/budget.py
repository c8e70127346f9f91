"""AWS Budgets: what the bill really is, against the limit of the plan. Once an account."""

from __future__ import annotations

import pulumi
from pulumi_aws import budgets, sns

from infra.scope import Scope

ALERTS_PERCENT = (50, 80, 100)


class Budget(pulumi.ComponentResource):
    """Alerts at 50, 80 and 100 % of the budget as it is spent, and when 100 % is forecast.

    It watches the whole account: a filter by tag would count nothing until somebody activates the tag for billing.
    """

    def __init__(self, scope: Scope, topic: sns.Topic, opts: pulumi.ResourceOptions) -> None:
        super().__init__("agents-cloud:infra:Budget", "budget", None, opts)
        settings = scope.settings
        watched = [(percent, "ACTUAL") for percent in ALERTS_PERCENT] + [(100, "FORECASTED")]
        budgets.Budget(
            "budget",
            name=scope.prefix,
            budget_type="COST",
            time_unit="MONTHLY",
            limit_amount=str(settings.limits.budget),
            limit_unit="USD",
            notifications=[
                {
                    "comparison_operator": "GREATER_THAN",
                    "threshold": percent,
                    "threshold_type": "PERCENTAGE",
                    "notification_type": kind,
                    "subscriber_sns_topic_arns": [topic.arn],
                }
                for percent, kind in watched
            ],
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})
