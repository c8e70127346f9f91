"""Settings of the local GitHub."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class LocalGitHubSettings:
    """Times in seconds; `clock` gives epoch seconds. Port 0 lets the system choose."""

    data: Path
    """Folder for `localgithub.sqlite3`."""
    host: str = "127.0.0.1"
    port: int = 0
    webhook_url: str | None = None
    """Where deliveries go; none are made without it."""
    secret: str = ""
    repository: str = "local/repository"
    """For issues of a file that names none."""
    contents: Path | None = None
    """Folder with the first commit of every repository."""
    default_author: str = "author"
    """For issues of a file that names none."""
    authors_may_write: bool = True
    """Authors of a loaded file get write permission, and so may spend."""
    bot: str = "agents-cloud[bot]"
    """The account of the App, and of the plain token."""
    app_id: str = "1"
    app_public_key: str | None = None
    """PEM; App calls are refused without it."""
    rate_limit: int = 15_000
    """Calls an hour and account; GitHub Enterprise Cloud's figure."""
    delivery_timeout: float = 10.0
    """GitHub gives up after 10 seconds."""
    delivery_concurrency: int = 8
    deliver_at_once: bool = True
    """Else from `LocalGitHub.deliver` on: what an earlier process did not get to send waits for its receiver."""
    clock: Callable[[], float] = time.time
