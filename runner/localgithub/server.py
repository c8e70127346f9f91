"""The local GitHub as one object with a lifetime."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from aiohttp import web

from errors import SettingsError
from runner.localgithub import (
    actions,
    actions_api,
    admin_api,
    app_api,
    auth,
    git_api,
    issues,
    issues_api,
    pages,
    people,
    pulls,
    pulls_api,
)
from runner.localgithub.apply import apply_loaded
from runner.localgithub.deliveries import Deliveries
from runner.localgithub.faults import Faults
from runner.localgithub.load import Loaded, read_file
from runner.localgithub.maintainer import Maintainer, Reaction
from runner.localgithub.repositories import ensure_repository
from runner.localgithub.settings import LocalGitHubSettings
from runner.localgithub.state import State
from runner.localgithub.store import Store
from runner.localgithub.web_api import STATE

_MARK = re.compile(r"<!-- agents-cloud mission=[0-9a-f-]+ kind=\w+ -->")
MAX_CALL = 64 * 1024 * 1024
APIS = (issues_api, git_api, pulls_api, actions_api, app_api, admin_api, pages)


class LocalGitHub:
    """`async with LocalGitHub(settings) as github`: serves at `github.url` until the block ends.

    Raises SettingsError where port or folder is taken.
    """

    def __init__(self, settings: LocalGitHubSettings) -> None:
        self.settings = settings
        self.faults = Faults()
        self._store = Store(settings.data / "localgithub.sqlite3")
        self._deliveries = Deliveries(self._store, settings, self.faults)
        self.state = State(self._store, settings, self._deliveries, self.faults)
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=MAX_CALL, middlewares=[auth.faults, auth.authenticate])
        app[STATE] = self.state
        app[auth.RATE_LIMIT] = auth.RateLimit()
        for api in APIS:
            app.add_routes(api.ROUTES)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
        await self._runner.setup()
        host, port = self.settings.host, self.settings.port
        try:
            site = web.TCPSite(self._runner, host, port)
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            self._store.close()
            problem = f"the local GitHub cannot listen on {host}:{port}: {error.strerror}"
            raise SettingsError(problem, "stop what listens there, or choose another port") from error
        self.state.url = f"http://{host}:{self._runner.addresses[0][1]}"
        ensure_repository(self.state, self.settings.repository)
        if self.settings.deliver_at_once:
            self.deliver()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.faults.clear()
        await self._deliveries.stop()
        if self._runner is not None:
            await self._runner.cleanup()
        self._store.close()

    @property
    def url(self) -> str:
        """Where the API is; links to pages start here too."""
        return self.state.url

    def token(self, login: str | None = None) -> str:
        """A new token of an account (the App's when None)."""
        return people.new_token(self.state, login or self.settings.bot)

    def deliver(self) -> None:
        """Starts to send deliveries, those of an earlier process first."""
        self._deliveries.start()

    def deliver_to(self, url: str, secret: str) -> None:
        """Sends deliveries that are made from now on to `url`, signed with `secret`."""
        self._deliveries.url = url
        self._deliveries.secret = secret

    async def load(self, path: Path) -> int:
        """Loads issues or deliveries from a file; gives how many were new. Raises IssueError."""
        return await self.apply(self.read(path))

    def read(self, path: Path) -> Loaded:
        """What a file holds, to be applied whole or in parts. Raises IssueError."""
        return read_file(path, self.settings.repository, self.settings.default_author)

    async def apply(self, loaded: Loaded) -> int:
        """Opens issues and sends deliveries; gives how many were new."""
        return await apply_loaded(self.state, loaded)

    async def sent(self) -> None:
        """Waits until every delivery was tried."""
        await self._deliveries.sent()

    @property
    def idle(self) -> bool:
        """Whether every delivery was tried."""
        return self._deliveries.idle

    def issue_count(self) -> int:
        """How many issues were opened here, without those whose zone the gateway refused."""
        row = self._store.row(
            "SELECT count(DISTINCT line) AS n FROM deliveries"
            " WHERE event = 'issues' AND action = 'opened' AND status_code IS NOT 403"
        )
        return int(row["n"]) if row is not None else 0

    def doubled_effects(self) -> int:
        """How many comments and pull requests carry a mark that an earlier one carries: it should be none."""
        seen: Counter[str] = Counter()
        for row in self._store.rows("SELECT body FROM comments UNION ALL SELECT body FROM issues"):
            seen.update(set(_MARK.findall(row["body"] or "")))
        return sum(count - 1 for count in seen.values())

    def simulate_maintainer(self, reactions: Sequence[Reaction]) -> None:
        """Lets a script play the person who closes issues; see `maintainer`."""
        Maintainer(self.state, reactions).start()

    # What people do on GitHub's pages

    def open_issue(
        self, repository: str, title: str, body: str = "", labels: Sequence[str] = (), author: str = "author"
    ) -> int:
        """Opens an issue and gives its number; the author has no more rights than anybody."""
        ensure_repository(self.state, repository)
        return issues.open_issue(self.state, repository, title, body, labels, author)

    def comment(self, repository: str, number: int, body: str, author: str) -> None:
        """Comments on an issue or a pull request."""
        issues.add_comment(self.state, repository, number, body, author)

    def label(self, repository: str, number: int, label: str, actor: str) -> None:
        """Puts a label on an issue."""
        issues.add_labels(self.state, repository, number, [label], actor)

    def close(self, repository: str, number: int, reason: str, actor: str) -> None:
        """Closes an issue as completed, not_planned or duplicate."""
        issues.set_state(self.state, repository, number, "closed", reason, actor)

    def reopen(self, repository: str, number: int, actor: str) -> None:
        """Reopens an issue."""
        issues.set_state(self.state, repository, number, "open", None, actor)

    def grant(self, repository: str, login: str, role: str) -> None:
        """Gives a role: admin, maintain, write, triage, read or none."""
        people.grant(self.state, repository, login, role)

    def merge(self, repository: str, number: int, actor: str) -> str:
        """Merges a pull request; gives the merge commit's id."""
        return pulls.merge_pull(self.state, repository, number, actor)

    def revert(self, repository: str, number: int, actor: str) -> int:
        """Reverts a merged pull request; gives the number of the one that reverts it."""
        return pulls.revert_pull(self.state, repository, number, actor)

    def finish_run(self, repository: str, run: int, conclusion: str = "success") -> None:
        """Ends a workflow run."""
        actions.finish_run(self.state, repository, run, conclusion)
