"""Logging in to RDS and ElastiCache as the pod's own identity: short-lived tokens instead of passwords.

botocore finds the credentials (Pod Identity in a cluster, the instance's role on the host) and signs. It is
imported only where AWS_REGION is set.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlencode, urlsplit

from errors import SettingsError, Unavailable

if TYPE_CHECKING:
    from botocore.session import Session

# Both services take a token for 15 minutes; a connection that is open then stays open.
# https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.html
# https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth-iam.html
TOKEN_SECONDS = 900


class Tokens:
    """Signs log-in tokens for one region."""

    def __init__(self, region: str, session: Session | None = None) -> None:
        from botocore.session import Session

        self._region = region
        self._session = session or Session()

    async def database(self, host: str, port: int, role: str) -> str:
        """The password with which `role` logs in to the RDS instance at `host`, for the next 15 minutes."""
        url = f"https://{host}:{port}/?{urlencode({'Action': 'connect', 'DBUser': role})}"
        return await asyncio.to_thread(self._sign, "rds-db", url)

    async def cache(self, replication_group: str, user: str) -> str:
        """The password with which `user` logs in to an ElastiCache replication group, for the next 15 minutes."""
        url = f"https://{replication_group}/?{urlencode({'Action': 'connect', 'User': user})}"
        return await asyncio.to_thread(self._sign, "elasticache", url)

    async def secret_password(self, arn: str) -> str:
        """The password in a secret that RDS manages. Raises Unavailable where it cannot be read."""
        return await asyncio.to_thread(self._secret_password, arn)

    def _sign(self, service: str, url: str) -> str:
        from botocore.auth import SigV4QueryAuth
        from botocore.awsrequest import AWSRequest

        credentials = self._session.get_credentials()
        if credentials is None:
            raise SettingsError(
                "no AWS credentials were found",
                "give the pod its Pod Identity association, or set a password",
            )
        request = AWSRequest(method="GET", url=url, headers={"host": url.split("/")[2]})
        frozen = credentials.get_frozen_credentials()
        SigV4QueryAuth(frozen, service, self._region, expires=TOKEN_SECONDS).add_auth(request)
        return str(request.url).removeprefix("https://")

    def _secret_password(self, arn: str) -> str:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            client = self._session.create_client("secretsmanager", region_name=self._region)
            return str(json.loads(client.get_secret_value(SecretId=arn)["SecretString"])["password"])
        except (BotoCoreError, ClientError, ValueError, KeyError) as broken:
            raise Unavailable(f"the secret {arn} cannot be read: {type(broken).__name__}") from broken


Password = Callable[[], Awaitable[str]]


def database_password(url: str, variables: Mapping[str, str] = os.environ) -> Password | None:
    """What asyncpg calls for each new connection; None where `url` holds a password, or this is not AWS.

    The secret DATABASE_SECRET_ARN has the password of the role in DATABASE_URL, the owner; others log in with a token.
    """
    parts = urlsplit(url)
    region = variables.get("AWS_REGION")
    if parts.password or not region or not parts.username or not parts.hostname:
        return None
    tokens, host, port, role = Tokens(region), parts.hostname, parts.port or 5432, unquote(parts.username)
    secret = variables.get("DATABASE_SECRET_ARN")
    if secret and parts.username == urlsplit(variables.get("DATABASE_URL", "")).username:
        return lambda: tokens.secret_password(secret)
    return lambda: tokens.database(host, port, role)


def cache_password(url: str, variables: Mapping[str, str] = os.environ) -> Password | None:
    """As `database_password`, for a `rediss://user@…` URL of an ElastiCache replication group."""
    parts = urlsplit(url)
    region = variables.get("AWS_REGION")
    if parts.password or not region or not parts.username or not parts.hostname:
        return None
    # master.GROUP.ID.REGION.cache.amazonaws.com; the token is for the group's own name
    labels = parts.hostname.split(".")
    group = labels[1] if labels[0] in ("master", "replica") and len(labels) > 1 else labels[0]
    tokens, user = Tokens(region), unquote(parts.username)
    return lambda: tokens.cache(group, user)
