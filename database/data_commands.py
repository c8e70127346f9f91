"""The commands on all data at once: `python -m database backfill …`; they connect as the schema's owner."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shlex
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import cast

from database.archive import Manifest, read_archive
from database.backfill import Backfilled, backfill
from database.connect import Connection
from database.control import is_paused
from database.embeddings import Embedder, EmbeddingSettings
from database.embeddings.cache import open_cached_embedder
from database.embeddings.settings import ENDPOINTS, Zone
from database.forget_command import add_forget_command
from database.owner import find_servers, open_owner
from database.progress import progress
from database.pull_requests import read_pull_requests, repository_of
from database.redis_connection import open_redis
from database.reembed import reembed
from database.retention import load_retention, prune, sizes
from database.transfer import export, import_archive
from database.vectors import Space, adopt_space, current_space
from errors import SettingsError, Unavailable

LOCAL_REPOSITORY = "local/repository"  # the one of `python -m runner run`
RESUME = "python -m runner resume all"
_REPOSITORY = re.compile(r"[\w.-]{1,100}/[\w.-]{1,100}", re.ASCII)


def add_data_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands of this module to `python -m database`."""
    fill = commands.add_parser("backfill", help="give agents the memory of past pull requests")
    fill.add_argument("file", type=Path, help="what `gh pr list --state all --json …` printed")
    fill.add_argument(
        "--repository", help="owner/name (default: the entries' url, GITHUB_REPOSITORY, local/repository)"
    )
    fill.set_defaults(run=lambda options: asyncio.run(_backfill(options)))
    out = commands.add_parser("export", help="write everything to one file, to be imported elsewhere")
    out.add_argument("file", type=Path)
    out.add_argument(
        "--agent", action="append", default=[], help="only what belongs to this agent (repeatable)"
    )
    out.set_defaults(run=lambda options: asyncio.run(_export(options)))
    into = commands.add_parser("import", help="bring an export into this database, all of it or nothing")
    into.add_argument("file", type=Path)
    into.set_defaults(run=lambda options: asyncio.run(_import(options)))
    model = commands.add_parser(
        "reembed", help="change the embedding model of all memories while agents work"
    )
    model.add_argument("--to", required=True, metavar="MODEL", help="minilm or openai[:model[:dimension]]")
    model.add_argument(
        "--keep-former", action="store_true", help="leave the former vectors, for the way back"
    )
    model.set_defaults(run=lambda options: asyncio.run(_reembed(options)))
    person = add_forget_command(commands)
    old = commands.add_parser("prune", help="remove what is older than its retention, and tell what grows")
    old.set_defaults(run=lambda options: asyncio.run(_prune(options)))
    for command in (fill, out, into, model, person, old):
        command.add_argument("--json", action="store_true", help="one JSON document on standard output")
        command.add_argument(
            "--data", type=Path, help="data folder of `run` (default: DATABASE_URL, then .agents-cloud)"
        )


async def _backfill(options: argparse.Namespace) -> int:
    pull_requests = read_pull_requests(options.file)
    repository = (
        options.repository
        or repository_of(pull_requests, options.file)
        or os.environ.get("GITHUB_REPOSITORY")
        or LOCAL_REPOSITORY
    )
    if not _REPOSITORY.fullmatch(repository):
        raise SettingsError(f"the repository {repository!r} is not owner/name", "set --repository OWNER/NAME")
    servers = find_servers(options.data)
    async with (
        open_owner(servers.database_url) as connection,
        open_current_embedder(connection, servers.redis_url) as embedder,
    ):
        days = load_retention(os.environ).days["agent_memories"]
        done = await backfill(connection, pull_requests, repository, embedder, days=days)
    if options.json:
        _print_json(asdict(done))
    else:
        print(_told(done, embedder))
    return 0


async def _export(options: argparse.Namespace) -> int:
    servers = find_servers(options.data)
    async with open_owner(servers.database_url) as connection:
        with progress("exporting, bytes", None) as advance:
            done = await export(connection, options.file, options.agent, advance)
    manifest = done.manifest
    if options.json:
        _print_json({**asdict(manifest), "live_missions": done.live_missions})
        return 0
    print(f"{options.file}: export {manifest.export_id}, {len(manifest.agents)} agents")
    _print_parts(manifest)
    if done.live_missions:
        print(
            f"{done.live_missions} missions are not finished: stop this side before the other one starts,"
            " or both work them"
        )
    print("it holds personal data; `forget` does not reach it")
    return 0


async def _import(options: argparse.Namespace) -> int:
    with read_archive(options.file) as archive:
        servers = find_servers(options.data)
        async with open_owner(servers.database_url) as connection:
            with progress("importing, bytes", sum(part.bytes for part in archive.manifest.parts)) as advance:
                new = await import_archive(connection, archive, advance)
            # Who exports pauses before, and pauses travel. One agent's share brings none.
            paused = archive.manifest.whole and await is_paused(connection, "all")
    if options.json:
        _print_json({**asdict(archive.manifest), "imported": new, "paused": paused})
        return 0
    print(f"export {archive.manifest.export_id} {'is complete here' if new else 'was imported before'}")
    if new:
        _print_parts(archive.manifest)
        print("every table read back with the exported checksum; passwords of roles do not move")
    if paused:
        data = f" --data {shlex.quote(str(options.data))}" if options.data else ""
        print(f"agents stay paused, as they were exported; once this side is to work: {RESUME}{data}")
    return 0


