"""A local OpenAI-compatible server whose answers a test writes down beforehand, faults included."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

Request = Mapping[str, Any]
USAGE = {"prompt_tokens": 1_000, "completion_tokens": 100}


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer, sent after `delay` seconds."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    held: asyncio.Event | None = None
    """The answer is kept back until this is set."""


Step = Reply | Callable[[Request], Reply]


def message(
    text: str | None = None,
    *calls: tuple[str, object],
    usage: Mapping[str, Any] | None = USAGE,
    finish_reason: str = "stop",
    **more: Any,
) -> Reply:
    """A chat completion. A call's arguments are a value to write as JSON, or a string to send as it is."""
    tool_calls = [
        {
            "id": f"call_{number}",
            "type": "function",
            "function": {"name": name, "arguments": given if isinstance(given, str) else json.dumps(given)},
        }
        for number, (name, given) in enumerate(calls)
    ]
    said = {"role": "assistant", "content": text, **more} | ({"tool_calls": tool_calls} if calls else {})
    answer: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": "scripted",
        "choices": [{"index": 0, "finish_reason": finish_reason, "message": said}],
    }
    if usage is not None:
        answer["usage"] = dict(usage)
    return Reply(json.dumps(answer).encode(), headers={"Content-Type": "application/json"})


def calls(*given: tuple[str, object]) -> Reply:
    """A message that only calls tools."""
    return message(None, *given, finish_reason="tool_calls")


def finish(summary: str = "Done.", *, success: bool = True, approach: str = "Did it.") -> Reply:
    """The model ends the work."""
    return calls(
        (
            "finish",
            {"summary": summary, "success": success, "solution_approach": approach, "lessons": "None."},
        )
    )


def failure(status: int, text: str = "no", **headers: str) -> Reply:
    """An error as OpenAI words it."""
    body = json.dumps({"error": {"message": text, "type": "error", "code": None}}).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(body, status, {"Content-Type": "application/json"} | named)


class ScriptedModel:
    """Answers the n-th request with the n-th step, and every later one with the last."""

    def __init__(self, *script: Step) -> None:
        self.script = list(script)
        self.requests: list[Request] = []
        self.heads: list[str] = []
        self.bodies: list[bytes] = []
        self.asked = asyncio.Event()
        self.url = ""

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/v1/chat/completions", self._answer)
        app.router.add_route("*", "/{elsewhere:.*}", self._elsewhere)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}/v1"
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._runner.cleanup()

    @property
    def seen(self) -> str:
        """All that ever reached the server."""
        return "\n".join([*self.heads, *(body.decode() for body in self.bodies)])

    def tool_results(self, request: int = -1) -> list[str]:
        """The contents of the tools' answers that the given request carried."""
        return [m["content"] for m in self.requests[request]["messages"] if m["role"] == "tool"]

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.bodies.append(body)
        self.heads.append(f"{request.path_qs} {dict(request.headers)}")
        step = self.script[min(len(self.requests), len(self.script) - 1)]
        self.requests.append(json.loads(body))
        self.asked.set()
        reply = step if isinstance(step, Reply) else step(self.requests[-1])
        if reply.held is not None:
            await reply.held.wait()
        return web.Response(body=reply.body, status=reply.status, headers=dict(reply.headers))

    async def _elsewhere(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.read())
        self.heads.append(f"{request.path_qs} {dict(request.headers)}")
        return web.Response(status=404)
