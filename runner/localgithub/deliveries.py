"""Webhook deliveries: signed, in order for each issue, sent once.

GitHub does not send a failed delivery again by itself: it is recorded, listed, and redelivered on request
under the same guid (docs.github.com, "Handling failed webhook deliveries").
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import aiohttp

from runner.localgithub.faults import Faults
from runner.localgithub.settings import LocalGitHubSettings
from runner.localgithub.store import Store

HOOK_ID = 1
# GitHub lists deliveries of the last three days.
KEPT_SECONDS = 3 * 24 * 3600


def sign(secret: str, body: bytes) -> str:
    """The value of X-Hub-Signature-256."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


class Deliveries:
    """Sends what `add` stored, also what an earlier process stored and did not get to send."""

    def __init__(self, store: Store, settings: LocalGitHubSettings, faults: Faults) -> None:
        self.url = settings.webhook_url
        self.secret = settings.secret
        self._store = store
        self._settings = settings
        self._faults = faults
        self._lines: dict[str, deque[int]] = {}
        self._ready: asyncio.Queue[str] = asyncio.Queue()
        self._idle = asyncio.Event()
        self._idle.set()
        self._workers: list[asyncio.Task[None]] = []
        self._session: aiohttp.ClientSession | None = None

    def start(self) -> None:
        timeout = aiohttp.ClientTimeout(total=self._settings.delivery_timeout)
        self._session = aiohttp.ClientSession(timeout=timeout)
        old = "DELETE FROM deliveries WHERE load_key IS NULL AND delivered_at < ?"
        self._store.run(old, _timestamp(self._settings.clock() - KEPT_SECONDS))
        for row in self._store.rows("SELECT id, line FROM deliveries WHERE status IS NULL ORDER BY id"):
            self._queue(row["line"], row["id"])
        self._workers = [
            asyncio.create_task(self._work()) for _ in range(self._settings.delivery_concurrency)
        ]

    async def stop(self) -> None:
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def add(
        self,
        event: str,
        payload: Mapping[str, Any],
        line: str,
        *,
        guid: str | None = None,
        load_key: str | None = None,
        redelivery: bool = False,
    ) -> None:
        """Stores a delivery and queues it; deliveries of one `line` (an issue) are sent in order.

        `load_key` names a delivery of a loaded file: one that is stored already is not stored again.
        """
        if self.url is None:
            return
        sql = """
            INSERT INTO deliveries (guid, event, action, line, payload, load_key, redelivery)
            VALUES (?, ?, ?, ?, ?, ?, ?)"""
        body = json.dumps(payload, separators=(",", ":"))
        values = (guid or str(uuid4()), event, payload.get("action"), line, body, load_key, int(redelivery))
        with self._store.transaction():
            if load_key is not None and self.knows(load_key):
                return
            delivery = self._store.insert(sql, *values)
            if self._session is not None:  # else `start` will find it
                self._queue(line, delivery)

    def knows(self, load_key: str) -> bool:
        return self._store.row("SELECT 1 FROM deliveries WHERE load_key = ?", load_key) is not None

    def redeliver(self, delivery: int) -> bool:
        """Queues a delivery again under its guid; False when there is none of this id."""
        sql = "SELECT event, payload, line, guid FROM deliveries WHERE id = ? AND status IS NOT NULL"
        row = self._store.row(sql, delivery)
        if row is None:
            return False
        payload = json.loads(row["payload"])
        self.add(row["event"], payload, row["line"], guid=row["guid"], redelivery=True)
        return True

    @property
    def idle(self) -> bool:
        return self._idle.is_set()

    async def sent(self) -> None:
        """Waits until nothing is queued."""
        await self._idle.wait()

    def _queue(self, line: str, delivery: int) -> None:
        waiting = self._lines.setdefault(line, deque())
        waiting.append(delivery)
        self._idle.clear()
        if len(waiting) == 1:  # else the line is being worked, and goes on by itself
            self._ready.put_nowait(line)

    async def _work(self) -> None:
        while True:
            line = await self._ready.get()
            waiting = self._lines[line]
            await self._deliver(waiting[0])
            waiting.popleft()
            if waiting:
                self._ready.put_nowait(line)
                continue
            del self._lines[line]
            if not self._lines:
                self._idle.set()

    async def _deliver(self, delivery: int) -> None:
        row = self._store.row("SELECT guid, event, payload FROM deliveries WHERE id = ?", delivery)
        if row is None:  # its transaction was rolled back
            return
        started = time.monotonic()
        if self._faults.lose_deliveries:
            self._faults.lose_deliveries -= 1
            status, code = "failed to connect to host", 502
        else:
            if self._faults.double_deliveries:
                self._faults.double_deliveries -= 1
                await self._post(row["guid"], row["event"], row["payload"].encode())
            status, code = await self._post(row["guid"], row["event"], row["payload"].encode())
        at = _timestamp(self._settings.clock())
        sql = "UPDATE deliveries SET status = ?, status_code = ?, delivered_at = ?, duration = ? WHERE id = ?"
        self._store.run(sql, status, code, at, round(time.monotonic() - started, 2), delivery)

    async def _post(self, guid: str, event: str, body: bytes) -> tuple[str, int]:
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "GitHub-Hookshot/local",
            "X-GitHub-Delivery": guid,
            "X-GitHub-Event": event,
            "X-GitHub-Hook-ID": str(HOOK_ID),
            "X-GitHub-Hook-Installation-Target-ID": self._settings.app_id,
            "X-GitHub-Hook-Installation-Target-Type": "integration",
            "X-Hub-Signature-256": sign(self.secret, body),
        }
        if self._session is None or self.url is None:
            return "failed to connect to host", 502
        try:
            async with self._session.post(
                self.url, data=body, headers=headers, allow_redirects=False
            ) as response:
                return ("OK" if response.status < 300 else "Invalid HTTP Response"), response.status
        except TimeoutError:
            return "timed out", 504
        except aiohttp.ClientError:
            return "failed to connect to host", 502


def _timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
