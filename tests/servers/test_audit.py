"""`python -m database audit`: silent on a sound database, and each violation is seen and named."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from database.audit import Audit, audit
from database.audit.catalog import CHECKS
from database.audit.command import agent_urls
from database.memory import judge_outcome
from database.missions import Finish, NewMission, add_mission, claim_missions, finish_mission
from errors import SettingsError
from tests.servers.conftest import Database
from tests.servers.database_command import command

AGENTS = ("left-agent", "right-agent", "APIs-architect")


@pytest.fixture
async def fleet(database: Database) -> AsyncIterator[Database]:
    """Three agents, each with a proven success."""
    await database.register(*AGENTS)
    for number, agent in enumerate(AGENTS, start=1):
        await remember(database, number, agent)
    yield database


async def remember(database: Database, number: int, agent: str, recalled: list[dict[str, str]] | None = None):
    new = NewMission("o/r", number, "opened", f"issue {number}", "", [], "a", "US", "queued", agent=agent)
    async with database.connect("gateway") as gateway, database.agent_pool(agent) as pool:
        await add_mission(gateway, new)
        (mission,) = await claim_missions(pool, agent, "r1", most=1)
        await finish_mission(pool, mission, Finish("done", solution=f"by {agent}", recalled=recalled))
        return await judge_outcome(gateway, mission.id, succeeded=True, by="person: closed")


async def audited(database: Database) -> Audit:
    async with database.connect("agents_owner") as owner:
        return await audit(owner, lambda role: database.url(role))


@asynccontextmanager
async def planted(database: Database, plant: str, mend: str) -> AsyncIterator[None]:
    """A violation by a superuser; roles outlive a test's database, so it is mended."""
    async with database.connect("postgres") as superuser:
        await superuser.execute(plant)
        try:
            yield
        finally:
            await superuser.execute(mend)


async def test_a_sound_database_passes_and_every_pair_was_tried(fleet):
    done = await audited(fleet)
    assert done.findings == ()
    assert (done.agents, done.pairs) == (3, 6)


async def test_sixty_six_agents_are_tried_against_each_other_within_seconds(database):
    await database.register(*(f"agent-{number:02}" for number in range(66)))
    done = await audited(database)
    assert done.findings == ()
    assert done.pairs == 66 * 65
    assert done.seconds < 30


async def test_canaries_are_gone_afterwards_also_those_of_an_audit_that_was_killed(fleet):
    async with fleet.connect("agents_owner") as owner:
        before = await owner.fetchval("SELECT count(*) FROM agent_memories")
        await owner.execute(
            "INSERT INTO agent_memories (agent_name, mission_id, agent_specialization, repository, issue_number,"
            " issue_title, solution_approach, state, proven_by)"
            " VALUES ('left-agent', gen_random_uuid(), 's', 'audit/canary', 1, 'canary', 'c', 'succeeded', 'audit')"
        )
        await audited(fleet)
        assert await owner.fetchval("SELECT count(*) FROM agent_memories") == before
        statistics = await owner.fetch("SELECT DISTINCT total_missions FROM agent_performance")
        assert [row[0] for row in statistics] == [1], "canaries are no missions"


async def test_the_audit_shows_who_read_what_lately(fleet):
    async with fleet.connect("gateway") as gateway:
        own = await gateway.fetchval("SELECT id FROM agent_memories WHERE agent_name = 'left-agent'")
    await remember(fleet, 9, "left-agent", [{"memory_id": str(own), "why": "shares words"}])
    (read,) = (await audited(fleet)).reads
    assert (read.agent, read.repository, read.issue_number, read.memories) == (
        "left-agent",
        "o/r",
        9,
        (str(own),),
    )


