"""Logging in to RDS and ElastiCache with tokens: when, as whom, and signed how."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from database.aws import cache_password, database_password

AWS = {"AWS_REGION": "eu-west-1"}


@pytest.fixture(autouse=True)
def credentials(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


async def test_a_database_token_names_the_role_the_host_and_the_region():
    password = database_password(
        "postgresql://agent-apis-architect@db.example:5432/agents?sslmode=verify-full", AWS
    )
    assert password is not None
    token = urlsplit("https://" + await password())
    query = {key: values[0] for key, values in parse_qs(token.query).items()}
    assert (token.hostname, token.port) == ("db.example", 5432)
    assert (query["Action"], query["DBUser"]) == ("connect", "agent-apis-architect")
    assert "/eu-west-1/rds-db/aws4_request" in query["X-Amz-Credential"]
    assert query["X-Amz-Expires"] == "900"
    assert len(query["X-Amz-Signature"]) == 64


async def test_only_the_owners_password_comes_from_the_secret(monkeypatch):
    async def secret_password(self, arn):
        return f"what {arn} holds"

    monkeypatch.setattr("database.aws.Tokens.secret_password", secret_password)
    owner = "postgresql://agents_owner@db.example:5432/agents?sslmode=verify-full"
    variables = AWS | {"DATABASE_URL": owner, "DATABASE_SECRET_ARN": "arn:of:secret"}
    password = database_password(owner, variables)
    assert password is not None
    assert await password() == "what arn:of:secret holds"
    # As the audit does, which works as the owner and tries every agent.
    password = database_password(owner.replace("agents_owner", "agent-apis-architect"), variables)
    assert password is not None
    assert "DBUser=agent-apis-architect" in await password()


async def test_a_cache_token_is_for_the_replication_group_and_not_for_its_address():
    url = "rediss://agents-runners@master.agents-eu.abc123.euw1.cache.amazonaws.com:6379/0"
    password = cache_password(url, AWS)
    assert password is not None
    token = urlsplit("https://" + await password())
    assert token.hostname == "agents-eu"
    assert parse_qs(token.query)["User"] == ["agents-runners"]


@pytest.mark.parametrize(
    ("url", "variables"),
    [
        ("postgresql://gateway:secret@127.0.0.1:5432/agents", AWS),
        ("postgresql://gateway@127.0.0.1:5432/agents", {}),
        ("postgresql://db.example/agents", AWS),
    ],
)
def test_no_token_is_asked_for_where_there_is_a_password_or_no_cloud(url, variables):
    assert database_password(url, variables) is None
    assert cache_password(url.replace("postgresql", "redis"), variables) is None
