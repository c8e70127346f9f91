"""`python -m database audit`: silent on a sound database, and whatever an agent's own log-in reaches is named.

What it reads in the catalog has a violation for each clause in test_audit_catalog.py.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from database.audit import Audit, audit
from database.audit.command import agent_urls
from errors import SettingsError
from tests.servers.audited_fleet import fleet_of, remember
from tests.servers.conftest import Database
from tests.servers.database_command import command
from tests.servers.past_missions import recalled_entry


@pytest.fixture
async def fleet(postgres_server) -> AsyncIterator[Database]:
    async with fleet_of(postgres_server) as database:
        yield database


async def audited(database: Database) -> Audit:
    async with database.connect("agents_owner") as owner:
        return await audit(owner, lambda role: database.url(role))


@asynccontextmanager
async def planted(database: Database, plant: str, mend: str = "SELECT 1") -> AsyncIterator[None]:
    """A violation by a superuser; roles outlive a test's database, so what is theirs is mended."""
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
    await remember(fleet, 9, "left-agent", [recalled_entry(memory_id=str(own))])
    (read,) = (await audited(fleet)).reads
    assert (read.agent, read.repository, read.issue_number, read.memories) == (
        "left-agent",
        "o/r",
        9,
        (str(own),),
    )


NO_RECALL = """
CREATE OR REPLACE FUNCTION recall_candidates(
    p_agent text, p_words text, p_embedding vector, p_model text, p_version text,
    p_near integer, p_worded integer, p_newest integer
) RETURNS TABLE (
    id uuid, issue_number integer, issue_title text, issue_body text, solution_approach text, lessons_learned text,
    files text[], created_at timestamptz, cosine double precision
) LANGUAGE plpgsql AS 'BEGIN END'
"""
NO_AGENT = """
INSERT INTO missions (repository, issue_number, event, title, zone, state)
VALUES ('o/r', 99, 'opened', 't', 'US', 'failed');
CREATE POLICY wide ON missions FOR SELECT TO agents USING (agent_name IS NULL)
"""
STORES = (
    "CREATE OR REPLACE FUNCTION store_outcome(p_outcome jsonb, p_embedding vector, p_model text, p_version text)"
    " RETURNS uuid LANGUAGE plpgsql AS "
)
PARTITION = """
DO $$ BEGIN EXECUTE format('GRANT {} ON %I TO agents', '{}_' || (
    SELECT agent_id FROM agents WHERE agent_name = 'left-agent')); END $$
"""
COPY = "CREATE SCHEMA backup; GRANT USAGE ON SCHEMA backup TO agents; CREATE TABLE backup.copy AS TABLE agent_memories;"


