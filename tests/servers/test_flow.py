"""An issue comes in, one specialist takes it, and its outcome is remembered."""

from __future__ import annotations

import asyncio
import io
import json

import aiohttp
import pytest

from database.embeddings.cache import forget
from database.redis_connection import open_redis
from runner.localgithub.deliveries import sign
from tests.servers.system import AGENTS, CLOUD, DOCS, NOBODY, REPOSITORY, SECRET, System, open_system


@pytest.fixture
async def system(database, redis_server, tmp_path):
    async with open_system(database, redis_server, tmp_path) as system:
        yield system


@pytest.fixture
async def running(system: System):
    await system.start_gateway()
    system.start_runners()
    return system


async def test_an_issue_reaches_its_specialist_and_gets_one_signed_answer(running: System):
    number = running.github.open_issue(REPOSITORY, CLOUD, author="alice")
    mission = await running.until_state(number, "done")
    assert mission["agent_name"] == "cloud-architect"
    assert json.loads(mission["why"]), "the choice is explained"
    await running.until_idle()
    (comment,) = await running.agent_comments(number)
    assert "No model ran" in comment
    assert f"mission={mission['id']}" in comment
    assert await running.gateway.fetchval("SELECT state FROM agent_memories") == "pending"


async def test_an_issue_for_nobody_is_abstained_on_and_told_how_to_go_on(running: System):
    number = running.github.open_issue(REPOSITORY, NOBODY, author="alice")
    mission = await running.until_state(number, "abstained")
    assert mission["agent_name"] is None
    await running.until_idle()
    (comment,) = await running.agent_comments(number)
    assert "No specialist fits" in comment
    assert "agent:<name>" in comment


async def test_what_a_person_closed_as_completed_is_recalled_for_the_next_similar_issue(system: System):
    await system.start_gateway(EMBEDDING_MODEL="minilm")
    system.start_runners()
    first = system.github.open_issue(
        REPOSITORY, CLOUD, "The cluster must leave the old network.", author="alice"
    )
    await system.until_state(first, "done")
    await system.until_idle()
    system.github.comment(
        REPOSITORY, first, "Peered both VPCs, then moved node groups one by one.", "maintainer"
    )
    system.github.close(REPOSITORY, first, "completed", "maintainer")
    await system.until("SELECT EXISTS (SELECT FROM agent_memory_embeddings WHERE recallable)")
    second = system.github.open_issue(
        REPOSITORY, CLOUD, "The cluster must leave the old network.", author="bob"
    )
    mission = await system.until_state(second, "done")
    (recalled,) = json.loads(mission["recalled"])
    assert recalled["issue_number"] == first
    assert recalled["similarity"] >= 0.7
    await system.until_idle()
    (comment,) = await system.agent_comments(second)
    assert "Peered both VPCs" in comment
    authors = "SELECT solution_authors FROM agent_memories WHERE issue_number = $1"
    assert await system.gateway.fetchval(authors, first) == ["maintainer"]
    assert set(await system.gateway.fetchval(authors, second)) == {"alice", "maintainer"}
    # All of it was one text, so it was embedded once; whoever erases it erases it here too.
    async with open_redis(system.redis_url, decoded=False) as redis:
        assert len(await redis.keys("embedding:*")) == 1
        text = f"{CLOUD}\nThe cluster must leave the old network."
        assert await forget(redis, [text]) == 1


async def test_an_issue_closed_without_a_word_after_an_answer_without_a_solution_has_nothing_to_recall(
    running: System,
):
    first = running.github.open_issue(REPOSITORY, CLOUD, author="alice")
    await running.until_state(first, "done")
    await running.until_idle()
    running.github.close(REPOSITORY, first, "completed", "maintainer")
    await running.until("SELECT EXISTS (SELECT FROM agent_memories WHERE state = 'succeeded')")
    second = running.github.open_issue(REPOSITORY, CLOUD, author="bob")
    mission = await running.until_state(second, "done")
    assert json.loads(mission["recalled"]) == []
    counted = "SELECT successful_missions FROM agent_performance WHERE agent_name = 'cloud-architect'"
    assert await running.gateway.fetchval(counted) == 1


