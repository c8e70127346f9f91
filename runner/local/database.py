"""The database of one machine, set up as a deployment has it: owner, schema, agents, and a password for each role."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence

from database.connect import open_connection
from database.migrate import migrate
from database.registry import register_agents, set_passwords
from runner.agents import Agent
from runner.local.embedded import EmbeddedPostgres
from runner.register import registration_of

DATABASE = "agents"


async def prepare_database(
    postgres: EmbeddedPostgres, agents: Sequence[Agent], secrets: MutableMapping[str, str]
) -> Mapping[str, str]:
    """Make what is missing; the password of each login role, taken from `secrets`, which makes new ones itself."""
    async with open_connection(postgres.superuser_url) as superuser:
        if not await superuser.fetchval(
            "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = 'agents_owner')"
        ):
            await superuser.execute("CREATE ROLE agents_owner LOGIN CREATEROLE")
        await set_passwords(superuser, {"agents_owner": secrets["agents_owner"]})
        if not await superuser.fetchval("SELECT EXISTS (SELECT FROM pg_database WHERE datname = 'agents')"):
            await superuser.execute("CREATE DATABASE agents OWNER agents_owner")
    async with open_connection(postgres.url("postgres", secrets["postgres"], DATABASE)) as superuser:
        await superuser.execute("CREATE EXTENSION IF NOT EXISTS vector")
    async with open_connection(postgres.url("agents_owner", secrets["agents_owner"], DATABASE)) as owner:
        await migrate(owner)
        registrations = [registration_of(agent) for agent in agents]
        await register_agents(owner, registrations)
        roles = ["gateway", *(registration.role for registration in registrations)]
        passwords = {role: secrets[f"role {role}"] for role in roles}
        await set_passwords(owner, passwords)
    return passwords
