"""Who a call to GitHub is made as: a plain token, or a GitHub App with one installation an owner.

Source: docs.github.com, "Authenticating as a GitHub App" and "Generating an installation access token".
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from errors import GitHubError, SettingsError

Ask = Callable[[str, str, str], Awaitable[Mapping[str, Any]]]
"""(method, path, bearer) -> the JSON answer; how a token source reaches GitHub."""

# GitHub refuses a JWT that lives longer than 10 minutes; one minute on each side allows for clock drift.
JWT_SECONDS = 540
DRIFT_SECONDS = 60
# An installation token lives one hour; a call that starts now must not outlive it.
REFRESH_SECONDS = 300


class Tokens(Protocol):
    """A source of bearer tokens."""

    async def token(self, repository: str, ask: Ask) -> str:
        """The token for calls about `repository` ("owner/name")."""

    def forget(self, repository: str, token: str) -> bool:
        """GitHub refused `token`; True when another may be had."""

    def app_token(self) -> str | None:
        """The token for `/app` calls; None when this is no App."""


@dataclass(frozen=True, slots=True)
class PlainToken:
    """One token for everything: a person's, or the local GitHub's."""

    value: str = field(repr=False)

    async def token(self, repository: str, ask: Ask) -> str:
        return self.value

    def forget(self, repository: str, token: str) -> bool:
        return False

    def app_token(self) -> str | None:
        return None


@dataclass(frozen=True, slots=True)
class _Issued:
    token: str = field(repr=False)
    expires: float


class AppTokens:
    """Installation tokens of a GitHub App, one an owner, renewed five minutes before they expire.

    Raises SettingsError when the key cannot sign, GitHubError 404 when the App is not installed.
    """

    def __init__(self, app_id: str, private_key: str, *, clock: Callable[[], float] = time.time) -> None:
        self._app_id = app_id
        self._private_key = private_key
        self._clock = clock
        self._issued: dict[str, _Issued] = {}
        self._installations: dict[str, int] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self.app_token()  # a key that cannot sign is found at the start, not at the first mission

    def app_token(self) -> str:
        import jwt  # a runner never signs: only the gateway pays for this import

        now = int(self._clock())
        claims = {"iat": now - DRIFT_SECONDS, "exp": now + JWT_SECONDS, "iss": self._app_id}
        try:
            return jwt.encode(claims, self._private_key, algorithm="RS256")
        except (ValueError, TypeError, jwt.PyJWTError) as error:
            raise SettingsError(
                "the GitHub App's private key cannot sign (RS256)",
                "give the .pem file that GitHub offered for download under the App's settings",
            ) from error

    async def token(self, repository: str, ask: Ask) -> str:
        owner = _owner(repository)
        async with self._locks.setdefault(owner, asyncio.Lock()):
            issued = self._issued.get(owner)
            if issued is None or issued.expires - self._clock() < REFRESH_SECONDS:
                issued = self._issued[owner] = await self._issue(repository, ask)
            return issued.token

    def forget(self, repository: str, token: str) -> bool:
        issued = self._issued.get(_owner(repository))
        if issued is not None and issued.token == token:
            del self._issued[_owner(repository)]
        return True

    async def _issue(self, repository: str, ask: Ask) -> _Issued:
        owner = _owner(repository)
        if owner not in self._installations:
            found = await ask("GET", f"/repos/{repository}/installation", self.app_token())
            self._installations[owner] = int(found["id"])
        path = f"/app/installations/{self._installations[owner]}/access_tokens"
        try:
            answer = await ask("POST", path, self.app_token())
        except GitHubError as error:
            if error.status == 404:  # uninstalled and installed again: the next call looks the number up anew
                del self._installations[owner]
            raise
        expires = datetime.fromisoformat(str(answer["expires_at"]))
        return _Issued(str(answer["token"]), expires.timestamp())


def _owner(repository: str) -> str:
    return repository.partition("/")[0].lower()
