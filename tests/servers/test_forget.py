"""One person's words are erased wherever they went, to the byte; what others wrote and every figure stays."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from database.connect import Connection, open_connection
from database.control import approve_mission, ask_for_approval, note_comment, pause
from database.embeddings.cache import CachedEmbedder, key_of
from database.forget import Forgotten, forget
from database.inbox import Delivery, mark_processed, store_delivery, take_deliveries
from database.memory import PastWork, judge_outcome, past_works, unembedded, vector_text
from database.missions import (
    Effect,
    Finish,
    Mission,
    NewMission,
    add_mission,
    claim_missions,
    finish_mission,
)
from database.owner import open_owner
from database.retention import load_retention
from database.vectors import Space
from errors import Unavailable
from runner.local.embedded import EmbeddedRedis, free_port
from runner.stream import publish
from tests.servers.conftest import Database
from tests.servers.database_command import command, until_blocked
from tests.servers.past_missions import recalled_entry
from tests.servers.test_transfer import everything
from tests.servers.word_embedder import WordEmbedder

AGENT = "cloud-architect"
REPOSITORY = "octo/planets"
PERSON = "Zoe-Doe"
WORDS = "zoes-own-words"  # in every text of hers, and in all that repeats one
RETENTION = load_retention({})
EMBEDDER = WordEmbedder()


@pytest.fixture
async def owner(database: Database) -> AsyncIterator[Connection]:
    """Zoe's words in every place that they can reach, beside Bob's."""
    await database.register(AGENT, "secure-ninja")
    async with open_owner(database.url("agents_owner")) as connection, database.connect("gateway") as gateway:
        await hers(database, gateway)
        yield connection


async def hers(database: Database, gateway: Connection) -> None:
    zoes = f"title {WORDS}", f"body {WORDS}"
    bobs = "title of Bob", f"body of Bob, who asks @{PERSON}"
    async with database.agent_pool(AGENT) as pool:
        # 1: her issue, worked, proven and embedded
        await deliver(
            gateway,
            "issues",
            {"action": "opened", "issue": issue(1, PERSON, *zoes), "sender": {"login": PERSON}},
        )
        await start(gateway, 1, PERSON, *zoes)
        (first,) = await claim_missions(pool, AGENT, "r", most=1)
        memory = await finish(
            pool, gateway, first, solution=f"solved {WORDS}", by=f"{PERSON}: outcome:success"
        )
        # 2: Bob's issue, answered from what was remembered of hers, closed by Bob
        await start(gateway, 2, "bob", *bobs)
        (second,) = await claim_missions(pool, AGENT, "r", most=1)
        quoting = await finish(
            pool, gateway, second, solution=f"As in #1 {WORDS}", recalled=memory, by="bob: closed"
        )
        # 3: Bob's issue, answered from that answer
        await start(gateway, 3, "bob", *bobs)
        (third,) = await claim_missions(pool, AGENT, "r", most=1)
        await finish(
            pool, gateway, third, solution=f"As in #2 As in #1 {WORDS}", recalled=quoting, by="bob: closed"
        )
        # 4: Bob's issue, which she solved by her comment
        await start(gateway, 4, "bob", *bobs)
        (fourth,) = await claim_missions(pool, AGENT, "r", most=1)
        comment = f"It was {WORDS}"
        await deliver(
            gateway,
            "issue_comment",
            {
                "action": "created",
                "issue": issue(4, "bob", *bobs),
                "comment": {"user": {"login": PERSON}, "body": comment},
            },
        )
        await note_comment(gateway, fourth.id, PERSON, comment)
        await finish(
            pool, gateway, fourth, solution="by Bob's agent", by=f"{PERSON}: closed", comment=comment
        )
        # 5: Bob's issue, with nothing of hers
        await deliver(
            gateway,
            "issues",
            {"action": "opened", "issue": issue(5, "bob", *bobs), "sender": {"login": "bob"}},
        )
        await start(gateway, 5, "bob", *bobs)
        (fifth,) = await claim_missions(pool, AGENT, "r", most=1)
        await finish(pool, gateway, fifth, solution="solved for Bob", by="bob: closed")
        # 6: Bob's issue, in work now
        await start(gateway, 6, "bob", *bobs)
        await claim_missions(pool, AGENT, "r", most=1)
        # 7, 8: hers, waiting for a runner; Bob's, for which she would pay
        await start(gateway, 7, PERSON, *zoes)
        paid = await start(gateway, 8, "bob", *bobs, state="waiting", agent="secure-ninja")
        await ask_for_approval(gateway, paid, PERSON)
        approved = await start(gateway, 9, "bob", *bobs, state="waiting", agent="secure-ninja")
        await approve_mission(gateway, approved, PERSON)
    await pause(gateway, "agent:secure-ninja", PERSON, f"since {WORDS}")
    # not worked yet: a label that she put on Bob's issue, and an issue of her own
    label = {"action": "labeled", "issue": issue(5, "bob", *bobs), "sender": {"login": PERSON}}
    await store_delivery(gateway, Delivery("label", "issues", REPOSITORY, label), "label")
    opened = {"action": "opened", "issue": issue(10, PERSON, *zoes), "sender": {"login": PERSON}}
    await store_delivery(gateway, Delivery("opened", "issues", REPOSITORY, opened), "opened")


def issue(number: int, author: str, title: str, body: str) -> dict[str, object]:
    return {"number": number, "title": title, "body": body, "user": {"login": author}}


async def deliver(gateway: Connection, event: str, payload: dict[str, object]) -> None:
    """Store a delivery and work it."""
    digest = hashlib.sha256(json.dumps(payload).encode()).hexdigest()
    await store_delivery(gateway, Delivery(digest, event, REPOSITORY, payload), digest)
    async with gateway.transaction():
        taken = await take_deliveries(gateway, 5)
        await mark_processed(gateway, {each.delivery_id: f"worked for {PERSON}" for each in taken})


async def start(
    gateway: Connection, number: int, author: str, title: str, body: str, *, state="queued", agent=AGENT
):
    (vector,) = await EMBEDDER.embed([f"{title}\n{body}"])
    mission = await add_mission(
        gateway,
        NewMission(
            repository=REPOSITORY,
            issue_number=number,
            event="opened",
            title=title,
            body=body,
            labels=[],
            author=author,
            zone="US",
            state=state,
            agent=agent,
            why=[f"words: {title.split()[-1]}"],
            embedding=vector_text(vector),
            embedding_model=EMBEDDER.model,
            embedding_version=EMBEDDER.version,
        ),
    )
    assert mission is not None
    return mission


async def finish(pool, gateway, mission: Mission, *, solution: str, by: str, recalled=None, comment=None):
    noted = [recalled_entry(memory_id=str(recalled), issue_title=f"title {WORDS}")] if recalled else []
    effects = [Effect("comment", {"body": solution})]
    done = Finish(
        "done", answer=solution, solution=solution, lessons=solution, recalled=noted, effects=effects
    )
    assert await finish_mission(pool, mission, done)
    person = by.partition(":")[0]
    memory = await judge_outcome(
        gateway, mission.id, succeeded=True, by=by, solution=comment, solution_by=person
    )
    async with gateway.transaction():
        (vector,) = await EMBEDDER.embed([f"{mission.title}\n{mission.body}"])
        await gateway.execute(
            "SELECT store_embedding($1, $2, 'words', '1', $3::vector)", AGENT, memory, vector_text(vector)
        )
        await gateway.execute(
            "UPDATE missions SET comment_url = $2 WHERE id = $1",
            mission.id,
            f"https://x/{mission.issue_number}",
        )
    return memory


async def erase(owner: Connection, redis: Redis | None = None, **more: bool) -> Forgotten:
    return await forget(owner, PERSON.upper(), RETENTION, redis, **more)


async def tables_with(owner: Connection, text: str) -> set[str]:
    """The tables in which a text stands anywhere, in any case."""
    return {
        table
        for table in await everything(owner)
        if await owner.fetchval(
            f'SELECT EXISTS (SELECT FROM "{table}" AS t WHERE t::text ILIKE $1)', f"%{text}%"
        )
    }


async def test_her_words_and_her_name_are_in_no_table(owner):
    assert await tables_with(owner, WORDS) == {"inbox", "missions", "agent_memories", "outbox", "pauses"}
    done = await erase(owner)
    assert await tables_with(owner, WORDS) == set()
    # Bob mentions her in an issue of his, which was said.
    assert done.mentions > 0
    await owner.execute("UPDATE missions SET body = replace(body, '@Zoe-Doe', '')")
    await owner.execute("UPDATE agent_memories SET issue_body = replace(issue_body, '@Zoe-Doe', '')")
    await owner.execute("UPDATE inbox SET payload = replace(payload::text, '@Zoe-Doe', '')::jsonb")
    assert await tables_with(owner, PERSON) == {"inbox"}, "her label on Bob's issue waits to be worked"
    assert await owner.fetchval("SELECT count(*) FROM inbox WHERE payload::text ILIKE '%zoe-doe%'") == 1


async def test_what_was_erased_is_counted(owner):
    done = await erase(owner)
    assert (done.missions, done.memories, done.vectors, done.quotes, done.restarted) == (2, 1, 4, 3, 1)
    assert done.comments == ("https://x/1", "https://x/2", "https://x/3", "https://x/4")
    assert (done.deliveries, done.effects) == (3, 4)


async def test_again_it_finds_nothing_and_keeps_the_day_of_the_first_time(owner):
    first = await erase(owner)
    again = await erase(owner)
    assert (again.missions, again.memories, again.vectors, again.quotes) == (0, 0, 0, 0)
    assert (again.deliveries, again.effects, again.comments) == (0, 0, ())
    assert again.erased_at == first.erased_at


async def test_a_login_for_which_nothing_is_found_is_noted_nowhere(owner, database):
    done = await forget(owner, "Zoe-Dow", RETENTION, None)
    assert (done.erased_at, done.gone_from_backups_by, done.gone_from_logs_by) == (None, None, None)
    code, out, _ = await command(database, "forget", "Zoe-Dow")
    assert (code, out.splitlines()[0]) == (
        0,
        "Zoe-Dow: nothing was found, and nothing is noted; is the name spelt as on GitHub?",
    )
    assert "backups" not in out
    assert await owner.fetchval("SELECT count(*) FROM erasures") == 0


async def test_who_only_did_something_on_others_work_is_found_and_noted(owner, database):
    async with database.connect("gateway") as gateway:
        await pause(gateway, "agent:cloud-architect", "Mallory", "for a while")
    done = await forget(owner, "mallory", RETENTION, None)
    assert (done.named, done.missions, done.erased_at is not None) == (1, 0, True)
    assert await owner.fetchval("SELECT count(*) FROM erasures") == 1


async def test_every_figure_stays(owner):
    figures = (
        "SELECT * FROM agent_performance ORDER BY agent_name",
        "SELECT agent_name, state, arm, resolution_time_minutes, tokens, cost_usd, recalled_count, created_at::date"
        " FROM agent_memories ORDER BY agent_name, id",
        "SELECT id, agent_name, score, arm, tokens, cost_usd FROM missions ORDER BY id",
    )
    before = [await owner.fetch(figure) for figure in figures]
    await erase(owner)
    assert [await owner.fetch(figure) for figure in figures] == before


async def test_what_bob_wrote_stays_and_is_recalled_where_its_solution_stays_too(owner, database):
    await erase(owner)
    async with database.connect_agent(AGENT) as agent:
        rows = await agent.fetch("SELECT issue_number, solution_approach FROM agent_memories ORDER BY 1")
        assert [tuple(row) for row in rows] == [(2, ""), (3, ""), (4, ""), (5, "solved for Bob")]
        assert await agent.fetchval("SELECT count(*) FROM agent_memory_embeddings") == 1
    async with database.connect("gateway") as gateway:
        row = await gateway.fetchrow("SELECT title, answer, author FROM missions WHERE issue_number = 5")
        assert tuple(row) == ("title of Bob", "solved for Bob", "bob")


async def test_an_erased_outcome_is_never_recalled_learned_from_or_embedded_again(owner, database):
    await erase(owner)
    async with database.pool("gateway") as pool:
        assert await unembedded(pool, Space.of(EMBEDDER), 10) == []
        assert all(isinstance(work, PastWork) and work.title for work in await past_works(pool, 10))


async def test_her_waiting_mission_ends_and_what_may_have_recalled_her_starts_over(owner, database):
    async with database.connect("gateway") as gateway:
        held = await gateway.fetchrow("SELECT id, fence, attempts FROM missions WHERE issue_number = 6")
        await erase(owner)
        states = await gateway.fetch(
            "SELECT issue_number, state FROM missions WHERE issue_number IN (6, 7) ORDER BY 1"
        )
        assert [tuple(row) for row in states] == [(6, "queued"), (7, "cancelled")]
        assert await gateway.fetchval(
            "SELECT count(*) FROM outbox WHERE kind = 'wake' AND mission_id = $1", held["id"]
        )
        async with database.agent_pool(AGENT) as pool:
            sql = "SELECT finish_mission($1, $2, 'done', '', '', 'quotes her', '', '{}', 0, 0, '[]', '[]')"
            assert await pool.fetchval(sql, held["id"], held["fence"]) is False, (
                "its former runner has lost it"
            )
            (mission,) = await claim_missions(pool, AGENT, "r2", most=5)
            assert (mission.issue_number, mission.attempts) == (6, held["attempts"])


async def test_her_erased_issue_is_known_so_that_it_does_not_come_back(owner):
    await erase(owner)
    numbers = "SELECT issue_number FROM missions WHERE repository = $1 AND erased_at IS NOT NULL ORDER BY 1"
    assert [row[0] for row in await owner.fetch(numbers, REPOSITORY)] == [1, 7]
    assert await owner.fetchval("SELECT count(*) FROM agent_memories WHERE issue_number = 1") == 0


async def test_a_dry_run_counts_and_erases_nothing(owner):
    before = {table: await owner.fetch(f'SELECT * FROM "{table}"') for table in await everything(owner)}
    done = await erase(owner, dry_run=True)
    assert (done.missions, done.memories, done.quotes) == (2, 1, 3)
    assert {table: await owner.fetch(f'SELECT * FROM "{table}"') for table in before} == before


async def test_the_report_says_when_backups_and_logs_have_lost_it(owner):
    done = await forget(owner, PERSON, load_retention({"BACKUP_DAYS": "35", "LOG_DAYS": "forever"}), None)
    assert done.erased_at is not None
    assert done.gone_from_backups_by is not None
    assert (done.gone_from_backups_by - done.erased_at).days == 35
    assert done.gone_from_logs_by is None
    assert done.cached is None


async def test_her_words_are_in_no_file_of_the_tables_after_a_rewrite(owner, database):
    assert await files_with(database, WORDS.encode()), "or the search does not find what is there"
    await erase(owner, rewrite=True)
    assert await files_with(database, WORDS.encode()) == []


async def files_with(database: Database, text: bytes) -> list[str]:
    """The files of this database that hold the bytes, once everything is on disk."""
    async with open_connection(database.url("postgres")) as superuser:
        # The planner's statistics hold common values of columns; autovacuum sees to their dead rows in time.
        await superuser.execute("VACUUM FULL pg_statistic")
        await superuser.execute("CHECKPOINT")
        oid = await superuser.fetchval("SELECT oid FROM pg_database WHERE datname = current_database()")
    folder: Path = database.server.folder / "base" / str(oid)
    return [file.name for file in folder.iterdir() if file.is_file() and text in file.read_bytes()]


async def test_her_vectors_leave_redis_and_its_streams_never_held_a_word(owner, redis_server: EmbeddedRedis):
    async with Redis.from_url(redis_server.url) as redis:
        await redis.flushall()
        cached = CachedEmbedder(WordEmbedder(), redis, 30)
        hers, bobs = f"title {WORDS}\nbody {WORDS}", "title of Bob\nbody of Bob"
        await cached.embed([hers, bobs])
        missions = [str(row["id"]) for row in await owner.fetch("SELECT id FROM missions")]
        await publish(redis, [(AGENT, mission) for mission in missions])
        done = await erase(owner, redis)
        assert done.cached == 1
        assert await redis.hkeys(key_of(hers)) == [b"erased"]
        assert await redis.hkeys(key_of(bobs)) == [b"words:16:1"], "Bob's stays"
        keys = [str(key, "ascii") for key in await redis.keys("*") if isinstance(key, bytes)]
        assert sorted(key.partition(":")[0] for key in keys) == ["embedding", "embedding", "missions"]
        entries = await redis.xrange(f"missions:{AGENT}") or []
        assert [list(fields or ()) for _, fields in entries] == [[b"mission"]] * len(missions)
        dump = b"".join([await redis.dump(key) or b"" for key in keys])
        assert WORDS.encode() not in dump
        assert PERSON.encode() not in dump


async def test_what_her_issue_said_before_it_was_edited_leaves_redis_too(owner, database, redis_server):
    async with Redis.from_url(redis_server.url) as redis, database.connect("gateway") as gateway:
        await redis.flushall()
        await CachedEmbedder(WordEmbedder(), redis, 30).embed([f"title\nbody {WORDS}", f"no body {WORDS}\n"])
        for title, body in (("title", f"body {WORDS}"), (f"no body {WORDS}", None)):
            edited = {**issue(1, PERSON, title, ""), "body": body}
            await deliver(
                gateway, "issues", {"action": "labeled", "issue": edited, "sender": {"login": "bob"}}
            )
        assert (await erase(owner, redis)).cached == 2


async def test_an_issue_of_hers_that_a_gateway_takes_at_this_moment_is_erased_too(owner, database):
    async with database.connect("gateway") as gateway, database.connect("postgres") as watcher:
        async with gateway.transaction():
            taken = await take_deliveries(gateway, 5)
            assert {each.delivery_id for each in taken} == {"label", "opened"}
            erasing = asyncio.create_task(erase(owner))
            await until_blocked(watcher)
            await start(gateway, 10, PERSON, f"title {WORDS}", f"body {WORDS}")
            await mark_processed(gateway, {each.delivery_id: "a mission" for each in taken})
        assert (await erasing).missions == 3
    assert await tables_with(owner, WORDS) == set()


async def test_a_vector_that_comes_while_its_memory_is_erased_goes_with_it(owner, database):
    hers = await owner.fetchval("SELECT id FROM agent_memories WHERE issue_number = 1")
    vectors = "SELECT count(*) FROM agent_memory_embeddings WHERE memory_id = $1"
    store = "SELECT store_embedding($1, $2, 'words', '1', $3::vector)"
    (vector,) = await EMBEDDER.embed(["hers"])
    async with database.connect("gateway") as gateway, database.connect("postgres") as other:
        async with other.transaction():
            await other.execute("SELECT FROM agent_memories WHERE issue_number = 2 FOR UPDATE")
            erasing = asyncio.create_task(erase(owner))
            await until_blocked(other)
            async with asyncio.timeout(30):
                await gateway.execute(store, AGENT, hers, vector_text(vector))
        await erasing
        assert await owner.fetchval(vectors, hers) == 0
        await gateway.execute(store, AGENT, hers, vector_text(vector))
        assert await owner.fetchval(vectors, hers) == 0


async def test_where_redis_is_away_nothing_is_erased(owner):
    async with Redis.from_url(f"redis://127.0.0.1:{free_port()}") as nowhere:
        with pytest.raises(Unavailable, match="could not be erased from Redis"):
            await erase(owner, nowhere)
    assert "agent_memories" in await tables_with(owner, WORDS)
    assert await owner.fetchval("SELECT count(*) FROM erasures") == 0


async def test_a_name_that_only_begins_like_hers_is_somebody_else(owner, database):
    async with database.connect("gateway") as gateway:
        await start(gateway, 50, f"{PERSON}-2", "t", "b")
        await start(gateway, 51, "Zoe_Doe", "t", "b")
    await erase(owner)
    authors = await owner.fetch(
        "SELECT author FROM missions WHERE issue_number IN (50, 51) ORDER BY issue_number"
    )
    assert [row["author"] for row in authors] == [f"{PERSON}-2", "Zoe_Doe"]


async def test_a_pruned_mission_does_not_hide_that_an_outcome_quotes_her(owner):
    await owner.execute(
        "UPDATE missions SET finished_at = now() - interval '500 days' WHERE finished_at IS NOT NULL"
    )
    assert await owner.fetchval("SELECT prune_missions(now() - interval '400 days', 100)") == 5
    await erase(owner)
    assert "agent_memories" not in await tables_with(owner, WORDS)


async def test_what_she_added_to_a_solution_is_found_whatever_was_said_after_it(owner, database):
    async with database.connect("gateway") as gateway:
        fourth = await gateway.fetchval("SELECT id FROM missions WHERE issue_number = 4")
        await note_comment(gateway, fourth, "bob", "No, it was something else")
        await judge_outcome(gateway, fourth, succeeded=False, by="bob: reopened")
        await judge_outcome(gateway, fourth, succeeded=True, by="bob: outcome:success")
    await erase(owner)
    assert "agent_memories" not in await tables_with(owner, WORDS)


async def test_an_outcome_that_repeats_her_is_found_though_what_it_recalled_is_gone(owner, database):
    async with database.agent_pool(AGENT) as pool, database.connect("gateway") as gateway:
        await start(gateway, 60, "bob", "title of Bob", "body of Bob")
        (mission,) = await claim_missions(pool, AGENT, "r", most=1)
        done = Finish("done", solution=f"As in #1 {WORDS}", solution_authors=[PERSON.upper()])
        assert await finish_mission(pool, mission, done)
    await owner.execute("DELETE FROM agent_memories WHERE issue_number < 60")
    await erase(owner)
    assert "agent_memories" not in await tables_with(owner, WORDS)


async def test_the_command_tells_a_person_what_is_gone_and_what_is_not(owner, database):
    code, out, _ = await command(database, "forget", PERSON, "--dry-run")
    assert (code, "would be erased" in out) == (0, True)
    code, out, _ = await command(database, "forget", PERSON)
    assert code == 0
    for words in ("2 missions", "1 memories", "3 outcomes on others' issues", "https://x/2", "no REDIS_URL"):
        assert words in out
    assert "backups and the write-ahead log have lost it by 20" in out
    code, out, _ = await command(database, "forget", PERSON)
    assert (code, "nothing more was found; erased 20" in out) == (0, True)
    code, _, err = await command(database, "forget", "no login; at all")
    assert (code, "is no login" in err) == (1, True)
