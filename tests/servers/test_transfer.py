"""Everything moves between two databases and back, byte for byte, or nothing does."""

from __future__ import annotations

import asyncio
import json
import zipfile
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest

from database.archive import Part, read_archive
from database.backfill import backfill
from database.connect import Connection, open_connection
from database.control import pause
from database.data_commands import RESUME
from database.inbox import Delivery, store_delivery
from database.memory import judge_outcome
from database.missions import Effect, Finish, NewMission, add_mission, claim_missions, finish_mission
from database.owner import open_owner
from database.pull_requests import read_pull_requests
from database.registry import Registration, register_agents
from database.spending import MissionWallet, set_cap
from database.transfer import export, import_archive
from database.vectors import Space, adopt_space
from errors import InputError
from runner.local.embedded import EmbeddedPostgres
from tests.servers.conftest import PASSWORD, Database, fresh_database, make_template
from tests.servers.database_command import command, runner_command, until_blocked
from tests.servers.test_backfill import CLOSED, pull_request, write
from tests.servers.word_embedder import WordEmbedder

AGENTS = ("cloud-architect", "APIs-architect", "secure-ninja")


@pytest.fixture
async def source(database: Database, tmp_path: Path) -> Database:
    """Something in every table: past works, missions in several states, effects, deliveries, money, a pause."""
    await database.register(*AGENTS)
    entries = [
        pull_request(n, AGENTS[n % 2], title=f"tab\t, newline\n, \\N and ümläut {n}") for n in range(1, 40)
    ]
    async with open_owner(database.url("agents_owner")) as owner:
        await adopt_space(owner, Space.of(WordEmbedder()))
        file = write(tmp_path, [*entries, pull_request(40, **CLOSED)])
        await backfill(owner, read_pull_requests(file), "octo/planets", WordEmbedder())
        await owner.execute("INSERT INTO erasures (login_digest) VALUES ('of nobody')")
        await owner.execute("INSERT INTO erased_works (work_digest) VALUES ('of nothing')")
        await owner.execute("INSERT INTO reconciled VALUES ('octo/planets', now())")
        await owner.execute("INSERT INTO last_words VALUES ('octo/planets', 1, 'state', 'closed', now())")
        await owner.execute("INSERT INTO reverts VALUES ('octo/planets', 1, 2, now())")
    async with database.connect("gateway") as gateway:
        for number in range(1, 4):
            delivery = Delivery(
                f"id-{9 - number}", "issues", "octo/planets", {"action": "opened", "number": number}
            )
            await store_delivery(gateway, delivery, f"digest {number}")
            await add_mission(gateway, new_mission(number))
        await set_cap(gateway, "day", Decimal(7))
        await set_cap(gateway, "month", Decimal(70))
        await pause(gateway, "agent:secure-ninja", "alice", "holiday")
        await gateway.execute(
            "INSERT INTO agent_deployments (agent_name, deployment_type, region) VALUES ('secure-ninja', 'pod', 'x')"
        )
        async with database.agent_pool("cloud-architect") as pool:
            first, second = await claim_missions(pool, "cloud-architect", "r1", most=2)
            wallet = MissionWallet(pool, first)
            await wallet.settle(await wallet.reserve(Decimal("0.5")), Decimal("0.123456"))
            effects = [Effect("comment", {"body": "done"})]
            await finish_mission(pool, first, Finish("done", solution="s", effects=effects, recalled=[]))
            await finish_mission(pool, second, Finish("failed", reason="no"))
            await judge_outcome(
                gateway, first.id, succeeded=True, by="alice: closed", solution="so", solution_by="alice"
            )
    return database


def new_mission(number: int) -> NewMission:
    return NewMission(
        repository="octo/planets",
        issue_number=100 + number,
        event="opened",
        title=f"issue {number}",
        body="b",
        labels=["x"],
        author="alice",
        zone="US",
        state="queued",
        agent="cloud-architect",
        embedding="[0.1,0.2]",
        embedding_model="m",
    )


@pytest.fixture
async def target(postgres_server: EmbeddedPostgres) -> AsyncIterator[Database]:
    async with fresh_database(postgres_server) as database:
        yield database


