"""The executor that lets a language model work: any OpenAI-compatible endpoint that the zone allows."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol
from urllib.parse import SplitResult, urlsplit

from errors import ExecutionError, SettingsError
from runner.execute import Mission, RepositorySource, Result, Task, Wallet
from runner.execute.changes import ChangeLimits
from runner.execute.checkout import Checkouts
from runner.execute.conversation import Conversation, TalkLimits
from runner.execute.metered import CallLimits, MeteredModel
from runner.execute.pricing import PRICING_FILE, load_price
from runner.execute.prompt import new_nonce, system_text, task_text
from runner.execute.sandbox import Sandbox, ToolLimits, tool_user
from runner.execute.toolbox import Toolbox
from runner.execute.tools import granted
from runner.execute.unpack import UnpackLimits


class ModelSettings(Protocol):
    """What the operator sets; `runner.settings.ModelSettings` has it."""

    @property
    def name(self) -> str: ...
    @property
    def base_url(self) -> str: ...
    @property
    def api_key(self) -> str: ...
    @property
    def endpoints(self) -> Sequence[str]:
        """Base URLs that data of this runner's zone may go to."""
        ...

    @property
    def allow_shell(self) -> bool: ...


class ModelExecutor:
    """Works missions with the model that `settings` name. One for all missions of a runner.

    `folder` is for checkouts, `wallet` gives a mission's wallet. Raises SettingsError for an endpoint that is not
    allowed and for a model without a price, before any call.
    """

    def __init__(
        self,
        settings: ModelSettings,
        repositories: RepositorySource,
        wallet: Callable[[Mission], Wallet],
        folder: Path,
        *,
        mission_seconds: float = 1_800,
        calls: CallLimits | None = None,
        talk: TalkLimits | None = None,
        tools: ToolLimits | None = None,
        changes: ChangeLimits | None = None,
        repository: UnpackLimits | None = None,
        pricing: Path = PRICING_FILE,
    ) -> None:
        check_endpoint(settings.base_url, settings.endpoints)
        self._price = load_price(settings.name, pricing)
        self._settings = settings
        self._wallet = wallet
        self._mission_seconds = mission_seconds
        self._calls = calls or CallLimits()
        self._talk = _fitting(talk or TalkLimits(), self._price.context_tokens, self._calls.output_tokens)
        self._tools = tools or ToolLimits()
        self._changes = changes or ChangeLimits()
        self._sandbox = Sandbox(self._tools)
        self._checkouts = Checkouts(folder, repositories, owner=tool_user(), limits=repository)
        self._tidy = asyncio.Lock()
        self._tidied = False

    @property
    def paid(self) -> bool:
        return True

    async def execute(self, task: Task) -> Result:
        async with self._tidy:
            if not self._tidied:
                await self._checkouts.remove_stale()
                self._tidied = True
        try:
            async with asyncio.timeout(self._mission_seconds) as deadline:
                return await self._work(task)
        except TimeoutError as error:
            if not deadline.expired():
                raise
            raise ExecutionError(f"no result within {self._mission_seconds:g} s") from error

    async def _work(self, task: Task) -> Result:
        names, ignored = granted(task.agent.tools)
        no_shell = await self._why_no_shell() if "bash" in names else ""
        if no_shell:
            names = tuple(name for name in names if name != "bash")
        nonce = new_nonce()
        opening = [
            {"role": "system", "content": system_text(task.agent, names, ignored, no_shell, nonce)},
            {"role": "user", "content": task_text(task, nonce)},
        ]
        model = MeteredModel(
            self._settings.base_url,
            self._settings.api_key,
            self._price,
            self._wallet(task.mission),
            self._calls,
        )
        async with self._checkouts.open(task.mission.id, task.mission.repository) as checkout, model:
            toolbox = Toolbox(
                names,
                checkout,
                self._sandbox,
                output_bytes=self._tools.output_bytes,
                protected_allowed=self._changes.protected_allowed,
            )
            talk = Conversation(task, model, toolbox, checkout, opening, self._talk, self._changes)
            return await talk.run()

    async def _why_no_shell(self) -> str:
        if not self._settings.allow_shell:
            return "the operator has not allowed one"
        return await self._sandbox.why_unavailable()


def check_endpoint(url: str, allowed: Sequence[str]) -> None:
    """Raises SettingsError when `url` is not one of the `allowed` base URLs, or would send data in the clear."""
    asked = _endpoint(url)
    if asked not in [_endpoint(other) for other in allowed]:
        raise SettingsError(
            f"the model endpoint {url} is not allowed for this zone",
            f"use one of: {', '.join(allowed) or '(none is allowed)'}",
        )
    if asked[0] != "https" and not _stays_here(asked[1]):
        raise SettingsError(f"the model endpoint {url} is not encrypted", "use https")


def _endpoint(url: str) -> tuple[str, str, int, str]:
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "http": 80}[parts.scheme]
    except (ValueError, KeyError):
        parts, port = SplitResult("", "", "", "", ""), 0
    if not parts.hostname or "@" in parts.netloc or parts.query or parts.fragment:
        raise SettingsError(f"{url!r} is no base URL of a model endpoint", "write https://HOST/PATH")
    return parts.scheme, parts.hostname, port, parts.path.rstrip("/")


def _stays_here(host: str) -> bool:
    """True for this machine and for services of this cluster, whose traffic leaves neither."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith((".svc", ".svc.cluster.local"))


def _fitting(talk: TalkLimits, context_tokens: int, output_tokens: int) -> TalkLimits:
    """`talk` with a prompt that fits the model even if every byte were a token."""
    room = min(talk.prompt_bytes, context_tokens - output_tokens)
    if room <= 0:
        raise SettingsError("the model's context is smaller than one answer", "lower the tokens of an answer")
    return TalkLimits(talk.turns, talk.tokens, room, talk.calls_per_turn, talk.refused_finishes)