ON_A_PARTITION = (
    "DO $$ BEGIN EXECUTE format('{}', (SELECT oid::regclass FROM pg_class WHERE relispartition"
    " AND relkind = 'r' AND relname LIKE 'agent_memories_%' LIMIT 1)); END $$"
)
NOTHING = "SELECT 1"
VIOLATIONS = {
    "a table without row-level security": (
        "ALTER TABLE agent_memories DISABLE ROW LEVEL SECURITY",
        NOTHING,
        "row security",
        "agent_memories does not enable",
    ),
    "a table that does not bind its owner": (
        "ALTER TABLE missions NO FORCE ROW LEVEL SECURITY",
        NOTHING,
        "row security",
        "missions does not force",
    ),
    "a partition without row-level security": (
        ON_A_PARTITION.format("ALTER TABLE %s DISABLE ROW LEVEL SECURITY"),
        NOTHING,
        "row security",
        "does not enable",
    ),
    "a partition that does not bind its owner": (
        ON_A_PARTITION.format("ALTER TABLE %s NO FORCE ROW LEVEL SECURITY"),
        NOTHING,
        "row security",
        "does not force",
    ),
    "one policy more": (
        "CREATE POLICY wide ON agent_memories FOR SELECT TO agents USING (true)",
        NOTHING,
        "policies",
        "policy wide on agent_memories lets agents select where true",
    ),
    "a policy that forgets success": (
        "ALTER POLICY own_successes ON agent_memories USING (agent_name = (SELECT current_agent()))",
        NOTHING,
        "policies",
        "own_successes on agent_memories",
    ),
    "a policy less": (
        "DROP POLICY own_missions ON missions",
        NOTHING,
        "policies",
        "own_missions on missions is missing",
    ),
    "a policy for one role": (
        'CREATE POLICY friend ON agent_memory_embeddings TO "agent-left-agent" USING (true)',
        NOTHING,
        "policies",
        "agent-left-agent",
    ),
    "a grant to everybody": (
        "GRANT SELECT ON agent_deployments TO PUBLIC",
        NOTHING,
        "grants",
        "PUBLIC holds SELECT on agent_deployments",
    ),
    "a grant to one agent": (
        'GRANT DELETE ON missions TO "agent-left-agent"',
        NOTHING,
        "grants",
        "agent-left-agent holds DELETE on missions",
    ),
    "a grant to all agents": (
        "GRANT INSERT ON agent_memories TO agents",
        NOTHING,
        "grants",
        "agents holds INSERT on agent_memories",
    ),
    "a column to write": (
        "GRANT UPDATE (agent_name) ON missions TO agents",
        NOTHING,
        "grants",
        "agents holds UPDATE on missions.agent_name",
    ),
    "a column to read": (
        "GRANT SELECT (role_name) ON agents TO agents",
        NOTHING,
        "grants",
        "agents holds SELECT on agents.role_name",
    ),
    "a grant on a partition": (
        ON_A_PARTITION.format("GRANT SELECT ON %s TO agents"),
        NOTHING,
        "grants",
        "agents holds SELECT on agent_memories_",
    ),
    "a gateway that writes memories itself": (
        "GRANT UPDATE ON agent_memories TO gateway",
        NOTHING,
        "grants",
        "gateway holds UPDATE on agent_memories",
    ),
    "a schema that others may fill": (
        "GRANT CREATE ON SCHEMA public TO agents",
        NOTHING,
        "schema",
        "agents may create in schema public",
    ),
    "a schema open to everybody": (
        "GRANT USAGE ON SCHEMA public TO PUBLIC",
        NOTHING,
        "schema",
        "PUBLIC may usage in schema public",
    ),
    "grants on what comes later": (
        "ALTER DEFAULT PRIVILEGES FOR ROLE agents_owner GRANT SELECT ON TABLES TO agents",
        "ALTER DEFAULT PRIVILEGES FOR ROLE agents_owner REVOKE SELECT ON TABLES FROM agents",
        "schema",
        "default privileges of agents_owner grant SELECT to agents",
    ),
    "a function of the owner's without a search_path": (
        "ALTER FUNCTION store_outcome RESET search_path",
        NOTHING,
        "search path",
        "store_outcome(jsonb,vector,text,text) runs with its owner's rights",
    ),
    "a search_path that others could fill": (
        "ALTER FUNCTION finish_mission SET search_path = pg_temp, public",
        NOTHING,
        "search path",
        "finish_mission",
    ),
    "a function for everybody": (
        "GRANT EXECUTE ON FUNCTION register_agent TO PUBLIC",
        NOTHING,
        "execute",
        "PUBLIC may execute register_agent",
    ),
    "a verdict in agents' hands": (
        "GRANT EXECUTE ON FUNCTION judge_outcome TO agents",
        NOTHING,
        "execute",
        "agents may execute judge_outcome",
    ),
    "a new function that nobody closed": (
        "CREATE FUNCTION all_memories() RETURNS SETOF agent_memories LANGUAGE sql AS 'SELECT * FROM agent_memories';"
        "ALTER FUNCTION all_memories OWNER TO agents_owner",
        NOTHING,
        "execute",
        "PUBLIC may execute all_memories()",
    ),
    "an agent that bypasses the policies": (
        'ALTER ROLE "agent-left-agent" BYPASSRLS',
        'ALTER ROLE "agent-left-agent" NOBYPASSRLS',
        "roles",
        "role agent-left-agent bypasses row-level security",
    ),
    "an agent that is a superuser": (
        'ALTER ROLE "agent-left-agent" SUPERUSER',
        'ALTER ROLE "agent-left-agent" NOSUPERUSER',
        "roles",
        "role agent-left-agent is a superuser",
    ),
    "an owner that bypasses the policies": (
        "ALTER ROLE agents_owner BYPASSRLS",
        "ALTER ROLE agents_owner NOBYPASSRLS",
        "roles",
        "role agents_owner bypasses row-level security",
    ),
    "a gateway that makes roles": (
        "ALTER ROLE gateway CREATEROLE",
        "ALTER ROLE gateway NOCREATEROLE",
        "roles",
        "role gateway may create roles",
    ),
    "an agent that may replicate": (
        'ALTER ROLE "agent-left-agent" REPLICATION',
        'ALTER ROLE "agent-left-agent" NOREPLICATION',
        "roles",
        "role agent-left-agent may replicate",
    ),
    "an agent that may make databases": (
        'ALTER ROLE "agent-left-agent" CREATEDB',
        'ALTER ROLE "agent-left-agent" NOCREATEDB',
        "roles",
        "role agent-left-agent may create databases",
    ),
    "an agent without a log-in": (
        "UPDATE agents SET role_name = 'agent-nobody' WHERE agent_name = 'left-agent'",
        "UPDATE agents SET role_name = 'agent-left-agent' WHERE agent_name = 'left-agent'",
        "roles",
        "agent left-agent has no login role agent-nobody",
    ),
    "a stranger who is the owner too": (
        "CREATE ROLE stranger LOGIN; GRANT agents_owner TO stranger",
        "DROP ROLE stranger",
        "membership",
        "role stranger is a member of agents_owner",
    ),
    "a stranger who is an agent too": (
        'CREATE ROLE stranger LOGIN; GRANT "agent-left-agent" TO stranger',
        "DROP ROLE stranger",
        "membership",
        'role stranger is a member of "agent-left-agent"',
    ),
    "an agent that is the gateway too": (
        'GRANT gateway TO "agent-left-agent"',
        'REVOKE gateway FROM "agent-left-agent"',
        "membership",
        'role "agent-left-agent" is a member of gateway',
    ),
    "an agent that is another one too": (
        'GRANT "agent-right-agent" TO "agent-left-agent"',
        'REVOKE "agent-right-agent" FROM "agent-left-agent"',
        "membership",
        'role "agent-left-agent" is a member of "agent-right-agent"',
    ),
    "an agent that may become the group": (
        'GRANT agents TO "agent-left-agent" WITH SET TRUE',
        'GRANT agents TO "agent-left-agent" WITH SET FALSE',
        "membership",
        'role "agent-left-agent" is a member of agents',
    ),
    "a stranger among the agents": (
        "CREATE ROLE stranger LOGIN; GRANT agents TO stranger",
        "DROP ROLE stranger",
        "membership",
        "role stranger is a member of agents and is no agent",
    ),
    "an agent that owns a table": (
        'ALTER TABLE pauses OWNER TO "agent-left-agent"',
        "ALTER TABLE pauses OWNER TO agents_owner",
        "owners",
        'table pauses belongs to "agent-left-agent"',
    ),
    "a function of somebody else's": (
        "CREATE FUNCTION mine() RETURNS integer LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
        NOTHING,
        "owners",
        "function mine() belongs to postgres",
    ),
    "a partition for any name": (
        "CREATE TABLE stray PARTITION OF agent_memories DEFAULT",
        NOTHING,
        "partitions",
        "stray takes the rows of any name",
    ),
    "a partition of two names": (
        "CREATE TABLE stray PARTITION OF agent_memories FOR VALUES IN ('x', 'y')",
        NOTHING,
        "partitions",
        "stray takes rows for values in ('x', 'y')",
    ),
    "an agent without its partition": (
        ON_A_PARTITION.format("ALTER TABLE agent_memories DETACH PARTITION %s"),
        NOTHING,
        "partitions",
        "has no partition of agent_memories",
    ),
    "a partition of partitions": (
        "CREATE TABLE stray PARTITION OF agent_memories FOR VALUES IN ('x') PARTITION BY HASH (agent_name)",
        NOTHING,
        "partitions",
        "stray takes rows for values in ('x')",
    ),
    "a view with its owner's eyes": (
        "CREATE VIEW everything AS SELECT * FROM agent_memories",
        NOTHING,
        "side doors",
        "view everything reads agent_memories",
    ),
    "a copy of all memories": (
        "CREATE MATERIALIZED VIEW copied AS SELECT * FROM agent_memory_embeddings",
        NOTHING,
        "side doors",
        "materialized view copied reads agent_memory_embeddings",
    ),
    "a trigger that carries rows away": (
        "CREATE FUNCTION away() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
        "CREATE TRIGGER away AFTER INSERT ON agent_memories FOR EACH ROW EXECUTE FUNCTION away()",
        NOTHING,
        "side doors",
        "trigger away on agent_memories",
    ),
    "a rule that carries rows away": (
        "CREATE TABLE away (id uuid);"
        "CREATE RULE away AS ON INSERT TO missions DO ALSO INSERT INTO away VALUES (NEW.id)",
        NOTHING,
        "side doors",
        "rule away on missions",
    ),
    "memories that leave for another database": (
        "CREATE PUBLICATION leaving FOR TABLE agent_memories",
        NOTHING,
        "side doors",
        "publication leaving sends rows of agent_memories",
    ),
    "everything leaves for another database": (
        "CREATE PUBLICATION leaving FOR ALL TABLES",
        NOTHING,
        "side doors",
        "publication leaving sends all tables",
    ),
    "a vector that outlived its success": (
        "INSERT INTO agent_memory_embeddings (agent_name, memory_id, model, dimension, recallable, embedding)"
        " SELECT agent_name, id, 'm', 1, true, '[1]' FROM agent_memories WHERE agent_name = 'left-agent';"
        "UPDATE agent_memories SET state = 'failed' WHERE agent_name = 'left-agent'",
        NOTHING,
        "history",
        "a vector of left-agent is recallable though its memory",
    ),
    "a mission that was given another's memory": (
        "UPDATE missions SET recalled = jsonb_build_array(jsonb_build_object('memory_id',"
        " (SELECT id FROM agent_memories WHERE agent_name = 'right-agent'))) WHERE agent_name = 'left-agent'",
        NOTHING,
        "history",
        "of left-agent recalled a memory of right-agent",
    ),
}


