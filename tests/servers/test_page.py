"""The page over HTTP: what a snapshot tells, who gets it, what it never holds, and what it costs."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import aiohttp
import asyncpg
import pytest
from aiohttp import web

from database import control
from database.forget import forget
from database.memory import judge_outcome
from database.missions import Effect, Finish, add_mission, claim_missions, finish_mission
from database.outbox import effect_refused, take_effects
from database.performance import dashboard
from database.retention import load_retention
from runner.agents import load_agents
from runner.geography import Geography, Region
from runner.health import Health, serve
from runner.local.embedded import EmbeddedPostgres, free_port
from runner.page.feed import Feed, Source
from runner.page.memory import MemoryFigures
from runner.page.page import VIEWERS, Page, read_static
from runner.page.status import MISSIONS, Status
from runner.presence import tell_presence
from runner.stream import open_redis
from tests.servers.conftest import PASSWORD, Database, make_template, write_definitions
from tests.servers.memories import remember
from tests.servers.past_missions import Past, recalled_entry, write_past
from tests.servers.system import NOBODY, open_system
from tests.servers.test_isolation import new_mission

ONE, TWO = "first-agent", "second-agent"
EMBEDDING = "[0.123456,0.5]"


@dataclass(slots=True)
class Site:
    """A page in front of a test's database."""

    database: Database
    status: Status
    url: str
    http: aiohttp.ClientSession
    port: int

    async def snapshot(self) -> dict[str, Any]:
        """A fresh one, not one of the last second."""
        return await self.status.snapshot()

    async def get(self, path: str, **headers: str) -> tuple[int, str]:
        async with self.http.get(f"{self.url}{path}", headers=headers) as answer:
            return answer.status, await answer.text()

    async def accept(self, number: int, agent: str | None = ONE, **fields) -> str:
        async with self.status.pool.acquire() as connection:
            mission = await add_mission(connection, new_mission(number, agent, **fields))
        assert mission is not None
        return str(mission)

    async def finish(self, agent: str = ONE, state: Literal["done", "failed"] = "done", **fields) -> None:
        """Work the oldest mission of `agent`."""
        async with self.database.agent_pool(agent) as pool:
            (mission,) = await claim_missions(pool, agent, "runner", most=1)
            assert await finish_mission(pool, mission, Finish(state, **fields))

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        async with self.http.get(f"{self.url}/api/events") as answer:
            assert answer.content_type == "text/event-stream"
            async for line in answer.content:
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])


@asynccontextmanager
async def open_site(database: Database, redis_url: str, folder: Path, agents: Sequence[str] = (ONE, TWO)):
    definitions = write_definitions(folder / "agents", [(name, f"Knows {name}") for name in agents])
    await database.register(*agents)
    half = len(agents) // 2
    geography = Geography(
        (
            Region("us-west-2", "San Francisco", "US", tuple(agents[:half]), ("planned-agent",)),
            Region("eu-west-1", "Dublin", "EU", tuple(agents[half:])),
        )
    )
    health = Health()
    health.found("start")
    async with (
        database.pool("gateway") as pool,
        open_redis(redis_url) as client,
        aiohttp.ClientSession(read_bufsize=1 << 20) as http,
    ):
        await client.flushall()
        status = Status(pool, client, health, geography, "US", "recall", "https://github.com")
        application = web.Application()
        Page(status, load_agents(definitions), frozenset({"page.example"})).add_to(application)
        async with serve(application, "127.0.0.1", 0) as port:
            yield Site(database, status, f"http://127.0.0.1:{port}", http, port)


@pytest.fixture
async def site(database, redis_server, tmp_path):
    async with open_site(database, redis_server.url, tmp_path) as site:
        yield site


