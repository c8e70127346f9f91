"""The outbox's two ways out: wake-ups to Redis, effects to GitHub."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import redis.asyncio

from database.connect import Connection, Pool
from database.outbox import (
    DoneEffect,
    PendingEffect,
    delete_wakes,
    effect_later,
    effect_refused,
    effects_done,
    take_effects,
    take_wakes,
)
from errors import AgentsCloudError, GitHubError, RateLimited, Unavailable
from runner.execute import Change
from runner.github import GitHub, marker
from runner.stream import AWAY, publish

log = logging.getLogger(__name__)

_WAKES_AT_ONCE = 500
_EFFECTS_AT_ONCE = 4
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


async def relay_effects(pool: Pool, github: GitHub) -> int:
    """Do effects that are due, a few side by side, under their rows' locks; how many.

    What came of them is written last, so that no mission is locked while GitHub answers. A crash before it does them
    again, which their markers make harmless.
    """
    async with pool.acquire() as connection, connection.transaction():
        effects = await take_effects(connection, _EFFECTS_AT_ONCE)
        results = await asyncio.gather(*(_do(github, each) for each in effects), return_exceptions=True)
        if done := [result for result in results if isinstance(result, DoneEffect)]:
            await effects_done(connection, done)
        for effect, result in zip(effects, results, strict=True):
            if isinstance(result, BaseException):
                await _note_failure(connection, effect, result)
        return len(effects)


async def _do(github: GitHub, effect: PendingEffect) -> DoneEffect:
    itself = marker(effect.mission_id, effect.kind)
    if effect.kind == "pull_request":
        number, _ = await github.ensure_pull_request(
            effect.repository, itself, branch_of(effect), Change.from_json(effect.payload)
        )
        return DoneEffect(effect.id, pr_number=number)
    body = comment_body(effect.agent, effect.payload, effect.pr_number)
    url = await github.ensure_comment(effect.repository, effect.issue_number, itself, body)
    return DoneEffect(effect.id, comment_url=url)


async def _note_failure(connection: Connection, effect: PendingEffect, failure: BaseException) -> None:
    """To be tried again, or given up where no later try can help. Raises what is no error of ours."""
    match failure:
        case RateLimited():
            await effect_later(connection, effect, str(failure), retry_at=failure.retry_at)
        case GitHubError() if failure.status in _FINAL_STATUSES:
            log.error("%s of mission %s: %s", effect.kind, effect.mission_id, failure)
            await effect_refused(connection, effect, str(failure))
        case GitHubError() | Unavailable():
            await effect_later(connection, effect, str(failure))
        case AgentsCloudError():
            await effect_refused(connection, effect, str(failure))
        case _:
            raise failure


def branch_of(effect: PendingEffect) -> str:
    """The branch that belongs to one mission alone."""
    return f"agents/{(effect.agent or 'gateway').lower()}/issue-{effect.issue_number}-{str(effect.mission_id)[:8]}"


def comment_body(agent: str | None, payload: Mapping[str, Any], pr_number: int | None) -> str:
    """What people read on the issue."""
    body = str(payload.get("body") or "")
    signature = f"\n\n— {agent}" if agent else "\n\n— the gateway of agents-cloud"
    return body + (f"\n\nPull request: #{pr_number}" if pr_number else "") + signature
