"""Calls to a language model whose dollars are reserved before and settled after each one.

Nothing here lets a call go unpaid: a call that failed after it may have been billed is settled at its reservation,
one whose settling failed stays reserved, and a retry reserves again.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Self
from uuid import UUID

from errors import BudgetExceeded, ExecutionError, Unavailable
from runner.execute import Wallet
from runner.execute.answer import Answer, read_answer
from runner.execute.leaks import redact
from runner.execute.pricing import Price, prompt_bound
from runner.execute.uncancelled import to_the_end

log = logging.getLogger(__name__)

# What httpx raises before a request is sent; openai chains it as the cause.
_NOT_SENT = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol"})
_REQUEST_TIMEOUT, _CONFLICT, _TOO_MANY_REQUESTS, _SERVER_ERROR = 408, 409, 429, 500


@dataclass(frozen=True, slots=True)
class CallLimits:
    """For one call to the model; seconds, tokens and bytes."""

    seconds: float = 180
    output_tokens: int = 8_192
    least_output_tokens: int = 512
    """A call is not worth its prompt with less room to answer."""
    answer_bytes: int = 4_194_304
    tries: int = 4
    first_pause: float = 1
    longest_pause: float = 30


class _Failed(Exception):
    def __init__(self, problem: str, *, billed: bool, retry: bool, pause: float | None = None) -> None:
        super().__init__(problem)
        self.billed = billed
        self.retry = retry
        self.pause = pause


class MeteredModel:
    """One mission's access to the model at `base_url`. `spent_usd` and `tokens` count what was settled."""

    def __init__(self, base_url: str, api_key: str, price: Price, wallet: Wallet, limits: CallLimits) -> None:
        self._base_url = base_url
        self._api_key = api_key
        self._price = price
        self._wallet = wallet
        self._limits = limits
        self._client: Any = None
        self._errors: Any = None
        self.spent_usd = Decimal(0)
        self.tokens = 0

    async def __aenter__(self) -> Self:
        # Imported here and in a thread: it takes a second and 40 MiB that an idle runner does not have.
        openai = self._errors = await asyncio.to_thread(importlib.import_module, "openai")
        # No redirects and no proxies from the environment: the prompt goes to the allowed endpoint alone.
        http = openai.DefaultAsyncHttpxClient(follow_redirects=False, trust_env=False)
        self._client = openai.AsyncOpenAI(
            base_url=self._base_url,
            api_key=self._api_key or "none",  # servers of one's own often take no key; the package insists
            max_retries=0,
            timeout=self._limits.seconds,
            http_client=http,
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._client.close()

    async def complete(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]
    ) -> Answer:
        """The model's next message.

        Raises BudgetExceeded before a call that could pass a cap, Unavailable when the endpoint stays away, and
        ExecutionError when it refuses the request or bills more than can be.
        """
        request: dict[str, Any] = {"model": self._price.model, "messages": messages}
        if tools:
            request["tools"] = tools
        pause = self._limits.first_pause
        for attempt in range(1, self._limits.tries + 1):
            try:
                return await self._once(request)
            except _Failed as failed:
                log.warning("call %s to the model: %s", attempt, failed)
                if not failed.retry:
                    raise ExecutionError(str(failed)) from failed
                if attempt == self._limits.tries:
                    raise Unavailable(f"{failed} ({attempt} tries)") from failed
                await asyncio.sleep(min(failed.pause or pause, self._limits.longest_pause))
                pause *= 2
        raise AssertionError("the last attempt returns or raises")

    async def _once(self, request: Mapping[str, Any]) -> Answer:
        prompt = prompt_bound(json.dumps(request, ensure_ascii=False))
        reservation, reserved, output_tokens = await self._reserve(prompt)
        try:
            answer = await self._call({**request, self._price.limit_parameter: output_tokens})
        except _Failed as failed:
            await self._settle(reservation, reserved if failed.billed else Decimal(0))
            raise
        except BaseException:  # cancelled or out of time: it may have been billed
            try:
                await self._settle(reservation, reserved)
            except Exception as error:  # a reservation that stays counts in full as well
                log.warning("reservation %s is not settled: %s", reservation, error)
            raise
        cost = reserved if answer.usage is None else self._price.cost(answer.usage)
        await self._settle(reservation, cost)
        self.tokens += prompt if answer.usage is None else answer.usage.input + answer.usage.output
        if cost > reserved:
            raise ExecutionError(
                f"the endpoint billed ${cost} for a call that can cost ${reserved} at most: "
                f"it ignores {self._price.limit_parameter}, or counts tokens in an unknown way"
            )
        return answer

    async def _reserve(self, prompt_tokens: int) -> tuple[UUID, Decimal, int]:
        """Reserve the worst case, with less room for the answer where the caps leave no more."""
        output_tokens = self._limits.output_tokens
        while True:
            usd = self._price.worst(prompt_tokens, output_tokens)
            try:
                return await self._wallet.reserve(usd), usd, output_tokens
            except BudgetExceeded:
                output_tokens //= 2
                if output_tokens < self._limits.least_output_tokens:
                    raise

    async def _settle(self, reservation: UUID, usd: Decimal) -> None:
        self.spent_usd += usd
        await to_the_end(self._wallet.settle(reservation, usd))

    async def _call(self, request: Mapping[str, Any]) -> Answer:
        openai = self._errors
        try:
            async with asyncio.timeout(self._limits.seconds) as deadline:
                calls = self._client.chat.completions.with_streaming_response
                async with calls.create(**request) as response:
                    content = bytearray()
                    async for block in response.iter_bytes():
                        content += block
                        if len(content) > self._limits.answer_bytes:
                            raise _Failed("the model's answer is too long", billed=True, retry=False)
        except _Failed:
            raise
        except openai.APIStatusError as error:
            raise _status(error) from error
        except openai.APIConnectionError as error:
            sent = type(error.__cause__).__name__ not in _NOT_SENT
            raise _Failed(
                "the model's endpoint cannot be reached or broke off", billed=sent, retry=True
            ) from error
        except TimeoutError as error:
            if not deadline.expired():
                raise
            late = f"the model did not answer within {self._limits.seconds:g} s"
            raise _Failed(late, billed=True, retry=True) from error
        except Exception as error:  # a body that breaks off raises what openai's HTTP library raises
            raise _Failed(f"the call broke off ({type(error).__name__})", billed=True, retry=True) from error
        try:
            return read_answer(bytes(content))
        except ValueError as error:
            raise _Failed(f"the model's answer is malformed: {error}", billed=True, retry=True) from error


def _status(error: Any) -> _Failed:
    status = int(error.status_code)
    log.warning("the model's endpoint says: %s", redact(str(error.message))[:500])
    # Refused requests are not billed; what an endpoint did before it failed is unknown.
    billed = status >= _SERVER_ERROR or status == _REQUEST_TIMEOUT
    retry = billed or status in (_CONFLICT, _TOO_MANY_REQUESTS)
    try:
        pause = float(error.response.headers["retry-after"])
    except (KeyError, ValueError):
        pause = None
    return _Failed(f"the model's endpoint answered {status}", billed=billed, retry=retry, pause=pause)