async def test_a_snapshot_tells_who_is_there_and_what_they_do(site):
    await tell_presence(site.status.redis, ONE, "host-1", port=1, ready=False)
    await tell_presence(site.status.redis, ONE, "host-2", port=2, ready=True)
    await site.accept(1)
    await site.accept(2)
    await site.finish()

    snapshot = await site.snapshot()

    us, eu = snapshot["regions"]
    assert (us["name"], us["zone"], us["drafts"]) == ("us-west-2", "US", ["planned-agent"])
    assert us["agents"] == [[ONE, "ready", 0, 1, 1, 0, 0]]
    assert eu["agents"] == [[TWO, "away", 0, 0, 0, 0, 0]]
    assert snapshot["issues"]["done"] == 1
    assert snapshot["issues"]["queued"] == 1
    assert snapshot["away"] == []


async def test_a_mission_tells_why_it_was_routed_what_was_recalled_and_how_it_ended(site):
    works = [recalled_entry(issue_number=9)]
    candidates = [{"agent": ONE, "score": 9.0}, {"agent": TWO, "score": 4.5}]
    await site.accept(
        7, title="Broken pipe", why=["word `pipe` +4", "word `broken` +2", "third"], candidates=candidates
    )
    await site.finish(recalled=works, reason="mended", answer="done so")

    (mission,) = (await site.snapshot())["missions"]

    assert mission["title"] == "Broken pipe"
    assert mission["url"] == "https://github.com/o/r/issues/7"
    assert (mission["agent"], mission["state"], mission["score"]) == (ONE, "done", 9.0)
    assert mission["why"] == ["word `pipe` +4", "word `broken` +2"]
    assert mission["runnersUp"] == [[TWO, 4.5]]
    assert mission["recalled"] == [{"number": 9, "title": "Earlier", "similarity": 0.83}]
    assert mission["accepted"] <= mission["claimed"] <= mission["finished"]

    status, text = await site.get(f"/api/missions/{mission['id']}")
    detail = json.loads(text)
    assert status == 200
    assert detail["why"] == ["word `pipe` +4", "word `broken` +2", "third"]
    assert detail["candidates"] == [[ONE, 9.0], [TWO, 4.5]]
    assert detail["answer"] == "done so"
    assert detail["outcome"]["state"] == "pending"


async def test_memory_tells_what_was_asked_found_and_proven(site):
    for number, recalled in (
        (1, []),
        (2, [recalled_entry()]),
        (3, None),
    ):
        mission = await site.accept(number)
        await site.finish(recalled=recalled)
    async with site.status.pool.acquire() as connection:
        await judge_outcome(connection, mission, succeeded=True, by="merged")

    memory = (await site.snapshot())["memory"]

    assert memory == {"asked": 2, "hit": 1, "control": 0, "proven": 1, "refuted": 0, "pending": 2}


async def test_of_a_recalled_work_that_was_erased_the_page_shows_the_figure_and_says_so(site):
    mission = await site.accept(1, author="bob")
    memory = await remember(site.status.pool, ONE, "hers", author="zoe")
    await site.finish(recalled=[recalled_entry(memory_id=str(memory), similarity=0.83)])
    async with site.database.connect("agents_owner") as owner:
        await forget(owner, "zoe", load_retention({}), None)

    (brief,) = (await site.snapshot())["missions"]
    status, text = await site.get(f"/api/missions/{mission}")

    assert brief["recalled"] == [{"number": None, "title": None, "similarity": 0.83}]
    assert status == 200
    assert json.loads(text)["recalled"] == [{"number": None, "title": None, "similarity": 0.83, "why": None}]


HISTORY = (
    *(Past(ONE, days=number + 1, minutes=20 - number, similarities=[0.83, 0.91]) for number in range(12)),
    Past(ONE, "failed", "control", similarities=None),
    Past(TWO, "failed", days=30),
)


