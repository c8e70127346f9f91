"""Deliveries from GitHub: stored before they are acknowledged, then taken in the order in which they came."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from database.connect import Connection, Pool
from database.erased import login_digest, subject, work_digest


@dataclass(frozen=True, slots=True)
class Delivery:
    """One webhook delivery as it was stored."""

    delivery_id: str
    event: str
    repository: str
    """owner/name"""
    payload: Mapping[str, Any]


# Of what was erased only that it came is stored: nobody's redelivery or later event brings the words back.
_STORE = """
INSERT INTO inbox (delivery_id, event, repository, payload, payload_digest, processed_at, result)
SELECT $1, $2, $3, CASE WHEN erased THEN '{}' ELSE $4::jsonb END, $5, CASE WHEN erased THEN now() END,
       CASE WHEN erased THEN 'erased' END
FROM (SELECT EXISTS (SELECT FROM erased_works WHERE work_digest = $6)
          OR EXISTS (SELECT FROM unnest($7::text[], $8::timestamptz[]) AS written (by, at)
                     JOIN erasures ON login_digest = by AND (at IS NULL OR at <= erased_at)) AS erased) AS known
ON CONFLICT DO NOTHING
"""


async def store_delivery(connection: Connection | Pool, delivery: Delivery, digest: str) -> bool:
    """True once it is committed; False where this id, or the same body (its `digest`), was stored before."""
    number, written = subject(delivery.payload)
    status: str = await connection.execute(
        _STORE,
        delivery.delivery_id,
        delivery.event,
        delivery.repository,
        json.dumps(delivery.payload),
        digest,
        None if number is None else work_digest(delivery.repository, number),
        [login_digest(login) for login, _ in written],
        [at for _, at in written],
    )
    return status == "INSERT 0 1"


# One gateway replica at a time takes deliveries, so that an issue's events are worked in their order.
_LOCK = "SELECT pg_try_advisory_xact_lock(hashtext('inbox'))"
_TAKE = """
SELECT delivery_id, event, repository, payload FROM inbox WHERE processed_at IS NULL ORDER BY sequence LIMIT $1
"""
_DONE = """
UPDATE inbox SET processed_at = now(), result = done.result
FROM unnest($1::text[], $2::text[]) AS done (delivery_id, result) WHERE inbox.delivery_id = done.delivery_id
"""


async def take_deliveries(connection: Connection, most: int) -> list[Delivery]:
    """Up to `most` waiting deliveries, oldest first; none where another replica holds the inbox. In a transaction."""
    if not await connection.fetchval(_LOCK):
        return []
    return [
        Delivery(row["delivery_id"], row["event"], row["repository"], json.loads(row["payload"]))
        for row in await connection.fetch(_TAKE, most)
    ]


_HOLD = "SELECT pg_advisory_xact_lock(hashtext('inbox'))"


async def hold_inbox(connection: Connection) -> None:
    """Wait for who takes deliveries now, and let nobody take more until the caller's transaction ends."""
    await connection.execute(_HOLD)


async def mark_processed(connection: Connection, results: Mapping[str, str]) -> None:
    """Say what came of each delivery, by its id; in the transaction that took them."""
    await connection.execute(_DONE, list(results), [result[:500] for result in results.values()])
