"""The page: its routes, its static files, and who may ask for them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from aiohttp import web

from database.connect import AWAY
from runner.agents import Agent
from runner.page.detail import agent_detail, mission_detail
from runner.page.feed import Feed
from runner.page.memory import SECONDS as MEMORY_SECONDS
from runner.page.memory import MemoryFigures
from runner.page.status import Status

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

VIEWERS = 50
"""Open event streams; each costs a connection."""
_LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})
_STATIC = Path(__file__).parent / "static"
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_HEADERS = {
    # Nothing from elsewhere, nothing inline, no text that becomes markup.
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
    " object-src 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_NO_STORE = {**_HEADERS, "Cache-Control": "no-store"}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file of the page as it is sent."""

    body: bytes
    type: str
    etag: str


def read_static(folder: Path = _STATIC) -> Mapping[str, StaticFile]:
    """Name → file. They are read once, and nothing else can be asked for."""
    files = {}
    for path in sorted(folder.iterdir()):
        if path.suffix in _TYPES:
            body = path.read_bytes()
            files[path.name] = StaticFile(body, _TYPES[path.suffix], hashlib.sha256(body).hexdigest()[:20])
    return files


@dataclass(slots=True)
class Page:
    """Serves the page of one gateway to people on this machine, or under the names in `hosts`."""

    status: Status
    agents: Sequence[Agent]
    hosts: frozenset[str] = frozenset()
    _feed: Feed = field(init=False)
    _memory: Feed = field(init=False)
    _files: Mapping[str, StaticFile] = field(default_factory=read_static)
    _viewers: int = 0

    def __post_init__(self) -> None:
        self._feed = Feed(self.status)
        self._memory = Feed(MemoryFigures(self.status.pool), MEMORY_SECONDS)
        self.hosts = _LOCAL_HOSTS | {host.lower() for host in self.hosts}

    def add_to(self, application: web.Application) -> None:
        """Add the routes; open event streams end when the application shuts down."""
        routes: Mapping[str, Handler] = {
            "/": partial(self._document, "index.html"),
            "/memory": partial(self._document, "memory.html"),
            "/static/{name}": self._static,
            "/api/status": self._status,
            "/api/events": self._events,
            "/api/memory": self._memory_figures,
            "/api/missions/{id}": self._mission,
            "/api/agents/{name}": self._agent,
        }
        for path, handler in routes.items():
            application.router.add_get(path, self._guarded(handler), allow_head=False)

        async def stop(_: web.Application) -> None:
            self._feed.stop()

        application.on_shutdown.append(stop)

    def _guarded(self, handler: Handler) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            # A foreign name that was made to point here (DNS rebinding) would let a foreign page read this one.
            host = re.sub(r":\d*$", "", request.headers.get("Host", "")).lower()
            if host not in self.hosts:
                return _answer(
                    403, {"message": "this page has another name; PAGE_HOSTS lists the names it has"}
                )
            try:
                return await handler(request)
            except AWAY:
                return _answer(503, {"message": "PostgreSQL is away; try again"})

        return guarded

    async def _document(self, name: str, request: web.Request) -> web.Response:
        return self._file(name, request)

    async def _static(self, request: web.Request) -> web.Response:
        return self._file(request.match_info["name"], request)

    def _file(self, name: str, request: web.Request) -> web.Response:
        file = self._files.get(name)
        if file is None:
            return _answer(404, {"message": "there is no such file"})
        headers = {**_HEADERS, "Cache-Control": "no-cache", "ETag": f'"{file.etag}"'}
        if any(tag.value == file.etag for tag in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        return web.Response(body=file.body, content_type=file.type, charset="utf-8", headers=headers)

    async def _status(self, request: web.Request) -> web.Response:
        _version, text = await self._feed.newest()
        return web.Response(text=text, content_type="application/json", headers=_NO_STORE)

    async def _memory_figures(self, request: web.Request) -> web.Response:
        _version, text = await self._memory.newest()
        return web.Response(text=text, content_type="application/json", headers=_NO_STORE)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        if self._viewers >= VIEWERS:
            return _answer(503, {"message": f"{VIEWERS} people look already"})
        response = web.StreamResponse(headers={**_NO_STORE, "Content-Type": "text/event-stream"})
        self._viewers += 1
        try:
            with suppress(ConnectionError):  # whoever looked has left
                await response.prepare(request)
                async for text in self._feed.events():
                    await response.write(b": quiet\n\n" if text is None else f"data: {text}\n\n".encode())
        finally:
            self._viewers -= 1
        return response

    async def _mission(self, request: web.Request) -> web.Response:
        try:
            mission = UUID(request.match_info["id"])
        except ValueError:
            return _answer(404, {"message": "there is no such mission"})
        detail = await mission_detail(self.status.pool, mission, self.status.web)
        return _answer(200, detail) if detail else _answer(404, {"message": "there is no such mission"})

    async def _agent(self, request: web.Request) -> web.Response:
        agent = next((agent for agent in self.agents if agent.name == request.match_info["name"]), None)
        if agent is None:
            return _answer(404, {"message": "there is no such agent"})
        return _answer(
            200, await agent_detail(self.status.pool, agent, self.status.geography, self.status.web)
        )


def _answer(status: int, body: Mapping[str, Any]) -> web.Response:
    return web.Response(
        status=status,
        text=json.dumps(body, ensure_ascii=False),
        content_type="application/json",
        headers=_NO_STORE,
    )
