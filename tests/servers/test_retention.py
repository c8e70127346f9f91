"""What is older than its retention goes, in small steps; what is younger, unworked or in use stays."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import asyncpg
import pytest
from redis.asyncio import Redis

from database.connect import Connection
from database.embeddings import EmbeddingSettings
from database.embeddings.cache import CachedEmbedder, key_of, open_cached_embedder
from database.inbox import Delivery, store_delivery
from database.memory import judge_outcome
from database.missions import Effect, Finish, NewMission, add_mission, claim_missions, finish_mission
from database.outbox import MAX_EFFECT_ATTEMPTS
from database.owner import open_owner
from database.retention import load_retention, prune, sizes
from database.spending import MissionWallet, set_cap
from errors import SettingsError
from runner.local.embedded import EmbeddedRedis
from runner.stream import publish, stream_of, trim
from tests.servers.conftest import Database
from tests.servers.database_command import command
from tests.servers.system import open_system
from tests.servers.test_transfer import everything
from tests.servers.word_embedder import WordEmbedder

AGENT = "cloud-architect"
DEFAULTS = load_retention({})


@pytest.fixture
async def gateway(database: Database) -> AsyncIterator[Connection]:
    """Two finished missions and a waiting one, with all that belongs to them, and one row of what events leave."""
    await database.register(AGENT)
    await add_leavings(database, 1)
    async with database.connect("gateway") as connection, database.agent_pool(AGENT) as pool:
        await set_cap(connection, "day", Decimal(9))
        await set_cap(connection, "month", Decimal(9))
        for number in (1, 2, 3):
            delivery = Delivery(f"d{number}", "issues", "o/r", {"number": number})
            await store_delivery(connection, delivery, f"digest {number}")
            await add_mission(
                connection, NewMission("o/r", number, "opened", "t", "b", [], "a", "US", "queued", AGENT)
            )
        await connection.execute("UPDATE inbox SET processed_at = now() WHERE delivery_id <> 'd3'")
        for mission in await claim_missions(pool, AGENT, "r", most=2):
            wallet = MissionWallet(pool, mission)
            await wallet.settle(await wallet.reserve(Decimal(1)), Decimal(1))
            recalled = [{"memory_id": "00000000-0000-0000-0000-000000000001", "similarity": 0.9}]
            effects = [Effect("comment", {"body": "x"})]
            await finish_mission(
                pool, mission, Finish("done", solution="s", recalled=recalled, effects=effects)
            )
            await judge_outcome(connection, mission.id, succeeded=True, by="a: closed")
        await connection.execute("UPDATE outbox SET done_at = now() WHERE kind = 'comment'")
        yield connection


async def add_leavings(database: Database, number: int) -> None:
    """What was last said of pull request `number`, that it was reverted, and an erased work."""
    async with open_owner(database.url("agents_owner")) as owner:
        await owner.execute("INSERT INTO last_words VALUES ('o/r', $1, 'merge', 'merged', now())", number)
        await owner.execute("INSERT INTO reverts VALUES ('o/r', $1, 99, now())", number)
        await owner.execute("INSERT INTO erased_works (work_digest) VALUES ($1)", f"digest {number}")


AGE = {
    "inbox": "UPDATE inbox SET processed_at = processed_at - $1::interval",
    "outbox": "UPDATE outbox SET done_at = done_at - $1::interval, not_before = not_before - $1::interval",
    "missions": "UPDATE missions SET finished_at = finished_at - $1::interval",
    "agent_memories": "UPDATE agent_memories SET created_at = created_at - $1::interval",
    "spending": "UPDATE spending SET reserved_at = reserved_at - $1::interval",
    "last_words": "UPDATE last_words SET said_at = said_at - $1::interval",
    "reverts": "UPDATE reverts SET reverted_at = reverted_at - $1::interval",
    "erased_works": "UPDATE erased_works SET erased_on = erased_on - $1::interval",
}


async def age(database: Database, days: int, *tables: str) -> None:
    """Make everything look `days` older."""
    async with open_owner(database.url("agents_owner")) as owner:
        for table in tables or AGE:
            await owner.execute(AGE[table], timedelta(days=days))


async def counted(database: Database) -> dict[str, int]:
    async with open_owner(database.url("agents_owner")) as owner:
        return await everything(owner)


async def test_nothing_is_removed_before_its_time(gateway, database):
    await age(database, 29)
    before = await counted(database)
    assert await prune(gateway, DEFAULTS) == {}
    assert await counted(database) == before


async def test_each_table_loses_what_is_older_than_its_own_retention(gateway, database):
    await age(database, 31)
    assert await prune(gateway, DEFAULTS) == {"inbox": 2, "outbox": 2, "last_words": 1}
    await age(database, 400)
    # Today's totals of day and month stay: the caps of today count in them.
    assert await prune(gateway, DEFAULTS) == {"missions": 2, "spending": 2, "spending_totals": 2}
    left = await counted(database)
    assert (left["inbox"], left["missions"], left["outbox"]) == (1, 1, 1)
    assert (left["agent_memories"], left["spending"], left["spending_totals"]) == (2, 0, 2)


async def test_what_was_not_worked_yet_stays_however_old(gateway, database):
    await age(database, 5_000)
    await prune(gateway, DEFAULTS)
    assert [row["delivery_id"] for row in await gateway.fetch("SELECT delivery_id FROM inbox")] == ["d3"]
    states = await gateway.fetch("SELECT state FROM missions")
    assert [row["state"] for row in states] == ["queued"]
    assert await gateway.fetchval("SELECT count(*) FROM outbox WHERE kind = 'wake'") == 1


async def test_an_effect_that_github_refused_for_good_goes_too(gateway, database):
    last_try = MAX_EFFECT_ATTEMPTS - 1
    await gateway.execute("UPDATE outbox SET done_at = NULL, attempts = $1 WHERE kind = 'comment'", last_try)
    await age(database, 31, "outbox")
    assert await prune(gateway, DEFAULTS) == {}, "it is still to be made"
    await gateway.execute("UPDATE outbox SET attempts = attempts + 1 WHERE kind = 'comment'")
    assert await prune(gateway, DEFAULTS) == {"outbox": 2}


async def test_memories_are_kept_for_ever_unless_told_otherwise_and_the_counts_stay(gateway, database):
    await age(database, 5_000, "agent_memories")
    assert await prune(gateway, DEFAULTS) == {}
    assert await prune(gateway, load_retention({"MEMORIES_DAYS": "3650"})) == {"agent_memories": 2}
    assert await gateway.fetchval("SELECT total_missions FROM agent_performance") == 2


@pytest.mark.parametrize(
    ("table", "setting", "left"),
    [
        ("last_words", "INBOX_DAYS", "SELECT array_agg(number) FROM last_words"),
        ("reverts", "MEMORIES_DAYS", "SELECT array_agg(number) FROM reverts"),
        (
            "erased_works",
            "ERASED_WORKS_DAYS",
            "SELECT array_agg(right(work_digest, 1)::integer) FROM erased_works",
        ),
    ],
)
async def test_what_events_and_erasures_leave_goes_by_its_own_setting(
    gateway, database, table, setting, left
):
    kept_for_ever = load_retention({"INBOX_DAYS": "forever"})
    retention = load_retention({"INBOX_DAYS": "forever", setting: "3650"})
    await age(database, 3_649, table)
    assert await prune(gateway, retention) == {}
    await age(database, 2, table)
    await add_leavings(database, 2)
    assert await prune(gateway, kept_for_ever) == {}
    assert await prune(gateway, retention) == {table: 1}
    assert await gateway.fetchval(left) == [2]


async def test_a_pruned_mission_leaves_to_its_outcome_whom_it_may_quote(gateway, database):
    await age(database, 500, "missions")
    await prune(gateway, DEFAULTS)
    quoted = [row["recalled_ids"] for row in await gateway.fetch("SELECT recalled_ids FROM agent_memories")]
    assert [[str(memory)[-1] for memory in memories] for memories in quoted] == [["1"], ["1"]]


async def test_a_live_missions_total_stays_so_that_its_cap_does_not_start_anew(gateway, database):
    async with database.agent_pool(AGENT) as pool:
        (mission,) = await claim_missions(pool, AGENT, "r", most=5)
        await MissionWallet(pool, mission).reserve(Decimal(2))
    await age(database, 500, "spending")
    removed = await prune(gateway, DEFAULTS)
    assert removed is not None
    assert removed["spending"] == 3
    totals = await gateway.fetch("SELECT usd FROM spending_totals WHERE scope = 'mission'")
    assert [row["usd"] for row in totals] == [Decimal(2)]


async def test_many_rows_go_in_small_steps_and_the_next_call_goes_on(gateway, database):
    await gateway.execute(
        "INSERT INTO inbox (delivery_id, event, repository, payload, payload_digest, processed_at)"
        " SELECT n::text, 'issues', 'o/r', '{}', 'many ' || n, now() - interval '40 days'"
        " FROM generate_series(1, 50) AS n"
    )
    assert await prune(gateway, DEFAULTS, batch=2) == {"inbox": 40}
    assert await prune(gateway, DEFAULTS, batch=2) == {"inbox": 10}
    assert await prune(gateway, DEFAULTS, batch=2) == {}


async def test_a_row_that_somebody_works_on_is_left_for_later(gateway, database):
    await age(database, 31, "inbox")
    async with database.connect("gateway") as other, other.transaction():
        await other.execute("SELECT FROM inbox WHERE delivery_id = 'd1' FOR UPDATE")
        assert await prune(gateway, DEFAULTS) == {"inbox": 1}
    assert await prune(gateway, DEFAULTS) == {"inbox": 1}


async def test_one_gateway_at_a_time(gateway, database):
    await age(database, 31, "inbox")
    async with database.connect("gateway") as other:
        await other.execute("SELECT pg_advisory_lock(hashtext('prune'))")
        assert await prune(gateway, DEFAULTS) is None
        code, out, err = await command(database, "prune")
        assert (code, out) == (1, "")
        assert err.startswith("another process prunes at this moment")
        assert len(err.splitlines()) == 1
    assert await prune(gateway, DEFAULTS) == {"inbox": 2}


async def test_an_agent_may_not_prune(gateway, database):
    async with database.connect_agent(AGENT) as agent:
        for function in ("prune_missions", "prune_memories"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await agent.execute(f"SELECT {function}(now(), 1)")


async def test_an_erasure_is_noted_until_the_last_backup_that_knew_the_person_is_gone(gateway, database):
    async with open_owner(database.url("agents_owner")) as owner:
        for days in (6, 8):
            await owner.execute(
                "INSERT INTO erasures VALUES ($1, now() - make_interval(days => $2))", f"digest {days}", days
            )
    assert await prune(gateway, DEFAULTS) == {"erasures": 1}
    assert await gateway.fetchval("SELECT login_digest FROM erasures") == "digest 6"


async def test_every_table_that_grows_has_a_retention(gateway, database):
    without = {table for table in await counted(database) if not DEFAULTS.of_table(table)}
    # As many rows as there are agents, caps, pauses, migrations, imports, repositories, or one.
    assert without == {
        "agents",
        "agent_performance",
        "agent_deployments",
        "spending_caps",
        "pauses",
        "schema_migrations",
        "imports",
        "embedding_model",
        "reconciled",
    }


async def test_a_running_gateway_does_it_by_itself(database, redis_server: EmbeddedRedis, tmp_path):
    async with open_system(database, redis_server, tmp_path) as system:
        await store_delivery(system.gateway, Delivery("old", "issues", "o/r", {}), "digest")
        await system.gateway.execute("UPDATE inbox SET processed_at = now() - interval '31 days'")
        await system.start_gateway()
        await system.until("SELECT NOT EXISTS (SELECT FROM inbox)")


async def test_old_wake_ups_leave_an_agents_stream(redis_server: EmbeddedRedis):
    async with Redis.from_url(redis_server.url) as redis:
        await redis.flushall()
        old = datetime.now(UTC) - timedelta(days=8)
        await redis.xadd(stream_of(AGENT), {"mission": "old"}, id=f"{int(old.timestamp() * 1000)}-0")
        await publish(redis, [(AGENT, "new")])
        await trim(redis, [AGENT, "an-agent-without-a-stream"], 7)
        entries = await redis.xrange(stream_of(AGENT)) or []
        assert [(fields or {})[b"mission"] for _, fields in entries] == [b"new"]


async def test_a_stream_holds_a_bounded_number_of_wake_ups(redis_server: EmbeddedRedis):
    async with Redis.from_url(redis_server.url) as redis:
        await redis.flushall()
        await publish(redis, [(AGENT, str(number)) for number in range(3_000)])
        # Trimmed by whole nodes of a hundred entries, which costs Redis nothing.
        assert await redis.xlen(stream_of(AGENT)) <= 1_100


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "a week", "99999999"])
def test_a_retention_that_is_no_number_of_days_is_refused(value):
    with pytest.raises(SettingsError, match=r"INBOX_DAYS is .* Fix: use days from 1 to 36500, or forever"):
        load_retention({"INBOX_DAYS": value})


def test_the_environment_overrides_the_file():
    retention = load_retention({"INBOX_DAYS": "14", "MISSIONS_DAYS": "forever"})
    assert (retention.days["inbox"], retention.days["missions"], retention.days["outbox"]) == (14, None, 30)


@pytest.mark.parametrize(
    ("environment", "days"),
    [({}, 30), ({"EMBEDDING_CACHE_DAYS": "3"}, 3), ({"EMBEDDING_CACHE_DAYS": "forever"}, None)],
)
async def test_the_cache_keeps_vectors_as_long_as_the_setting_says(
    redis_server: EmbeddedRedis, environment, days
):
    settings = EmbeddingSettings(
        model="text-embedding-3-small", dimension=8, endpoint="http://x", api_key="x"
    )
    async with Redis.from_url(redis_server.url) as redis:
        await redis.flushall()
        embedder = await open_cached_embedder(settings, redis, load_retention(environment))
        assert isinstance(embedder, CachedEmbedder)
        await CachedEmbedder(WordEmbedder(), redis, embedder.days).embed(["a text"])
        left = await redis.ttl(key_of("a text"))
        await embedder.close()
    assert (
        left == -1
        if days is None
        else timedelta(days=days - 1) < timedelta(seconds=left) <= timedelta(days=days)
    )


async def test_the_command_removes_and_tells_what_grows(gateway, database):
    await age(database, 31)
    code, out, _ = await command(database, "prune")
    assert code == 0
    lines = {line.split()[-1]: line.split()[:2] for line in out.splitlines()[1:]}
    assert lines["inbox"] == ["30", "2"]
    assert lines["agent_memories"] == ["forever", "0"]
    code, out, _ = await command(database, "prune", "--json")
    report = json.loads(out)
    assert report["removed"] == {}
    assert {table["table"] for table in report["tables"]} == set(await counted(database))


async def test_sizes_count_partitions_with_their_table(gateway, database):
    async with open_owner(database.url("agents_owner")) as owner:
        known = {size.table: size.bytes for size in await sizes(owner)}
        partition = await owner.fetchval(
            "SELECT pg_total_relation_size(inhrelid) FROM pg_inherits WHERE inhparent = 'agent_memories'::regclass"
        )
        assert known["agent_memories"] >= partition > 0
        assert not any(name.startswith("agent_memories_") for name in known)