async def test_the_memory_page_tells_the_figures_of_the_dashboard(site):
    async with site.database.connect("agents_owner") as owner:
        await write_past(owner, HISTORY)

    status, text = await site.get("/api/memory")
    figures = json.loads(text)
    told = await dashboard(site.status.pool)

    assert status == 200
    assert figures["groups"] == told["groups"]
    assert figures["hit_rate"]["rate"] == pytest.approx(told["hit_rate"]["rate"], abs=1e-4)
    assert figures["learning"]["effect"].keys() == told["learning"]["effect"].keys()
    assert [week["week"] for week in figures["trends"]] == [week["week"] for week in told["trends"]["all"]]
    agents = {agent["agent"]: agent for agent in figures["agents"]}
    assert (agents[ONE]["successes"], agents[ONE]["failures"], agents[ONE]["hits"]) == (12, 1, 12)
    assert agents[TWO]["weeks"] == [[0, 0, 1]]
    assert sum(right for _, right, _ in agents[ONE]["weeks"]) == 12
    assert figures["similarity"] == [
        {"from": 0.8, "to": 0.85, "count": 12},
        {"from": 0.9, "to": 0.95, "count": 12},
    ]


async def test_the_memory_page_holds_figures_and_no_text_of_an_issue_or_a_memory(site):
    async with site.database.connect("agents_owner") as owner:
        await write_past(owner, HISTORY)

    for path in ("/api/memory", "/memory"):
        assert "SECRET" not in (await site.get(path))[1], path


async def test_an_issue_that_was_for_nobody_changes_no_figure_of_memory(site):
    await site.accept(1, None)
    await site.accept(2)
    await site.finish(recalled=[])

    status, text = await site.get("/api/memory")

    assert status == 200
    (week,) = json.loads(text)["trends"]
    assert (week["outcomes"], week["asked"]) == (1, 1)


async def test_only_the_gateways_role_may_read_the_figures_of_memory(site):
    async with site.database.connect("agents_owner") as owner:
        await write_past(owner, HISTORY)
    assert await site.status.pool.fetchval("SELECT session_user") == "gateway"

    async with site.database.agent_pool(TWO) as pool:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await MemoryFigures(pool).snapshot()


async def test_many_who_look_at_memory_share_one_round_of_queries(site):
    feed = Feed(counting := Counting(MemoryFigures(site.status.pool)), 10)

    texts = await asyncio.gather(*(feed.newest() for _ in range(20)))

    assert len(set(texts)) == 1
    assert len(counting.rounds) == 1


async def test_errors_tell_failures_refused_effects_and_pauses(site):
    await site.accept(1)
    await site.finish(state="failed", reason="the tool broke", effects=[Effect("comment", {"body": "x"})])
    async with site.status.pool.acquire() as connection:
        async with connection.transaction():
            (effect,) = await take_effects(connection, 1)
            await effect_refused(connection, effect, "GitHub answered 410: issue deleted")
        await control.pause(connection, f"agent:{TWO}", "alice", "on holiday")

    snapshot = await site.snapshot()

    errors = snapshot["errors"]
    assert errors["count"] == 1
    assert [(row["number"], row["reason"]) for row in errors["failed"]] == [(1, "the tool broke")]
    assert errors["effectsRefused"] == 1
    assert [(row["refused"], row["error"]) for row in errors["effects"]] == [
        (True, "GitHub answered 410: issue deleted")
    ]
    assert [(row["scope"], row["by"], row["reason"]) for row in errors["pauses"]] == [
        (f"agent:{TWO}", "alice", "on holiday")
    ]


async def test_an_issue_that_a_person_gave_to_another_agent_counts_once_and_as_a_misroute(site):
    async with site.status.pool.acquire() as connection, connection.transaction():
        # As in one batch of deliveries: opened, then labelled.
        await add_mission(connection, new_mission(1, ONE))
        await control.supersede_mission(connection, "o/r", 1, "alice", TWO)
        await add_mission(connection, new_mission(1, TWO, event=f"assigned:{TWO}", misrouted_from=ONE))
    await site.finish(TWO)

    snapshot = await site.snapshot()

    assert {state: count for state, count in snapshot["issues"].items() if count} == {"done": 1}
    assert snapshot["misroutes"]["count"] == 1
    assert [(row["misroutedFrom"], row["agent"]) for row in snapshot["misroutes"]["latest"]] == [(ONE, TWO)]


