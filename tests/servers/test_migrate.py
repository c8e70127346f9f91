"""Migrations: each once, in order, under a lock, and back."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from database.cli import main
from database.erased import erased_numbers
from database.migrate import Migration, load_migrations, migrate
from database.registry import Registration, register_agents
from errors import InputError
from tests.servers.conftest import write_definitions
from tests.servers.past_missions import recalled_entry

SCHEMA = """
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'public' WHERE c.relname <> 'schema_migrations'
ORDER BY 1, 2
"""
RIGHTS = """
SELECT c.relname::text, acl.grantee::regrole::text, acl.privilege_type, c.relrowsecurity, c.relforcerowsecurity
FROM pg_class c, aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) AS acl
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND c.relname <> 'schema_migrations'
UNION ALL
SELECT a.attrelid::regclass || '.' || a.attname, acl.grantee::regrole::text, acl.privilege_type, NULL, NULL
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid, aclexplode(a.attacl) AS acl
WHERE c.relnamespace = 'public'::regnamespace
UNION ALL
SELECT concat_ws(' ', tablename, policyname, cmd, qual, with_check), roles::text, permissive, NULL, NULL
FROM pg_policies
"""
FUNCTIONS = """
SELECT oid::regprocedure::text FROM pg_proc
WHERE pronamespace = 'public'::regnamespace
  AND oid NOT IN (SELECT objid FROM pg_depend WHERE deptype = 'e' AND classid = 'pg_proc'::regclass)
