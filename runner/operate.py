"""What operators do to a running system: pause, resume, cancel, retry, cap."""

from __future__ import annotations

import os
import re
from decimal import Decimal
from pathlib import Path
from uuid import UUID

from database import control
from database.connect import Connection, open_connection
from database.spending import set_cap
from errors import InputError, SettingsError
from runner.local.state import LocalState

_BY_ISSUE = re.compile(r"([\w.-]+/[\w.-]+)#(\d+)")
_KNOWN_AGENT = "SELECT EXISTS (SELECT FROM agents WHERE 'agent:' || agent_name = $1)"


def database_url(data: Path | None) -> str:
    """The gateway's database: DATABASE_URL, or the one of `python -m runner run` in `data`."""
    if data is None and (url := os.environ.get("DATABASE_URL")):
        return url
    state = LocalState.read(data or Path(".agents-cloud"))
    if state is None:
        raise SettingsError(
            "no running system was found", "set DATABASE_URL, or name the data folder with --data"
        )
    return state.gateway_database_url


async def pause(url: str, scope: str, by: str, reason: str) -> int:
    """Claim no more missions in `scope`."""
    async with open_connection(url) as connection:
        await _check_scope(connection, scope)
        await control.pause(connection, scope, by, reason)
    print(f"{scope} is paused; what runs is finished")
    return 0


async def resume(url: str, scope: str) -> int:
    """End a pause."""
    async with open_connection(url) as connection:
        ended = await control.resume(connection, scope)
    print(f"{scope} goes on" if ended else f"{scope} was not paused")
    return 0


async def cancel(url: str, mission: str, by: str) -> int:
    """Cancel a live mission; a running one ends with its runner's next heartbeat."""
    async with open_connection(url) as connection:
        mission_id = await _mission(connection, mission)
        state = await control.cancel_mission(connection, mission_id, by)
    if state is None:
        raise InputError(f"mission {mission_id} has ended", "nothing is to be cancelled")
    print(f"mission {mission_id}: {'its runner is told to stop' if state == 'running' else state}")
    return 0


async def retry(url: str, mission: str, by: str) -> int:
    """Queue an ended mission's issue again, for the same agent."""
    async with open_connection(url) as connection:
        mission_id = await _mission(connection, mission)
        async with connection.transaction():
            new = await control.retry_mission(connection, mission_id, by)
    if new is None:
        raise InputError(
            f"mission {mission_id} cannot be tried again",
            "only declined, failed or cancelled missions can, and only while their issue has no live one",
        )
    print(f"mission {new} is queued")
    return 0


async def cap(url: str, scope: str, usd: Decimal) -> int:
    """Set a cap on model spending."""
    async with open_connection(url) as connection:
        await set_cap(connection, scope, usd)
    print(f"the cap for each {scope} is ${usd}")
    return 0


async def _check_scope(connection: Connection, scope: str) -> None:
    if scope.startswith("agent:") and not await connection.fetchval(_KNOWN_AGENT, scope):
        raise InputError(
            f"there is no agent {scope.removeprefix('agent:')!r}", "give all, paid, or an agent's name"
        )


async def _mission(connection: Connection, text: str) -> UUID:
    if by_issue := _BY_ISSUE.fullmatch(text):
        latest = await control.latest_mission(connection, by_issue[1], int(by_issue[2]))
        if latest is None:
            raise InputError(f"{text} has no mission", "check repository and number")
        return latest.id
    try:
        return UUID(text)
    except ValueError:
        raise InputError(f"{text!r} is no mission", "give its id, or owner/name#number") from None