async def test_a_reopened_issue_takes_its_lesson_back_and_is_worked_again(running: System):
    number = running.github.open_issue(REPOSITORY, CLOUD, author="alice")
    await running.until_state(number, "done")
    await running.until_idle()
    running.github.close(REPOSITORY, number, "completed", "alice")
    await running.until("SELECT EXISTS (SELECT FROM agent_memories WHERE state = 'succeeded')")
    running.github.reopen(REPOSITORY, number, "alice")
    await running.until("SELECT count(*) = 2 FROM missions WHERE state = 'done'")
    states = await running.gateway.fetch("SELECT state FROM agent_memories ORDER BY created_at")
    assert [row["state"] for row in states] == ["failed", "pending"]


async def test_closing_as_not_planned_proves_nothing(running: System):
    number = running.github.open_issue(REPOSITORY, CLOUD, author="alice")
    await running.until_state(number, "done")
    running.github.close(REPOSITORY, number, "not_planned", "alice")
    await running.until_idle()
    assert await running.gateway.fetchval("SELECT state FROM agent_memories") == "pending"


async def test_a_persons_label_wins_and_counts_as_a_misroute(running: System):
    number = running.github.open_issue(REPOSITORY, CLOUD, labels=["agent:document-ninja"], author="alice")
    mission = await running.until_state(number, "done")
    assert mission["agent_name"] == "document-ninja"
    assert mission["misrouted_from"] == "cloud-architect"


async def test_a_relabel_moves_the_issue_to_the_agent_that_the_person_chose(system: System):
    await system.start_gateway()  # no runners: the mission stays queued until it is moved
    number = system.github.open_issue(REPOSITORY, CLOUD, author="alice")
    await system.until_state(number, "queued")
    system.github.label(REPOSITORY, number, "agent:document-ninja", "alice")
    await system.until("SELECT EXISTS (SELECT FROM missions WHERE agent_name = 'document-ninja')")
    system.start_runners()
    await system.until_state(number, "done")
    await system.until_idle()
    missions = {row["agent_name"]: row["state"] for row in await system.missions()}
    assert missions == {"cloud-architect": "cancelled", "document-ninja": "done"}
    assert len(await system.agent_comments(number)) == 1


async def test_an_issue_that_is_closed_before_it_is_worked_is_not_worked(system: System):
    await system.start_gateway()
    number = system.github.open_issue(REPOSITORY, CLOUD, author="alice")
    await system.until_state(number, "queued")
    system.github.close(REPOSITORY, number, "not_planned", "alice")
    mission = await system.until_state(number, "cancelled")
    assert "closed as not_planned" in mission["reason"]
    system.start_runners()
    await system.until_idle()
    assert await system.agent_comments(number) == []


async def test_a_bots_issue_starts_nothing_until_a_person_labels_it(running: System):
    number = running.github.open_issue(REPOSITORY, CLOUD, author="dependabot[bot]")
    mission = await running.until_state(number, "abstained")
    assert "bot" in mission["reason"]
    running.github.label(REPOSITORY, number, "agent:cloud-architect", "alice")
    assert (await running.until_state(number, "done"))["agent_name"] == "cloud-architect"


async def test_the_agents_own_comments_start_nothing(running: System):
    number = running.github.open_issue(REPOSITORY, CLOUD, author="alice")
    await running.until_state(number, "done")
    await running.until_idle()
    running.github.comment(REPOSITORY, number, CLOUD, "agents-cloud[bot]")
    running.github.label(REPOSITORY, number, "agent:document-ninja", "some[bot]")
    await running.until_idle()
    assert len(await running.missions()) == 1