"""


async def test_the_proposals_four_tables_stand_after_migrating(empty_database):
    async with empty_database.connect("agents_owner") as owner:
        assert await migrate(owner) == len(load_migrations())
        tables = {row["relname"] for row in await owner.fetch(SCHEMA)}
    assert tables >= {"agent_memories", "agent_performance", "agent_memory_embeddings", "agent_deployments"}
    assert tables >= {"missions", "inbox", "outbox"}


async def test_a_second_run_finds_nothing_to_do(database):
    async with database.connect("agents_owner") as owner:
        assert await migrate(owner) == 0


async def test_two_runs_at_once_apply_each_migration_once(empty_database):
    async with empty_database.connect("agents_owner") as one, empty_database.connect("agents_owner") as two:
        steps = await asyncio.gather(migrate(one), migrate(two))
        assert sorted(steps) == [0, len(load_migrations())]


async def test_every_way_back_leads_to_the_schema_before_and_forth_again(empty_database):
    migrations = load_migrations()
    async with empty_database.connect("agents_owner") as owner:
        shapes = []
        for number in range(len(migrations) + 1):
            await migrate(owner, to=number)
            shapes.append(await shape(owner))
        for number in range(len(migrations), -1, -1):
            await migrate(owner, to=number)
            assert await shape(owner) == shapes[number]
        await migrate(owner)
        assert await shape(owner) == shapes[-1]


async def shape(owner):
    """Columns, functions, and who may do what."""
    return await owner.fetch(SCHEMA), set(await owner.fetch(FUNCTIONS)), set(await owner.fetch(RIGHTS))


async def test_half_of_what_was_recalled_is_reduced_to_its_figure_on_the_way(empty_database):
    whole = recalled_entry()
    figure = {"memory_id": whole["memory_id"], "similarity": 0.83}
    cases: tuple[tuple[str, Any, Any], ...] = (
        ("memory", [whole, {**figure, "issue_title": "t"}, {"similarity": 0.9}], [whole, figure]),
        ("memory", {}, None),
        ("control", [whole], None),
        ("control", None, None),
    )
    async with empty_database.connect("agents_owner") as owner:
        await migrate(owner, to=number_before("whole_recalls"))
        await register_agents(owner, [Registration("some-agent", "some-agent", "x", "0")])
        for number, (arm, before, _) in enumerate(cases):
            await owner.execute(
                "INSERT INTO missions (repository, issue_number, event, title, zone, agent_name, state, arm, recalled)"
                " VALUES ('o/r', $1, 'opened', 't', 'US', 'some-agent', 'done', $2, $3)",
                number,
                arm,
                None if before is None else json.dumps(before),
            )
        await migrate(owner)
        rows = await owner.fetch("SELECT recalled FROM missions ORDER BY issue_number")
    assert [row["recalled"] and json.loads(row["recalled"]) for row in rows] == [case[2] for case in cases]


async def test_whose_words_a_solution_is_is_told_of_what_was_judged_before(empty_database):
    comment = json.dumps({"login": "zoe", "body": "It was DNS"})
    async with empty_database.connect("agents_owner") as owner:
        await migrate(owner, to=number_before("whose_words"))
        await register_agents(owner, [Registration("some-agent", "some-agent", "x", "0")])
        await owner.execute(
            "INSERT INTO missions (id, repository, issue_number, event, title, zone, agent_name, state, person_comment)"
            " SELECT ('00000000-0000-0000-0000-00000000000' || n)::uuid, 'o/r', n, 'opened', 't', 'US', 'some-agent',"
            " 'done', $1 FROM generate_series(1, 2) AS n",
            comment,
        )
        await owner.executemany(
            "INSERT INTO agent_memories (agent_name, id, mission_id, agent_specialization, repository, issue_number,"
            " issue_title, solution_approach, proven_by, resolution_time_minutes) VALUES ('some-agent', $1, $2, 'x',"
            " 'o/r', 1, 't', $3, $4, $5)",
            [
                (UUID(int=11), UUID(int=1), "It was DNS", "bob: outcome:success", 4.0),
                (UUID(int=12), UUID(int=2), "the agent's own", "zoe: closed", 6.0),
                (UUID(int=13), UUID(int=3), "of a pruned mission", "zoe: closed", 8.0),
                (UUID(int=4), UUID(int=4), "a loaded work", "pull request #4 merged", 6000.0),
            ],
        )
        await owner.execute(
            "UPDATE agent_performance SET total_missions = 4, avg_resolution_time_minutes = 1504.5"
        )
        await migrate(owner)
        rows = await owner.fetch(
            "SELECT solution_authors, backfilled FROM agent_memories ORDER BY issue_number, id"
        )
        mean = await owner.fetchrow(
            "SELECT timed_missions, avg_resolution_time_minutes FROM agent_performance"
        )
    told = {(tuple(row["solution_authors"]), row["backfilled"]) for row in rows}
    assert told == {(("zoe",), False), ((), False), ((), True)}
    assert tuple(mean) == (3, 6)


def number_before(name: str) -> int:
    """The migration before the one of this name."""
    return next(migration.number for migration in load_migrations() if migration.name == name) - 1


async def test_what_was_heard_and_erased_before_the_last_words_were_kept_is_known_to_them(empty_database):
    (number,) = (each.number for each in load_migrations() if each.name == "lost_webhooks")
    at = "2026-11-01T10:00:00Z"
    closed = {"action": "closed", "issue": {"number": 7, "closed_at": at, "updated_at": at}}
    label = {"action": "labeled", "label": {"name": "Bug"}, "issue": {"number": 7, "updated_at": at}}
    pull = {"number": 8, "merged": True, "merge_commit_sha": "abc", "closed_at": at}
    payloads = [
        ("issues", closed),
        (
            "issues",
            {**closed, "action": "reopened", "issue": {"number": 7, "updated_at": "2026-11-01T09:00:00Z"}},
        ),
        ("issues", label),
        ("pull_request", {"action": "closed", "pull_request": pull}),
        ("issues", {"action": "closed", "issue": {"number": 9}}),
        ("issues", {}),
    ]
    async with empty_database.connect("agents_owner") as owner:
        await migrate(owner, to=number - 1)
        for place, (event, payload) in enumerate(payloads):
            await owner.execute(
                "INSERT INTO inbox (delivery_id, event, repository, payload, payload_digest)"
                " VALUES ($1, $2, 'o/r', $3, $1)",
                str(place),
                event,
                json.dumps(payload),
            )
        await owner.execute(
            "INSERT INTO missions (repository, issue_number, event, title, zone, state, erased_at)"
            " VALUES ('O/R', 12, 'opened', '', 'US', 'abstained', now())"
        )
        await migrate(owner)
        heard = await owner.fetch("SELECT number, topic, said FROM last_words ORDER BY 1, 2")
        assert [tuple(row) for row in heard] == [
            (7, "label bug", "labeled"),
            (7, "state", "closed"),
            (8, "commit", "abc"),
            (8, "merge", "merged"),
        ]
        assert await erased_numbers(owner, "o/r", [11, 12]) == {12}


async def test_an_applied_migration_that_was_edited_is_refused_by_name(database):
    first, *rest = load_migrations()
    edited = Migration(first.number, first.name, first.up + "\n-- edited", first.down)
    async with database.connect("agents_owner") as owner:
        with pytest.raises(InputError, match="0001_agents_and_memory was edited"):
            await migrate(owner, migrations=(edited, *rest))


async def test_a_migration_that_fails_leaves_nothing_half_done(empty_database):
    broken = Migration(1, "broken", "CREATE TABLE half (id integer); SELECT 1 / 0;", None)
    async with empty_database.connect("agents_owner") as owner:
        with pytest.raises(asyncpg.DivisionByZeroError):
            await migrate(owner, migrations=(broken,))
        assert await owner.fetchval("SELECT to_regclass('half')") is None
        assert await migrate(owner) == len(load_migrations())


async def test_a_database_from_newer_code_is_not_touched(database):
    async with database.connect("agents_owner") as owner:
        with pytest.raises(InputError, match="run the newer code"):
            await migrate(owner, migrations=load_migrations()[:1])


async def test_the_command_line_migrates_and_says_what_it_did(empty_database):
    environment = {**os.environ, "DATABASE_URL": empty_database.url("agents_owner")}
    command = [sys.executable, "-m", "database", "migrate"]
    first = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "applied 0001_agents_and_memory" in first.stdout
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "nothing to do" in again.stdout


def test_the_command_line_says_what_is_wrong_with_a_database_that_is_away():
    environment = {**os.environ, "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    done = subprocess.run(
        [sys.executable, "-m", "database", "migrate"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "PostgreSQL does not answer" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "url, why",
    [
        ("postgresql://{server}/none", 'database "none" does not exist'),
        ("postgresql://nobody:wrong@{host}/none", 'password authentication failed for user "nobody"'),
    ],
)
async def test_a_refused_log_in_is_one_sentence_with_the_way_out(
    empty_database, capsys, monkeypatch, url, why
):
    server = empty_database.url("agents_owner").removeprefix("postgresql://").rpartition("/")[0]
    monkeypatch.setenv("DATABASE_URL", url.format(server=server, host=server.rpartition("@")[2]))
    assert await asyncio.to_thread(main, ["migrate"]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert (
        told.err == f"PostgreSQL refuses it: {why}. Fix: check role, password and database in DATABASE_URL\n"
    )


def test_the_agents_of_a_folder_are_registered_by_one_command(database, tmp_path):
    folder = write_definitions(
        tmp_path / "agents", [("some-agent", "Does some work"), ("APIs-architect", "Designs")]
    )
    environment = {**os.environ, "DATABASE_URL": database.url("agents_owner")}
    command = [sys.executable, "-m", "runner", "register", "--agents", str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "2 agents are registered\n"
    (folder / "some-agent.md").unlink()
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert again.stdout == "1 agents are registered; retired: some-agent\n"


def test_a_gateway_is_no_owner_and_registers_nobody(database, tmp_path):
    folder = write_definitions(tmp_path / "agents", [("some-agent", "Does some work")])
    environment = {**os.environ, "DATABASE_URL": database.url("gateway")}
    command = [sys.executable, "-m", "runner", "register", "--agents", str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "agents_owner" in done.stderr
    assert "Traceback" not in done.stderr
