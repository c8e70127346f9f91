"""Events whose webhook never came: looked for now and then, by one gateway at a time."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from database.connect import Connection, Pool
from database.erased import ErasedPeople, erased_numbers, moment
from database.inbox import Delivery, store_delivery
from errors import GitHubError, Unavailable
from runner.gateway.lost_events import Lost, comment_before, lost_events
from runner.gateway.redeliver import Redelivery
from runner.gateway.webhook import storable
from runner.geography import Geography, Zone
from runner.github import GitHub
from runner.github.calls import MAX_EVENTS

log = logging.getLogger(__name__)

# Overlaps with the pass before, because GitHub's clock and ours differ.
_OVERLAP = timedelta(minutes=5)
# A webhook may still be on its way; the next pass looks again.
_ON_ITS_WAY = timedelta(seconds=10)
_FIRST_LOOK = timedelta(days=1)
_LOCK = "SELECT pg_try_advisory_lock(hashtext('reconcile'))"
_UNLOCK = "SELECT pg_advisory_unlock(hashtext('reconcile'))"
# Under the name by which GitHub delivers, where it did; settings are in lower case.
_REPOSITORIES = """
WITH known AS (
    SELECT DISTINCT repository, 0 AS source FROM inbox
    UNION ALL SELECT repository, 1 FROM reconciled UNION ALL SELECT unnest($1::text[]), 2)
SELECT DISTINCT ON (lower(repository)) repository,
       (SELECT max(looked_until) FROM reconciled r WHERE lower(r.repository) = lower(k.repository)) AS looked_until
FROM known k ORDER BY lower(repository), source, repository
"""
_LOOKED = """
INSERT INTO reconciled (repository, looked_until) VALUES ($1, $2)
ON CONFLICT (repository) DO UPDATE SET looked_until = greatest(reconciled.looked_until, EXCLUDED.looked_until)
"""
_KNOWN = """
SELECT issue_number FROM missions WHERE repository = $1 AND issue_number = ANY($2)
UNION SELECT (payload->'issue'->>'number')::integer FROM inbox
WHERE repository = $1 AND event = 'issues' AND processed_at IS NULL
"""


async def reconcile(
    pool: Pool, github: GitHub, geography: Geography, zone: Zone, redelivery: Redelivery
) -> int:
    """Store a delivery for everything that happened and was not heard; how many. 0 where another gateway is at it.

    What GitHub failed to deliver it is asked for again. Each repository is looked through from where the last pass that
    succeeded began. One that GitHub refuses holds nobody up; raises Unavailable where one could not be looked through
    now, after the others.
    """
    async with pool.acquire() as connection:
        if not await connection.fetchval(_LOCK):
            return 0
        try:
            found, away = 0, None
            try:
                if asked := await redelivery.ask(github):
                    log.warning("%s webhooks that failed are asked for again", asked)
            except GitHubError as refused:
                log.error("webhooks that failed cannot be asked for again: %s", refused)
            except Unavailable as unavailable:
                away = unavailable
            for row in await connection.fetch(_REPOSITORIES, list(geography.repositories)):
                repository, looked_until = row["repository"], row["looked_until"]
                if (geography.zone_of(repository) or zone) != zone:
                    continue
                began = datetime.now(UTC)
                since = began - _FIRST_LOOK if looked_until is None else looked_until - _OVERLAP
                try:
                    found += await _reconcile_one(connection, github, repository, since, began - _ON_ITS_WAY)
                except GitHubError as refused:
                    if refused.status not in (403, 404):  # the App was taken off this repository
                        log.error("%s cannot be looked through for lost events: %s", repository, refused)
                    continue
                except Unavailable as unavailable:
                    away = unavailable
                    continue
                await connection.execute(_LOOKED, repository, began)
            if away is not None:
                raise away
            return found
        finally:
            await connection.execute(_UNLOCK)


async def _reconcile_one(
    connection: Connection, github: GitHub, repository: str, since: datetime, until: datetime
) -> int:
    issues = await github.open_issues(repository, since)
    events = await github.repository_events(repository, since)
    if len(events) == MAX_EVENTS:
        log.error(
            "%s: of what happened since %s only the newest %s events count", repository, since, MAX_EVENTS
        )
    repository = _spelled(repository, [*issues, *(event.issue for event in events)])
    numbers = {int(issue["number"]) for issue in issues} | {event.number for event in events}
    known = {row["issue_number"] for row in await connection.fetch(_KNOWN, repository, list(numbers))}
    erased = await erased_numbers(connection, repository, numbers)
    people = await ErasedPeople.read(connection)
    found = 0
    for issue in issues:
        if issue["number"] not in known | erased and not _is_erased(people, issue):
            found += await _store_new(connection, github, repository, issue)
    # What else happened to an issue that is found only now (it is not `known`) is in what it is now.
    told = [
        event
        for event in events
        if event.at <= until
        and event.number not in erased
        and not _is_erased(people, event.issue)
        and not people.wrote(str(event.actor.get("login") or ""), event.at)
    ]
    for lost in await lost_events(connection, repository, told, known):
        if lost.is_completion:
            comment = comment_before(lost, await github.comments_since(repository, lost.number, since))
            if comment is not None:
                await _store(connection, repository, comment)
        if lost.event == "pull_request":
            whole = await github.whole_pull_request(repository, lost.number)
            if whole.get("state") != "closed":  # opened again since it was listed
                continue
            lost = replace(lost, payload={**lost.payload, "pull_request": whole})
        found += await _store(connection, repository, lost)
    return found


async def _store_new(
    connection: Connection, github: GitHub, repository: str, issue: Mapping[str, Any]
) -> bool:
    labels = {str(label["name"]) for label in issue.get("labels") or ()}
    # Who labelled it may spend where its author may not, and that webhook was lost as well.
    events = await github.label_events(repository, issue["number"]) if labels else []
    new = await _store(connection, repository, Lost.of_issue("opened", issue, sender=issue.get("user")))
    for label, person in {event.label: event.actor for event in events if not event.by_bot}.items():
        if person and label in labels:
            sender = {"login": person, "type": "User"}
            lost = Lost.of_issue("labeled", issue, sender=sender, label={"name": label})
            await _store(connection, repository, lost)
    return new


def _spelled(repository: str, items: Iterable[Mapping[str, Any]]) -> str:
    """The name as GitHub writes it, under which its deliveries are stored."""
    for item in items:
        name = "/".join(str(item.get("repository_url") or "").split("/")[-2:])
        if name.lower() == repository.lower():
            return name
    return repository


def _is_erased(people: ErasedPeople, item: Mapping[str, Any]) -> bool:
    author = item.get("user") or {}
    return people.wrote(str(author.get("login") or ""), moment(item.get("created_at")))


async def _store(connection: Connection, repository: str, lost: Lost) -> bool:
    """What GitHub would have delivered. The same is found only once, whatever else changes in the issue."""
    payload = storable({**lost.payload, "repository": {"full_name": repository}})
    digest = hashlib.sha256(json.dumps([repository, *lost.identity]).encode()).hexdigest()
    delivery = Delivery(f"reconcile:{digest[:40]}", lost.event, repository, payload)
    return await store_delivery(connection, delivery, digest)
