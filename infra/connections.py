"""Connections to PostgreSQL: a budget, since a small RDS has a few hundred."""

from __future__ import annotations

from errors import PlanError

GATEWAY_CONNECTIONS = 10  # of each gateway replica to PostgreSQL
RUNNER_CONNECTIONS = 2  # of a runner that works; an idle one holds none
SCHEDULED_CONNECTIONS = 9  # the audit's own and the eight agents' that it tries at a time
# GiB of the database classes that the price list knows. RDS: max_connections = LEAST(memory / 9531392, 5000),
# without what RDS keeps for itself, a quarter on small classes (338 seen on db.t4g.medium).
DATABASE_GIB = {
    "db.t4g.micro": 1,
    "db.t4g.small": 2,
    "db.t4g.medium": 4,
    "db.t4g.large": 8,
    "db.m7g.large": 8,
    "db.m7g.xlarge": 16,
    "db.m7g.2xlarge": 32,
}


def connections_needed(gateways: int, runners: int) -> int:
    """What so many gateway replicas, so many runners at work and what runs by the clock hold together."""
    return GATEWAY_CONNECTIONS * gateways + RUNNER_CONNECTIONS * runners + SCHEDULED_CONNECTIONS


def database_connections(instance_class: str) -> int:
    """PostgreSQL connections of an RDS class. Raises PlanError for a class that is not in DATABASE_GIB."""
    if instance_class not in DATABASE_GIB:
        raise PlanError(f"the memory of {instance_class} is unknown", f"use one of {', '.join(DATABASE_GIB)}")
    return min(DATABASE_GIB[instance_class] * 1024**3 * 3 // 4 // 9531392, 5000)
