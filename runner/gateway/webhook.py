"""`POST /webhook`: a delivery is checked, stored and only then acknowledged."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from database.connect import AWAY, Pool
from database.inbox import Delivery, store_delivery
from runner.geography import Geography, Zone

log = logging.getLogger(__name__)

# Issue payloads hold a body of 64 KiB at most, several times; GitHub's own limit for any event is 25 MiB.
MAX_PAYLOAD_BYTES = 2 * 1024 * 1024
EVENTS = frozenset({"issues", "issue_comment", "pull_request"})
FINAL_REFUSALS = frozenset({400, 403, 413})
"""Answers to what is refused for what it is: the same again would be, too."""


def webhook(
    pool: Pool, secret: str, geography: Geography, zone: Zone, stored: Callable[[], None]
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """The handler. `stored` is called after a new delivery was committed.

    202 stored, 200 known already or not of interest, 400 malformed, 401 not signed by GitHub, 403 of another zone,
    413 too large, 503 not stored: GitHub shows it as failed and it can be redelivered.
    """

    async def handle(request: web.Request) -> web.Response:
        if (request.content_length or 0) > MAX_PAYLOAD_BYTES:
            return _answer(413, f"over {MAX_PAYLOAD_BYTES} bytes")
        try:
            body = await request.content.read(MAX_PAYLOAD_BYTES + 1)
            while len(body) <= MAX_PAYLOAD_BYTES and (
                more := await request.content.read(MAX_PAYLOAD_BYTES + 1)
            ):
                body += more
        except (web.RequestPayloadError, ConnectionError):
            return _answer(503, "the body ended early")
        if len(body) > MAX_PAYLOAD_BYTES:
            return _answer(413, f"over {MAX_PAYLOAD_BYTES} bytes")
        if not signed(secret, body, request.headers.get("X-Hub-Signature-256", "")):
            return _answer(401, "the signature is missing or wrong")
        event = request.headers.get("X-GitHub-Event", "")
        delivery_id = request.headers.get("X-GitHub-Delivery", "")
        if not event or not 0 < len(delivery_id) <= 100:
            return _answer(400, "X-GitHub-Event or X-GitHub-Delivery is missing or too long")
        if event not in EVENTS:
            return _answer(200, f"{event[:50]} is not of interest")
        payload = _mapping(body)
        repository = repository_of(payload) if payload is not None else None
        if payload is None or repository is None:
            return _answer(400, "the body is not an event of a repository in JSON")
        if (geography.zone_of(repository) or zone) != zone:
            # Before anything of it is stored or logged.
            return _answer(403, f"this gateway serves zone {zone}; the repository belongs to another one")
        try:
            new = await store_delivery(
                pool, Delivery(delivery_id, event, repository, payload), hashlib.sha256(body).hexdigest()
            )
        except AWAY as away:
            log.error("delivery %s was not stored: %s", delivery_id, type(away).__name__)
            return _answer(503, "the database is away; redeliver later")
        if not new:
            return _answer(200, "stored before")
        stored()
        return _answer(202, "stored")

    return handle


def signed(secret: str, body: bytes, header: str) -> bool:
    """Whether `header` (X-Hub-Signature-256) is GitHub's signature of `body`."""
    expected = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), header.encode("utf-8", "replace"))


def repository_of(payload: Mapping[str, Any]) -> str | None:
    """owner/name of the repository that an event belongs to."""
    repository = payload.get("repository")
    name = repository.get("full_name") if isinstance(repository, Mapping) else None
    return name if isinstance(name, str) and name.count("/") == 1 and len(name) <= 140 else None


def _mapping(body: bytes) -> dict[str, Any] | None:
    try:
        payload = storable(json.loads(body))
    except (ValueError, RecursionError):
        return None
    return payload if isinstance(payload, dict) else None


def storable(value: Any) -> Any:
    """Without NUL and lone surrogates, which PostgreSQL's jsonb cannot hold."""
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "ignore").decode()
    if isinstance(value, list):
        return [storable(item) for item in value]
    if isinstance(value, dict):
        return {storable(key): storable(item) for key, item in value.items()}
    return value


def _answer(status: int, text: str) -> web.Response:
    return web.json_response({"message": text}, status=status)
