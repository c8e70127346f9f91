"""The model of all memories changes while agents recall: nothing is compared across models, nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from database.backfill import backfill
from database.connect import Connection
from database.current_embedder import CurrentEmbedder
from database.embeddings.protocol import Embedder
from database.inbox import take_deliveries
from database.memory import Embedded, judge_outcome, recall, store_embedding, unembedded, vector_text
from database.missions import NewMission, add_mission, claim_missions
from database.owner import open_owner
from database.pull_requests import read_pull_requests
from database.reembed import reembed
from database.vectors import Space, adopt_space, current_space
from errors import EmbeddingMismatch, SettingsError, Unavailable
from runner.local.embedded import EmbeddedRedis
from tests.servers.conftest import Database
from tests.servers.database_command import command, until_blocked
from tests.servers.memories import remember
from tests.servers.test_backfill import pull_request, write
from tests.servers.test_embeddings_openai import KEY, Api, api  # noqa: F401 - a fixture
from tests.servers.word_embedder import WordEmbedder

AGENT = "cloud-architect"
OLD = WordEmbedder("old", 8)
WORKS = 30
COUNT = "SELECT count(*) FROM agent_memory_embeddings WHERE model = $1 AND dimension = $2 AND version = $3"


@pytest.fixture
async def owner(database: Database, tmp_path) -> AsyncIterator[Connection]:
    """An agent with thirty successes in the space of OLD."""
    await database.register(AGENT, "secure-ninja")
    file = write(tmp_path, [pull_request(n, AGENT if n % 3 else "secure-ninja") for n in range(1, WORKS + 1)])
    async with open_owner(database.url("agents_owner")) as connection:
        await adopt_space(connection, Space.of(OLD))
        await backfill(connection, read_pull_requests(file), "octo/planets", OLD)
        yield connection


async def count_in(connection: Connection, embedder: Embedder) -> int:
    count: int = await connection.fetchval(COUNT, embedder.model, embedder.dimension, embedder.version)
    return count


async def recalled_in(database: Database, embedder: Embedder) -> int:
    """How many an agent recalls with a vector of the embedder's space."""
    title, body = "Case 1", "What was done in case 1"
    (vector,) = await embedder.embed([f"{title}\n{body}"])
    embedded = Embedded(vector_text(vector), embedder.model, embedder.version)
    async with database.agent_pool(AGENT) as pool:
        return len(await recall(pool, AGENT, title=title, body=body, embedded=embedded, threshold=0.0))


async def test_every_memory_comes_into_the_new_space_and_the_former_vectors_go(owner, database):
    new = WordEmbedder("new", 12)
    done = await reembed(owner, new)
    assert (done.former, done.current) == (Space.of(OLD), Space.of(new))
    assert (done.embedded, done.removed) == (WORKS, WORKS)
    assert await current_space(owner) == Space.of(new)
    assert (await count_in(owner, OLD), await count_in(owner, new)) == (0, WORKS)
    assert await recalled_in(database, new) == 5


async def test_agents_recall_in_the_former_space_until_the_switch(owner, database):
    recalled = []

    async def look(batch: int) -> None:
        recalled.append((await recalled_in(database, OLD), await count_in(owner, OLD)))

    await reembed(owner, WordEmbedder("new", 12, before_batch=look))
    assert recalled == [(5, WORKS)] * 2, "one batch an agent"


async def test_vectors_of_two_models_are_never_compared(owner, database):
    new = WordEmbedder("new", 8)
    await reembed(owner, new, keep_former=True)
    assert (await count_in(owner, OLD), await count_in(owner, new)) == (WORKS, WORKS)
    with pytest.raises(EmbeddingMismatch):
        await recalled_in(database, OLD)
    assert await recalled_in(database, new) == 5


@pytest.mark.parametrize("new", [WordEmbedder("old", 12), WordEmbedder("old", 8, "2")])
async def test_another_dimension_or_version_of_the_same_model_is_another_space(owner, database, new):
    done = await reembed(owner, new, keep_former=True)
    assert done.embedded == WORKS
    assert (await count_in(owner, OLD), await count_in(owner, new)) == (WORKS, WORKS)
    with pytest.raises(EmbeddingMismatch):
        await recalled_in(database, OLD)


async def test_the_way_back_needs_no_embedding_where_the_former_vectors_were_kept(owner, database):
    await reembed(owner, WordEmbedder("new", 12), keep_former=True)
    done = await reembed(owner, OLD)
    assert (done.embedded, done.removed) == (0, WORKS)
    assert await recalled_in(database, OLD) == 5


async def test_a_second_run_finds_nothing_to_do(owner):
    new = WordEmbedder("new", 12)
    await reembed(owner, new)
    done = await reembed(owner, new)
    assert (done.embedded, done.missions, done.removed) == (0, 0, 0)


