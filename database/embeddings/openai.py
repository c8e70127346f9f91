"""Embeds through OpenAI's API or any endpoint compatible with it."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Iterator, Sequence

import openai

from database.embeddings.models import MODELS
from database.embeddings.settings import EmbeddingSettings
from errors import SettingsError, Unavailable

# https://platform.openai.com/docs/api-reference/embeddings/create, read 2026-11-24
REQUEST_TEXTS = 2048
REQUEST_TOKENS = 300_000

TIMEOUT_SECONDS = 30.0
ATTEMPTS = 5
BACKOFF_SECONDS = 0.5  # doubled after every attempt, with full jitter
LONGEST_WAIT_SECONDS = 30.0
CUTS = 8  # halving 64 KiB, the longest issue GitHub stores, eight times leaves 256 bytes

# "maximum context length is 8192 tokens, however you requested 8610 tokens" and, of other servers,
# "… is 8192 tokens. However, your messages resulted in 10383 tokens"
_COUNTS = re.compile(r"maximum context length is (\d+) tokens\D+(\d+) tokens")
_TOO_LONG = re.compile(
    r"maximum (context|input) length|context_length_exceeded|too many tokens", re.IGNORECASE
)


class OpenAIEmbedder:
    """One model at one endpoint; requests carry as many texts as the API allows, one request at a time.

    Truncation counts tokens, not characters, without the model's vocabulary (a download): these models use
    a byte-level BPE, whose tokens cover at least one byte each, so a text of at most `max_tokens` bytes
    surely fits. A longer one travels alone, and where the server refuses it, the server's own count says
    how much to cut.
    """

    version = "1"  # OpenAI never changes a model under its name; raise this if we change what is sent

    def __init__(self, settings: EmbeddingSettings) -> None:
        self.model = settings.model
        self.dimension = settings.dimension
        self._limits = MODELS[settings.model]
        self._endpoint = settings.endpoint
        self._client = openai.AsyncOpenAI(
            api_key=settings.api_key,
            base_url=settings.endpoint,
            timeout=TIMEOUT_SECONDS,
            max_retries=0,
            # A redirect could leave the endpoints that the zone allows.
            http_client=openai.DefaultAsyncHttpxClient(follow_redirects=False, timeout=TIMEOUT_SECONDS),
        )

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """See Embedder. Raises Unavailable, or SettingsError where key, model or dimension are refused."""
        vectors: list[list[float]] = [[] for _ in texts]
        for request in self._requests(texts):
            answer = await self._embed_request([texts[index] or " " for index in request])  # it refuses ""
            for index, vector in zip(request, answer, strict=True):
                vectors[index] = vector
        return vectors

    def _requests(self, texts: Sequence[str]) -> Iterator[list[int]]:
        """Indices grouped into requests; a text that might be too long stands alone."""
        request: list[int] = []
        size = 0
        for index, text in enumerate(texts):
            bound = len(text.encode(errors="replace"))
            if bound > self._limits.max_tokens:
                yield [index]
                continue
            if request and (len(request) == REQUEST_TEXTS or size + bound > REQUEST_TOKENS):
                yield request
                request, size = [], 0
            request.append(index)
            size += bound
        if request:
            yield request

    async def _embed_request(self, texts: Sequence[str]) -> list[list[float]]:
        if len(texts) > 1:
            try:
                return await self._send(texts)
            except openai.BadRequestError:
                pass  # a compatible server with a lower limit does not say which text it means
        return [await self._embed_alone(text) for text in texts]

    async def _embed_alone(self, text: str) -> list[float]:
        for _ in range(CUTS):
            try:
                return (await self._send([text]))[0]
            except openai.BadRequestError as error:
                share = _share_that_fits(error.message)
                text = text[: int(len(text) * share)] or " "
        raise Unavailable(f"{self._endpoint} still calls a text too long after {CUTS} cuts")

    async def _send(self, texts: Sequence[str]) -> list[list[float]]:
        """One request with bounded retries. Raises openai.BadRequestError where a text is too long."""
        for attempt in range(ATTEMPTS):
            try:
                return await self._send_once(texts)
            except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as error:
                # Its message may quote a part of the key.
                raise SettingsError(
                    f"{self._endpoint} refused the model {self.model} with status {error.status_code}",
                    "check OPENAI_API_KEY, EMBEDDING_ENDPOINT and EMBEDDING_MODEL",
                ) from None
            except openai.APIError as error:
                if _is_too_long(error):
                    raise
                wait = _wait_seconds(error, attempt)
                if wait is None or attempt == ATTEMPTS - 1:
                    raise Unavailable(f"{self._endpoint} gives no embeddings: {_reason(error)}") from None
            await asyncio.sleep(wait)
        raise AssertionError("unreachable")

    async def _send_once(self, texts: Sequence[str]) -> list[list[float]]:
        shorter = self.dimension if self._limits.shortens else openai.omit
        response = await self._client.embeddings.create(
            model=self.model, input=list(texts), dimensions=shorter
        )
        data = sorted(response.data, key=lambda item: item.index)
        if [item.index for item in data] != list(range(len(texts))):
            raise Unavailable(f"{self._endpoint} answered {len(texts)} texts with {len(data)} embeddings")
        for item in data:
            if len(item.embedding) != self.dimension:
                raise SettingsError(
                    f"{self._endpoint} answered dimension {len(item.embedding)}, not {self.dimension}",
                    "set EMBEDDING_MODEL to the model and dimension that the endpoint serves",
                )
        return [item.embedding for item in data]

    async def close(self) -> None:
        await self._client.close()


def _is_too_long(error: openai.APIError) -> bool:
    return isinstance(error, openai.BadRequestError) and bool(_TOO_LONG.search(error.message))


def _share_that_fits(message: str) -> float:
    counts = _COUNTS.search(message)
    if counts and int(counts[2]) > int(counts[1]):
        # Tokens are not spread evenly over a text: two in a hundred are kept in hand.
        return int(counts[1]) / int(counts[2]) * 0.98
    return 0.5


def _wait_seconds(error: openai.APIError, attempt: int) -> float | None:
    """Seconds until the next attempt, None where another one is no use."""
    if error.code == "insufficient_quota":
        return None
    if isinstance(error, openai.APIStatusError):
        if error.status_code not in (408, 409, 429) and error.status_code < 500:
            return None
        asked = error.response.headers.get("retry-after", "")
        if re.fullmatch(r"\d+(\.\d+)?", asked):
            return (
                float(asked) + random.uniform(0, BACKOFF_SECONDS)
                if float(asked) <= LONGEST_WAIT_SECONDS
                else None
            )
    return random.uniform(0, min(LONGEST_WAIT_SECONDS, BACKOFF_SECONDS * 2**attempt))


def _reason(error: openai.APIError) -> str:
    if isinstance(error, openai.APIStatusError):
        return f"status {error.status_code}, {error.code or error.type or 'no reason given'}"
    return "no answer in time" if isinstance(error, openai.APITimeoutError) else "no connection"
