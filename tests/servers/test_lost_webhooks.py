"""An outage swallows webhooks: what happened meanwhile is found, in GitHub's order, and counts once."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from database.forget import forget
from database.inbox import Delivery, store_delivery
from database.owner import open_owner
from database.retention import load_retention
from runner.gateway.reconcile import reconcile
from runner.gateway.redeliver import Redelivery
from runner.geography import Geography
from runner.localgithub import Fault, LocalGitHub, issues
from tests.servers.github_fixtures import client_of
from tests.servers.system import CLOUD, DOCS, NOBODY, REPOSITORY, System, open_system

MINUTES, HOURS = 60.0, 3600.0
NO_SETTINGS = Geography(())


@dataclass(slots=True)
class Time:
    """What the local GitHub takes for now. Each look is a second later, so that no two events share one.

    It is slow by no more than two passes overlap.
    """

    ago: float = 4 * MINUTES
    began: float = field(default_factory=time.time)
    looks: int = 0

    def __call__(self) -> float:
        self.looks += 1
        return self.began - self.ago + self.looks


@dataclass(slots=True)
class Outage:
    """A system whose webhooks can be lost, and the pass that finds what they told."""

    system: System
    time: Time

    @property
    def github(self) -> LocalGitHub:
        return self.system.github

    async def lost(self, *happening: Callable[[], object]) -> None:
        """What happens now is told to nobody."""
        self.github.faults.lose_deliveries = 1_000_000
        for happen in happening:
            happen()
        await self.github.sent()
        self.github.faults.clear()

    async def look(self, geography: Geography = NO_SETTINGS) -> int:
        """One pass of the gateway, and all that follows from it; how much it found."""
        async with client_of(self.github) as client:
            found = await reconcile(self.system.gateway, client, geography, "US", Redelivery())
        await self.system.until_idle()
        return found

    async def pull_request_of(self, number: int) -> int:
        """The finished mission on an issue has made a pull request, from its own branch."""
        async with client_of(self.github) as client:
            head = await client.head(REPOSITORY)
            sha = await client.commit(REPOSITORY, head.sha, {f"{number}.md": b"done"}, "Done")
            await client.create_branch(REPOSITORY, f"work-{number}", sha)
            made = await client.create_pull_request(REPOSITORY, f"work-{number}", "main", "Done", "Here.")
        await self.system.gateway.execute(
            "UPDATE missions SET pr_number = $2 WHERE issue_number = $1", number, made.number
        )
        return made.number

    async def inbox(self) -> int:
        count: int = await self.system.gateway.fetchval("SELECT count(*) FROM inbox")
        return count


@pytest.fixture
async def outage(database, redis_server, tmp_path) -> AsyncIterator[Outage]:
    clock = Time()
    async with open_system(database, redis_server, tmp_path, clock) as system:
        await system.start_gateway(RECONCILE_SECONDS="86400")
        system.start_runners()
        yield Outage(system, clock)


async def test_a_delivery_that_comes_first_after_an_outage_hides_nothing_of_it(outage: Outage):
    outage.time.ago = 6 * HOURS
    done = await outage.system.finished()
    await outage.look()
    lost: list[int] = []
    await outage.lost(
        lambda: lost.append(outage.github.open_issue(REPOSITORY, CLOUD, author="bob")),
        lambda: outage.github.close(REPOSITORY, done, "completed", "alice"),
    )
    await outage.system.gateway.execute(
        "UPDATE reconciled SET looked_until = looked_until - interval '7 hours'"
    )
    outage.time.ago = 0.0
    first = outage.github.open_issue(REPOSITORY, DOCS, author="carol")
    await outage.system.until_state(first, "done")
    assert await outage.look() == 2
    await outage.system.until_state(lost[0], "done")
    assert await outage.system.outcome(done) == "succeeded"


async def test_a_repository_is_looked_through_from_where_the_last_pass_began(outage: Outage):
    await outage.system.finished()
    await outage.look()
    query = "SELECT looked_until FROM reconciled"
    looked = await outage.system.gateway.fetchval(query)
    await outage.look()
    assert await outage.system.gateway.fetchval(query) > looked


async def test_the_first_look_at_a_repository_goes_back_a_day(outage: Outage):
    await outage.system.finished()
    outage.time.ago = 26 * HOURS
    await outage.lost(lambda: outage.github.open_issue(REPOSITORY, DOCS, author="alice"))
    outage.time.ago = 23 * HOURS
    await outage.lost(lambda: outage.github.open_issue(REPOSITORY, CLOUD, author="alice"))
    assert await outage.look() == 1
    assert [row["issue_number"] for row in await outage.system.missions()] == [1, 3]


async def test_a_repository_that_is_written_otherwise_in_the_settings_is_the_same_one(outage: Outage):
    await outage.system.finished()
    geography = Geography((), {"octo/planets": "US"})
    await outage.lost(lambda: outage.github.open_issue("Octo/Planets", CLOUD, author="alice"))
    assert await outage.look(geography) == 1
    (row,) = outage.github.state.store.rows("SELECT id FROM deliveries WHERE status_code = 502")
    outage.github.state.deliveries.redeliver(row["id"])
    await outage.system.until_idle()
    assert [row["repository"] for row in await outage.system.missions()] == [REPOSITORY, "Octo/Planets"]


async def test_a_pass_that_fails_is_made_again_from_the_same_moment(outage: Outage):
    number = await outage.system.finished()
    await outage.look()
    query = "SELECT looked_until FROM reconciled"
    looked = await outage.system.gateway.fetchval(query)
    await outage.lost(lambda: outage.github.close(REPOSITORY, number, "completed", "alice"))
    outage.github.faults.add(Fault("status", path="/issues/events", status=422))
    assert await outage.look() == 0
    assert await outage.system.gateway.fetchval(query) == looked
    assert await outage.look() == 1
    assert await outage.system.outcome(number) == "succeeded"


async def test_what_was_heard_is_not_found_again(outage: Outage):
    number = await outage.system.finished()
    github = outage.github
    github.label(REPOSITORY, number, "bug", "alice")
    github.close(REPOSITORY, number, "completed", "alice")
    github.reopen(REPOSITORY, number, "alice")
    await outage.system.until("SELECT count(*) = 2 FROM missions WHERE state = 'done'")
    github.label(REPOSITORY, number, "outcome:success", "alice")
    await outage.system.until_idle()
    deliveries = await outage.inbox()
    assert await outage.look() == 0
    assert await outage.inbox() == deliveries
    assert len(await outage.system.missions()) == 2


async def test_a_lost_closing_as_completed_proves_the_work_with_the_comment_before_it(outage: Outage):
    number = await outage.system.finished()
    await outage.lost(
        lambda: outage.github.comment(REPOSITORY, number, "Peered both networks.", "alice"),
        lambda: outage.github.close(REPOSITORY, number, "completed", "alice"),
        lambda: outage.github.comment(REPOSITORY, number, "Thanks!", "bob"),
    )
    assert await outage.look() == 1
    (row,) = await outage.system.gateway.fetch(
        "SELECT state, solution_approach, proven_by FROM agent_memories"
    )
    assert tuple(row) == ("succeeded", "Peered both networks.", "alice: closed")
    assert await outage.look() == 0


async def test_a_lost_closing_as_not_planned_proves_nothing_and_ends_the_mission(outage: Outage):
    done = await outage.system.finished()
    await outage.system.gateway.execute(
        "INSERT INTO pauses (scope, paused_by) VALUES ('agent:document-ninja', 'test')"
    )
    waiting = outage.github.open_issue(REPOSITORY, DOCS, author="alice")
    await outage.system.until_state(waiting, "queued")
    await outage.lost(
        lambda: outage.github.close(REPOSITORY, done, "not_planned", "alice"),
        lambda: outage.github.close(REPOSITORY, waiting, "not_planned", "alice"),
    )
    assert await outage.look() == 2
    assert await outage.system.outcome(done) == "pending"
    assert "closed as not_planned" in (await outage.system.until_state(waiting, "cancelled"))["reason"]


async def test_a_lost_closing_by_a_bot_proves_nothing(outage: Outage):
    number = await outage.system.finished()
    await outage.lost(lambda: outage.github.close(REPOSITORY, number, "completed", "stale[bot]"))
    await outage.look()
    assert await outage.system.outcome(number) == "pending"


async def test_a_lost_reopening_takes_the_lesson_back_and_the_issue_is_worked_again(outage: Outage):
    number = await outage.system.finished()
    outage.github.close(REPOSITORY, number, "completed", "alice")
    await outage.system.until_idle()
    assert await outage.system.outcome(number) == "succeeded"
    await outage.lost(lambda: outage.github.reopen(REPOSITORY, number, "alice"))
    assert await outage.look() == 1
    await outage.system.until("SELECT count(*) = 2 FROM missions WHERE state = 'done'")
    states = await outage.system.gateway.fetch("SELECT state FROM agent_memories ORDER BY created_at")
    assert [row["state"] for row in states] == ["failed", "pending"]
    assert await outage.look() == 0


async def test_of_what_was_lost_only_the_last_word_counts(outage: Outage):
    number = await outage.system.finished()
    other = await outage.system.finished(DOCS)
    github = outage.github
    await outage.lost(
        lambda: github.close(REPOSITORY, number, "completed", "alice"),
        lambda: github.reopen(REPOSITORY, number, "alice"),
        lambda: github.close(REPOSITORY, number, "not_planned", "alice"),
        lambda: github.label(REPOSITORY, other, "outcome:success", "alice"),
        lambda: unlabel(github, other, "outcome:success"),
    )
    await outage.look()
    assert (await outage.system.outcome(number), await outage.system.outcome(other)) == ("pending", "pending")
    assert len(await outage.system.missions()) == 2


def unlabel(github: LocalGitHub, number: int, label: str) -> None:
    issues.remove_label(github.state, REPOSITORY, number, label, "alice")


async def test_an_issue_that_came_and_went_in_the_outage_is_not_worked(outage: Outage):
    await outage.system.finished()
    await outage.lost(
        lambda: outage.github.open_issue(REPOSITORY, DOCS, author="alice"),
        lambda: outage.github.close(REPOSITORY, 2, "completed", "alice"),
    )
    assert await outage.look() == 0
    assert len(await outage.system.missions()) == 1


async def test_an_issue_that_is_found_is_worked_once_however_often_it_was_closed_meanwhile(outage: Outage):
    await outage.system.finished()
    await outage.lost(
        lambda: outage.github.open_issue(REPOSITORY, DOCS, author="alice"),
        lambda: outage.github.close(REPOSITORY, 2, "completed", "alice"),
        lambda: outage.github.reopen(REPOSITORY, 2, "alice"),
    )
    assert await outage.look() == 1
    await outage.system.until_state(2, "done")
    await outage.system.until_idle()
    assert await outage.look() == 0
    assert len(await outage.system.missions()) == 2


async def test_a_lost_label_names_the_agent(outage: Outage):
    number = outage.github.open_issue(REPOSITORY, NOBODY, author="alice")
    await outage.system.until_state(number, "abstained")
    await outage.lost(lambda: outage.github.label(REPOSITORY, number, "agent:document-ninja", "alice"))
    assert await outage.look() == 1
    assert (await outage.system.until_state(number, "done"))["agent_name"] == "document-ninja"


async def test_a_lost_label_does_not_overrule_a_later_one_that_was_heard(outage: Outage):
    number = outage.github.open_issue(REPOSITORY, NOBODY, author="alice")
    await outage.system.until_state(number, "abstained")
    await outage.lost(lambda: outage.github.label(REPOSITORY, number, "agent:document-ninja", "alice"))
    outage.github.label(REPOSITORY, number, "agent:database-expert", "alice")
    await outage.system.until_state(number, "done")
    await outage.look()
    agents = [row["agent_name"] for row in await outage.system.missions()]
    assert agents == [None, "database-expert"]


async def test_a_lost_outcome_label_counts_and_an_earlier_one_than_what_was_heard_does_not(outage: Outage):
    number = await outage.system.finished()
    await outage.lost(lambda: outage.github.label(REPOSITORY, number, "outcome:success", "alice"))
    outage.github.label(REPOSITORY, number, "outcome:failure", "alice")
    await outage.system.until_idle()
    assert await outage.look() == 1
    assert await outage.system.outcome(number) == "failed"
    other = await outage.system.finished(DOCS)
    await outage.lost(lambda: outage.github.label(REPOSITORY, other, "outcome:failure", "alice"))
    await outage.look()
    assert await outage.system.outcome(other) == "failed"


async def test_a_lost_label_by_someone_who_may_spend_lets_paid_work_start(database, redis_server, tmp_path):
    async with open_system(database, redis_server, tmp_path, Time()) as system:
        await system.start_gateway(EXECUTOR="model", RECONCILE_SECONDS="86400")
        system.github.grant(REPOSITORY, "owner", "write")
        number = system.github.open_issue(REPOSITORY, CLOUD, author="stranger")
        await system.until("SELECT EXISTS (SELECT FROM missions WHERE unchecked_logins = '{}')")
        outage = Outage(system, Time())
        await outage.lost(lambda: system.github.label(REPOSITORY, number, "approved", "owner"))
        async with client_of(system.github) as client:
            assert await reconcile(system.gateway, client, NO_SETTINGS, "US", Redelivery()) == 1
        assert (await system.until_state(number, "queued"))["approved_by"] == "owner"


async def test_a_lost_merge_proves_the_work_and_a_lost_revert_takes_it_back(outage: Outage):
    number = await outage.system.finished()
    pull = await outage.pull_request_of(number)
    await outage.lost(lambda: outage.github.merge(REPOSITORY, pull, "alice"))
    assert await outage.look() == 1
    (row,) = await outage.system.gateway.fetch("SELECT state, pr_number, pr_merged FROM agent_memories")
    assert tuple(row) == ("succeeded", pull, True)
    await outage.lost(lambda: outage.github.revert(REPOSITORY, pull, "alice"))
    assert await outage.look() == 1
    (row,) = await outage.system.gateway.fetch("SELECT state, reverted_at IS NOT NULL FROM agent_memories")
    assert tuple(row) == ("failed", True)
    assert await outage.look() == 0


async def test_a_revert_that_names_the_commit_of_the_merge_takes_the_work_back(outage: Outage):
    number = await outage.system.finished()
    pull = await outage.pull_request_of(number)
    sha = outage.github.merge(REPOSITORY, pull, "alice")
    await outage.system.until_idle()
    assert await outage.system.outcome(number) == "succeeded"
    async with client_of(outage.github) as client:
        head = await client.head(REPOSITORY)
        commit = await client.commit(REPOSITORY, head.sha, {"1.md": None}, "Undo")
        await client.create_branch(REPOSITORY, "undo", commit)
        body = f"It broke.\n\nThis reverts commit {sha}, reversing changes."
        undo = await client.create_pull_request(REPOSITORY, "undo", "main", "Undo", body)
    await outage.lost(lambda: outage.github.merge(REPOSITORY, undo.number, "alice"))
    assert await outage.look() == 1
    assert await outage.system.outcome(number) == "failed"


async def test_a_merge_that_is_found_after_its_revert_was_heard_proves_nothing(outage: Outage):
    number = await outage.system.finished()
    pull = await outage.pull_request_of(number)
    await outage.lost(lambda: outage.github.merge(REPOSITORY, pull, "alice"))
    outage.github.revert(REPOSITORY, pull, "alice")
    await outage.system.until_idle()
    assert await outage.system.outcome(number) == "failed"
    await outage.look()
    assert await outage.system.outcome(number) == "failed"


async def test_a_closing_that_is_found_after_the_revert_of_its_work_proves_nothing(outage: Outage):
    number = await outage.system.finished()
    pull = await outage.pull_request_of(number)
    outage.github.merge(REPOSITORY, pull, "alice")
    await outage.lost(lambda: outage.github.close(REPOSITORY, number, "completed", "alice"))
    outage.github.revert(REPOSITORY, pull, "alice")
    await outage.system.until_idle()
    await outage.look()
    assert await outage.system.outcome(number) == "failed"


async def test_a_lost_closing_of_an_unmerged_pull_request_refutes_the_work(outage: Outage):
    number = await outage.system.finished()
    pull = await outage.pull_request_of(number)
    async with client_of(outage.github) as client:
        outage.github.faults.lose_deliveries = 1_000_000
        await client._send("PATCH", REPOSITORY, f"/pulls/{pull}", {"state": "closed"})
        await outage.github.sent()
        outage.github.faults.clear()
    assert await outage.look() == 1
    assert await outage.system.outcome(number) == "failed"


async def test_webhooks_that_arrive_in_the_wrong_order_end_as_those_in_the_right_one(outage: Outage):
    number = await outage.system.finished()
    await outage.lost(lambda: outage.github.close(REPOSITORY, number, "completed", "alice"))
    outage.github.reopen(REPOSITORY, number, "alice")
    await outage.system.until_idle()
    for row in outage.github.state.store.rows("SELECT id FROM deliveries WHERE status_code = 502"):
        outage.github.state.deliveries.redeliver(row["id"])
    await outage.system.until_idle()
    states = await outage.system.gateway.fetch("SELECT state FROM agent_memories ORDER BY created_at")
    assert [row["state"] for row in states] == ["failed", "pending"]


async def test_a_webhook_that_is_redelivered_after_the_pass_changes_nothing(outage: Outage):
    number = await outage.system.finished()
    github = outage.github
    await outage.lost(
        lambda: github.close(REPOSITORY, number, "completed", "alice"),
        lambda: github.reopen(REPOSITORY, number, "alice"),
    )
    await outage.look()
    await outage.system.until("SELECT count(*) = 2 FROM missions WHERE state = 'done'")
    github.label(REPOSITORY, number, "outcome:success", "alice")
    await outage.system.until_idle()
    rows = github.state.store.rows("SELECT id FROM deliveries WHERE status_code = 502 ORDER BY id")
    assert len(rows) == 2
    for row in rows:
        assert github.state.deliveries.redeliver(row["id"])
    await outage.system.until_idle()
    assert len(await outage.system.missions()) == 2
    states = await outage.system.gateway.fetch("SELECT state FROM agent_memories ORDER BY created_at")
    assert [row["state"] for row in states] == ["failed", "succeeded"]


# Erased


async def erase(outage: Outage, person: str) -> None:
    async with open_owner(outage.system.database.url("agents_owner")) as owner:
        await forget(owner, person, load_retention({}), None)


async def words_anywhere(outage: Outage, words: str) -> list[str]:
    """The tables in which a text stands."""
    tables = ("inbox", "missions", "agent_memories", "outbox")
    async with open_owner(outage.system.database.url("agents_owner")) as owner:
        return [
            table
            for table in tables
            if await owner.fetchval(
                f'SELECT EXISTS (SELECT FROM "{table}" AS t WHERE t::text ILIKE $1)', f"%{words}%"
            )
        ]


async def test_whatever_happens_to_an_erased_issue_does_not_bring_its_words_back(outage: Outage):
    number = await outage.system.finished(f"{CLOUD} zoes-words", author="zoe")
    assert await words_anywhere(outage, "zoes-words")
    await erase(outage, "zoe")
    outage.time.ago = -1 * MINUTES
    github = outage.github
    github.label(REPOSITORY, number, "agent:document-ninja", "alice")
    github.comment(REPOSITORY, number, "What of it?", "alice")
    github.close(REPOSITORY, number, "completed", "alice")
    github.reopen(REPOSITORY, number, "alice")
    await outage.lost(lambda: github.label(REPOSITORY, number, "agent:secure-specialist", "alice"))
    await outage.look()
    for row in github.state.store.rows("SELECT id FROM deliveries"):
        github.state.deliveries.redeliver(row["id"])
    await outage.system.until_idle()
    assert await words_anywhere(outage, "zoes-words") == []
    assert await words_anywhere(outage, "zoe") == []
    assert len(await outage.system.missions()) == 1


async def test_an_issue_that_was_erased_before_it_was_worked_does_not_come_back(outage: Outage):
    await outage.system.finished()
    await outage.lost(lambda: outage.github.open_issue(REPOSITORY, f"{CLOUD} zoes-words", author="zoe"))
    issue = {"number": 2, "title": "zoes-words", "user": {"login": "zoe"}}
    waiting = Delivery("waiting", "issues", REPOSITORY, {"action": "edited", "issue": issue})
    await store_delivery(outage.system.gateway, waiting, "digest")
    await outage.system.until_idle()
    await erase(outage, "zoe")
    assert await outage.look() == 0
    # Nor when nobody remembers the person any more.
    async with open_owner(outage.system.database.url("agents_owner")) as owner:
        await owner.execute("DELETE FROM erasures")
    assert await outage.look() == 0
    assert await words_anywhere(outage, "zoes-words") == []


async def test_an_erased_comment_on_anothers_issue_comes_back_neither_redelivered_nor_found(outage: Outage):
    number = await outage.system.finished()
    outage.github.comment(REPOSITORY, number, "zoes-words", "zoe")
    await outage.system.until_idle()
    assert await words_anywhere(outage, "zoes-words") == ["inbox", "missions"]
    await erase(outage, "zoe")
    await outage.system.gateway.execute("DELETE FROM inbox")  # as when its retention is a day
    for row in outage.github.state.store.rows("SELECT id FROM deliveries WHERE event = 'issue_comment'"):
        outage.github.state.deliveries.redeliver(row["id"])
    await outage.system.until_idle()
    await outage.lost(lambda: outage.github.close(REPOSITORY, number, "completed", "alice"))
    assert await outage.look() == 1
    assert await outage.system.outcome(number) == "succeeded"
    assert await words_anywhere(outage, "zoe") == []


async def test_what_an_erased_person_did_is_not_applied_again_and_what_they_do_later_is(outage: Outage):
    number = await outage.system.finished()
    outage.github.label(REPOSITORY, number, "outcome:success", "zoe")
    await outage.system.until_idle()
    await erase(outage, "zoe")
    # As if it had not been heard: only the erasure tells.
    await outage.system.gateway.execute("DELETE FROM last_words")
    assert await outage.look() == 0
    assert await words_anywhere(outage, "zoe") == []
    outage.time.ago = -1 * MINUTES
    await outage.lost(lambda: outage.github.open_issue(REPOSITORY, DOCS, author="zoe"))
    assert await outage.look() == 1
    await outage.system.until_state(2, "done")