async def accept(gateway: Connection, number: int, embedder: Embedder) -> None:
    """A mission as a gateway stores it."""
    (vector,) = await embedder.embed([f"t {number}\nb"])
    await add_mission(
        gateway,
        NewMission(
            repository="octo/planets",
            issue_number=number,
            event="opened",
            title=f"t {number}",
            body="b",
            labels=[],
            author="alice",
            zone="US",
            state="queued",
            agent=AGENT,
            embedding=vector_text(vector),
            embedding_model=embedder.model,
            embedding_version=embedder.version,
        ),
    )


MISSIONS = (
    "SELECT embedding_model, embedding_version, vector_dims(embedding) FROM missions ORDER BY issue_number"
)


async def test_missions_that_are_not_finished_are_brought_along(owner, database):
    async with database.connect("gateway") as gateway, database.agent_pool(AGENT) as pool:
        await accept(gateway, 900, OLD)
        await claim_missions(pool, AGENT, "r", most=1)
        await accept(gateway, 901, OLD)
    assert (await reembed(owner, WordEmbedder("new", 12))).missions == 2
    assert [tuple(row) for row in await owner.fetch(MISSIONS)] == [("new", "1", 12)] * 2


async def test_missions_that_are_accepted_meanwhile_are_brought_along(owner, database):
    """One while memories are embedded, one while missions are, one that a gateway is storing at the switch."""
    async with database.connect("gateway") as gateway, database.connect("postgres") as watcher:
        storing = gateway.transaction()
        embedded_by_hand = WordEmbedder("old", 8)

        async def meanwhile(batch: int) -> None:
            if batch == 1:
                await accept(gateway, 900, embedded_by_hand)
            if batch == 3:  # the two agents' memories are done; this is mission 900
                await accept(gateway, 901, embedded_by_hand)
                await storing.start()
                await take_deliveries(gateway, 5)
                await accept(gateway, 902, embedded_by_hand)

        switching = asyncio.create_task(reembed(owner, WordEmbedder("new", 12, before_batch=meanwhile)))
        await until_blocked(watcher)
        await storing.commit()
        assert (await switching).missions == 3
        assert [tuple(row) for row in await gateway.fetch(MISSIONS)] == [("new", "1", 12)] * 3


async def test_what_is_learned_meanwhile_is_not_left_behind(owner, tmp_path, database):
    async def learn(batch: int) -> None:
        if batch == 2:  # the first agent is done already
            file = write(tmp_path, [pull_request(99, AGENT)])
            async with open_owner(database.url("agents_owner")) as other:
                await backfill(other, read_pull_requests(file), "octo/planets", OLD)

    new = WordEmbedder("new", 12, before_batch=learn)
    assert (await reembed(owner, new)).embedded == WORKS + 1
    assert await count_in(owner, new) == WORKS + 1


async def test_what_is_proven_only_after_the_switch_is_not_left_behind(owner, database):
    """It was stored with a vector of the former space, which has the model's name but another dimension."""
    mission = uuid4()
    old, new = Space.of(OLD), WordEmbedder(OLD.model, 12)
    async with database.pool("gateway") as pool, database.connect("gateway") as gateway:
        (vector,) = await OLD.embed(["Proven late"])
        embedded = Embedded(vector_text(vector), old.model, old.version)
        memory = await remember(
            pool, AGENT, "Proven late", state="pending", mission=mission, embedded=embedded
        )
        await reembed(owner, new, keep_former=True)
        assert await unembedded(pool, Space.of(new), 5) == []

        await judge_outcome(gateway, mission, succeeded=True, by="merged")

        assert [each.memory_id for each in await unembedded(pool, Space.of(new), 5)] == [memory]


async def test_one_at_a_time(owner, database):
    async def again(batch: int) -> None:
        async with open_owner(database.url("agents_owner")) as other:
            with pytest.raises(Unavailable, match="another `reembed` is at it"):
                await reembed(other, WordEmbedder("third", 4))

    await reembed(owner, WordEmbedder("new", 12, before_batch=again))


async def test_a_vector_of_another_space_is_refused_with_the_command_that_changes_all(owner, database):
    async with database.connect("gateway") as gateway, database.pool("gateway") as pool:
        await owner.execute(
            "DELETE FROM agent_memory_embeddings WHERE memory_id = (SELECT min(id::text)::uuid FROM agent_memories)"
        )
        (memory,) = await unembedded(pool, Space.of(OLD), 5)
        with pytest.raises(
            EmbeddingMismatch,
            match=r"embedded with old \(dimension 8.*`python -m database reembed --to MODEL`",
        ):
            await store_embedding(gateway, memory, model="new", version="1", embedding=[1.0] * 12)
        assert await unembedded(pool, Space.of(OLD), 5) == [memory]


