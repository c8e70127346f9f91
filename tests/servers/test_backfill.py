"""Past pull requests become memories: merged ones can be recalled, and a file counts once or not at all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench.memory.ours import past_outcome
from database.backfill import Backfilled, backfill
from database.connect import Connection
from database.forget import forget
from database.memory import agent_stats
from database.missions import Finish, NewMission, add_mission, claim_missions, finish_mission
from database.outcomes import add_outcomes
from database.owner import open_owner
from database.performance import dashboard
from database.pull_requests import read_pull_requests
from database.retention import load_retention, prune
from database.reverts import reverted_by
from database.vectors import Space, add_vectors, adopt_space
from errors import HistoryError, SettingsError, Unavailable
from runner.gateway.learn import learn_from_pull_request
from tests.servers.conftest import Database
from tests.servers.database_command import command, on_terminal
from tests.servers.memories import remember
from tests.servers.word_embedder import WordEmbedder

REPOSITORY = "octo/planets"
AGENTS = ("cloud-architect", "APIs-architect", "secure-ninja")


def pull_request(number: int, agent: str | None = "cloud-architect", **more: object) -> dict[str, object]:
    labels = [{"name": "bug"}, *([{"name": f"agent:{agent}"}] if agent else [])]
    return {
        "number": number,
        "title": f"Case {number}",
        "body": f"What was done in case {number}",
        "labels": labels,
        "files": [{"path": f"src/case_{number}.py"}],
        "state": "MERGED",
        "createdAt": "2026-01-01T10:00:00Z",
        "mergedAt": "2026-01-01T10:30:00Z",
        **more,
    }


CLOSED = {"state": "CLOSED", "mergedAt": None, "closedAt": "2026-01-02T00:00:00Z"}


def write(folder: Path, entries: object) -> Path:
    file = folder / "pull_requests.json"
    file.write_text(json.dumps(entries))
    return file


async def run(
    owner: Connection, folder: Path, entries: list[dict[str, object]], embedder: WordEmbedder | None = None
) -> Backfilled:
    return await backfill(
        owner, read_pull_requests(write(folder, entries)), REPOSITORY, embedder or WordEmbedder()
    )


@pytest.fixture
async def owner(database: Database) -> AsyncIterator[Connection]:
    await database.register(*AGENTS)
    async with open_owner(database.url("agents_owner")) as connection:
        yield connection


async def test_a_merged_work_is_a_success_that_its_agent_alone_can_read(owner, database, tmp_path):
    done = await run(owner, tmp_path, [pull_request(1)])
    assert (done.works, done.succeeded, done.failed, done.embedded, done.skipped) == (1, 1, 0, 1, {})
    async with database.connect_agent("cloud-architect") as agent:
        row = await agent.fetchrow("SELECT * FROM agent_memories")
        assert row["issue_title"] == "Case 1"
        assert row["solution_approach"] == (
            "Pull request #1 merged. It changed src/case_1.py.\n\nWhat was done in case 1"
        )
        assert (row["pr_number"], row["pr_merged"], row["resolution_time_minutes"]) == (1, True, 30)
        assert row["issue_labels"] == ["bug"]
        assert await agent.fetchval("SELECT count(*) FROM agent_memory_embeddings") == 1
    async with database.connect_agent("secure-ninja") as other:
        assert await other.fetchval("SELECT count(*) FROM agent_memories") == 0


async def test_a_work_that_was_closed_unmerged_is_a_failure_that_nobody_recalls(owner, database, tmp_path):
    done = await run(owner, tmp_path, [pull_request(1, **CLOSED)])
    assert (done.succeeded, done.failed, done.embedded) == (0, 1, 0)
    async with database.connect_agent("cloud-architect") as agent:
        assert await agent.fetchval("SELECT count(*) FROM agent_memories") == 0


async def test_the_statistics_follow(owner, tmp_path):
    await run(owner, tmp_path, [pull_request(1), pull_request(2), pull_request(3, **CLOSED)])
    row = await owner.fetchrow("SELECT * FROM agent_performance WHERE agent_name = 'cloud-architect'")
    assert (row["total_missions"], row["successful_missions"], row["failed_missions"]) == (3, 2, 1)
    assert row["avg_resolution_time_minutes"] is None, "how long a pull request was open is no mission's time"


async def test_the_mean_time_of_missions_is_theirs_alone(owner, database, tmp_path):
    await run(owner, tmp_path, [pull_request(1), pull_request(2)])
    async with database.pool("gateway") as pool:
        await remember(pool, "cloud-architect", "one", minutes=6)
        await run(owner, tmp_path, [pull_request(3)])
        await remember(pool, "cloud-architect", "two", minutes=2)
        assert (await agent_stats(pool, "cloud-architect")).avg_resolution_time_minutes == pytest.approx(4)
        figures = await dashboard(pool)
    week = figures["trends"]["all"][-1]
    assert week["minutes"] == pytest.approx(4)
    assert (await owner.fetchval("SELECT sum(timed_missions) FROM agent_performance")) == 2


async def test_what_is_skipped_is_told_with_its_reason(owner, tmp_path):
    done = await run(
        owner,
        tmp_path,
        [
            pull_request(1, None),
            pull_request(2, "nobody"),
            pull_request(3, state="OPEN", mergedAt=None),
            {key: value for key, value in pull_request(4, mergedAt=None).items() if key != "state"},
            pull_request(5),
            pull_request(5),
        ],
    )
    assert done.succeeded == 1
    assert {reason.split(" (")[0]: list(numbers) for reason, numbers in done.skipped.items()} == {
        "no agent:<name> label": [1],
        "unknown agent nobody": [2],
        "still open": [3],
        "neither merged nor closed, as far as the file says": [4],
        "listed twice": [5],
    }


async def test_the_same_file_again_adds_nothing_and_a_longer_one_only_what_is_new(owner, tmp_path):
    await run(owner, tmp_path, [pull_request(1)])
    again = await run(owner, tmp_path, [pull_request(1)])
    assert (again.succeeded, again.embedded, again.skipped) == (0, 0, {"stored before": [1]})
    longer = await run(owner, tmp_path, [pull_request(1), pull_request(2)])
    assert (longer.succeeded, longer.embedded) == (1, 1)
    assert await owner.fetchval("SELECT count(*) FROM agent_memories") == 2
    assert await owner.fetchval("SELECT sum(total_missions) FROM agent_performance") == 2


async def test_two_runs_at_once_store_each_work_once(owner, database, tmp_path):
    entries = [pull_request(number) for number in range(1, 50)]
    async with open_owner(database.url("agents_owner")) as other:
        await asyncio.gather(run(owner, tmp_path, entries), run(other, tmp_path, entries))
    assert await owner.fetchval("SELECT count(*) FROM agent_memories") == 49
    assert await owner.fetchval("SELECT sum(total_missions) FROM agent_performance") == 49


async def test_a_reverted_work_is_a_failure_whether_the_revert_comes_in_the_same_file_or_later(
    owner, tmp_path
):
    reverting = {"title": 'Revert "Case 1"', "body": "Reverts octo/planets#1"}
    await run(owner, tmp_path, [pull_request(1), pull_request(2)])
    later = await run(
        owner,
        tmp_path,
        [pull_request(3, None, **reverting), pull_request(4), pull_request(5, None, body="Reverts #4")],
    )
    assert (later.reverted, later.succeeded, later.failed) == (1, 0, 1)
    states = await owner.fetch("SELECT issue_number, state FROM agent_memories ORDER BY 1")
    assert [tuple(row) for row in states] == [(1, "failed"), (2, "succeeded"), (4, "failed")]
    assert await owner.fetchval("SELECT count(*) FROM agent_memory_embeddings WHERE recallable") == 1
    row = await owner.fetchrow("SELECT * FROM agent_performance WHERE agent_name = 'cloud-architect'")
    assert (row["total_missions"], row["successful_missions"], row["failed_missions"]) == (3, 1, 2)


@pytest.mark.parametrize(
    ("body", "numbers", "commits"),
    [
        ("Reverts #12", (12,), ()),
        ("Reverts octo/planets#12", (12,), ()),
        ("Reverts Octo/Planets#12\r\n\r\nIt broke the build.", (12,), ()),
        ("Reverts https://github.com/octo/planets/pull/12.", (12,), ()),
        ("Reverts #12\nReverts #13\n\n- Reverts #14", (12, 13, 14), ()),
        ("Reverts #12, #13 and octo/planets#14", (12, 13, 14), ()),
        ("This reverts pull request #12.", (12,), ()),
        ("Reverts #12\nReverts #12", (12,), ()),
        (f"Revert it\n\nThis reverts commit {'ab' * 20}.", (), ("ab" * 20,)),
        ("This reverts commits abcdef1 and octo/planets@ABCDEF2", (), ("abcdef1", "abcdef2")),
        ("This reverts commit https://github.com/octo/planets/commit/abcdef1", (), ("abcdef1",)),
        ("Reverts other/planets#12", (), ()),
        ("Reverts other/planets#12\nReverts octo/planets#13", (13,), ()),
        ("Reverts https://github.com/other/planets/pull/12", (), ()),
        ("This reverts commit other/planets@abcdef1", (), ()),
        ("It is not yet clear whether this reverts #12", (), ()),
        ("> see #12\nReverts the decision of #13", (), ()),
        ("<!-- say what it reverts:\nReverts #12\n-->", (), ()),
        ("Reverts #12345678901", (), ()),
        ("", (), ()),
    ],
)
def test_what_a_body_takes_back(body, numbers, commits):
    reverted = reverted_by(body, REPOSITORY)
    assert (reverted.numbers, reverted.commits) == (numbers, commits)


async def test_every_work_that_one_body_reverts_is_a_failure_and_no_work_of_another_repository(
    owner, tmp_path
):
    body = "Reverts #1\nReverts octo/planets#2\nReverts other/planets#3"
    done = await run(
        owner, tmp_path, [pull_request(1), pull_request(2), pull_request(3), pull_request(9, None, body=body)]
    )
    assert (done.succeeded, done.failed) == (1, 2)
    assert await states_of(owner) == {1: "failed", 2: "failed", 3: "succeeded"}


async def states_of(owner: Connection) -> dict[int, str]:
    rows = await owner.fetch("SELECT issue_number, state FROM agent_memories")
    return {row["issue_number"]: row["state"] for row in rows}


@pytest.mark.parametrize("newest_first", [True, False])
async def test_a_revert_counts_wherever_it_stands_in_a_file_and_in_whichever_file(
    owner, tmp_path, newest_first
):
    works = [pull_request(1), pull_request(2), pull_request(3, None, body="Reverts #1")]
    await run(owner, tmp_path, works[::-1] if newest_first else works)
    assert await states_of(owner) == {1: "failed", 2: "succeeded"}
    # A long history is loaded in parts, as `gh` prints it: the newest first.
    await run(owner, tmp_path, [pull_request(13, None, body="Reverts #11")])
    await run(owner, tmp_path, [pull_request(11), pull_request(12)])
    assert await states_of(owner) == {1: "failed", 2: "succeeded", 11: "failed", 12: "succeeded"}


async def test_a_revert_may_name_the_commit_of_the_merge(owner, tmp_path):
    commit = "0123456789" * 4
    reverting = pull_request(3, None, body="This reverts commit 0123456789.")
    await run(owner, tmp_path, [reverting, pull_request(1, mergeCommit={"oid": commit}), pull_request(2)])
    assert await states_of(owner) == {1: "failed", 2: "succeeded"}


async def test_a_revert_that_was_closed_unmerged_takes_nothing_back(owner, tmp_path):
    await run(owner, tmp_path, [pull_request(1), pull_request(2, None, **CLOSED, body="Reverts #1")])
    assert await states_of(owner) == {1: "succeeded"}


async def test_what_is_older_than_memories_are_kept_is_skipped_and_said(owner, database, tmp_path):
    recent = datetime.now(UTC).isoformat()
    file = write(tmp_path, [pull_request(1), pull_request(2, createdAt=recent, mergedAt=recent)])
    code, out, _ = await command(database, "backfill", str(file), "--json", MEMORIES_DAYS="30")
    assert code == 0
    assert json.loads(out)["skipped"] == {"older than memories are kept (MEMORIES_DAYS=30)": [1]}
    assert list(await states_of(owner)) == [2]
    assert "agent_memories" not in (await prune(owner, load_retention({"MEMORIES_DAYS": "30"})) or ())


async def test_an_erased_work_does_not_come_back_with_whatever_file_and_however_late(owner, tmp_path):
    entries = [pull_request(1, author={"login": "zoe"}), pull_request(2, author={"login": "bob"})]
    await run(owner, tmp_path, entries)
    await forget(owner, "zoe", load_retention({}), None)
    await owner.execute("DELETE FROM erasures")  # as once the last backup is gone
    for again in (entries, [pull_request(1), pull_request(2)], [pull_request(1, "secure-ninja")]):
        done = await run(owner, tmp_path, again)
        assert (done.succeeded, done.skipped["it or its author was erased"]) == (0, [1])
    assert await owner.fetchval("SELECT count(*) FROM agent_memories WHERE erased_at IS NULL") == 1


async def reverts_of(owner: Connection) -> list[tuple[int, int]]:
    rows = await owner.fetch("SELECT number, reverted_by FROM reverts ORDER BY number")
    return [(row["number"], row["reverted_by"]) for row in rows]


async def test_that_an_erased_work_was_reverted_is_erased_too_and_noted_no_more(owner, database, tmp_path):
    reverting = pull_request(3, None, body="Reverts #1, #2 and #5")
    entries = [pull_request(1, author={"login": "zoe"}), pull_request(2, author={"login": "bob"}), reverting]
    await run(owner, tmp_path, entries)
    assert await reverts_of(owner) == [(1, 3), (2, 3), (5, 3)]
    await forget(owner, "zoe", load_retention({}), None)
    assert await reverts_of(owner) == [(2, 3), (5, 3)]
    async with database.connect("gateway") as gateway:
        payload = {"pull_request": {"number": 9, "merged": True, "body": "Reverts #1"}}
        await learn_from_pull_request(gateway, REPOSITORY, "closed", payload)
    done = await run(owner, tmp_path, [*entries, pull_request(5)])
    assert (done.failed, done.skipped["it or its author was erased"]) == (1, [1])
    assert await reverts_of(owner) == [(2, 3), (5, 3)]
    assert await states_of(owner) == {0: "failed", 2: "failed", 5: "failed"}


async def test_what_an_erased_person_reverted_stays_a_failure_and_no_longer_says_by_which_work(
    owner, tmp_path
):
    hers = pull_request(3, author={"login": "zoe"}, body="Reverts #1\nReverts #2")
    await run(owner, tmp_path, [pull_request(1), hers])
    await forget(owner, "zoe", load_retention({}), None)
    assert await reverts_of(owner) == [(1, 0), (2, 0)]
    await run(owner, tmp_path, [pull_request(2), pull_request(4), {**hers, "body": "Reverts #2, #4 and #6"}])
    assert await reverts_of(owner) == [(1, 0), (2, 0), (4, 0), (6, 0)]
    outcomes = await owner.fetch(
        "SELECT state, proven_by FROM agent_memories WHERE erased_at IS NULL ORDER BY issue_number"
    )
    assert [tuple(row) for row in outcomes] == [("failed", "an erased pull request merged")] * 3
    assert await owner.fetchval("SELECT bool_and(reverted_at = date_trunc('day', reverted_at)) FROM reverts")
    assert await owner.fetchval(
        "SELECT bool_and(reverted_at = date_trunc('day', reverted_at)) FROM agent_memories"
    )


async def test_a_pull_request_that_an_agent_made_for_an_erased_issue_does_not_come_back(
    owner, database, tmp_path
):
    """Its author is the agent's account, and its text may repeat the issue's."""
    async with database.connect("gateway") as gateway, database.agent_pool("cloud-architect") as pool:
        new = NewMission(REPOSITORY, 7, "opened", "t", "b", [], "zoe", "US", "queued", "cloud-architect")
        await add_mission(gateway, new)
        (mission,) = await claim_missions(pool, "cloud-architect", "r", most=1)
        await finish_mission(pool, mission, Finish("done", solution="s", recalled=[]))
        await gateway.execute("UPDATE missions SET pr_number = 8 WHERE id = $1", mission.id)
    await forget(owner, "zoe", load_retention({}), None)
    done = await run(owner, tmp_path, [pull_request(8, author={"login": "agents-cloud[bot]"})])
    assert (done.succeeded, done.skipped) == (0, {"it or its author was erased": [8]})


async def test_a_revert_that_github_reports_later_is_learned_too(owner, database, tmp_path):
    await run(owner, tmp_path, [pull_request(1), pull_request(2)])
    payload = {"pull_request": {"number": 9, "merged": True, "body": "Reverts octo/planets#1"}}
    async with database.connect("gateway") as gateway:
        words = await learn_from_pull_request(gateway, REPOSITORY, "closed", payload)
        more = {"number": 10, "merged": True, "body": "Reverts other/planets#2\nReverts #3"}
        assert await learn_from_pull_request(gateway, REPOSITORY, "closed", {"pull_request": more}) == (
            "not a pull request of ours"
        )
    await run(owner, tmp_path, [pull_request(3)])
    assert words == "reverted: refuted: not recallable"
    assert await states_of(owner) == {1: "failed", 2: "succeeded", 3: "failed"}
    assert await owner.fetchval("SELECT count(*) FROM agent_memory_embeddings WHERE recallable") == 1


async def test_an_agents_label_counts_whatever_its_case_and_the_first_known_one_decides(owner, tmp_path):
    labels = [{"name": "agent:nobody"}, {"name": "agent:apis-Architect"}, {"name": "agent:secure-ninja"}]
    await run(owner, tmp_path, [pull_request(1, labels=labels)])
    assert await owner.fetchval("SELECT agent_name FROM agent_memories") == "APIs-architect"


async def test_texts_that_postgresql_cannot_hold_lose_only_those_characters(owner, tmp_path):
    await run(owner, tmp_path, [pull_request(1, title="nul \0 and \ud800 ümläut 🚀 ' \\ \t")])
    assert await owner.fetchval("SELECT issue_title FROM agent_memories") == "nul  and  ümläut 🚀 ' \\ \t"


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"not": "an array"}, "a dict, not an array"),
        ([pull_request(1), 7], "entry 1: a int, not an object"),
        ([pull_request(1), {**pull_request(2), "number": "2"}], "entry 1: `number` is '2'"),
        ([{**pull_request(1), "number": -1}], "entry 0: `number` is -1"),
        ([{**pull_request(1), "number": 2**40}], "entry 0: `number` is 1099511627776"),
        ([{**pull_request(1), "title": " "}], "entry 0: `title` is ' '"),
        ([{**pull_request(1), "labels": "bug"}], "entry 0: `labels` is a str"),
        (
            [{**pull_request(1), "files": [{"name": "x"}]}],
            "entry 0: `files` holds something without a `path`",
        ),
        ([{**pull_request(1), "mergedAt": "yesterday"}], "entry 0: `mergedAt` is 'yesterday'"),
        ([{**pull_request(1), "mergedAt": None}], "entry 0: it is MERGED and has no `mergedAt`"),
        ([{**pull_request(1), "state": "DONE"}], "entry 0: `state` is 'DONE'"),
    ],
)
def test_bad_input_is_refused_with_file_and_entry(tmp_path, entries, words):
    with pytest.raises(HistoryError) as refused:
        read_pull_requests(write(tmp_path, entries))
    assert str(refused.value).startswith(str(tmp_path))
    assert words in str(refused.value)
    assert "Fix: " in str(refused.value)


def test_all_bad_entries_are_told_at_once(tmp_path):
    with pytest.raises(HistoryError, match="2 problems") as refused:
        read_pull_requests(write(tmp_path, [{}, pull_request(1), {"number": 2}]))
    assert "entry 0" in str(refused.value)
    assert "entry 2" in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_json_is_refused(tmp_path, content):
    file = tmp_path / "history.json"
    file.write_bytes(content)
    with pytest.raises(HistoryError, match="not JSON"):
        read_pull_requests(file)


async def test_a_load_looks_memories_up_by_index_though_there_were_none_when_it_began(database):
    """The plan of the foreign key, kept from the first small batch, scanned the whole memory for each vector."""
    await database.register("cloud-architect")
    space = Space("minilm", 384, "test")
    async with database.connect("agents_owner") as owner:
        await adopt_space(owner, space)
        for rows in (range(8), range(8, 16), range(16, 24), range(24, 1_024)):
            outcomes = [past_outcome("cloud-architect", row, f"case {row}", succeeded=True) for row in rows]
            await add_outcomes(owner, outcomes)
            await add_vectors(owner, space, [(each.agent_name, each.id, [1.0] * 384) for each in outcomes])
    counts = (
        "SELECT seq_scan, idx_scan FROM pg_stat_user_tables"
        " WHERE relname ~ '^agent_memories_[0-9]+$' AND seq_scan + idx_scan > 900"
    )
    async with database.connect("agents_owner") as owner, asyncio.timeout(100):
        while (scans := await owner.fetchrow(counts)) is None:  # statistics come when a session ends
            await asyncio.sleep(0.05)
    assert scans["seq_scan"] < 100, scans


async def test_one_agents_vectors_beside_many_memories_read_those_of_nobody_else(database):
    agents = [f"agent-{number}" for number in range(20)]
    await database.register(*agents)
    space = Space("minilm", 384, "test")
    async with database.connect("agents_owner") as owner:
        await adopt_space(owner, space)
        outcomes = [
            past_outcome(agents[row % 20], row, f"case {row}", succeeded=True) for row in range(10_000)
        ]
        await add_outcomes(owner, outcomes)
        await owner.execute("ANALYZE agent_memories")
        async with owner.transaction():
            few = [(each.agent_name, each.id, [1.0] * 384) for each in outcomes[:2_000:20]]
            assert await add_vectors(owner, space, few) == 100
            read = await owner.fetchval(
                "SELECT count(*) FROM pg_stat_xact_user_tables"
                " WHERE relname ~ '^agent_memories_[0-9]+$' AND seq_tup_read + idx_tup_fetch > 0"
            )
    assert read == 1


async def test_only_the_schemas_owner_may_backfill(database):
    with pytest.raises(SettingsError, match="policies hide rows"):
        async with open_owner(database.url("gateway")):
            pass


async def test_a_service_that_is_away_leaves_the_outcomes_and_the_next_run_embeds_them(owner, tmp_path):
    async def away(batch: int) -> None:
        raise Unavailable("no embeddings today")

    with pytest.raises(Unavailable, match="no embeddings today; the outcomes are stored, run it again"):
        await run(owner, tmp_path, [pull_request(1)], WordEmbedder(before_batch=away))
    assert await owner.fetchval("SELECT count(*) FROM agent_memories") == 1
    assert (await run(owner, tmp_path, [pull_request(1)])).embedded == 1


async def test_a_verdict_that_falls_while_vectors_are_computed_counts(owner, database, tmp_path):
    async def refute(batch: int) -> None:
        async with open_owner(database.url("agents_owner")) as other:
            await other.execute("UPDATE agent_memories SET state = 'failed' WHERE issue_number = 1")

    await run(owner, tmp_path, [pull_request(1), pull_request(2)], WordEmbedder(before_batch=refute))
    recallable = await owner.fetch(
        "SELECT issue_number FROM agent_memories JOIN agent_memory_embeddings ON memory_id = id WHERE recallable"
    )
    assert [row["issue_number"] for row in recallable] == [2]


async def test_the_command_tells_people_and_programs_what_came_of_it(owner, database, tmp_path):
    file = write(
        tmp_path, [pull_request(1, url=f"https://github.com/{REPOSITORY}/pull/1"), pull_request(2, None)]
    )
    code, out, _ = await command(database, "backfill", str(file), "--json")
    assert code == 0
    report = json.loads(out)
    assert (report["repository"], report["works"], report["succeeded"]) == (REPOSITORY, 2, 1)
    assert report["skipped"] == {"no agent:<name> label": [2]}
    code, out, _ = await command(database, "backfill", str(file))
    assert "1 skipped, stored before: #1" in out
    code, out, err = await command(database, "backfill", str(file.with_name("missing.json")))
    assert (code, out) == (1, "")
    assert err.startswith(f"{file.with_name('missing.json')}: it cannot be read: No such file")


async def test_a_bar_shows_that_outcomes_are_stored_on_a_terminal_and_nowhere_else(owner, database, tmp_path):
    file = write(tmp_path, [pull_request(1), pull_request(2)])
    code, out, shown = await on_terminal(database, "backfill", str(file), "--json")
    assert (code, json.loads(out)["succeeded"]) == (0, 2), "the bar is no part of the document"
    assert "storing" in shown
    assert "2/2" in shown
    longer = write(tmp_path, [pull_request(1), pull_request(2), pull_request(3)])
    code, out, err = await command(database, "backfill", str(longer), "--json")
    assert (code, json.loads(out)["succeeded"], err) == (0, 1, "")


async def test_a_real_history_is_loaded_whole(database, real, tmp_path):
    names = sorted(file.stem.removesuffix(".agent") for file in (real / "agents").glob("*.md"))
    await database.register(*names)
    pull_requests = read_pull_requests(real / "pull_requests.json")
    async with open_owner(database.url("agents_owner")) as owner:
        done = await backfill(owner, pull_requests, REPOSITORY, WordEmbedder())
        assert done.works == len(pull_requests) == done.succeeded + sum(map(len, done.skipped.values()))
        assert done.succeeded == done.embedded > 150
        assert (
            await owner.fetchval("SELECT sum(successful_missions) FROM agent_performance") == done.succeeded
        )
