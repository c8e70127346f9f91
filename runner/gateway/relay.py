"""The outbox's two ways out: wake-ups to Redis, effects to GitHub."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import redis.asyncio

from database.connect import Pool
from database.outbox import (
    PendingEffect,
    delete_wakes,
    effect_done,
    effect_later,
    effect_refused,
    take_effects,
    take_wakes,
)
from errors import AgentsCloudError, GitHubError, RateLimited, Unavailable
from runner.execute import Change
from runner.github import GitHub, marker
from runner.stream import AWAY, publish

log = logging.getLogger(__name__)

_WAKES_AT_ONCE = 500
# Answers that no later try can change: gone, forbidden to write, locked, unprocessable.
_FINAL_STATUSES = frozenset({403, 404, 410, 422, 451})


async def relay_wakes(pool: Pool, client: redis.asyncio.Redis) -> int:
    """Hand the waiting wake-ups to Redis; how many. A crash in between wakes twice, which does no harm."""
    async with pool.acquire() as connection, connection.transaction():
        wakes = await take_wakes(connection, _WAKES_AT_ONCE)
        if wakes:
            try:
                await publish(client, [(wake.agent, str(wake.mission_id)) for wake in wakes])
            except AWAY as away:
                raise Unavailable(f"Redis is away ({type(away).__name__}); runners poll meanwhile") from away
            await delete_wakes(connection, wakes)
        return len(wakes)


async def relay_effect(pool: Pool, github: GitHub) -> bool:
    """Do one effect that is due, under its row's lock; False where none was."""
    async with pool.acquire() as connection, connection.transaction():
        effects = await take_effects(connection, 1)
        if not effects:
            return False
        effect = effects[0]
        try:
            if effect.kind == "pull_request":
                number, _ = await github.ensure_pull_request(
                    effect.repository,
                    marker(effect.mission_id, effect.kind),
                    branch_of(effect),
                    Change.from_json(effect.payload),
                )
                await effect_done(connection, effect, pr_number=number)
            else:
                url = await github.ensure_comment(
                    effect.repository,
                    effect.issue_number,
                    marker(effect.mission_id, effect.kind),
                    comment_body(effect.agent, effect.payload, effect.pr_number),
                )
                await effect_done(connection, effect, comment_url=url)
        except RateLimited as limited:
            await effect_later(connection, effect, str(limited), retry_at=limited.retry_at)
        except GitHubError as refused:
            if refused.status in _FINAL_STATUSES:
                log.error("%s of mission %s: %s", effect.kind, effect.mission_id, refused)
                await effect_refused(connection, effect, str(refused))
            else:
                await effect_later(connection, effect, str(refused))
        except Unavailable as away:
            await effect_later(connection, effect, str(away))
        except AgentsCloudError as broken:
            await effect_refused(connection, effect, str(broken))
        return True


def branch_of(effect: PendingEffect) -> str:
    """The branch that belongs to one mission alone."""
    return f"agents/{(effect.agent or 'gateway').lower()}/issue-{effect.issue_number}-{str(effect.mission_id)[:8]}"


def comment_body(agent: str | None, payload: Mapping[str, Any], pr_number: int | None) -> str:
    """What people read on the issue."""
    body = str(payload.get("body") or "")
    signature = f"\n\n— {agent}" if agent else "\n\n— the gateway of agents-cloud"
    return body + (f"\n\nPull request: #{pr_number}" if pr_number else "") + signature
