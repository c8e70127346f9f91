"""Headless Chromium, driven through its DevTools protocol over one WebSocket."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import shutil
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

WAIT_SECONDS = 100.0
_FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync --disable-dev-shm-usage --force-color-profile=srgb"
    " --remote-debugging-port=0"
).split()
# What is asked of a page that goes away is asked of the next one.
_WENT_AWAY = (
    "Inspected target navigated or closed",
    "Execution context was destroyed",
    "Cannot find default execution context",
    "Cannot find context with specified id",
)
_ADDRESS = re.compile(r"DevTools listening on (ws://\S+)")


class Missing(AssertionError):
    """What a test waited for did not come; the message tells what the page shows instead."""


@dataclass(slots=True)
class Browser:
    """One Chromium; each tab is a session on its WebSocket."""

    socket: aiohttp.ClientWebSocketResponse
    _number: int = 0
    _answers: dict[int, asyncio.Future[dict[str, Any]]] = field(default_factory=dict)
    _tabs: dict[str, Tab] = field(default_factory=dict)

    async def send(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[self._number] = answer
        message = {"id": self._number, "method": method, "params": parameters}
        await self.socket.send_json({**message, "sessionId": session} if session else message)
        return await asyncio.wait_for(answer, WAIT_SECONDS)

    async def read(self) -> None:
        """Hand answers to those who wait for them and events to their tabs, until the socket closes."""
        async for message in self.socket:
            data = json.loads(message.data)
            if "id" in data:
                answer = self._answers.pop(data["id"])
                if answer.done():
                    continue
                if "error" in data:
                    answer.set_exception(RuntimeError(data["error"]["message"]))
                else:
                    answer.set_result(data["result"])
            elif tab := self._tabs.get(data.get("sessionId", "")):
                tab.heard(data["method"], data["params"])

    async def open(self, address: str, *, width: int = 1400, height: int = 900, dark: bool = False) -> Tab:
        """A new tab in a context of its own, on `address`."""
        context = (await self.send("Target.createBrowserContext"))["browserContextId"]
        target = (await self.send("Target.createTarget", url="about:blank", browserContextId=context))[
            "targetId"
        ]
        session = (await self.send("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        tab = self._tabs[session] = Tab(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            await tab.send(f"{domain}.enable")
        await tab.look(width, height, dark=dark)
        await tab.send("Page.navigate", url=address)
        return tab


@dataclass(slots=True)
class Tab:
    """One page. `complaints` are console errors and warnings, exceptions and refused loads."""

    browser: Browser
    session: str
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    async def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        return await self.browser.send(method, self.session, **parameters)

    def heard(self, event: str, data: Mapping[str, Any]) -> None:
        if event == "Runtime.consoleAPICalled" and data["type"] in ("error", "warning", "assert"):
            self.complaints.append(" ".join(str(argument.get("value")) for argument in data["args"]))
        elif event == "Runtime.exceptionThrown":
            self.complaints.append(str(data["exceptionDetails"]))
        elif event == "Log.entryAdded" and data["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"{data['entry']['text']} {data['entry'].get('url', '')}")
        elif event == "Network.requestWillBeSent":
            self.requests.append(data["request"]["url"])

    async def look(self, width: int, height: int, *, dark: bool, still: bool = False) -> None:
        """Set the window's size, the colour scheme and whether motion is to be reduced."""
        await self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if still else "no-preference"},
        ]
        await self.send("Emulation.setEmulatedMedia", features=features)

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; a promise is awaited."""
        result = await self.send(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    async def until(self, expression: str) -> Any:
        """The value of `expression` once it is true, here or on the page that it leads to; it is looked at with every
        frame. Raises Missing.
        """
        looking = f"""new Promise((found, lost) => {{
            const end = performance.now() + {WAIT_SECONDS * 1000 - 2000};
            const look = () => {{
                let value = null;
                try {{ value = {expression}; }} catch (error) {{ if (!(error instanceof TypeError)) lost(error); }}
                if (value || performance.now() > end) found(value); else setTimeout(look, 16);
            }};
            look();
        }})"""
        async with asyncio.timeout(2 * WAIT_SECONDS):
            while True:
                try:
                    value = await self.evaluate(looking)
                except RuntimeError as refused:
                    if not str(refused).startswith(_WENT_AWAY):
                        raise
                else:
                    break
        if not value:
            shown = await self.evaluate("document.body.innerText.slice(0, 3000)")
            raise Missing(f"{expression} never came true; the page shows:\n{shown}\n{self.complaints}")
        return value

    async def press(self, key: str, code: int) -> None:
        """One key, as from the keyboard."""
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            await self.send(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text
            )

    async def screenshot(self, file: Path, *, whole: bool = False) -> None:
        """A PNG of what is seen, or of the whole page."""
        shot = await self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(shot["data"]))


@asynccontextmanager
async def chromium(folder: Path) -> AsyncIterator[Browser]:
    """A browser with `folder` for its profile; it ends with the block."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    process = await asyncio.create_subprocess_exec(
        program,
        *_FLAGS,
        f"--user-data-dir={folder}",
        "about:blank",
        stdout=DEVNULL,
        stderr=PIPE,
        start_new_session=True,
    )
    drain: asyncio.Task[None] | None = None
    try:
        address = await asyncio.wait_for(_address(process), WAIT_SECONDS)
        assert process.stderr is not None
        drain = asyncio.create_task(_drain(process.stderr))
        async with aiohttp.ClientSession() as session, session.ws_connect(address, max_msg_size=0) as socket:
            browser = Browser(socket)
            reader = asyncio.create_task(browser.read())
            yield browser
            reader.cancel()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its helpers too; nothing of the profile is kept
        await process.wait()
        if drain is not None:
            await drain


async def _address(process: Process) -> str:
    assert process.stderr is not None
    said = []
    async for line in process.stderr:
        said.append(line.decode(errors="replace"))
        if found := _ADDRESS.search(said[-1]):
            return found[1]
    raise Missing(f"Chromium ended without an address:\n{''.join(said)}")


async def _drain(stream: asyncio.StreamReader) -> None:
    while await stream.read(65_536):
        pass
