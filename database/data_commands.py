"""The commands on all data at once: `python -m database backfill …`; they connect as the schema's owner."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import cast

from database.archive import Manifest, read_archive
from database.backfill import Backfilled, backfill
from database.connect import Connection
from database.embeddings import Embedder, EmbeddingSettings, open_embedder
from database.embeddings.settings import ENDPOINTS, Zone
from database.forget import Forgotten, forget
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
_LOGIN = re.compile(r"@?[A-Za-z0-9][A-Za-z0-9_-]{0,99}(\[bot\])?")
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
    person = commands.add_parser("forget", help="erase what one person wrote, and keep the figures")
    person.add_argument("login", help="the person's name on GitHub")
    person.add_argument("--dry-run", action="store_true", help="only count")
    person.add_argument(
        "--rewrite", action="store_true", help="also rewrite the tables' files, which blocks meanwhile"
    )
    person.set_defaults(run=lambda options: asyncio.run(_forget(options)))
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
    async with open_owner(servers.database_url) as connection, open_current_embedder(connection) as embedder:
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
    if options.json:
        _print_json({**asdict(archive.manifest), "imported": new})
        return 0
    print(f"export {archive.manifest.export_id} {'is complete here' if new else 'was imported before'}")
    if new:
        _print_parts(archive.manifest)
        print("every table read back with the exported checksum; passwords of roles do not move")
    return 0


async def _reembed(options: argparse.Namespace) -> int:
    settings = embedding_settings(options.to)
    servers = find_servers(options.data)
    async with open_owner(servers.database_url) as connection:
        embedder = await open_embedder(settings)
        try:
            done = await reembed(connection, embedder, keep_former=options.keep_former)
        finally:
            await embedder.close()
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
        f"{done.embedded:7} embedded, {done.missions} waiting missions too, {done.removed} former vectors removed"
    )
    print(
        f"running gateways follow by themselves; set EMBEDDING_MODEL={done.current.setting} for their next start"
    )
    return 0


async def _forget(options: argparse.Namespace) -> int:
    if not _LOGIN.fullmatch(options.login):
        raise SettingsError(f"{options.login[:50]!r} is no login", "give the person's name on GitHub")
    servers = find_servers(options.data)
    retention = load_retention(os.environ)
    async with AsyncExitStack() as stack:
        connection = await stack.enter_async_context(open_owner(servers.database_url))
        redis = await stack.enter_async_context(open_redis(servers.redis_url)) if servers.redis_url else None
        done = await forget(
            connection, options.login, retention, redis, rewrite=options.rewrite, dry_run=options.dry_run
        )
    if options.json:
        _print_json(asdict(done))
    else:
        _print_forgotten(options.login, done, options)
    return 0


def _print_forgotten(login: str, done: Forgotten, options: argparse.Namespace) -> None:
    found = [(count, what) for count, what in _erased(done) if count]
    if found:
        print(f"{login}: " + ("would be erased" if options.dry_run else "erased"))
    elif done.erased_at is None:
        print(f"{login}: nothing was found, and nothing is noted; is the name spelt as on GitHub?")
    else:
        print(f"{login}: nothing more was found; erased {_day(done.erased_at)}")
    for count, what in found:
        print(f"{count:7} {what}")
    if found and done.cached is None and not options.dry_run:
        print("        no REDIS_URL: vectors in Redis were left; they go by themselves after 30 days")
    if done.mentions:
        print(f"{done.mentions:7} texts of other people name @{login}; they are theirs, and stay")
    for url in done.comments:
        print(f"        an agent's answer stands at {url}")
    if options.dry_run or done.erased_at is None:
        return
    if not options.rewrite:
        print(
            "free space in the tables' files may hold the bytes until it is used again; --rewrite clears it"
        )
    print(f"backups and the write-ahead log have lost it by {_day(done.gone_from_backups_by)}")
    print(f"logs name missions by id; the last that may is gone by {_day(done.gone_from_logs_by)}")
    print("streams in Redis hold mission ids only; exports that were made before still hold everything")
    print("what stands on GitHub is to be erased there; after a restore from an older backup, run this again")


def _erased(done: Forgotten) -> tuple[tuple[int, str], ...]:
    return (
        (done.missions, "missions, with title, body, comment and answer"),
        (done.memories, "memories; what stays of each is how it ended, how long it took and the day"),
        (done.vectors, "vectors of them"),
        (done.quotes, "outcomes on others' issues that repeated their words: the solution"),
        (done.deliveries, "deliveries of GitHub"),
        (done.effects, "effects on GitHub, made or waiting"),
        (done.named, "places on others' work where the name stood"),
        (done.restarted, "missions in work started over, since they may have recalled some of it"),
        (done.cached or 0, "vectors in Redis"),
    )


def _day(moment: datetime | None) -> str:
    return "no date: they are kept for ever" if moment is None else moment.date().isoformat()


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
async def open_current_embedder(connection: Connection) -> AsyncIterator[Embedder | None]:
    """The embedder of the current space; where there is none yet, the one that EMBEDDING_MODEL names becomes it.

    None where EMBEDDING_MODEL=none. Raises SettingsError.
    """
    if os.environ.get("EMBEDDING_MODEL") == "none":
        yield None
        return
    current = await current_space(connection)
    embedder = await open_embedder(embedding_settings(None if current is None else current.setting))
    try:
        await adopt_space(connection, Space.of(embedder))
        yield embedder
    finally:
        await embedder.close()


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
