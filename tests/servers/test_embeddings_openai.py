"""The OpenAI embedder against a local HTTP server that behaves as the API does, faults included."""

from __future__ import annotations

import asyncio
import base64
import logging
import re
from array import array
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

from database.embeddings import EmbeddingSettings, open_embedder
from database.embeddings import openai as embedder_module
from database.embeddings.openai import ATTEMPTS, OpenAIEmbedder
from errors import SettingsError, Unavailable

KEY = "sk-not-for-logs"
Fault = Callable[[dict[str, Any]], web.Response | None]


class Api:
    """Embeds a text as its number of tokens, where a word is a token; `faults` answer first, in order."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.faults: list[Fault] = []
        self.limit = 8192
        self.says_count = True
        self.silent = False
        self.url = ""

    async def create(self, request: web.Request) -> web.Response:
        body = await request.json()
        assert request.headers["authorization"] == f"Bearer {KEY}"
        self.requests.append(body)
        if self.silent:
            await asyncio.Event().wait()
        if self.faults and (answer := self.faults.pop(0)(body)) is not None:
            return answer
        counts = [len(text.split()) for text in body["input"]]
        if "" in body["input"] or len(counts) > 2048 or sum(counts) > 300_000:
            return refusal(400, "invalid input")
        if max(counts) > self.limit:
            said = f", however you requested {max(counts)} tokens" if self.says_count else ""
            return refusal(400, f"This model's maximum context length is {self.limit} tokens{said}.")
        dimension = body.get("dimensions", 1536)
        data = [
            {"object": "embedding", "index": index, "embedding": encoded([float(count)] * dimension)}
            for index, count in enumerate(counts)
        ]
        data.reverse()  # the order is stated by `index`, not by place
        usage = {"prompt_tokens": sum(counts), "total_tokens": sum(counts)}
        return web.json_response({"object": "list", "data": data, "model": body["model"], "usage": usage})


def encoded(vector: list[float]) -> str:
    return base64.b64encode(array("f", vector).tobytes()).decode()


def refusal(status: int, message: str, code: str | None = None, **headers: str) -> web.Response:
    error = {"error": {"message": message, "type": "invalid_request_error", "code": code, "param": None}}
    return web.json_response(
        error, status=status, headers={name.replace("_", "-"): headers[name] for name in headers}
    )


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    api = Api()
    application = web.Application(client_max_size=64 * 2**20)
    application.router.add_post("/v1/embeddings", api.create)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    api.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    yield api
    await runner.cleanup()


@pytest.fixture
async def opened(api: Api, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OpenAIEmbedder]:
    monkeypatch.setattr(embedder_module, "BACKOFF_SECONDS", 0.001)
    embedder = await open_embedder(settings(api))
    assert isinstance(embedder, OpenAIEmbedder)
    yield embedder
    await embedder.close()


def settings(api: Api, model: str = "openai") -> EmbeddingSettings:
    environment = {"EMBEDDING_MODEL": model, "OPENAI_API_KEY": KEY, "EMBEDDING_ENDPOINTS": f"US={api.url}"}
    return EmbeddingSettings.from_environment({**environment, "EMBEDDING_ENDPOINT": api.url}, "US")


def tokens(vectors: list[list[float]]) -> list[float]:
    return [vector[0] for vector in vectors]


async def test_vectors_come_back_in_the_order_of_the_texts(opened: OpenAIEmbedder) -> None:
    vectors = await opened.embed(["one two three", "one", "one two"])
    assert tokens(vectors) == [3, 1, 2]
    assert {len(vector) for vector in vectors} == {1536} == {opened.dimension}


async def test_a_shorter_dimension_is_asked_of_the_model(api: Api) -> None:
    embedder = await open_embedder(settings(api, "openai:text-embedding-3-large:256"))
    assert len((await embedder.embed(["text"]))[0]) == 256 == embedder.dimension
    await embedder.close()


async def test_ada_002_is_not_sent_a_dimension_it_does_not_know(api: Api) -> None:
    embedder = await open_embedder(settings(api, "openai:text-embedding-ada-002"))
    await embedder.embed(["text"])
    assert "dimensions" not in api.requests[0]
    await embedder.close()


async def test_many_texts_travel_in_few_requests_of_at_most_2048(api: Api, opened: OpenAIEmbedder) -> None:
    vectors = await opened.embed(["one two"] * 2050)
    assert [len(request["input"]) for request in api.requests] == [2048, 2]
    assert len(vectors) == 2050


async def test_a_request_never_passes_the_limit_of_tokens(api: Api, opened: OpenAIEmbedder) -> None:
    await opened.embed(["a " * 4000] * 100)
    assert len(api.requests) > 1
    assert max(sum(len(text.split()) for text in request["input"]) for request in api.requests) <= 300_000


async def test_a_long_text_that_fits_in_tokens_is_not_cut(api: Api, opened: OpenAIEmbedder) -> None:
    text = "characteristically " * 8000  # 152,000 characters, 8,000 tokens
    assert tokens(await opened.embed([text])) == [8000]
    assert len(api.requests) == 1


async def test_a_text_beyond_the_limit_is_cut_by_the_servers_own_count(
    api: Api, opened: OpenAIEmbedder
) -> None:
    (found,) = tokens(await opened.embed(["word " * 20_000]))
    assert 0.95 * 8192 <= found <= 8192
    assert len(api.requests) == 2


async def test_where_the_server_gives_no_count_the_text_is_halved(api: Api, opened: OpenAIEmbedder) -> None:
    api.says_count = False
    assert tokens(await opened.embed(["word " * 20_000])) == [5000]


async def test_a_long_text_costs_its_neighbours_nothing(api: Api, opened: OpenAIEmbedder) -> None:
    found = tokens(await opened.embed(["one", "word " * 20_000, "one two"]))
    assert (found[0], found[2]) == (1, 2)
    assert ["one", "one two"] in [request["input"] for request in api.requests]


async def test_a_compatible_server_with_a_lower_limit_is_served_too(api: Api, opened: OpenAIEmbedder) -> None:
    api.limit = 512
    found = tokens(await opened.embed(["one", "word " * 1000]))
    assert found[0] == 1
    assert 480 <= found[1] <= 512


async def test_a_text_that_the_server_never_accepts_ends_in_an_error(
    api: Api, opened: OpenAIEmbedder
) -> None:
    api.limit, api.says_count = 1, False
    with pytest.raises(Unavailable, match="too long after 8 cuts"):
        await opened.embed(["word " * 20_000])


async def test_an_empty_text_is_embedded_as_a_blank_one(opened: OpenAIEmbedder) -> None:
    assert tokens(await opened.embed(["", "one"])) == [0, 1]


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_passing_fault_is_retried(api: Api, opened: OpenAIEmbedder, status: int) -> None:
    api.faults = [lambda _: refusal(status, "busy")] * (ATTEMPTS - 1)
    assert tokens(await opened.embed(["one"])) == [1]


async def test_retries_have_an_end(api: Api, opened: OpenAIEmbedder) -> None:
    api.faults = [lambda _: refusal(503, "busy")] * 99
    with pytest.raises(Unavailable, match="status 503"):
        await opened.embed(["one"])
    assert len(api.requests) == ATTEMPTS


async def test_the_servers_wish_to_wait_is_honoured(api: Api, opened: OpenAIEmbedder) -> None:
    api.faults = [lambda _: refusal(429, "slow down", retry_after="1")]
    started = asyncio.get_running_loop().time()
    await opened.embed(["one"])
    assert asyncio.get_running_loop().time() - started >= 1


async def test_a_wish_to_wait_for_long_is_an_error_at_once(api: Api, opened: OpenAIEmbedder) -> None:
    api.faults = [lambda _: refusal(429, "slow down", retry_after="3600")]
    with pytest.raises(Unavailable, match="status 429"):
        await opened.embed(["one"])
    assert len(api.requests) == 1


async def test_a_used_up_quota_is_not_retried(api: Api, opened: OpenAIEmbedder) -> None:
    api.faults = [lambda _: refusal(429, "pay", code="insufficient_quota")]
    with pytest.raises(Unavailable, match="insufficient_quota"):
        await opened.embed(["one"])
    assert len(api.requests) == 1


async def test_a_server_that_is_silent_is_given_up(api: Api, opened: OpenAIEmbedder) -> None:
    opened._client = opened._client.with_options(timeout=1.0)
    api.silent = True
    with pytest.raises(Unavailable, match="no answer in time"):
        await opened.embed(["one"])
    assert len(api.requests) == ATTEMPTS


async def test_nobody_listening_is_unavailable(api: Api, opened: OpenAIEmbedder) -> None:
    opened._client.base_url = "http://127.0.0.1:1/v1"
    with pytest.raises(Unavailable, match="no connection"):
        await opened.embed(["one"])


async def test_a_refused_key_is_told_apart_and_shows_nowhere(
    api: Api, opened: OpenAIEmbedder, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    api.faults = [lambda _: refusal(401, f"Incorrect API key provided: {KEY}")]
    with pytest.raises(SettingsError, match="check OPENAI_API_KEY") as caught:
        await opened.embed(["one"])
    assert KEY not in str(caught.value) + repr(caught.value.__cause__) + caplog.text
    assert len(api.requests) == 1


async def test_an_answer_of_another_dimension_is_refused(api: Api, opened: OpenAIEmbedder) -> None:
    api.faults = [
        lambda body: web.json_response(
            {"object": "list", "model": body["model"], "usage": {"prompt_tokens": 1, "total_tokens": 1},
             "data": [{"object": "embedding", "index": 0, "embedding": [0.0] * 768}]}
        )
    ]  # fmt: skip
    with pytest.raises(SettingsError, match="dimension 768, not 1536"):
        await opened.embed(["one"])


async def test_an_answer_that_misses_a_text_is_refused(api: Api, opened: OpenAIEmbedder) -> None:
    api.faults = [
        lambda body: web.json_response(
            {"object": "list", "model": body["model"], "usage": {"prompt_tokens": 1, "total_tokens": 1},
             "data": [{"object": "embedding", "index": 0, "embedding": [0.0] * 1536}]}
        )
    ]  # fmt: skip
    with pytest.raises(Unavailable, match=re.escape("2 texts with 1 embeddings")):
        await opened.embed(["one", "two"])


async def test_a_redirect_is_not_followed_out_of_the_allowed_endpoint(
    api: Api, opened: OpenAIEmbedder
) -> None:
    api.faults = [lambda _: web.Response(status=307, headers={"location": "http://127.0.0.1:1/elsewhere"})]
    with pytest.raises(Unavailable, match="status 307"):
        await opened.embed(["one"])
