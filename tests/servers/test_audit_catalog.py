"""Each clause of the audit's checks has a violation that is planted here, seen and named; what is sound is not.

All are planted in one database, each in a transaction that is undone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio

from database.audit.catalog import CHECKS
from database.audit.check import Finding, run_checks
from database.connect import Connection
from tests.servers.audited_fleet import fleet_of
from tests.servers.conftest import Database


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def fleet(postgres_server) -> AsyncIterator[Database]:
    async with fleet_of(postgres_server) as database:
        yield database


def on_partition(parent: str, statement: str) -> str:
    """`statement` with the left agent's partition of `parent` in place of %s."""
    return f"""DO $$ BEGIN EXECUTE format('{statement}', '{parent}_' || (
        SELECT agent_id FROM agents WHERE agent_name = 'left-agent')); END $$"""


def without(function: str, words: str) -> str:
    """`function` made anew as it is, but for `words` of its body, which must be there."""
    return f"""DO $do$ DECLARE before text := pg_get_functiondef('{function}'::regproc); BEGIN
        ASSERT strpos(before, '{words}') > 0; EXECUTE replace(before, '{words}', ''); END $do$"""


COPY = "CREATE SCHEMA backup; CREATE TABLE backup.missions AS SELECT * FROM public.agent_memories;"
GIVE = "ALTER SCHEMA backup OWNER TO agents_owner; ALTER TABLE backup.missions OWNER TO agents_owner;"
DEFINER = "LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS"
LEFT = '"agent-left-agent"'
STRANGER = "CREATE ROLE stranger LOGIN;"
# check → what is planted, and words of the finding
VIOLATIONS = {
    "row security": [
        ("ALTER TABLE agent_memories DISABLE ROW LEVEL SECURITY", "agent_memories does not enable"),
        ("ALTER TABLE agent_memories NO FORCE ROW LEVEL SECURITY", "agent_memories does not force"),
        (
            "ALTER TABLE agent_memory_embeddings NO FORCE ROW LEVEL SECURITY",
            "agent_memory_embeddings does not",
        ),
        ("ALTER TABLE agent_performance DISABLE ROW LEVEL SECURITY", "agent_performance does not enable"),
        ("ALTER TABLE missions NO FORCE ROW LEVEL SECURITY", "missions does not force"),
        ("ALTER TABLE pauses DISABLE ROW LEVEL SECURITY", "pauses does not enable"),
        (
            on_partition("agent_memories", "ALTER TABLE %I DISABLE ROW LEVEL SECURITY"),
            "agent_memories_1 does not enable",
        ),
        (
            on_partition("agent_memory_embeddings", "ALTER TABLE %I NO FORCE ROW LEVEL SECURITY"),
            "agent_memory_embeddings_1 does not force",
        ),
    ],
    "policies": [
        (
            "CREATE POLICY wide ON agent_memories FOR SELECT TO agents USING (true)",
            "policy wide on agent_memories lets agents select where true",
        ),
        (
            f"CREATE POLICY friend ON missions TO {LEFT} USING (true)",
            "policy friend on missions lets agent-left",
        ),
        (
            "CREATE POLICY forge ON missions FOR INSERT TO agents WITH CHECK (zone = 'US')",
            "lets agents insert where true and write where (zone = 'US'::text)",
        ),
        (
            f"{COPY}{GIVE} CREATE POLICY own_missions ON backup.missions TO agents USING (true)",
            "policy own_missions on backup.missions lets agents all where true",
        ),
        (
            "ALTER POLICY own_successes ON agent_memories USING (agent_name = (SELECT current_agent()))",
            "policy own_successes on agent_memories is missing or was changed",
        ),
        (
            "ALTER POLICY own_missions ON missions WITH CHECK (true)",
            "policy own_missions on missions is missing",
        ),
        (
            "ALTER POLICY own_row ON agent_performance TO PUBLIC",
            "policy own_row on agent_performance is missing",
        ),
        (
            "DROP POLICY own_row ON agent_performance; CREATE POLICY own_row ON agent_performance TO agents"
            " USING (agent_name = (SELECT current_agent()))",
            "policy own_row on agent_performance is missing",
        ),
        *(
            (f"DROP POLICY {policy} ON {table}", f"policy {policy} on {table} is missing")
            for table, policies in {
                "agent_memories": "owner_all gateway_reads own_successes",
                "agent_memory_embeddings": "owner_all gateway_reads own_recallable",
                "agent_performance": "owner_all gateway_reads own_row",
                "missions": "owner_all gateway_all own_missions",
                "pauses": "owner_all gateway_all own_pauses",
            }.items()
            for policy in policies.split()
        ),
    ],
    "grants": [
        ("GRANT SELECT ON agent_deployments TO PUBLIC", "PUBLIC holds SELECT on agent_deployments"),
        (f"GRANT DELETE ON missions TO {LEFT}", "agent-left-agent holds DELETE on missions"),
        (f"{STRANGER} GRANT SELECT ON inbox TO stranger", "stranger holds SELECT on inbox"),
        ("GRANT INSERT ON agent_memories TO agents", "agents holds INSERT on agent_memories"),
        ("GRANT SELECT ON pauses TO agents", "agents holds SELECT on pauses"),
        ("GRANT UPDATE (agent_name) ON missions TO agents", "agents holds UPDATE on missions.agent_name"),
        ("GRANT SELECT (role_name) ON agents TO agents", "agents holds SELECT on agents.role_name"),
        ("GRANT SELECT (reason) ON pauses TO agents", "agents holds SELECT on pauses.reason"),
        ("GRANT SELECT (zone) ON missions TO PUBLIC", "PUBLIC holds SELECT on missions.zone"),
        (
            on_partition("agent_memories", "GRANT SELECT ON %I TO agents"),
            "agents holds SELECT on agent_memories_1",
        ),
        (
            on_partition("agent_memory_embeddings", "GRANT SELECT (embedding) ON %I TO gateway"),
            "gateway holds SELECT on agent_memory_embeddings_1.embedding",
        ),
        ("GRANT UPDATE ON agent_memories TO gateway", "gateway holds UPDATE on agent_memories"),
        ("GRANT INSERT ON agents TO gateway", "gateway holds INSERT on agents"),
        ("GRANT DELETE ON embedding_model TO gateway", "gateway holds DELETE on embedding_model"),
        ("GRANT UPDATE ON spending TO gateway", "gateway holds UPDATE on spending"),
        ("GRANT INSERT ON spending_caps TO gateway", "gateway holds INSERT on spending_caps"),
        ("GRANT SELECT ON imports TO gateway", "gateway holds SELECT on imports"),
        ("GRANT TRUNCATE ON missions TO gateway", "gateway holds TRUNCATE on missions"),
        ("GRANT UPDATE (role_name) ON agents TO gateway", "gateway holds UPDATE on agents.role_name"),
        (
            "GRANT SELECT ON missions TO gateway WITH GRANT OPTION",
            "gateway holds SELECT on missions and may pass it on",
        ),
        (
            "GRANT SELECT (scope) ON pauses TO agents WITH GRANT OPTION",
            "agents holds SELECT on pauses.scope and may pass it on",
        ),
        ("GRANT USAGE ON SEQUENCE outbox_id_seq TO agents", "agents holds USAGE on outbox_id_seq"),
        (f"{COPY}{GIVE} GRANT SELECT ON backup.missions TO agents", "agents holds SELECT on backup.missions"),
        (f"{COPY}{GIVE} GRANT SELECT ON backup.missions TO PUBLIC", "PUBLIC holds SELECT on backup.missions"),
        (
            f"{COPY}{GIVE} GRANT SELECT (issue_title) ON backup.missions TO agents",
            "agents holds SELECT on backup.missions.issue_title",
        ),
    ],
    "execute": [
        (
            "GRANT EXECUTE ON FUNCTION register_agent TO PUBLIC",
            "PUBLIC may execute register_agent(text,name,text,text)",
        ),
        ("GRANT EXECUTE ON FUNCTION judge_outcome TO agents", "agents may execute judge_outcome"),
        ("GRANT EXECUTE ON FUNCTION finish_mission TO gateway", "gateway may execute finish_mission"),
        (f"GRANT EXECUTE ON FUNCTION add_outcome TO {LEFT}", "agent-left-agent may execute add_outcome"),
        (
            "GRANT EXECUTE ON FUNCTION store_outcome TO agents WITH GRANT OPTION",
            "agents may execute store_outcome(jsonb,vector,text,text) and pass it on",
        ),
        (
            "CREATE FUNCTION current_agent(text) RETURNS text LANGUAGE sql AS 'SELECT $1'",
            "PUBLIC may execute current_agent(text)",
        ),
        (
            "CREATE SCHEMA backup; CREATE FUNCTION backup.current_agent() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
            "PUBLIC may execute backup.current_agent()",
        ),
    ],
    "owner's rights": [
        (
            "ALTER FUNCTION store_outcome RESET search_path",
            "store_outcome(jsonb,vector,text,text) runs with its",
        ),
        (
            "ALTER FUNCTION finish_mission SET search_path = pg_temp, public",
            "text[]) runs with its owner's rights and no search_path of its own",
        ),
        (
            f"CREATE FUNCTION everything() RETURNS SETOF agent_memories {DEFINER} 'SELECT * FROM agent_memories'",
            "everything() runs with its owner's rights, and is none that the system needs",
        ),
        (
            f"CREATE SCHEMA backup; CREATE FUNCTION backup.store_outcome() RETURNS integer {DEFINER} 'SELECT 1'",
            "backup.store_outcome() runs with its owner's rights, and is none",
        ),
        (
            "ALTER FUNCTION recall_candidates SECURITY DEFINER",
            "integer,integer,integer) runs with its owner's rights",
        ),
    ],
    "bodies": [
        (
            "CREATE OR REPLACE FUNCTION current_agent() RETURNS text LANGUAGE sql STABLE SECURITY DEFINER"
            " SET search_path = pg_catalog, pg_temp AS $$ SELECT current_setting('agent.name', true) $$",
            "current_agent() is not what the migrations make: agents are told apart by it",
        ),
        (
            without("finish_mission", " AND agent_name = current_agent()"),
            "finish_mission(uuid,bigint,text,text,text,text,text,text[],bigint,numeric,jsonb,jsonb,text[]) is not",
        ),
        (
            without("judge_outcome", " AND mission_id = p_mission"),
            "judge_outcome(uuid,text,text,text,integer,boolean,boolean,text,boolean) is not what",
        ),
        (
            without("recall_candidates", "m.agent_name = %2$L AND "),
            "recall_candidates(text,text,vector,text,text,integer,integer,integer) is not what",
        ),
        (
            f"CREATE FUNCTION finish_mission(uuid) RETURNS integer {DEFINER} 'SELECT 1'",
            "finish_mission(uuid) is not what the migrations make",
        ),
        ("DROP FUNCTION store_embedding", "store_embedding() is missing"),
        ("DROP FUNCTION current_agent CASCADE", "current_agent() is missing: agents are told apart by it"),
    ],
    "schema": [
        ("GRANT CREATE ON SCHEMA public TO agents", "agents may create in schema public"),
        ("GRANT USAGE ON SCHEMA public TO PUBLIC", "PUBLIC may usage in schema public"),
        (f"GRANT USAGE ON SCHEMA public TO {LEFT}", "agent-left-agent may usage in schema public"),
        ("GRANT USAGE ON SCHEMA public TO agents WITH GRANT OPTION", "agents may usage in schema public"),
        (f"{COPY}{GIVE} GRANT USAGE ON SCHEMA backup TO agents", "agents may usage in schema backup"),
        (
            "DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO agents', current_database()); END $$",
            "agents may create schemas",
        ),
        (
            "ALTER DEFAULT PRIVILEGES FOR ROLE agents_owner GRANT SELECT ON TABLES TO agents",
            "default privileges of agents_owner grant SELECT to agents",
        ),
        (
            "ALTER DEFAULT PRIVILEGES FOR ROLE agents_owner IN SCHEMA public GRANT EXECUTE ON FUNCTIONS TO PUBLIC",
            "default privileges of agents_owner grant EXECUTE to PUBLIC",
        ),
    ],
    "system": [
        ("GRANT SELECT ON pg_statistic TO agents", "agents may select pg_statistic"),
        (f"GRANT SELECT ON pg_authid TO {LEFT}", "agent-left-agent may select pg_authid"),
        (
            "GRANT UPDATE ON information_schema.sql_parts TO gateway",
            "gateway may update information_schema.sql_parts",
        ),
        ("GRANT EXECUTE ON FUNCTION pg_read_file(text) TO gateway", "gateway may execute pg_read_file(text)"),
        (
            "GRANT EXECUTE ON FUNCTION information_schema._pg_truetypid TO agents",
            "agents may execute information_schema._pg_truetypid",
        ),
    ],
    "roles": [
        (f"ALTER ROLE {LEFT} BYPASSRLS", "role agent-left-agent bypasses row-level security"),
        (f"ALTER ROLE {LEFT} SUPERUSER", "role agent-left-agent is a superuser"),
        (f"ALTER ROLE {LEFT} REPLICATION", "role agent-left-agent may replicate"),
        (f"ALTER ROLE {LEFT} CREATEDB", "role agent-left-agent may create databases"),
        ("ALTER ROLE agents BYPASSRLS", "role agents bypasses row-level security"),
        ("ALTER ROLE agents_owner BYPASSRLS", "role agents_owner bypasses row-level security"),
        ("CREATE ROLE stranger BYPASSRLS", "role stranger bypasses row-level security"),
        (
            "CREATE ROLE stranger LOGIN BYPASSRLS; GRANT pg_read_all_data TO stranger",
            "role stranger bypasses row-level security",
        ),
        ("ALTER ROLE gateway CREATEROLE", "role gateway may create roles"),
        (
            "UPDATE agents SET role_name = 'agent-nobody' WHERE agent_name = 'left-agent'",
            "agent left-agent has no login role agent-nobody",
        ),
        (f"ALTER ROLE {LEFT} NOLOGIN", "agent left-agent has no login role agent-left-agent"),
    ],
    "membership": [
        (f"{STRANGER} GRANT agents TO stranger", "role stranger is a member of agents and is no agent"),
        (f"GRANT agents TO {LEFT} WITH SET TRUE", f"role {LEFT} is a member of agents"),
        (f"GRANT agents TO {LEFT} WITH ADMIN TRUE", f"role {LEFT} is a member of agents"),
        (f"GRANT gateway TO {LEFT}", f"role {LEFT} is a member of gateway"),
        (f'GRANT "agent-right-agent" TO {LEFT}', f'role {LEFT} is a member of "agent-right-agent"'),
        ("GRANT pg_read_all_data TO gateway", "role gateway is a member of pg_read_all_data"),
        ("GRANT pg_read_all_data TO agents", "role agents is a member of pg_read_all_data"),
        (f"{STRANGER} GRANT agents_owner TO stranger", "role stranger is a member of agents_owner"),
        (f"{STRANGER} GRANT gateway TO stranger", "role stranger is a member of gateway"),
        (f"{STRANGER} GRANT {LEFT} TO stranger", f"role stranger is a member of {LEFT}"),
    ],
    "owners": [
        (f"ALTER TABLE pauses OWNER TO {LEFT}", f"table pauses belongs to {LEFT}"),
        ("CREATE TABLE stray (a text) PARTITION BY LIST (a)", "table stray belongs to postgres"),
        ("CREATE VIEW stray WITH (security_invoker) AS SELECT 1", "view stray belongs to postgres"),
        ("CREATE MATERIALIZED VIEW stray AS SELECT 1", "table stray belongs to postgres"),
        ("CREATE SEQUENCE stray", "sequence stray belongs to postgres"),
        (
            "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER away FOREIGN DATA WRAPPER w;"
            "CREATE FOREIGN TABLE stray (a text) SERVER away",
            "table stray belongs to postgres",
        ),
        (f"{COPY} ALTER TABLE backup.missions OWNER TO {LEFT}", f"table backup.missions belongs to {LEFT}"),
        (f"CREATE SCHEMA backup AUTHORIZATION {LEFT}", f"schema backup belongs to {LEFT}"),
        (
            "CREATE FUNCTION mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
            "function mine() belongs to postgres",
        ),
    ],
    "partitions": [
        ("CREATE TABLE stray PARTITION OF agent_memories DEFAULT", "stray takes the rows of any name"),
        (
            "CREATE TABLE stray PARTITION OF agent_memory_embeddings FOR VALUES IN ('x')",
            "stray takes rows for values in ('x'), which is no agent's name",
        ),
        (
            "CREATE TABLE stray PARTITION OF agent_memories FOR VALUES IN ('x', 'y')",
            "stray takes rows for values in ('x', 'y')",
        ),
        (
            on_partition("agent_memories", "ALTER TABLE agent_memories DETACH PARTITION %I")
            + "; CREATE TABLE stray PARTITION OF agent_memories FOR VALUES IN ('left-agent')"
            " PARTITION BY HASH (agent_name)",
            "stray takes rows for values in ('left-agent')",
        ),
        (
            on_partition("agent_memories", "ALTER TABLE agent_memories DETACH PARTITION %I"),
            "agent left-agent has no partition of agent_memories",
        ),
        (
            on_partition(
                "agent_memory_embeddings", "ALTER TABLE agent_memory_embeddings DETACH PARTITION %I"
            ),
            "agent left-agent has no partition of agent_memory_embeddings",
        ),
    ],
    "side doors": [
        ("CREATE VIEW door AS SELECT * FROM agent_memories", "view door reads with its owner's rights"),
        (
            "CREATE SCHEMA backup; CREATE VIEW backup.door WITH (security_invoker = false) AS SELECT * FROM missions",
            "view backup.door reads with its owner's rights",
        ),
        (
            "CREATE MATERIALIZED VIEW copied AS SELECT * FROM agent_memory_embeddings",
            "materialized view copied is a copy that no policy guards",
        ),
        (
            "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER away FOREIGN DATA WRAPPER w;"
            "CREATE FOREIGN TABLE copied (a text) SERVER away",
            "table copied lies on another server",
        ),
        (
            "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER away FOREIGN DATA WRAPPER w",
            "server away lets rows come and go",
        ),
        (
            "CREATE FUNCTION away() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
            "CREATE TRIGGER away AFTER INSERT ON agent_memories FOR EACH ROW EXECUTE FUNCTION away()",
            "trigger away on agent_memories may carry rows elsewhere",
        ),
        (
            "CREATE TABLE away (id uuid);"
            "CREATE RULE away AS ON INSERT TO missions DO ALSO INSERT INTO away VALUES (NEW.id)",
            "rule away on missions may carry rows elsewhere",
        ),
        (
            "CREATE PUBLICATION leaving FOR TABLE agent_memories",
            "publication leaving sends rows of public.agent_memories_1",
        ),
        (
            "CREATE PUBLICATION leaving FOR TABLES IN SCHEMA public",
            "publication leaving sends rows of public.inbox",
        ),
        ("CREATE PUBLICATION leaving FOR ALL TABLES", "publication leaving sends all tables"),
        ("SELECT lo_create(4711)", "large object 4711 of postgres is under no policy"),
    ],
    "history": [
        (
            "INSERT INTO agent_memory_embeddings (agent_name, memory_id, model, dimension, recallable, embedding)"
            " SELECT agent_name, id, 'm', 1, true, '[1]' FROM agent_memories WHERE agent_name = 'left-agent';"
            "UPDATE agent_memories SET state = 'failed' WHERE agent_name = 'left-agent'",
            "is failed",
        ),
        (
            "INSERT INTO agent_memory_embeddings (agent_name, memory_id, model, dimension, recallable, embedding)"
            " SELECT agent_name, id, 'm', 1, true, '[1]' FROM agent_memories WHERE agent_name = 'left-agent';"
            "UPDATE agent_memories SET erased_at = now() WHERE agent_name = 'left-agent'",
            "is erased",
        ),
        (
            "UPDATE missions SET recalled = jsonb_build_array(jsonb_build_object('memory_id',"
            " (SELECT id FROM agent_memories WHERE agent_name = 'right-agent'), 'similarity', 0.8))"
            " WHERE agent_name = 'left-agent'",
            "of left-agent recalled a memory of right-agent",
        ),
    ],
}
SOUND = {
    "a view with its reader's eyes": "CREATE VIEW mine WITH (security_invoker) AS SELECT * FROM agent_memories;"
    "ALTER VIEW mine OWNER TO agents_owner",
    "a view that says so in another word": "CREATE VIEW mine WITH (security_invoker = on) AS SELECT 1;"
    "ALTER VIEW mine OWNER TO agents_owner",
    "a copy that only the owner reads": f"{COPY}{GIVE}",
    "an agent of another database": 'CREATE ROLE "agent-elsewhere" LOGIN;'
    'GRANT agents TO "agent-elsewhere" WITH SET FALSE',
    "what belongs to an extension": "CREATE SCHEMA ours; GRANT USAGE ON SCHEMA ours TO PUBLIC;"
    "CREATE VIEW ours.statistics AS SELECT 1; GRANT SELECT ON ours.statistics TO PUBLIC;"
    "CREATE FUNCTION ours.reset() RETURNS integer LANGUAGE sql SECURITY DEFINER AS 'SELECT 1';"
    "ALTER EXTENSION vector ADD SCHEMA ours; ALTER EXTENSION vector ADD VIEW ours.statistics;"
    "ALTER EXTENSION vector ADD FUNCTION ours.reset()",
    "what the owner gives itself": "GRANT ALL ON missions TO agents_owner",
    "an agent that logs in with tokens": f"CREATE ROLE rds_iam; GRANT rds_iam TO {LEFT}; GRANT rds_iam TO gateway",
    "a superuser, whom nobody keeps out": "CREATE ROLE root SUPERUSER BYPASSRLS",
    "missions that recalled nothing": "UPDATE missions SET recalled = '[]'",
    "a mission that recalled what was erased since": "UPDATE missions SET recalled = jsonb_build_array("
    "jsonb_build_object('memory_id', gen_random_uuid(), 'similarity', 0.8))",
}


