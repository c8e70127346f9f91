"""HTTP to GitHub: authentication, time-outs, bounded answers, retries, pages, downloads."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import aiohttp
from yarl import URL

from errors import GitHubError, RateLimited, SettingsError, Unavailable
from runner.github.app import Tokens
from runner.github.limits import RateLimits

API_VERSION = "2022-11-28"
REPEATABLE = frozenset({"GET", "HEAD", "PUT", "DELETE"})
MAX_PAGES = 100


@dataclass(frozen=True, slots=True)
class GitHubSettings:
    """Limits of one client. Times in seconds, sizes in bytes.

    `attempts` counts calls that got no usable answer; `max_wait` is the longest sleep for a rate limit before
    `RateLimited` is raised instead.
    """

    base_url: str = "https://api.github.com"
    timeout: float = 30.0
    download_timeout: float = 300.0
    attempts: int = 4
    backoff: float = 0.5
    max_wait: float = 60.0
    max_bytes: int = 8 * 1024 * 1024
    connections: int = 10
    user_agent: str = "agents-cloud"

    def __post_init__(self) -> None:
        url = URL(self.base_url)
        # A name without a dot is a container or a loopback host; elsewhere http shows the token.
        private = url.host is not None and ("." not in url.host or url.host.startswith("127."))
        if url.scheme != "https" and not (url.scheme == "http" and private):
            raise SettingsError(
                f"GitHub's address {self.base_url!r} would carry the token in clear",
                "use https:// (http:// is for 127.0.0.1 and for names without a dot)",
            )


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer below 400. `data` is the JSON, None where the body is empty."""

    status: int
    data: Any
    next: URL | None


@dataclass(frozen=True, slots=True)
class _Raw:
    status: int
    headers: Mapping[str, str]
    body: bytes
    next: URL | None


class _Unusable(Exception):
    """The answer is no JSON, as when a proxy on the way answers instead of GitHub."""


