"""`python -m database forget`: erases one person's words and tells what is gone, what is not, and until when."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
from contextlib import AsyncExitStack
from dataclasses import asdict
from datetime import datetime

from database.forget import Forgotten, forget
from database.owner import find_servers, open_owner
from database.redis_connection import open_redis
from database.retention import load_retention
from errors import SettingsError

_LOGIN = re.compile(r"@?[A-Za-z0-9][A-Za-z0-9_-]{0,99}(\[bot\])?")


def add_forget_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
) -> argparse.ArgumentParser:
    """Add the command to `python -m database`."""
    person = commands.add_parser("forget", help="erase what one person wrote, and keep the figures")
    person.add_argument("login", help="the person's name on GitHub")
    person.add_argument("--dry-run", action="store_true", help="only count")
    person.add_argument(
        "--rewrite", action="store_true", help="also rewrite the tables' files, which blocks meanwhile"
    )
    person.set_defaults(run=lambda options: asyncio.run(_forget(options)))
    return person


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
        print(json.dumps(asdict(done), indent=2, default=str))
    else:
        _print_forgotten(options.login, done, options, retention.days["embedding_cache"])
    return 0


def _print_forgotten(login: str, done: Forgotten, options: argparse.Namespace, kept_days: int | None) -> None:
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
        print(f"        no REDIS_URL: vectors in Redis were left; {_until(kept_days)}")
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


def _until(days: int | None) -> str:
    return "they are kept for ever" if days is None else f"they go by themselves after {days} days"