@asynccontextmanager
async def planted(database: Database, plant: str) -> AsyncIterator[Connection]:
    """The owner's connection, after a superuser planted something in it that is undone at the end."""
    async with database.connect("postgres") as connection:
        transaction = connection.transaction()
        await transaction.start()
        try:
            await connection.execute(plant)
            await connection.execute("SET LOCAL ROLE agents_owner")
            yield connection
        finally:
            await transaction.rollback()


async def findings(database: Database, plant: str) -> list[Finding]:
    async with planted(database, plant) as owner:
        return await run_checks(owner, CHECKS)


@pytest.mark.parametrize(
    ("check", "plant", "words"),
    [(check, *violation) for check, violations in VIOLATIONS.items() for violation in violations],
)
async def test_a_violation_is_seen_and_named(fleet, check, plant, words):
    found = await findings(fleet, plant)
    problems = [finding.problem for finding in found if finding.check == check]
    assert any(words in problem for problem in problems), found
    assert all(finding.fix for finding in found)


@pytest.mark.parametrize("plant", SOUND.values(), ids=SOUND.keys())
async def test_what_is_sound_is_not_reported(fleet, plant):
    assert await findings(fleet, plant) == []


def test_each_check_has_a_violation_that_is_planted():
    assert VIOLATIONS.keys() == {check.name for check in CHECKS}
