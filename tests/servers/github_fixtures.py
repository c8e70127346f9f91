"""What tests of GitHub's two sides share: a clock that sleeping moves, a webhook receiver, a server and a client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Self

from aiohttp import web

from runner.github import GitHub
from runner.github.app import PlainToken, Tokens
from runner.github.transport import GitHubSettings
from runner.localgithub import LocalGitHub, LocalGitHubSettings

REPOSITORY = "local/repository"
SECRET = "a secret for tests"
NOON = 1_790_000_000.0


@dataclass
class Clock:
    """Epoch seconds that only `sleep` moves; nobody waits."""

    now: float = NOON
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


@dataclass
class Hook:
    """One webhook as it arrived."""

    event: str
    guid: str
    signature: str
    body: bytes

    @property
    def payload(self) -> dict[str, Any]:
        payload: dict[str, Any] = json.loads(self.body)
        return payload

    @property
    def what(self) -> str:
        """event.action#number, as in issues.opened#3"""
        data = self.payload
        subject = data.get("issue") or data.get("pull_request") or {}
        return f"{self.event}.{data.get('action', '')}#{subject.get('number', '')}"


class Receiver:
    """Takes webhooks at `url`, answers with `status`; holds them back while `held`."""

    def __init__(self) -> None:
        self.hooks: list[Hook] = []
        self.status = 202
        self.url = ""
        self._arrived = asyncio.Condition()
        self.gate = asyncio.Event()
        self.gate.set()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.add_routes([web.post("/webhook", self._take)])
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/webhook"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        headers = request.headers
        event, guid = headers["X-GitHub-Event"], headers["X-GitHub-Delivery"]
        self.hooks.append(Hook(event, guid, headers["X-Hub-Signature-256"], body))
        async with self._arrived:
            self._arrived.notify_all()
        await self.gate.wait()
        return web.Response(status=self.status)

    async def wait(self, count: int) -> None:
        """Until `count` webhooks arrived, answered or not."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.hooks) >= count)

    def about(self, number: int) -> list[str]:
        """What arrived about one issue, in order."""
        return [hook.what for hook in self.hooks if hook.what.endswith(f"#{number}")]


@asynccontextmanager
async def local_github(data: Path, clock: Clock | None = None, **settings: Any) -> AsyncIterator[LocalGitHub]:
    """A local GitHub on a free port."""
    if clock is not None:
        settings["clock"] = clock
    async with LocalGitHub(LocalGitHubSettings(data=data, **settings)) as github:
        yield github


@asynccontextmanager
async def client_of(
    github: LocalGitHub, clock: Clock | None = None, tokens: Tokens | None = None, **settings: Any
) -> AsyncIterator[GitHub]:
    """A client with the App's token; its waits move `clock`."""
    clock = clock or Clock()
    limits = GitHubSettings(base_url=github.url, **settings)
    async with GitHub(tokens or PlainToken(github.token()), limits, clock=clock, sleep=clock.sleep) as client:
        yield client


APP_ID = "77"


@cache
def app_keys() -> tuple[str, str]:
    """A private key of the App and its public one, both PEM."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private.decode(), public.decode()


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    """A server of the test's own, at the URL that this gives."""
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