async def exported(database: Database, file: Path, *agents: str) -> tuple[Part, ...]:
    async with open_owner(database.url("agents_owner")) as owner:
        return (await export(owner, file, agents)).manifest.parts


async def imported(database: Database, file: Path) -> bool:
    async with open_owner(database.url("agents_owner")) as owner:
        with read_archive(file) as archive:
            return await import_archive(owner, archive)


async def everything(owner: Connection) -> dict[str, int]:
    """Rows by table."""
    tables = """
    SELECT relname FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
    """
    return {
        row["relname"]: await owner.fetchval(f'SELECT count(*) FROM "{row["relname"]}"')
        for row in await owner.fetch(tables)
    }


async def test_everything_arrives_and_the_way_back_gives_the_same_bytes(
    source, target, tmp_path, postgres_server
):
    there = await exported(source, tmp_path / "there.zip")
    assert {part.table for part in there if part.rows == 0} == set(), "the fixture fills every table"
    assert await imported(target, tmp_path / "there.zip")
    back = await exported(target, tmp_path / "back.zip")
    assert back == there
    async with fresh_database(postgres_server) as home:
        assert await imported(home, tmp_path / "back.zip")
        assert await exported(home, tmp_path / "again.zip") == there


async def test_what_was_worked_elsewhere_comes_back_into_the_first_database(source, target, tmp_path):
    """The commands of docs/data.md, one after the other."""
    there, back = str(tmp_path / "there.zip"), str(tmp_path / "back.zip")
    assert (await runner_command(source, "pause", "all"))[0] == 0
    assert (await command(source, "export", there))[0] == 0
    code, out, _ = await command(target, "import", there)
    assert (code, "agents stay paused" in out, RESUME in out) == (0, True, True)
    async with target.connect("gateway") as gateway, target.agent_pool("cloud-architect") as pool:
        assert await claim_missions(pool, "cloud-architect", "r2", most=5) == []
        assert (await runner_command(target, *RESUME.split()[3:]))[1] == "all goes on\n"
        (mission,) = await claim_missions(pool, "cloud-architect", "r2", most=5)
        await finish_mission(pool, mission, Finish("done", solution="made at the other place"))
        await judge_outcome(gateway, mission.id, succeeded=True, by="alice: closed")
    assert (await runner_command(target, "pause", "all"))[0] == 0
    parts = await exported(target, Path(back))
    code, _, err = await command(source, "import", back)
    assert (code, "rows of its own" in err, "migrate --to 0" in err) == (1, True, True)
    assert (await command(source, "migrate", "--to", "0"))[0] == 0
    assert (await command(source, "migrate"))[0] == 0
    code, out, _ = await command(source, "import", back)
    assert (code, "is complete here" in out, RESUME in out) == (0, True, True)
    assert await exported(source, tmp_path / "again.zip") == parts
    assert (await runner_command(source, "resume", "all"))[1] == "all goes on\n"
    code, out, _ = await command(source, "import", back, "--json")
    report = json.loads(out)
    assert (code, report["imported"], report["paused"]) == (0, False, False)
    async with source.connect_agent("cloud-architect") as agent:
        solved = "SELECT count(*) FROM agent_memories WHERE solution_approach = 'made at the other place'"
        assert await agent.fetchval(solved) == 1


async def test_an_import_says_that_agents_stay_paused_only_where_it_brought_that(source, target, tmp_path):
    file = str(tmp_path / "one.zip")
    await exported(source, Path(file), "cloud-architect")
    assert (await runner_command(target, "pause", "all"))[0] == 0
    code, out, _ = await command(target, "import", file)
    assert (code, "paused" in out) == (0, False), "whoever paused the target knows"
    code, out, _ = await command(target, "import", file, "--json")
    assert (code, json.loads(out)["paused"]) == (0, False)


async def test_every_table_of_the_schema_moves_or_says_why_not(source, tmp_path):
    moved = {part.table for part in await exported(source, tmp_path / "all.zip")}
    async with source.connect("agents_owner") as owner:
        assert set(await everything(owner)) - moved == {"schema_migrations", "imports"}