async def test_an_issue_whose_webhook_was_lost_is_found_and_worked_once(system: System):
    first = system.github.open_issue(REPOSITORY, DOCS, author="alice")  # before there is a gateway: lost
    await system.start_gateway(RECONCILE_SECONDS="1")
    system.start_runners()
    second = system.github.open_issue(
        REPOSITORY, CLOUD, author="alice"
    )  # tells the gateway of the repository
    await system.until_state(second, "done")
    await system.until_state(first, "done")
    await system.until_idle()
    assert len(await system.agent_comments(first)) == 1
    assert len(await system.missions()) == 2


async def test_paid_work_waits_for_someone_who_may_spend(system: System):
    await system.start_gateway(EXECUTOR="model")
    system.github.grant(REPOSITORY, "owner", "write")
    stranger = system.github.open_issue(REPOSITORY, CLOUD, author="stranger")
    owners = system.github.open_issue(REPOSITORY, DOCS, author="owner")
    assert (await system.until_state(owners, "queued"))["approved_by"] == "owner"
    await system.until(
        "SELECT EXISTS (SELECT FROM missions WHERE issue_number = $1 AND unchecked_logins = '{}')", stranger
    )
    waiting = await system.mission(stranger)
    assert waiting["state"] == "waiting"
    assert "label by someone with write access" in waiting["reason"]
    system.github.label(REPOSITORY, stranger, "approved", "owner")
    assert (await system.until_state(stranger, "queued"))["approved_by"] == "owner"


async def test_who_labelled_an_issue_counts_although_both_webhooks_were_lost(system: System):
    system.github.grant(REPOSITORY, "owner", "write")
    labelled = system.github.open_issue(REPOSITORY, CLOUD, author="stranger")
    system.github.label(REPOSITORY, labelled, "approved", "owner")
    botched = system.github.open_issue(REPOSITORY, DOCS, author="stranger")
    system.github.label(REPOSITORY, botched, "approved", "some[bot]")
    await system.start_gateway(EXECUTOR="model", RECONCILE_SECONDS="1")
    system.github.open_issue(REPOSITORY, NOBODY, author="owner")  # tells the gateway of the repository
    assert (await system.until_state(labelled, "queued"))["approved_by"] == "owner"
    await system.until(
        "SELECT EXISTS (SELECT FROM missions WHERE issue_number = $1 AND unchecked_logins = '{}')", botched
    )
    assert (await system.mission(botched))["state"] == "waiting"


async def test_missions_are_worked_without_redis(system: System):
    await system.start_gateway(REDIS_URL="")
    for agent, _ in AGENTS:
        system.start_runner(agent, REDIS_URL="")
    number = system.github.open_issue(REPOSITORY, CLOUD, author="alice")
    await system.until_state(number, "done")


async def test_a_runner_that_is_told_to_stop_finishes_what_it_holds(system: System):
    await system.start_gateway()
    numbers = [system.github.open_issue(REPOSITORY, CLOUD, f"case {n}", author="alice") for n in range(12)]
    stop = system.start_runner("cloud-architect", CONCURRENCY="3")
    await system.until("SELECT EXISTS (SELECT FROM missions WHERE state IN ('running', 'done'))")
    stop.set()
    await system.until("SELECT NOT EXISTS (SELECT FROM missions WHERE state = 'running')")
    system.start_runner("cloud-architect")
    for number in numbers:
        await system.until_state(number, "done")
    await system.until_idle()
    assert [len(await system.agent_comments(number)) for number in numbers] == [1] * 12


PAYLOAD = {
    "action": "opened",
    "issue": {
        "number": 7,
        "title": CLOUD,
        "body": "",
        "labels": [],
        "user": {"login": "alice", "type": "User"},
    },
    "repository": {"full_name": REPOSITORY},
    "sender": {"login": "alice", "type": "User"},
}