class Transport:
    """A connection pool, used as `async with`. `clock` gives epoch seconds; tests replace it and `sleep`."""

    def __init__(
        self,
        tokens: Tokens,
        settings: GitHubSettings,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._tokens = tokens
        self._settings = settings
        self._base = URL(settings.base_url.rstrip("/"))
        self._sleep = sleep
        self._limits = RateLimits(settings.max_wait, clock, sleep)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._settings.connections),
            timeout=aiohttp.ClientTimeout(total=self._settings.timeout),
            headers={
                "Accept": "application/vnd.github+json",
                "User-Agent": self._settings.user_agent,
                "X-GitHub-Api-Version": API_VERSION,
            },
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def retry_at(self, repository: str) -> datetime | None:
        """When the rate limit of the repository's owner ends (UTC); None when calls are taken now."""
        return self._limits.retry_at(_owner(repository))

    async def request(
        self,
        method: str,
        path: str | URL,
        *,
        repository: str = "",
        json: object = None,
        params: Mapping[str, str | int] | None = None,
        repeatable: bool | None = None,
        bearer: str | None = None,
    ) -> Answer:
        """One call, repeated where that is harmless.

        `repeatable`: a second call changes nothing more (default: by method). Raises GitHubError for 4xx,
        RateLimited when the limit ends later than `max_wait`, Unavailable when no usable answer came: the
        effect of a call that is not repeatable may then have happened or not.
        """
        repeatable = method in REPEATABLE if repeatable is None else repeatable
        failures = 0
        refreshed = False
        while True:
            await self._limits.wait(_owner(repository))
            token = bearer or await self._tokens.token(repository, self._ask)
            limited = False
            try:
                raw = await self._send(method, path, token, json=json, params=params)
                if raw.status < 400:
                    self._limits.note(_owner(repository), raw.status, raw.headers, raw.body)
                    return Answer(raw.status, _decode(raw.body), raw.next)
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
                problem, again = str(error), True  # GitHub never saw the call
            except (aiohttp.ClientError, TimeoutError, _Unusable) as error:
                problem, again = str(error) or type(error).__name__, repeatable
            else:
                if raw.status == 401 and not (bearer or refreshed) and self._tokens.forget(repository, token):
                    refreshed = True
                    continue
                limited = self._limits.note(_owner(repository), raw.status, raw.headers, raw.body)
                if raw.status < 500 and not limited:
                    raise GitHubError(raw.status, _message(raw.body).replace(token, "***"))
                problem, again = f"answer {raw.status}", repeatable or limited
            failures += 1
            if not again or failures >= self._settings.attempts:
                if limited and (retry_at := self.retry_at(repository)):
                    raise RateLimited(retry_at)
                raise Unavailable(f"GitHub: {method} {_path(path)}: {problem}")
            if not limited:  # a limit has its own wait, at the top
                await self._sleep(self._settings.backoff * 2 ** (failures - 1) * random.uniform(0.5, 1.0))

    async def pages(
        self,
        path: str,
        *,
        repository: str = "",
        params: Mapping[str, str | int] | None = None,
        key: str | None = None,
        bearer: str | None = None,
    ) -> AsyncIterator[Any]:
        """Every item of a list (under `key` where GitHub wraps the list), page by page, at most MAX_PAGES."""
        url: str | URL = path
        query: Mapping[str, str | int] | None = {"per_page": 100, **(params or {})}
        for _ in range(MAX_PAGES):
            answer = await self.request("GET", url, repository=repository, params=query, bearer=bearer)
            items = answer.data[key] if key and isinstance(answer.data, dict) else answer.data
            if not isinstance(items, list):
                raise GitHubError(answer.status, f"{path} did not answer with a list")
            for item in items:
                yield item
            if answer.next is None:
                return
            if answer.next.origin() != self._base.origin():
                raise GitHubError(answer.status, f"{path}: the next page lies on another host")
            url, query = answer.next, None
        raise GitHubError(200, f"{path} has more than {MAX_PAGES} pages")

    async def download(self, path: str, target: Path, *, repository: str, max_bytes: int) -> int:
        """Streams to `target`; gives the size in bytes. Too large or broken off leaves no file behind."""
        await self._limits.wait(_owner(repository))
        token = await self._tokens.token(repository, self._ask)
        limits = self._settings
        timeout = aiohttp.ClientTimeout(total=limits.download_timeout, sock_read=limits.timeout)
        size = 0
        whole = False
        try:
            # aiohttp drops the token where the redirect leaves this host.
            async with self._open("GET", path, token, allow_redirects=True, timeout=timeout) as response:
                if response.status >= 400:
                    await self._refuse(path, repository, token, response)
                with target.open("wb") as file:
                    async for chunk in response.content.iter_chunked(65536):
                        size += len(chunk)
                        if size > max_bytes:
                            raise GitHubError(response.status, f"{path} is larger than {max_bytes} bytes")
                        file.write(chunk)
            whole = True
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable(f"GitHub: GET {path}: {error or type(error).__name__}") from error
        finally:
            if not whole:
                target.unlink(missing_ok=True)
        return size

    async def _refuse(self, path: str, repository: str, token: str, response: aiohttp.ClientResponse) -> None:
        body = await _read(response, self._settings.max_bytes)
        if self._limits.note(_owner(repository), response.status, response.headers, body):
            raise RateLimited(self._limits.retry_at(_owner(repository)) or datetime.now(UTC))
        if response.status >= 500:
            raise Unavailable(f"GitHub: GET {path}: answer {response.status}")
        if response.status == 401:
            self._tokens.forget(repository, token)
        raise GitHubError(response.status, _message(body).replace(token, "***"))

    async def _ask(self, method: str, path: str, bearer: str) -> Mapping[str, Any]:
        # Asking for an installation token twice gives two tokens, which harms nobody.
        answer = await self.request(method, path, bearer=bearer, repeatable=True)
        if not isinstance(answer.data, dict):
            raise GitHubError(answer.status, f"{path} did not answer with an object")
        return answer.data

    def _open(self, method: str, path: str | URL, token: str, **options: Any) -> Any:
        if self._session is None:
            raise RuntimeError("use the GitHub client inside `async with`")
        url = path if isinstance(path, URL) else URL(f"{self._base}{path}", encoded=True)
        return self._session.request(method, url, headers={"Authorization": f"Bearer {token}"}, **options)

    async def _send(self, method: str, path: str | URL, token: str, **options: Any) -> _Raw:
        options = {name: value for name, value in options.items() if value is not None}
        # A redirect (a renamed repository) is followed where the method survives it.
        async with self._open(method, path, token, allow_redirects=method == "GET", **options) as response:
            body = await _read(response, self._settings.max_bytes)
            if 300 <= response.status < 400:
                raise GitHubError(response.status, "the repository moved: use its present name")
            following = response.links.get("next", {}).get("url")
            return _Raw(response.status, response.headers, body, following)


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(65536):
        body += chunk
        if len(body) > limit:
            raise GitHubError(response.status, f"the answer is larger than {limit} bytes")
    return bytes(body)


def _decode(body: bytes) -> Any:
    if not body:
        return None
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _Unusable("the answer is no JSON") from error


def _message(body: bytes) -> str:
    """GitHub's `message` and the messages of its `errors`, one printable line of at most 300 characters."""
    try:
        data = json.loads(body)
        parts = [str(data["message"])]
        for item in data.get("errors") or ():
            parts.append(
                str(item.get("message") or item.get("code")) if isinstance(item, dict) else str(item)
            )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        parts = [body[:300].decode("utf-8", "replace")]
    line = " ".join(" ".join(parts).split())
    return "".join(c for c in line if c.isprintable())[:300] or "no message"


def _owner(repository: str) -> str:
    return repository.partition("/")[0].lower()


def _path(path: str | URL) -> str:
    return path.path if isinstance(path, URL) else path