async def test_a_target_whose_gateway_has_looked_for_lost_webhooks_already_is_still_empty(
    source, target, tmp_path
):
    async with target.connect("gateway") as gateway:
        await gateway.execute("INSERT INTO reconciled VALUES ('octo/moons', now())")
    await exported(source, tmp_path / "all.zip")
    assert await imported(target, tmp_path / "all.zip")


async def test_agents_are_registered_on_arrival_and_see_their_own_rows_alone(source, target, tmp_path):
    await exported(source, tmp_path / "all.zip")
    await imported(target, tmp_path / "all.zip")
    for agent in AGENTS:
        async with source.connect_agent(agent) as there, target.connect_agent(agent) as here:
            query = "SELECT agent_name, id, issue_title FROM agent_memories ORDER BY id"
            rows = await here.fetch(query)
            assert rows == await there.fetch(query)
            assert {row["agent_name"] for row in rows} <= {agent}


async def test_life_goes_on_at_the_target(source, target, tmp_path):
    await exported(source, tmp_path / "all.zip")
    await imported(target, tmp_path / "all.zip")
    async with target.connect("gateway") as gateway, target.agent_pool("cloud-architect") as pool:
        await store_delivery(gateway, Delivery("new", "issues", "octo/planets", {}), "new digest")
        assert not await store_delivery(gateway, Delivery("id-8", "issues", "octo/planets", {}), "other"), (
            "known"
        )
        order = "SELECT delivery_id FROM inbox ORDER BY sequence"
        assert [row[0] for row in await gateway.fetch(order)] == ["id-8", "id-7", "id-6", "new"]
        (mission,) = await claim_missions(pool, "cloud-architect", "r2", most=5)
        assert await finish_mission(pool, mission, Finish("done", solution="s"))


async def test_the_same_import_again_changes_nothing(source, target, tmp_path):
    await exported(source, tmp_path / "all.zip")
    assert await imported(target, tmp_path / "all.zip")
    async with target.connect("agents_owner") as owner:
        before = await everything(owner)
        assert not await imported(target, tmp_path / "all.zip")
        assert await everything(owner) == before


async def test_many_agents_are_registered_in_steps_and_taken_back_where_the_import_fails(
    source, target, tmp_path, monkeypatch
):
    monkeypatch.setattr("database.arrivals.AT_ONCE", 1)
    await exported(source, tmp_path / "all.zip")
    async with target.connect("agents_owner") as owner, target.connect("postgres") as other:
        before = await everything(owner)
        async with other.transaction():
            await other.execute("SELECT FROM spending_caps FOR UPDATE")
            importing = asyncio.create_task(imported(target, tmp_path / "all.zip"))
            await until_blocked(other)
            assert await owner.fetchval("SELECT count(*) FROM agents") == len(AGENTS) - 1
            importing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await importing
        assert await everything(owner) == before
        partitions = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'agent_memories'::regclass"
        assert await owner.fetchval(partitions) == 0
    assert await imported(target, tmp_path / "all.zip")


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (("secure-ninja", "other"), "agent 'secure-ninja' is registered with another role ('agent-other')"),
        (
            ("other", "secure-ninja"),
            "the role 'agent-secure-ninja' of agent 'secure-ninja' is registered for an",
        ),
    ],
)
async def test_an_agent_that_is_known_with_another_role_is_named_and_nothing_comes(
    source, target, tmp_path, known, words
):
    name, resource = known
    await exported(source, tmp_path / "all.zip")
    async with target.connect("agents_owner") as owner:
        await register_agents(owner, [Registration(name, resource, "s", "0")])
        before = await everything(owner)
        code, _, err = await command(target, "import", str(tmp_path / "all.zip"))
        assert (code, words in err, "Fix: " in err, "Traceback" in err) == (1, True, True, False)
        assert await everything(owner) == before


async def test_an_agent_is_registered_with_one_role_only(target):
    async with target.connect("agents_owner") as owner:
        await register_agents(owner, [Registration("secure-ninja", "secure-ninja", "s", "0")])
        with pytest.raises(InputError, match="registered with another role"):
            await register_agents(owner, [Registration("secure-ninja", "other", "s", "0")])


