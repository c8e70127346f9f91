"""No agent's memory reaches another, whatever the agents are called and whatever happened to a connection before."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import quote

import asyncpg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from database.connect import Pool, open_pool
from database.memory import nearest, recall
from database.registry import Registration, register_agents, set_passwords
from tests.servers.conftest import PASSWORD, Database
from tests.servers.memories import remember, vector

TITLE = "Retry the webhook delivery when the queue is full"
BY_DATABASE = settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])

# Names that a comparison by prefix, pattern, case, normal form or unescaped text would take for each other.
TWISTS = (
    "{}-two",
    "{}%",
    "{}_",
    "%",
    "_",
    "{}'",
    "' OR '1'='1' -- {}",
    '{}"; RESET ROLE; --',
    " {}",
    "{} ",
    "{}\u0301",
    "{}\\",
    "{{{},x}}",
    "$1{}",
)
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40)


def alike(name: str) -> set[str]:
    """Names that are easily confused with `name`."""
    twisted = {twist.format(name) for twist in TWISTS}
    swapped = {
        name.swapcase(),
        name.replace("-", "_"),
        name.replace("_", "-"),
        name[:-1],
        name.replace("a", "\u0430"),
    }
    return {name, *twisted, *swapped} - {""}


def role_of(name: str) -> str:
    """PostgreSQL cuts longer names off, and asyncpg cannot log in as a role that has a comma or an equals sign."""
    role = f"agent-{name}"
    if len(role.encode()) < 64 and not {",", "="} & set(role):
        return role
    return f"agent-{hashlib.sha256(name.encode()).hexdigest()[:32]}"


@asynccontextmanager
async def agents_called(database: Database, names: Collection[str]) -> AsyncIterator[dict[str, Pool]]:
    """A registered agent with one memory for each name, and a pool of its own."""
    known = [Registration(name, role_of(name).removeprefix("agent-"), "s", "0") for name in names]
    async with AsyncExitStack() as stack:
        owner = await stack.enter_async_context(database.connect("agents_owner"))
        await register_agents(owner, known)
        await set_passwords(owner, {each.role: PASSWORD for each in known})
        gateway = await stack.enter_async_context(database.pool("gateway"))
        pools = {}
        for each in known:
            await remember(gateway, each.agent, TITLE, embedded=vector(1), solution=f"of {each.agent}")
            url = database.server.url(quote(each.role, safe=""), PASSWORD, database.name)
            pools[each.agent] = await stack.enter_async_context(open_pool(url, most=1, application="test"))
        yield pools


async def assert_only_its_own(pool: Pool, agent: str, others: Collection[str]) -> None:
    for found in (
        await recall(pool, agent, title=TITLE, embedded=vector(1)),
        await nearest(pool, agent, vector(1)),
    ):
        assert found
        assert {each.solution_approach for each in found} == {f"of {agent}"}
    for other in others:
        assert await recall(pool, other, title=TITLE, embedded=vector(1)) == []
        assert await nearest(pool, other, vector(1)) == []
        like = "SELECT count(*) FROM agent_memories WHERE agent_name ILIKE $1 AND agent_name <> $2"
        assert await pool.fetchval(like, other, agent) == 0
    for table in ("agent_memories", "agent_memory_embeddings", "agent_performance"):
        assert {row[0] for row in await pool.fetch(f"SELECT agent_name FROM {table}")} == {agent}


async def test_names_that_are_alike_are_kept_apart(database):
    names = alike("agent-a_b")
    async with agents_called(database, names) as pools:
        for name, pool in pools.items():
            await assert_only_its_own(pool, name, names - {name})


@BY_DATABASE
@given(base=NAMES, twist=st.sampled_from(TWISTS))
@example(base="Ａ", twist="{}%")
@example(base="ﬁne", twist=" {}")
@example(base="\n", twist="{}'")
@example(base="\u202eagent", twist="{}\\")
async def test_any_names_are_kept_apart(database, base, twist):
    names = {base, twist.format(base)[:100], base.swapcase()}
    async with agents_called(database, names) as pools:
        for name, pool in pools.items():
            await assert_only_its_own(pool, name, names - {name})


# What an agent's code, or an obeyed injection in it, may do to its own connection before somebody uses it again.
ABUSES = (
    "SELECT 1 / 0",
    "SET search_path = pg_temp, public",
    "SET row_security = off",
    "SET ROLE agents_owner",
    "SET SESSION AUTHORIZATION agents_owner",
    "SET LOCAL ROLE gateway",
    "RESET ALL",
    "RESET ROLE",
    "SET SESSION AUTHORIZATION DEFAULT",
    "DISCARD ALL",
    "SET app.agent = 'right-agent'",
    "SET plan_cache_mode = force_generic_plan",
    "SET default_transaction_read_only = on",
    "CREATE TEMP TABLE agents (agent_name text, role_name name)",
    "CREATE TEMP TABLE agents AS SELECT 'right-agent'::text AS agent_name, session_user AS role_name",
    "CREATE FUNCTION pg_temp.current_agent() RETURNS text LANGUAGE sql AS $$ SELECT 'right-agent' $$",
    "CREATE TEMP VIEW peek AS SELECT * FROM agent_memories",
    "PREPARE peek AS SELECT * FROM agent_memories WHERE agent_name = 'right-agent'",
    "DECLARE peek CURSOR WITH HOLD FOR SELECT * FROM agent_memories",
    "BEGIN; SELECT 1 / 0",
    "COPY agent_memories TO STDOUT",
    "LOCK TABLE agent_memories",
    "EXPLAIN (ANALYZE) SELECT * FROM agent_memories",
    "TRUNCATE agent_memories",
    "cancel",
    "drop",
)
LEFT, RIGHT = "left-agent", "right-agent"


async def abuse(pool: Pool, deed: str) -> None:
    """Do it on the pool's one connection; whatever the answer, the connection goes back."""
    if deed in ("cancel", "drop"):
        async with pool.acquire() as connection:
            running = asyncio.create_task(connection.execute("SELECT pg_sleep(60) FROM agent_memories"))
            await asyncio.sleep(0)
            if deed == "drop":
                connection.terminate()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        return
    try:
        await pool.execute(deed)
    except (asyncpg.PostgresError, asyncpg.InterfaceError):
        return


