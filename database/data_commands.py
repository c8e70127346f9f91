"""The commands on all data at once: `python -m database backfill …`; they connect as the schema's owner."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import cast

from database.backfill import Backfilled, backfill
from database.connect import Connection
from database.embeddings import Embedder, EmbeddingSettings, open_embedder
from database.embeddings.settings import ENDPOINTS, Zone
from database.owner import find_servers, open_owner
from database.pull_requests import read_pull_requests, repository_of
from database.vectors import Space, adopt_space, current_space
from errors import SettingsError

LOCAL_REPOSITORY = "local/repository"  # the one of `python -m runner run`
_REPOSITORY = re.compile(r"[\w.-]{1,100}/[\w.-]{1,100}", re.ASCII)


def add_data_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands of this module to `python -m database`."""
    fill = commands.add_parser("backfill", help="give agents the memory of past pull requests")
    fill.add_argument("file", type=Path, help="what `gh pr list --state all --json …` printed")
    fill.add_argument(
        "--repository", help="owner/name (default: the entries' url, GITHUB_REPOSITORY, local/repository)"
    )
    fill.set_defaults(run=lambda options: asyncio.run(_backfill(options)))
    for command in (fill,):
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
        done = await backfill(connection, pull_requests, repository, embedder)
    print(json.dumps(asdict(done), indent=2) if options.json else _told(done, embedder))
    return 0


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