async def test_a_target_with_data_of_its_own_is_refused_and_left_alone(source, target, tmp_path):
    await exported(source, tmp_path / "all.zip")
    await target.register("cloud-architect")
    async with target.connect("gateway") as gateway, target.connect("agents_owner") as owner:
        await add_mission(gateway, new_mission(7))
        before = await everything(owner)
        with pytest.raises(InputError, match="1 rows of its own in missions"):
            await imported(target, tmp_path / "all.zip")
        assert await everything(owner) == before


async def test_a_registered_fleet_without_work_is_no_obstacle_and_other_agents_stay(source, target, tmp_path):
    await target.register("secure-ninja", "newcomer", "cloud-architect")
    await exported(source, tmp_path / "all.zip")
    assert await imported(target, tmp_path / "all.zip")
    async with target.connect("agents_owner") as owner:
        names = [row[0] for row in await owner.fetch("SELECT agent_name FROM agents ORDER BY 1")]
        assert names == sorted([*AGENTS, "newcomer"])


async def test_one_agent_moves_with_all_that_is_its_own_and_nothing_else(source, target, tmp_path):
    parts = await exported(source, tmp_path / "one.zip", "cloud-architect")
    async with source.connect("agents_owner") as owner:
        memories = await owner.fetchval(
            "SELECT count(*) FROM agent_memories WHERE agent_name = 'cloud-architect'"
        )
    assert {part.table: part.rows for part in parts} == {
        "agents": 1,
        "agent_deployments": 0,
        "agent_memories": memories,
        "agent_memory_embeddings": memories - 3,  # two failures, and one success that waits for its vector
        "agent_performance": 1,
        "missions": 3,
        "outbox": 4,
        "spending": 1,
        "spending_totals": 1,
    }
    await target.register("APIs-architect")
    async with target.connect("gateway") as gateway:
        await add_mission(
            gateway, NewMission("o/r", 1, "opened", "t", "", [], "a", "US", "queued", "APIs-architect")
        )
    assert await imported(target, tmp_path / "one.zip"), "another agent's rows are no obstacle"
    assert await exported(target, tmp_path / "back.zip", "cloud-architect") == parts


async def test_an_agent_that_has_rows_at_the_target_is_not_moved_over_them(source, target, tmp_path):
    await exported(source, tmp_path / "one.zip", "cloud-architect")
    await target.register("cloud-architect")
    async with target.connect("gateway") as gateway:
        await add_mission(gateway, new_mission(9))
    with pytest.raises(InputError, match="rows of its own in missions"):
        await imported(target, tmp_path / "one.zip")


async def test_an_unknown_agent_is_no_export(source, tmp_path):
    with pytest.raises(InputError, match="no agent is called 'nobody'"):
        await exported(source, tmp_path / "one.zip", "nobody")
    assert list(tmp_path.glob("one.zip*")) == []


def rewrite(file: Path, change: dict[str, bytes | None]) -> None:
    """The archive with members replaced, or left out where None."""
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in {**members, **change}.items():
            if content is not None:
                archive.writestr(name, content)


async def test_a_changed_byte_is_found_before_anything_is_written(source, target, tmp_path):
    file = tmp_path / "all.zip"
    await exported(source, file)
    with zipfile.ZipFile(file) as archive:
        pauses = archive.read("pauses")
    rewrite(file, {"pauses": pauses.replace(b"holiday", b"holidaz")})
    with pytest.raises(InputError, match="the checksum of pauses is wrong"):
        await imported(target, file)


@pytest.mark.parametrize(
    "damage", ["cut", "no manifest", "no table", "not a zip", "other format", "odd manifest"]
)
async def test_a_damaged_file_is_refused(source, target, tmp_path, damage):
    file = tmp_path / "all.zip"
    await exported(source, file)
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-200])
    elif damage == "not a zip":
        file.write_bytes(b"hello")
    elif damage == "no table":
        rewrite(file, {"missions": None})
    elif damage == "other format":
        with zipfile.ZipFile(file) as archive:
            manifest = json.loads(archive.read("manifest.json"))
        rewrite(file, {"manifest.json": json.dumps({**manifest, "format": 99}).encode()})
    else:
        rewrite(file, {"manifest.json": None if damage == "no manifest" else b'["x"]'})
    with pytest.raises(
        InputError, match=r"all\.zip: it (is damaged|is no complete export|has another format)"
    ):
        await imported(target, file)
    async with target.connect("agents_owner") as owner:
        assert await owner.fetchval("SELECT count(*) FROM agent_memories") == 0


