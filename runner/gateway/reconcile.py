"""Issues whose webhook never came: looked for now and then, by one gateway at a time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from database.connect import Connection, Pool
from database.inbox import Delivery, store_delivery
from errors import GitHubError
from runner.geography import Geography, Zone
from runner.github import GitHub

# Overlaps with the pass before, because GitHub's clock and ours differ.
_OVERLAP = timedelta(minutes=5)
_LOCK = "SELECT pg_try_advisory_lock(hashtext('reconcile'))"
_UNLOCK = "SELECT pg_advisory_unlock(hashtext('reconcile'))"
_REPOSITORIES = "SELECT repository, max(received_at) AS last FROM inbox GROUP BY repository"
_KNOWN = """
SELECT issue_number FROM missions WHERE repository = $1 AND issue_number = ANY($2)
UNION SELECT (payload->'issue'->>'number')::integer FROM inbox
WHERE repository = $1 AND event = 'issues' AND processed_at IS NULL
"""


async def reconcile(pool: Pool, github: GitHub, geography: Geography, zone: Zone) -> int:
    """Store a delivery for every open issue that has none; how many. 0 where another gateway is at it."""
    async with pool.acquire() as connection:
        if not await connection.fetchval(_LOCK):
            return 0
        try:
            since = {
                row["repository"]: row["last"] - _OVERLAP for row in await connection.fetch(_REPOSITORIES)
            }
            for repository in geography.repositories:
                since.setdefault(repository, datetime.now(UTC) - timedelta(days=1))
            found = 0
            for repository, moment in since.items():
                if (geography.zone_of(repository) or zone) == zone:
                    found += await _reconcile_one(connection, github, repository, moment)
            return found
        finally:
            await connection.execute(_UNLOCK)


async def _reconcile_one(
    connection: Connection,
    github: GitHub,
    repository: str,
    since: datetime,
) -> int:
    try:
        issues = [
            issue for issue in await github.open_issues(repository, since) if "pull_request" not in issue
        ]
    except GitHubError as refused:
        if refused.status in (403, 404):  # the App was taken off this repository
            return 0
        raise
    numbers = [int(issue["number"]) for issue in issues]
    known = {row["issue_number"] for row in await connection.fetch(_KNOWN, repository, numbers)}
    found = 0
    for issue in issues:
        if issue["number"] in known:
            continue
        # Who labelled it may spend where its author may not, and that webhook was lost as well.
        events = await github.label_events(repository, issue["number"]) if issue.get("labels") else []
        labelled = {event.label: event.actor for event in events if event.actor and not event.by_bot}
        found += await _store(connection, repository, issue, "opened", sender=issue.get("user"))
        for label, person in labelled.items():
            sender = {"login": person, "type": "User"}
            await _store(connection, repository, issue, "labeled", sender=sender, label={"name": label})
    return found


async def _store(
    connection: Connection, repository: str, issue: Mapping[str, Any], action: str, **rest: Any
) -> bool:
    """What GitHub would have delivered. The same is found only once, whatever else changes in the issue."""
    payload = {"action": action, "issue": issue, "repository": {"full_name": repository}, **rest}
    what = [repository, issue["number"], action, rest.get("label")]
    digest = hashlib.sha256(json.dumps(what).encode()).hexdigest()
    return await store_delivery(
        connection, Delivery(f"reconcile:{digest[:40]}", "issues", repository, payload), digest
    )
