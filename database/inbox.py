"""Deliveries from GitHub: stored before they are acknowledged, then taken in the order in which they came."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from database.connect import Connection, Pool


@dataclass(frozen=True, slots=True)
class Delivery:
    """One webhook delivery as it was stored."""

    delivery_id: str
    event: str
    repository: str
    """owner/name"""
    payload: Mapping[str, Any]


_STORE = """
INSERT INTO inbox (delivery_id, event, repository, payload, payload_digest) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING
"""


async def store_delivery(connection: Connection | Pool, delivery: Delivery, digest: str) -> bool:
    """True once it is committed; False where this id, or the same body (its `digest`), was stored before."""
    status: str = await connection.execute(
        _STORE,
        delivery.delivery_id,
        delivery.event,
        delivery.repository,
        json.dumps(delivery.payload),
        digest,
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


async def mark_processed(connection: Connection, results: Mapping[str, str]) -> None:
    """Say what came of each delivery, by its id; in the transaction that took them."""
    await connection.execute(_DONE, list(results), [result[:500] for result in results.values()])