async def _reembed(options: argparse.Namespace) -> int:
    settings = embedding_settings(options.to)
    servers = find_servers(options.data)
    async with (
        open_owner(servers.database_url) as connection,
        _open_embedder(settings, servers.redis_url) as embedder,
    ):
        done = await reembed(connection, embedder, keep_former=options.keep_former)
    if options.json:
        _print_json(asdict(done))
        return 0
    if done.former == done.current and not (done.embedded or done.missions or done.removed):
        print(f"memories are embedded with {done.current} already")
        return 0
    print(
        f"memories are embedded with {done.current}" + (f", before with {done.former}" if done.former else "")
    )
    print(
        f"{done.embedded:7} embedded, {done.missions} unfinished missions too, {done.removed} former vectors removed"
    )
    print(
        f"running gateways follow by themselves; set EMBEDDING_MODEL={done.current.setting} for their next start"
    )
    return 0


async def _prune(options: argparse.Namespace) -> int:
    retention = load_retention(os.environ)
    servers = find_servers(options.data)
    async with open_owner(servers.database_url) as connection:
        removed: dict[str, int] = {}
        while step := await prune(connection, retention):
            removed = {table: removed.get(table, 0) + step.get(table, 0) for table in {**removed, **step}}
        if step is None:
            raise Unavailable(
                "another process prunes at this moment, as gateways do every hour; run it again to see what is left"
            )
        grown = await sizes(connection)
    if options.json:
        _print_json({"removed": removed, "days": retention.days, "tables": [asdict(size) for size in grown]})
        return 0
    print("   kept days    removed       rows          bytes  table")
    for size in grown:
        days = retention.of_table(size.table)
        print(f"{days:>12} {removed.get(size.table, 0):10} {size.rows:10} {size.bytes:14}  {size.table}")
    return 0


def _print_parts(manifest: Manifest) -> None:
    for part in manifest.parts:
        print(f"{part.rows:9} rows  {part.bytes:12} bytes  {part.sha256[:12]}  {part.table}")


def _print_json(document: object) -> None:
    print(json.dumps(document, indent=2, default=str))


@asynccontextmanager
async def open_current_embedder(connection: Connection, redis_url: str) -> AsyncIterator[Embedder | None]:
    """The embedder of the current space; where there is none yet, the one that EMBEDDING_MODEL names becomes it.

    None where EMBEDDING_MODEL=none. Raises SettingsError.
    """
    if os.environ.get("EMBEDDING_MODEL") == "none":
        yield None
        return
    current = await current_space(connection)
    settings = embedding_settings(None if current is None else current.setting)
    async with _open_embedder(settings, redis_url) as embedder:
        await adopt_space(connection, Space.of(embedder))
        yield embedder


@asynccontextmanager
async def _open_embedder(settings: EmbeddingSettings, redis_url: str) -> AsyncIterator[Embedder]:
    """With the gateway's cache before it where `redis_url` is not empty."""
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(open_redis(redis_url, decoded=False)) if redis_url else None
        embedder = await open_cached_embedder(settings, redis, load_retention(os.environ))
        stack.push_async_callback(embedder.close)
        yield embedder


def embedding_settings(model: str | None) -> EmbeddingSettings:
    """As the environment says, but for `model` where it is given. Raises SettingsError."""
    zone = os.environ.get("ZONE", "US")
    if zone not in ENDPOINTS:
        raise SettingsError(f"ZONE is {zone[:20]!r}", f"use one of {', '.join(ENDPOINTS)}")
    chosen = {} if model is None else {"EMBEDDING_MODEL": model}
    return EmbeddingSettings.from_environment({**os.environ, **chosen}, cast(Zone, zone))


def _told(done: Backfilled, embedder: Embedder | None) -> str:
    stored = done.succeeded + done.failed
    lines = [f"{done.works} pull requests of {done.repository}"]
    lines.append(
        f"{stored:7} stored as memories of {done.agents} agents:"
        f" {done.succeeded} successes, {done.failed} failures"
    )
    for reason, numbers in sorted(done.skipped.items(), key=lambda item: -len(item[1])):
        named = ", ".join(f"#{number}" for number in numbers[:5]) + (" …" if len(numbers) > 5 else "")
        lines.append(f"{len(numbers):7} skipped, {reason}: {named}")
    if done.reverted:
        lines.append(f"{done.reverted:7} earlier successes were reverted since")
    lines.append(
        f"{done.embedded:7} embedded with {embedder.model}; no success is without its vector now"
        if embedder is not None
        else "        nothing embedded, since EMBEDDING_MODEL=none"
    )
    return "\n".join(lines)