async def test_an_agent_with_more_than_its_share_is_named(database, redis_server, tmp_path):
    agents = [f"agent-{number:02d}" for number in range(20)]
    async with open_site(database, redis_server.url, tmp_path, agents) as site:
        for number in range(20):
            await site.accept(number, agents[0] if number < 4 else agents[number])

        shares = (await site.snapshot())["shares"]

    assert shares == {"window": 20, "cap": 0.15, "over": [{"agent": agents[0], "share": 0.2}]}


async def test_live_missions_come_first_and_rows_stay_few(site):
    for number in range(1, 61):
        await site.accept(number)
    for _ in range(25):
        await site.finish()
    async with site.database.agent_pool(ONE) as pool:
        await claim_missions(pool, ONE, "runner", most=2)

    missions = (await site.snapshot())["missions"]

    assert len(missions) == MISSIONS
    assert [mission["state"] for mission in missions[:3]] == ["running", "running", "queued"]
    assert missions[-1]["state"] == "done"


HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> \u202e gnitset"


async def test_hostile_and_endless_texts_come_through_whole_or_cut_but_never_change_the_json(site):
    await site.accept(1, title=HOSTILE, why=["</script>\u2028" * 500], body="b" * 60_000)
    await site.accept(2, title="字" * 256, author="x" * 100)
    await site.finish(state="failed", reason=HOSTILE * 100, answer="a" * 60_000)

    _, text = await site.get("/api/status")
    missions = {mission["number"]: mission for mission in json.loads(text)["missions"]}

    assert missions[1]["title"] == HOSTILE[:120]
    assert len(missions[2]["title"]) == 120
    assert len(text.encode()) < 10_000
    _, detail = await site.get(f"/api/missions/{missions[1]['id']}")
    assert len(detail) < 30_000


async def test_nothing_secret_or_private_stands_in_any_answer(site):
    mission = await site.accept(1, body="PRIVATE BODY", embedding=EMBEDDING, embedding_model="m")
    await site.finish(answer="PRIVATE ANSWER")

    _, snapshot = await site.get("/api/status")
    _, detail = await site.get(f"/api/missions/{mission}")
    _, agent = await site.get(f"/api/agents/{ONE}")

    for text in (snapshot, detail, agent):
        assert PASSWORD not in text
        assert "0.123456" not in text
        assert "postgresql://" not in text
    assert "PRIVATE" not in snapshot


async def test_a_foreign_name_that_points_here_gets_nothing(site):
    hosts = (
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example:80",
        "[::2]",
        "127.0.0.1@evil",
        "",
    )
    paths = (
        "/",
        "/memory",
        "/static/app.js",
        "/api/status",
        "/api/events",
        "/api/memory",
        f"/api/agents/{ONE}",
    )
    for path in paths:
        for host in hosts:
            status, text = await site.get(path, Host=host)

            assert status in (400, 403), (path, host)
            assert "regions" not in text
            assert "<title>" not in text


async def test_the_machine_itself_and_configured_names_are_served(site):
    for host in (
        "localhost",
        "LOCALHOST:8080",
        "127.0.0.1:1",
        "[::1]:8080",
        "page.example",
        "page.example:443",
    ):
        status, text = await site.get("/", Host=host)

        assert status == 200, host
        assert "<title>agents-cloud</title>" in text


async def test_the_webhook_and_the_probes_have_no_host_check(database, redis_server, tmp_path):
    async with open_system(database, redis_server, tmp_path) as system, aiohttp.ClientSession() as http:
        await system.start_gateway()
        async with http.post(
            f"{system.url}/webhook", headers={"Host": "hooks.example"}, data=b"{}"
        ) as answer:
            assert answer.status == 401  # unsigned, which is another matter
        async with http.get(f"{system.url}/health", headers={"Host": "10.0.0.7"}) as answer:
            assert answer.status == 200
        async with http.get(f"{system.url}/api/status", headers={"Host": "hooks.example"}) as answer:
            assert answer.status == 403


async def test_the_gateway_serves_the_page_of_its_own_missions(database, redis_server, tmp_path):
    async with open_system(database, redis_server, tmp_path) as system, aiohttp.ClientSession() as http:
        await system.start_gateway()
        number = system.github.open_issue("local/repository", NOBODY)
        await system.until_state(number, "abstained")
        async with http.get(f"{system.url}/api/status") as answer:
            snapshot = await answer.json()

    (mission,) = snapshot["missions"]
    assert mission["state"] == "abstained"
    assert mission["url"].startswith(system.github.url)


