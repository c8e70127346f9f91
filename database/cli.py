"""The command line of the database: `python -m database COMMAND`, on the database that DATABASE_URL names."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from database.audit.command import add_audit_command
from database.connect import open_connection
from database.data_commands import add_data_commands
from database.indexes import ABOVE, Indexed, maintain_indexes
from database.migrate import migrate
from database.owner import find_servers, open_owner
from errors import AgentsCloudError, SettingsError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code. What a person did wrong is one message on standard error."""
    parser = argparse.ArgumentParser(prog="python -m database", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    step = commands.add_parser("migrate", help="bring the schema to the newest migration, as its owner")
    step.add_argument("--to", type=int, help="another migration, by number; 0 for none (its data is dropped)")
    step.set_defaults(run=_migrate)
    add_data_commands(commands)
    add_audit_command(commands)
    index = commands.add_parser(
        "index", help="make and drop the vector indexes of large partitions, as the owner"
    )
    index.add_argument("--above", type=int, default=ABOVE, help=f"vectors of a partition (default {ABOVE:,})")
    index.add_argument("--data", type=Path, help="data folder of `python -m runner run`")
    index.set_defaults(run=_index)
    options = parser.parse_args(arguments)
    try:
        code: int = options.run(options)
    except AgentsCloudError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return code


def database_url() -> str:
    """DATABASE_URL. Raises SettingsError where it is not set."""
    url = os.environ.get("DATABASE_URL", "")
    if not url:
        raise SettingsError("DATABASE_URL is not set", "set it to postgresql://USER:PASSWORD@HOST/DATABASE")
    return url


def _migrate(options: argparse.Namespace) -> int:
    async def work() -> int:
        async with open_connection(database_url()) as connection:
            return await migrate(connection, to=options.to, report=print)

    if asyncio.run(work()) == 0:
        print("nothing to do")
    return 0


def _index(options: argparse.Namespace) -> int:
    def report(done: Indexed) -> None:
        found = "" if done.found is None else f", which finds {done.found:.1%} of what is nearest"
        joined = f", {done.joined:,} joined" if done.joined else ""
        print(f"{done.agent}: index of {done.vectors:,} vectors of {done.space} {done.action}{found}{joined}")

    async def work() -> int:
        async with open_owner(find_servers(options.data).database_url) as owner:
            return len(await maintain_indexes(owner, above=options.above, report=report))

    if asyncio.run(work()) == 0:
        print(f"no agent has more than {options.above:,} vectors: all is scanned exactly")
    return 0