def test_each_check_has_a_violation_that_is_planted():
    assert {check for _, _, check, _ in VIOLATIONS.values()} == {check.name for check in CHECKS}


@pytest.mark.parametrize("name", VIOLATIONS)
async def test_a_violation_is_seen_and_named(fleet, name):
    plant, mend, check, words = VIOLATIONS[name]
    async with planted(fleet, plant, mend):
        done = await audited(fleet)
    problems = [finding.problem for finding in done.findings if finding.check == check]
    assert any(words in problem for problem in problems), done.findings
    assert all(finding.fix for finding in done.findings)


@pytest.mark.parametrize(
    ("plant", "mend", "leak"),
    [
        (
            "ALTER TABLE agent_memories DISABLE ROW LEVEL SECURITY",
            NOTHING,
            "left-agent reaches memory {canary} of right-agent",
        ),
        (
            "CREATE POLICY wide ON agent_memory_embeddings FOR SELECT TO agents USING (true)",
            NOTHING,
            "left-agent reaches the vector of memory {canary} of right-agent",
        ),
        (
            "ALTER FUNCTION recall_candidates SECURITY DEFINER",
            NOTHING,
            "left-agent reaches memory {canary} by recalling as right-agent",
        ),
        (
            "CREATE POLICY wide ON missions FOR SELECT TO agents USING (true)",
            NOTHING,
            "left-agent reaches 1 rows of right-agent in missions",
        ),
        (
            "CREATE POLICY wide ON agent_memories FOR SELECT TO agents USING (agent_name = current_agent())",
            NOTHING,
            "left-agent reaches 1 of its own failures",
        ),
        (
            ON_A_PARTITION.format("GRANT SELECT ON %s TO agents"),
            NOTHING,
            "left-agent reaches partition agent_memories_",
        ),
        (
            'GRANT "agent-right-agent" TO "agent-left-agent"',
            'REVOKE "agent-right-agent" FROM "agent-left-agent"',
            "left-agent reaches the rights of role agent-right-agent",
        ),
        (
            "GRANT DELETE ON agent_memories TO agents; CREATE POLICY wide ON agent_memories TO agents USING (true)",
            NOTHING,
            "left-agent reaches what nobody may: it can delete memories of",
        ),
        (
            "CREATE POLICY wide ON agent_performance FOR SELECT TO agents USING (true)",
            NOTHING,
            "left-agent reaches 1 rows of right-agent in agent_performance",
        ),
        (
            "CREATE POLICY wide ON agent_memories FOR SELECT TO agents USING (state = 'succeeded')",
            NOTHING,
            "left-agent reaches 2 rows of right-agent in agent_memories",
        ),
        (
            "CREATE POLICY wide ON agent_memory_embeddings FOR SELECT TO agents USING (true)",
            NOTHING,
            "left-agent reaches 2 rows of right-agent in agent_memory_embeddings",
        ),
        (
            "GRANT INSERT ON agent_memories TO agents;"
            "CREATE POLICY wide ON agent_memories FOR INSERT TO agents WITH CHECK (true)",
            NOTHING,
            "left-agent reaches what nobody may: it can insert a memory of",
        ),
        (
            "GRANT UPDATE ON agent_memories TO agents; CREATE POLICY wide ON agent_memories TO agents USING (true)",
            NOTHING,
            "left-agent reaches what nobody may: it can change memories of",
        ),
        (
            "CREATE OR REPLACE FUNCTION store_outcome(p_outcome jsonb, p_embedding vector, p_model text,"
            " p_version text) RETURNS uuid LANGUAGE sql AS 'SELECT gen_random_uuid()'",
            NOTHING,
            "left-agent reaches what nobody may: it can store an outcome of",
        ),
        (
            "CREATE POLICY wide ON missions FOR ALL TO agents USING (true)",
            NOTHING,
            "left-agent reaches what nobody may: it can change missions of",
        ),
        (
            "REVOKE SELECT ON agent_memories FROM agents; GRANT SELECT ON agent_memories TO agents;"
            "DROP POLICY own_successes ON agent_memories",
            NOTHING,
            "left-agent reaches not even its own canary",
        ),
    ],
)
async def test_a_leak_is_found_by_trying_it(fleet, plant, mend, leak):
    async with planted(fleet, plant, mend):
        done = await audited(fleet)
    reached = " | ".join(finding.problem for finding in done.findings if finding.check == "reach")
    for part in leak.split("{canary}"):
        assert part in reached