async def whom_it_sees(pool: Pool) -> set[str]:
    """Where a deed left the connection unusable, the next one counts."""
    async with pool.acquire() as connection:
        try:
            rows = await connection.fetch("SELECT agent_name FROM public.agent_memories")
            assert await connection.fetchval("SELECT public.current_agent()") == LEFT
        except asyncpg.PostgresError:
            connection.terminate()
            return set()
        return {row["agent_name"] for row in rows}


@BY_DATABASE
@given(deeds=st.lists(st.sampled_from(ABUSES), min_size=1, max_size=8))
@example(deeds=list(ABUSES))
async def test_a_connection_that_was_abused_still_sees_only_its_own(database, deeds):
    async with agents_called(database, {LEFT, RIGHT}) as pools:
        pool = pools[LEFT]
        for deed in deeds:
            await abuse(pool, deed)
            assert await whom_it_sees(pool) <= {LEFT}
        async with pool.acquire() as connection:
            connection.terminate()
        await assert_only_its_own(pool, LEFT, {RIGHT})


async def test_policies_that_would_be_switched_off_are_an_error_not_an_opening(database):
    async with agents_called(database, {LEFT}) as pools, pools[LEFT].acquire() as connection:
        await connection.execute("SET row_security = off")
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="affected by row-level security"):
            await connection.fetch("SELECT * FROM agent_memories")


async def test_an_agent_that_was_forgotten_sees_nothing(database):
    """Its role still logs in; the registry no longer says whose it is."""
    async with agents_called(database, {LEFT, RIGHT}) as pools:
        async with database.connect("agents_owner") as owner:
            await owner.execute("UPDATE agents SET role_name = 'agent-nobody' WHERE agent_name = $1", LEFT)
        assert await pools[LEFT].fetchval("SELECT current_agent()") is None
        assert await recall(pools[LEFT], LEFT, title=TITLE, embedded=vector(1)) == []
        for table in ("agent_memories", "agent_memory_embeddings", "agent_performance", "missions"):
            assert await pools[LEFT].fetchval(f"SELECT count(*) FROM {table}") == 0
        await assert_only_its_own(pools[RIGHT], RIGHT, {LEFT})
