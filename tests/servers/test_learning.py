"""What proves a work and what does not: a closing is the weakest word, and nobody learns from what was refuted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from database.memory import judge_outcome
from runner.gateway.learn import learn_from_issue, learn_from_pull_request
from runner.issue import Issue
from tests.servers.github_fixtures import client_of
from tests.servers.system import DOCS, REPOSITORY, System, open_system


@pytest.fixture
async def running(database, redis_server, tmp_path):
    async with open_system(database, redis_server, tmp_path) as system:
        await system.start_gateway()
        system.start_runners()
        yield system


async def closed(system: System, number: int) -> str:
    """How the outcome stands once a person has closed the issue as completed."""
    system.github.close(REPOSITORY, number, "completed", "alice")
    await system.until_idle()
    return await system.outcome(number)


async def test_closing_as_completed_proves_what_nobody_judged(running: System):
    assert await closed(running, await running.finished()) == "succeeded"


async def test_closing_does_not_prove_what_a_person_called_a_failure(running: System):
    number = await running.finished()
    running.github.label(REPOSITORY, number, "outcome:failure", "alice")
    await running.until_idle()
    assert await closed(running, number) == "failed"


async def test_a_label_of_failure_that_is_heard_after_the_closing_counts(running: System):
    number = await running.finished()
    running.github.faults.lose_deliveries = 1
    running.github.label(REPOSITORY, number, "outcome:failure", "alice")
    await running.github.sent()
    assert await closed(running, number) == "succeeded"
    [lost] = running.github.state.store.rows("SELECT id FROM deliveries WHERE status_code = 502")
    running.github.state.deliveries.redeliver(lost["id"])
    await running.until_idle()
    assert await running.outcome(number) == "failed"


async def test_closing_does_not_prove_what_was_not_merged(running: System):
    number = await running.finished()
    mission = (await running.mission(number))["id"]
    async with running.gateway.acquire() as connection:
        await judge_outcome(connection, mission, succeeded=False, by="pull request #9 closed")
    assert await closed(running, number) == "failed"


async def test_closing_does_not_prove_a_mission_that_failed(running: System):
    number = await running.finished()
    await running.gateway.execute("UPDATE missions SET state = 'failed'")
    async with running.database.connect("agents_owner") as owner:
        await owner.execute("UPDATE agent_memories SET state = 'failed'")
    assert await closed(running, number) == "failed"


async def test_closing_proves_what_only_a_reopening_refuted(running: System):
    number = await running.finished()
    mission = (await running.mission(number))["id"]
    async with running.gateway.acquire() as connection:
        await judge_outcome(connection, mission, succeeded=False, by="alice: reopened")
    assert await closed(running, number) == "succeeded"


async def test_closing_credits_nobody_where_the_last_agent_declined(running: System):
    number = await running.finished()
    await running.gateway.execute(
        """
        INSERT INTO missions (repository, issue_number, event, agent_name, title, zone, state)
        VALUES ($1, $2, 'assigned:document-ninja', 'document-ninja', '', 'US', 'declined')
        """,
        REPOSITORY,
        number,
    )
    assert await closed(running, number) == "pending"


async def test_reverting_a_persons_pull_request_takes_back_the_work_on_the_issue_that_it_closed(
    running: System,
):
    number, other = await running.finished(), await running.finished(DOCS)
    async with client_of(running.github) as client:
        head = await client.head(REPOSITORY)
        sha = await client.commit(REPOSITORY, head.sha, {"fix.md": b"done"}, "Fix")
        await client.create_branch(REPOSITORY, "by-hand", sha)
        body = f"Fixes #{number}"
        made = await client.create_pull_request(REPOSITORY, "by-hand", "main", "By hand", body)
    running.github.merge(REPOSITORY, made.number, "alice")
    await running.until_idle()
    assert await running.outcome(number) == "succeeded"
    assert await running.outcome(other) == "pending"
    running.github.revert(REPOSITORY, made.number, "alice")
    await running.until_idle()
    assert await running.outcome(number) == "failed"


async def test_the_number_of_the_pull_request_is_noted_also_where_the_closing_was_heard_first(
    running: System,
):
    number = await running.finished()
    assert await closed(running, number) == "succeeded"
    merged = {"number": 77, "merged": True, "body": f"Resolves: {REPOSITORY}#{number}"}
    async with running.gateway.acquire() as connection, connection.transaction():
        await learn_from_pull_request(connection, REPOSITORY, "closed", {"pull_request": merged})
    assert await running.gateway.fetchval("SELECT pr_number FROM agent_memories") == 77


async def merged_by_hand(system: System, number: int, at: datetime) -> str:
    """A person's pull request that fixes the issue is heard as merged at that time."""
    pull = {"number": 77, "merged": True, "body": f"Fixes #{number}", "closed_at": at.isoformat()}
    async with system.gateway.acquire() as connection, connection.transaction():
        await learn_from_pull_request(connection, REPOSITORY, "closed", {"pull_request": pull})
    return await system.outcome(number)


async def test_a_label_of_failure_that_is_heard_after_a_persons_merge_counts(running: System):
    number = await running.finished()
    assert await merged_by_hand(running, number, datetime.now(UTC) + timedelta(minutes=5)) == "succeeded"
    running.github.label(REPOSITORY, number, "outcome:failure", "alice")
    await running.until_idle()
    assert await running.outcome(number) == "failed"


async def test_a_persons_merge_that_is_heard_after_a_later_reopening_proves_nothing(running: System):
    number = await running.finished()
    issue = Issue(REPOSITORY, number, "", "")
    async with running.gateway.acquire() as connection, connection.transaction():
        await learn_from_issue(connection, issue, "reopened", "alice", "", datetime.now(UTC))
    assert await merged_by_hand(running, number, datetime.now(UTC) - timedelta(minutes=5)) == "failed"