@pytest.mark.parametrize(("path", "script"), [("/", "app"), ("/memory", "memory")])
async def test_the_page_allows_nothing_inline_and_nothing_from_elsewhere(site, path, script):
    async with site.http.get(f"{site.url}{path}") as answer:
        policy, html = answer.headers["Content-Security-Policy"], await answer.text()
        assert answer.headers["X-Content-Type-Options"] == "nosniff"

    assert policy.startswith("default-src 'self';")
    assert "unsafe" not in policy
    assert not re.search(
        rf'<style|\sstyle=|\son\w+=|<script(?! type="module" src="/static/{script}\.js">)', html
    )
    for file in read_static().values():
        assert not re.search(rb"(?<!xmlns=.)https?://(?!www\.w3\.org/2000/svg)", file.body)


async def test_static_files_are_a_closed_list_and_are_not_sent_twice(site):
    for path in (
        "/static/../page.py",
        "/static/%2e%2e/page.py",
        "/static/page.py",
        "/static/",
        "/static/x%00",
    ):
        status, _ = await site.get(path)
        assert status == 404, path
    async with site.http.get(f"{site.url}/static/app.js") as answer:
        tag = answer.headers["ETag"]
        assert answer.content_type == "text/javascript"
    assert await site.get("/static/app.js", **{"If-None-Match": tag}) == (304, "")


async def test_what_there_is_not_is_said_so(site):
    for path in ("/api/missions/x", f"/api/missions/{uuid4()}", "/api/agents/nobody", "/api/agents/%00"):
        status, text = await site.get(path)

        assert status == 404, path
        assert "there is no such" in json.loads(text)["message"]


async def test_events_bring_a_snapshot_at_once_and_another_only_when_something_changed(site):
    events = site.events()
    first = await anext(events)
    assert first["missions"] == []
    nothing = asyncio.ensure_future(anext(events))
    await site.get("/api/status")
    assert not nothing.done()

    await site.accept(1)
    second = await asyncio.wait_for(nothing, 100)

    assert [mission["number"] for mission in second["missions"]] == [1]
    await events.aclose()


@dataclass(slots=True)
class Counting:
    """Counts the rounds of queries that a feed asks for."""

    status: Source
    rounds: list[float] = field(default_factory=list)

    async def snapshot(self) -> dict[str, Any]:
        self.rounds.append(time.monotonic())
        return await self.status.snapshot()

    def away(self) -> list[dict[str, str]]:
        return self.status.away()


async def test_many_who_look_share_one_round_of_queries_a_second(site):
    source = Counting(site.status)
    feed = Feed(source)
    viewers = [feed.events() for _ in range(20)]

    firsts = await asyncio.gather(*(anext(viewer) for viewer in viewers))
    assert len(set(firsts)) == 1
    assert len(source.rounds) == 1

    await site.accept(1)
    await asyncio.gather(*(anext(viewer) for viewer in viewers))

    assert len(source.rounds) < len(viewers)
    assert all(later - earlier >= 1 for earlier, later in zip(source.rounds, source.rounds[1:], strict=False))
    feed.stop()


async def test_who_looks_does_not_hold_up_the_gateways_end(database, redis_server, tmp_path):
    async with open_site(database, redis_server.url, tmp_path) as site:
        events = site.events()
        await anext(events)
    with pytest.raises(StopAsyncIteration):  # told that it ends, not cut off after a while
        await anext(events)


async def test_there_is_an_end_to_how_many_may_look(site):
    viewers = [site.events() for _ in range(VIEWERS)]
    await asyncio.gather(*(anext(viewer) for viewer in viewers))

    assert (await site.get("/api/events"))[0] == 503

    for viewer in viewers:
        await viewer.aclose()