@pytest.mark.parametrize(
    ("plant", "leak"),
    [
        # What it has to see, or its blindness proves nothing.
        ("DROP POLICY own_successes ON agent_memories", "not even its own canary"),
        ("DROP POLICY own_recallable ON agent_memory_embeddings", "not even its own canary"),
        (NO_RECALL, "not even its own canary"),
        # Others' canaries.
        ("ALTER TABLE agent_memories DISABLE ROW LEVEL SECURITY", "memory {canary} of right-agent"),
        (
            "CREATE POLICY wide ON agent_memory_embeddings FOR SELECT TO agents USING (true)",
            "the vector of memory {canary} of right-agent",
        ),
        (
            "ALTER FUNCTION recall_candidates SECURITY DEFINER",
            "memory {canary} by recalling as right-agent",
        ),
        # Any row that is not its own to see.
        (
            "CREATE POLICY wide ON agent_memories FOR SELECT TO agents USING (state = 'succeeded')",
            "2 rows of right-agent in agent_memories",
        ),
        (
            "CREATE POLICY wide ON agent_memory_embeddings FOR SELECT TO agents USING (true)",
            "2 rows of right-agent in agent_memory_embeddings",
        ),
        (
            "CREATE POLICY wide ON agent_performance FOR SELECT TO agents USING (true)",
            "1 rows of right-agent in agent_performance",
        ),
        (
            "CREATE POLICY wide ON missions FOR SELECT TO agents USING (true)",
            "1 rows of right-agent in missions",
        ),
        (NO_AGENT, "1 rows of nobody in missions"),
        (
            "INSERT INTO pauses (scope, paused_by) VALUES ('agent:right-agent', 'p');"
            "CREATE POLICY wide ON pauses FOR SELECT TO agents USING (true)",
            "1 pauses of others in pauses",
        ),
        (
            "CREATE POLICY wide ON agent_memories FOR SELECT TO agents USING (agent_name = current_agent())",
            "1 of its own failures and unproven outcomes in agent_memories",
        ),
        (
            "CREATE POLICY wide ON agent_memories FOR SELECT TO agents USING (agent_name = current_agent())",
            "memory {canary} of left-agent",
        ),
        # Tables that it has no business with.
        (PARTITION.format("SELECT", "agent_memories"), "partition agent_memories_"),
        (
            PARTITION.format("UPDATE (recallable)", "agent_memory_embeddings"),
            "partition agent_memory_embeddings_",
        ),
        ("GRANT SELECT (role_name) ON agents TO agents", "table agents beside the policies"),
        ("GRANT DELETE ON inbox TO agents", "table inbox beside the policies"),
        (f"{COPY} GRANT SELECT ON backup.copy TO agents", "table backup.copy beside the policies"),
        (f"{COPY} GRANT SELECT ON backup.copy TO PUBLIC", "table backup.copy beside the policies"),
        (
            f'{COPY} ALTER TABLE backup.copy OWNER TO "agent-left-agent"',
            "table backup.copy beside the policies",
        ),
        (
            f"{COPY} CREATE TABLE backup.missions AS TABLE missions; GRANT SELECT ON backup.missions TO agents",
            "table backup.missions beside the policies",
        ),
        (
            "CREATE VIEW door AS TABLE missions; GRANT SELECT ON door TO agents",
            "table door beside the policies",
        ),
        (
            "CREATE MATERIALIZED VIEW copied AS TABLE missions; GRANT SELECT ON copied TO agents",
            "table copied beside the policies",
        ),
        (
            "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER away FOREIGN DATA WRAPPER w;"
            "CREATE FOREIGN TABLE there (a text) SERVER away; GRANT SELECT ON there TO agents",
            "table there beside the policies",
        ),
        (
            "CREATE TABLE parts (a text) PARTITION BY LIST (a); GRANT TRUNCATE ON parts TO agents",
            "table parts beside the policies",
        ),
        # What it must not be able to do.
        (
            "GRANT INSERT ON agent_memories TO agents;"
            "CREATE POLICY wide ON agent_memories FOR INSERT TO agents WITH CHECK (true)",
            "what nobody may: it can insert a memory of",
        ),
        (
            "GRANT UPDATE ON agent_memories TO agents; CREATE POLICY wide ON agent_memories TO agents USING (true)",
            "what nobody may: it can change memories of",
        ),
        (
            "GRANT DELETE ON agent_memories TO agents; CREATE POLICY wide ON agent_memories TO agents USING (true)",
            "what nobody may: it can delete memories of",
        ),
        (f"{STORES} 'BEGIN RETURN gen_random_uuid(); END'", "what nobody may: it can store an outcome of"),
        (
            f"{STORES} 'BEGIN RAISE EXCEPTION $m$no title$m$; END'",
            "what nobody may: it can store an outcome of",
        ),
        (
            "CREATE POLICY wide ON missions FOR ALL TO agents USING (true)",
            "what nobody may: it can change missions of",
        ),
    ],
)
async def test_a_leak_is_found_by_trying_it(fleet, plant, leak):
    async with planted(fleet, plant):
        reached = await reached_by_trying(fleet)
    start, _, end = f"left-agent reaches {leak}".partition("{canary}")
    assert any(
        start in problem and problem.endswith(end) if end else start in problem for problem in reached
    ), reached


async def test_an_agent_that_may_become_another_is_found_by_trying_it(fleet):
    become = '"agent-right-agent" {} "agent-left-agent"'
    async with planted(fleet, "GRANT " + become.format("TO"), "REVOKE " + become.format("FROM")):
        reached = await reached_by_trying(fleet)
    assert reached == ["left-agent reaches the rights of role agent-right-agent"]


async def test_an_agent_that_lacks_a_right_was_not_tried_and_that_is_a_finding(fleet):
    async with planted(fleet, "REVOKE SELECT ON agent_memories FROM agents"):
        reached = await reached_by_trying(fleet)
    assert any("left-agent was not tried, since its role lacks a right" in problem for problem in reached)


async def test_where_no_canary_can_be_planted_nobody_was_tried_and_that_is_a_finding(fleet):
    detach = """
    DO $$ BEGIN EXECUTE format('ALTER TABLE agent_memories DETACH PARTITION %I', 'agent_memories_' || (
        SELECT agent_id FROM agents WHERE agent_name = 'left-agent')); END $$
    """
    async with planted(fleet, detach):
        (reached,) = await reached_by_trying(fleet)
    assert "no canary could be planted" in reached


async def reached_by_trying(database: Database) -> list[str]:
    return [finding.problem for finding in (await audited(database)).findings if finding.check == "reach"]


async def test_the_command_prints_and_exits_by_what_it_found(fleet):
    way_in = ("--agent-url", fleet.url("{role}"))
    code, out, log = await command(fleet, "audit", *way_in)
    assert code == 0
    assert "6 pairs tried" in out
    assert log == "AUDIT SOUND 0 findings, 3 agents, 6 pairs tried\n"
    assert "nothing is off" in out
    assert "agents: SELECT on agent_memories" in out
    async with fleet.connect("agents_owner") as owner:
        await owner.execute("GRANT INSERT ON agent_memories TO agents")
    code, out, log = await command(fleet, "audit", "--json", *way_in)
    assert code == 1
    assert log == "AUDIT OFF 1 findings, 3 agents, 6 pairs tried\n"
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
    assert "Traceback" not in err
    assert "AUDIT OFF not finished: Unavailable" in err
