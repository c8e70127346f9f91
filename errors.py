"""The one error tree. A command prints `str(error)` and exits with `error.exit_code`.

AgentsCloudError
├── InputError                 what a person wrote is wrong; names file, line and the way out
│   ├── DefinitionError        .github/agents/*.md
│   ├── GeographyError         agent_geography.yaml
│   ├── IssueError             an issue file or a webhook payload
│   ├── HistoryError           a history file (`gh pr list --json`)
│   ├── SettingsError          environment variables, command line, stack configuration
│   └── PlanError              definitions, geography and settings that do not fit together
├── Unavailable                a dependency is away; the same call may succeed later
│   └── RateLimited            GitHub refuses calls until a stated time
├── BudgetExceeded             a cap would be passed; nothing was spent
├── EmbeddingMismatch          vectors of different models cannot be compared
├── StaleFence                 another runner holds this mission now; nothing was written
├── GitHubError                GitHub answered with an error status
└── ExecutionError             the work itself could not be done
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Self


class AgentsCloudError(Exception):
    """Base of every error that this project raises on purpose."""

    exit_code = 1


class InputError(AgentsCloudError):
    """Input from a person breaks a rule.

    `problem` names the value and the rule, `fix` the way out; `file` and `line` (from 1) say where.
    """

    def __init__(
        self, problem: str, fix: str, *, file: Path | str | None = None, line: int | None = None
    ) -> None:
        where = "" if file is None else f"{file}: " if line is None else f"{file}:{line}: "
        super().__init__(f"{where}{problem}. Fix: {fix}")
        self.problem = problem
        self.fix = fix
        self.file = file
        self.line = line

    @classmethod
    def together(cls, problems: Sequence[Self]) -> Self:
        """One error that tells all `problems`, so that a person can mend them in one go."""
        if len(problems) == 1:
            return problems[0]
        whole = cls(problems[0].problem, problems[0].fix, file=problems[0].file, line=problems[0].line)
        whole.args = (f"{len(problems)} problems:\n" + "\n".join(f"  {problem}" for problem in problems),)
        return whole


class DefinitionError(InputError):
    """An agent definition cannot be used."""


class GeographyError(InputError):
    """The geography does not place every agent exactly once, or is malformed."""


class IssueError(InputError):
    """An issue or a webhook payload cannot be read."""


class HistoryError(InputError):
    """A history file cannot be read."""


class SettingsError(InputError):
    """A setting is missing or outside its range."""


class PlanError(InputError):
    """Definitions, geography and settings do not fit together."""


class Unavailable(AgentsCloudError):
    """A dependency (PostgreSQL, Redis, GitHub, a model) is away; try again later."""


class RateLimited(Unavailable):
    """GitHub takes no calls before `retry_at` (UTC); a caller that keeps a schedule waits until then."""

    def __init__(self, retry_at: datetime) -> None:
        super().__init__(f"GitHub's rate limit is used up until {retry_at.isoformat(timespec='seconds')}")
        self.retry_at = retry_at


class BudgetExceeded(AgentsCloudError):
    """The cap on model spending of `scope` (mission, day or month) would be passed; the call was not made."""

    def __init__(self, scope: str, usd: Decimal) -> None:
        super().__init__(
            f"${usd:.4f} more would pass the {scope}'s cap; raise it with `python -m runner cap {scope} USD`"
        )
        self.scope = scope
        self.usd = usd


class EmbeddingMismatch(AgentsCloudError):
    """A vector of another model, dimension or version than the memories have; nothing was compared."""

    def __init__(self, difference: str) -> None:
        super().__init__(
            f"{difference}. Fix: `python -m database reembed --to MODEL` gives all memories vectors of one model"
        )


class StaleFence(AgentsCloudError):
    """The mission's lease has passed to another runner; this one must drop it."""


class GitHubError(AgentsCloudError):
    """GitHub answered `status` (HTTP code)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"GitHub answered {status}: {message}")
        self.status = status


class ExecutionError(AgentsCloudError):
    """The work on a mission failed; the message is the reason that the mission records."""
