"""What gateway and runners read from their environment, on the host as in a cluster. No secret stands in it."""

from __future__ import annotations

import pulumi

from infra.datastore import AUTHORITIES, DATABASE, OWNER, PORT, Datastore
from infra.scope import Scope
from infra.shapes import AgentPlan

Environment = dict[str, pulumi.Input[str]]


def runner_environment(
    scope: Scope, datastore: Datastore, agent: AgentPlan, redis_url: pulumi.Input[str]
) -> Environment:
    """What one agent's runner reads (`runner.settings.RunnerSettings`)."""
    models = scope.settings.models
    return {
        "AGENT_NAME": agent.agent,
        "DATABASE_URL": datastore.url(f"agent-{agent.resource_name}"),
        "REDIS_URL": redis_url,
        "EXECUTOR": models.executor,
        **_model(scope),
        **_common(scope),
    }


def gateway_environment(scope: Scope, datastore: Datastore, redis_url: pulumi.Input[str]) -> Environment:
    """What the gateway reads (`runner.settings.GatewaySettings`)."""
    models, endpoint = scope.settings.models, scope.region.model_endpoint
    return {
        "DATABASE_URL": datastore.url("gateway"),
        "REDIS_URL": redis_url,
        "EXECUTOR": models.executor,
        "EMBEDDING_MODEL": "minilm"
        if models.embedding_model == "minilm"
        else f"openai:{models.embedding_model}",
        # Texts to be embedded stay in the zone, as those for a model do.
        "EMBEDDING_ENDPOINT": endpoint,
        "EMBEDDING_ENDPOINTS": f"{scope.region.zone}={endpoint}",
        "MISSION_CAP_USD": str(models.mission_cap_usd),
        "DAY_CAP_USD": str(models.daily_cap_usd),
        "MONTH_CAP_USD": str(models.monthly_cap_usd),
        "INBOX_DAYS": str(scope.settings.inbox_days),
        "MISSIONS_DAYS": str(scope.settings.missions_days),
        "BACKUP_DAYS": str(scope.settings.database.backup_days),
        "LOG_DAYS": str(scope.settings.log_days),
        **_common(scope),
    }


def owner_environment(scope: Scope, datastore: Datastore) -> Environment:
    """What a job in a cluster reads that works as the owner: it fetches the password with its own role."""
    return {
        "DATABASE_URL": datastore.url(OWNER),
        "DATABASE_SECRET_ARN": datastore.secret_arn,
        "AWS_REGION": scope.region.name,
    }


def owner_url(datastore: Datastore, password: str) -> pulumi.Output[str]:
    """DATABASE_URL of the migration on the host, which puts the `password` in at start: `${VARIABLE}`."""
    return pulumi.Output.concat(
        f"postgresql://{OWNER}:{password}@",
        datastore.instance.address,
        f":{PORT}/{DATABASE}?sslmode=verify-full&sslrootcert={AUTHORITIES}",
    )


def _model(scope: Scope) -> Environment:
    endpoint = scope.region.model_endpoint
    # The region's own endpoint and no other: an answer from elsewhere would take its zone's data along.
    return {"MODEL": scope.settings.models.model, "OPENAI_BASE_URL": endpoint, "MODEL_ENDPOINTS": endpoint}


def _common(scope: Scope) -> Environment:
    region = scope.region
    return {"AWS_REGION": region.name, "ZONE": region.zone, "HOST": "0.0.0.0", "PORT": "8080"}  # noqa: S104 - in a container of its own