async def test_without_redis_the_page_says_that_it_does_not_know_who_is_ready(site):
    async with open_redis(f"redis://127.0.0.1:{free_port()}") as nowhere:
        site.status.redis = nowhere
        snapshot = await site.snapshot()

    assert {agent[1] for region in snapshot["regions"] for agent in region["agents"]} == {"unknown"}
    assert [item["what"] for item in snapshot["away"]] == ["redis"]


async def test_while_postgresql_is_away_the_last_snapshot_stands_and_says_so(redis_server, tmp_path):
    server = EmbeddedPostgres(tmp_path / "pg", password=PASSWORD)
    await server.start()
    await make_template(server)
    try:
        async with open_site(Database(server, "template"), redis_server.url, tmp_path) as site:
            await site.accept(1)
            events = site.events()
            assert (await anext(events))["away"] == []

            await server.kill()
            event = await asyncio.wait_for(anext(events), 100)
            assert [item["what"] for item in event["away"]] == ["database"]
            assert [mission["number"] for mission in event["missions"]] == [1]
            assert (await site.get(f"/api/agents/{ONE}"))[0] == 503
            memory = json.loads((await site.get("/api/memory"))[1])
            assert [item["what"] for item in memory["away"]] == ["database"]

            await server.start()
            async with asyncio.timeout(100):
                while event["away"]:
                    event = await anext(events)
            await events.aclose()
    finally:
        await server.stop()


_MANY = """
INSERT INTO missions (repository, issue_number, event, title, body, zone, region, agent_name, state, reason, score, why,
                      candidates, recalled, accepted_at, claimed_at, finished_at, lease_until, cost_usd, embedding)
SELECT 'owner/repository', n, 'opened', repeat('a long title ', 15), repeat('body ', 400), 'US', 'us-west-2',
       'some-agent-' || n % 1000, state, CASE WHEN state = 'failed' THEN repeat('because ', 60) END, 12.3,
       to_jsonb(ARRAY[repeat('why ', 40), repeat('so ', 60), 'x']),
       '[{"agent": "some-agent-1", "score": 12.3}, {"agent": "some-agent-2", "score": 9.1}]',
       jsonb_build_array(jsonb_build_object('memory_id', gen_random_uuid(), 'issue_number', 1,
                                            'issue_title', repeat('so ', 60), 'similarity', 0.8, 'why', 'so')),
       now() - n * interval '1 s', now() - n * interval '1 s',
       CASE WHEN state IN ('done', 'failed') THEN now() - n * interval '0.9 s' END,
       CASE WHEN state = 'running' THEN now() + interval '1 h' END, 0.01, '[1,2,3]'
FROM (SELECT n, CASE WHEN n < 300 THEN 'queued' WHEN n < 340 THEN 'running' WHEN n % 17 = 0 THEN 'failed'
                ELSE 'done' END AS state FROM generate_series(1, 10000) AS n) AS missions
"""


async def test_a_thousand_agents_and_ten_thousand_missions_make_a_snapshot_under_200_kb(site, database):
    agents = tuple(f"some-agent-{number}" for number in range(1000))
    async with database.connect("agents_owner") as owner:
        # The rows alone: partitions and roles of a thousand agents play no part here.
        await owner.execute(
            "INSERT INTO agents (agent_name, role_name, specialization) SELECT a, a, 'x' FROM unnest($1::text[]) AS a",
            agents,
        )
        await owner.execute("INSERT INTO agent_performance (agent_name) SELECT unnest($1::text[])", agents)
        await owner.execute(_MANY)
        await owner.execute("ANALYZE missions")
    async with site.status.redis.pipeline(transaction=False) as pipeline:
        for agent in agents:
            await tell_presence(pipeline, agent, "host-1", port=1, ready=True)
        await pipeline.execute()
    site.status.geography = Geography((Region("us-west-2", "San Francisco", "US", agents),))

    text = json.dumps(await site.snapshot(), ensure_ascii=False)
    snapshot = json.loads(text)
    assert sum(agent[1] == "ready" for agent in snapshot["regions"][0]["agents"]) == 1000
    assert sum(snapshot["issues"].values()) == 10_000
    assert len(text.encode()) < 200_000