async def post(system: System, body: bytes, **headers: str | None) -> int:
    sent = {
        "X-GitHub-Event": "issues",
        "X-GitHub-Delivery": "d-1",
        "X-Hub-Signature-256": sign(SECRET, body),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    clean = {name: value for name, value in sent.items() if value is not None}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{system.url}/webhook", data=io.BytesIO(body), headers=clean) as answer,
    ):
        return answer.status


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (json.dumps(PAYLOAD).encode(), {"X_Hub_Signature_256": None}, 401),
        (json.dumps(PAYLOAD).encode(), {"X_Hub_Signature_256": sign("another-secret", b"x")}, 401),
        (json.dumps(PAYLOAD).encode(), {"X_Hub_Signature_256": "sha256=ä"}, 401),
        (json.dumps(PAYLOAD).encode(), {"X_GitHub_Delivery": None}, 400),
        (json.dumps(PAYLOAD).encode(), {"X_GitHub_Delivery": "x" * 101}, 400),
        (json.dumps(PAYLOAD).encode(), {"X_GitHub_Event": None}, 400),
        (b"{not json", {}, 400),
        (b"[]", {}, 400),
        (b"\xff\xfe", {}, 400),
        (b'{"repository": {"full_name": 3}}', {}, 400),
        (b"[" * 100_000, {}, 400),
        (b" " * (3 * 1024 * 1024), {}, 413),
        (json.dumps(PAYLOAD).encode(), {"X_GitHub_Event": "push"}, 200),
    ],
)
async def test_a_webhook_that_is_not_in_order_is_refused_and_leaves_nothing(
    system: System, body, headers, status
):
    await system.start_gateway()
    assert await post(system, body, **headers) == status
    assert await system.gateway.fetchval("SELECT count(*) FROM inbox") == 0


async def test_a_replayed_webhook_changes_nothing_under_whatever_id(running: System):
    body = json.dumps(PAYLOAD).encode()
    assert await post(running, body) == 202
    await running.until_state(7, "done")
    assert await post(running, body) == 200
    assert await post(running, body, X_GitHub_Delivery="another") == 200
    assert await running.gateway.fetchval("SELECT count(*) FROM inbox") == 1
    assert len(await running.missions()) == 1


async def test_texts_that_postgresql_cannot_hold_arrive_without_them(running: System):
    payload = json.loads(json.dumps(PAYLOAD))
    payload["issue"]["title"] = f"{CLOUD} \x00 \ud800 \\u0000"
    body = json.dumps(payload).encode()
    assert await post(running, body) == 202
    mission = await running.until_state(7, "done")
    assert mission["title"] == f"{CLOUD}   \\u0000"


async def test_a_delivery_that_breaks_the_intake_does_not_hold_back_the_next(running: System):
    payload = {**PAYLOAD, "issue": {"number": "seven"}}
    assert await post(running, json.dumps(payload).encode()) == 202
    assert await post(running, json.dumps(PAYLOAD).encode(), X_GitHub_Delivery="d-2") == 202
    await running.until_state(7, "done")
    results = await running.gateway.fetch("SELECT result FROM inbox ORDER BY sequence")
    assert "refused: the issue's number is 'seven'" in results[0]["result"]


async def test_a_repository_of_another_zone_is_refused_before_it_is_stored(system: System, tmp_path):
    names = "".join(f"\n      - {name}" for name, _ in AGENTS)
    geography = tmp_path / "geography.yaml"
    geography.write_text(
        f"regions:\n  us-west-2:\n    location: x\n    agents:{names}\nrepositories:\n  {REPOSITORY}: EU\n"
    )
    await system.start_gateway(GEOGRAPHY=str(geography))
    assert await post(system, json.dumps(PAYLOAD).encode()) == 403
    assert await system.gateway.fetchval("SELECT count(*) FROM inbox") == 0


async def test_the_probes_tell_health_and_readiness_of_a_gateway(running: System):
    async with aiohttp.ClientSession() as session:
        for path in ("/health", "/ready"):
            async with asyncio.timeout(10), session.get(running.url + path) as answer:
                assert answer.status == 200
        async with session.get(f"{running.url}/metrics") as answer:
            assert "agents_cloud_deliveries_total" in await answer.text()