async def test_the_command_prints_and_exits_by_what_it_found(fleet):
    way_in = ("--agent-url", fleet.url("{role}"))
    code, out, _ = await command(fleet, "audit", *way_in)
    assert code == 0
    assert "6 pairs tried" in out
    assert "nothing is off" in out
    assert "agents: SELECT on agent_memories" in out
    async with fleet.connect("agents_owner") as owner:
        await owner.execute("GRANT INSERT ON agent_memories TO agents")
    code, out, _ = await command(fleet, "audit", "--json", *way_in)
    assert code == 1
    (finding,) = json.loads(out)["findings"]
    assert finding["check"] == "grants"


async def test_without_a_way_in_the_command_says_what_it_needs(fleet, tmp_path, monkeypatch):
    code, _, err = await command(fleet, "audit")
    assert code == 1
    assert "--agent-url" in err
    with pytest.raises(SettingsError, match="names no role"):
        agent_urls("postgresql://o@h/d", "postgresql://x@h/d", None)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert agent_urls("postgresql://o:p@h:5432/d", None, None)("agent-x") == "postgresql://agent-x@h:5432/d"


def test_on_one_machine_the_passwords_come_from_the_data_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("AWS_REGION", raising=False)
    (tmp_path / "secrets.json").write_text(json.dumps({"role agent-x": "p/w"}))
    way_in = agent_urls("postgresql://o:p@h:5432/d", None, tmp_path)
    assert way_in("agent-x") == "postgresql://agent-x:p%2Fw@h:5432/d"
    with pytest.raises(SettingsError, match="no password of role agent-y"):
        way_in("agent-y")


async def test_a_role_that_is_not_let_in_is_a_finding_and_not_a_pass(fleet):
    async with fleet.connect("postgres") as superuser:
        await superuser.execute("""ALTER ROLE "agent-left-agent" PASSWORD 'another'""")
    code, out, _ = await command(fleet, "audit", "--agent-url", fleet.url("{role}"))
    assert code == 1
    assert "left-agent was not tried, since its role cannot log in" in out
    assert "4 pairs tried" in out


async def test_a_server_that_is_away_is_an_error_and_not_a_pass(fleet):
    code, _, err = await command(fleet, "audit", "--agent-url", "postgresql://{role}:wrong@127.0.0.1:1/none")
    assert code == 1
    assert "PostgreSQL does not answer" in err