async def test_rows_that_change_on_their_way_in_undo_the_import(source, target, tmp_path):
    await exported(source, tmp_path / "all.zip")
    async with target.connect("agents_owner") as owner:
        await owner.execute(
            """
            CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN NEW.reason := 'spoilt'; RETURN NEW; END $$;
            CREATE TRIGGER spoil BEFORE INSERT ON missions FOR EACH ROW EXECUTE FUNCTION spoil()
            """
        )
        with pytest.raises(InputError, match="missions arrived as 3 rows with another checksum"):
            await imported(target, tmp_path / "all.zip")
        assert await owner.fetchval("SELECT count(*) FROM agent_memories") == 0
        assert await owner.fetchval("SELECT count(*) FROM agents") == 0


async def test_a_target_with_an_older_schema_is_told_to_migrate(source, target, tmp_path):
    await exported(source, tmp_path / "all.zip")
    async with target.connect("agents_owner") as owner:
        await owner.execute("ALTER TABLE missions DROP COLUMN person_comment")
    with pytest.raises(
        InputError, match=r"missions.person_comment does not exist.*python -m database migrate"
    ):
        await imported(target, tmp_path / "all.zip")


async def test_an_export_never_replaces_a_file_and_is_private(source, tmp_path):
    file = tmp_path / "all.zip"
    await exported(source, file)
    assert file.stat().st_mode & 0o077 == 0
    with pytest.raises(InputError, match="it exists already"):
        await exported(source, file)
    with pytest.raises(InputError, match="cannot be written"):
        await exported(source, tmp_path / "no" / "such" / "folder.zip")


async def test_an_export_is_of_one_moment(source, tmp_path):
    async with source.connect("postgres") as other:
        async with other.transaction():
            await other.execute("LOCK TABLE missions")
            export_task = asyncio.create_task(exported(source, tmp_path / "a.zip"))
            await until_blocked(other)
            await add_mission(other, new_mission(55))
        rows = {part.table: part.rows for part in await export_task}
        assert rows["missions"] == 3
        assert await other.fetchval("SELECT count(*) FROM missions") == 4


async def test_an_older_server_takes_what_a_newer_one_gave_and_gives_it_back(
    source, tmp_path, postgres_server
):
    there = await exported(source, tmp_path / "there.zip")
    old = EmbeddedPostgres(tmp_path / "pg16" / "data", password=PASSWORD, durable=False, version=16)
    await old.start()
    try:
        await make_template(old)
        async with fresh_database(old) as target:
            async with open_connection(target.url("agents_owner")) as owner:
                assert owner.get_server_version().major == 16
            assert await imported(target, tmp_path / "there.zip")
            assert await exported(target, tmp_path / "back.zip") == there
        async with fresh_database(postgres_server) as home:
            assert await imported(home, tmp_path / "back.zip")
    finally:
        await old.stop()


async def test_the_commands_tell_what_moved(source, target, tmp_path):
    file = str(tmp_path / "all.zip")
    code, out, _ = await command(source, "export", file)
    assert code == 0
    assert "1 missions are not finished: stop this side before the other one starts" in out
    code, out, _ = await command(target, "import", file)
    assert (code, "is complete here" in out) == (0, True)
    code, out, _ = await command(target, "import", file, "--json")
    assert (code, json.loads(out)["imported"]) == (0, False)
    code, _, err = await command(source, "export", file)
    assert code == 1
    assert err == f"{file}: it exists already. Fix: choose another name, or remove it\n"


async def test_a_role_that_policies_bind_cannot_export(source, tmp_path):
    code, _, err = await command(
        source, "export", str(tmp_path / "a.zip"), DATABASE_URL=source.agent_url("cloud-architect")
    )
    assert code == 1
    assert "policies hide rows from this role" in err