async def test_a_process_with_another_model_is_refused_at_its_start(owner, database):
    async with database.pool("gateway") as pool:
        wrong = CurrentEmbedder(WordEmbedder("new", 12), reopen=must_not_reopen)
        with pytest.raises(SettingsError, match=r"embedded with old .*reembed --to openai:new:12"):
            await wrong.embed(pool, ["text"])
        with pytest.raises(SettingsError):
            await wrong.embed(pool, ["text"])


async def must_not_reopen(model: str) -> Embedder:
    raise AssertionError(model)


async def test_a_running_process_follows_the_switch(owner, database):
    asked = []

    async def reopen(model: str) -> Embedder:
        asked.append(model)
        return WordEmbedder("new", 12)

    async with database.pool("gateway") as pool:
        current = CurrentEmbedder(OLD, reopen)
        assert (await current.embed(pool, ["text"]))[0] == Space.of(OLD)
        await reembed(owner, WordEmbedder("new", 12))
        space, vectors = await current.embed(pool, ["text"])
        assert (space, len(vectors[0])) == (Space("new", 12, "1"), 12)
        assert asked == ["openai:new:12"]


async def test_what_still_computes_in_the_former_space_keeps_nobody_there_and_is_let_finish(owner, database):
    computing, go_on = asyncio.Event(), asyncio.Event()

    async def slow(batch: int) -> None:
        if batch == 2:
            computing.set()
            await go_on.wait()

    class Closing(WordEmbedder):
        closed = False

        async def close(self) -> None:
            self.closed = True

    async def reopen(model: str) -> Embedder:
        return WordEmbedder("new", 12)

    former = Closing("old", 8, before_batch=slow)
    async with database.pool("gateway") as pool:
        current = CurrentEmbedder(former, reopen)
        await current.embed(pool, ["text"])
        first = asyncio.create_task(current.embed(pool, ["text"]))
        await computing.wait()
        await reembed(owner, WordEmbedder("new", 12))
        assert (await current.embed(pool, ["text"]))[0] == Space("new", 12, "1")
        assert not former.closed
        go_on.set()
        assert (await first)[0] == Space.of(OLD)
        assert former.closed


async def test_the_first_process_decides_which_model_is_current(database):
    async with database.pool("gateway") as pool:
        assert await current_space(pool) is None
        await CurrentEmbedder(OLD, must_not_reopen).embed(pool, ["text"])
        assert await current_space(pool) == Space.of(OLD)


async def test_the_command_goes_to_the_service_and_tells_what_it_did(owner, database, api: Api):  # noqa: F811
    where = {
        "EMBEDDING_ENDPOINTS": f"US={api.url}",
        "EMBEDDING_ENDPOINT": api.url,
        "OPENAI_API_KEY": KEY,
    }
    code, out, err = await command(database, "reembed", "--to", "openai:text-embedding-3-small:64", **where)
    assert (code, err) == (0, "")
    assert (
        "memories are embedded with text-embedding-3-small (dimension 64, version 1), before with old" in out
    )
    assert "set EMBEDDING_MODEL=openai:text-embedding-3-small:64 for their next start" in out
    assert await current_space(owner) == Space("text-embedding-3-small", 64, "1")
    assert sum(len(request["input"]) for request in api.requests) == WORKS


async def test_what_redis_knows_is_neither_computed_nor_paid_again(
    owner,
    database,
    tmp_path,
    redis_server: EmbeddedRedis,
    api: Api,  # noqa: F811
):
    where = {
        "EMBEDDING_ENDPOINTS": f"US={api.url}",
        "EMBEDDING_ENDPOINT": api.url,
        "EMBEDDING_MODEL": "openai:text-embedding-3-small:64",
        "OPENAI_API_KEY": KEY,
        "REDIS_URL": redis_server.url,
    }
    async with Redis.from_url(redis_server.url) as redis:
        await redis.flushall()
    assert (await command(database, "reembed", "--to", where["EMBEDDING_MODEL"], **where))[0] == 0
    asked = len(api.requests)
    assert asked > 0
    for again in (
        ("reembed", "--to", where["EMBEDDING_MODEL"]),
        ("backfill", str(tmp_path / "pull_requests.json"), "--repository", "octo/planets"),
    ):
        await owner.execute("DELETE FROM agent_memory_embeddings")
        code, out, err = await command(database, *again, **where)
        assert (code, f"{WORKS} embedded" in out, err) == (0, True, "")
        assert len(api.requests) == asked


async def test_a_model_that_nobody_knows_changes_nothing(owner, database):
    code, out, err = await command(database, "reembed", "--to", "bert")
    assert (code, out) == (1, "")
    assert "'bert', which is no known model" in err
    assert await current_space(owner) == Space.of(OLD)
