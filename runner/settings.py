"""Settings: environment variables, read once into typed objects that refuse bad values."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Literal, TypeVar, cast, get_args

from database.embeddings import EmbeddingSettings
from database.embeddings.settings import ENDPOINTS
from errors import SettingsError
from runner.geography import ZONES, Zone
from runner.health import STALLED_SECONDS

ExecutorName = Literal["recall", "model", "actions"]
DATABASE_SCHEMES = ("postgresql", "postgres")
REDIS_SCHEMES = ("redis", "rediss")
LEAST_SECRET = 16  # characters of the webhook's secret
_Value = TypeVar("_Value")


class Environment:
    """Reads variables and collects every mistake, so that a person mends them in one go."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self._problems: list[SettingsError] = []

    def text(self, name: str, default: str | None = None) -> str:
        """The variable; where there is no default, it must be set."""
        value = self._variables.get(name, "").strip()
        if value:
            return value
        if default is None:
            self._problems.append(SettingsError(f"{name} is not set", f"set the environment variable {name}"))
        return default or ""

    def url(self, name: str, schemes: tuple[str, ...], default: str | None = None) -> str:
        """A URL of one of `schemes`. A message never shows it, because it may hold a password."""
        value = self.text(name, default)
        if value and not value.startswith(tuple(f"{scheme}://" for scheme in schemes)):
            self._problems.append(
                SettingsError(f"{name} is no {schemes[0]} URL", f"set {name} to {schemes[0]}://HOST:PORT/…")
            )
        return value

    def secret(self, name: str) -> str:
        """The variable, or the content of the file that NAME_FILE names; empty where neither is set."""
        path = self._variables.get(f"{name}_FILE", "")
        if not path:
            return self._variables.get(name, "").strip()
        try:
            return Path(path).read_text().strip()
        except OSError as broken:
            self._problems.append(
                SettingsError(f"{name}_FILE {path}: {broken.strerror}", "name a readable file")
            )
            return ""

    def whole(self, name: str, default: int, least: int, most: int) -> int:
        return self._parsed(
            name, str(default), int, lambda value: least <= value <= most, f"from {least} to {most}"
        )

    def seconds(self, name: str, default: float, least: float, most: float) -> float:
        return self._parsed(
            name, str(default), float, lambda value: least <= value <= most, f"from {least} to {most}"
        )

    def dollars(self, names: Mapping[str, str]) -> dict[str, Decimal]:
        """The variables that are set, under the keys of `names`."""
        least, most = Decimal(0), Decimal(1_000_000)
        return {
            key: self._parsed(
                name, "0", Decimal, lambda usd: least <= usd <= most, f"dollars, {least} to {most}"
            )
            for key, name in names.items()
            if self._variables.get(name, "").strip()
        }

    def choice(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        return self._parsed(
            name, default, str, lambda value: value in choices, f"one of {', '.join(choices)}"
        )

    def yes(self, name: str) -> bool:
        return self.choice(name, "no", ("yes", "no")) == "yes"

    def _parsed(
        self,
        name: str,
        default: str,
        parse: Callable[[str], _Value],
        holds: Callable[[_Value], bool],
        rule: str,
    ) -> _Value:
        raw = self.text(name, default)
        try:
            value = parse(raw)
            if holds(value):
                return value
        except (ValueError, InvalidOperation):
            pass
        self._problems.append(SettingsError(f"{name}={raw[:80]!r} is not {rule}", f"set {name} to {rule}"))
        return parse(default)

    def note(self, problem: SettingsError) -> None:
        """A mistake that another reader found."""
        self._problems.append(problem)

    def check(self) -> None:
        """Raises SettingsError that lists every mistake."""
        if self._problems:
            raise SettingsError.together(self._problems)


@dataclass(frozen=True, slots=True)
class GitHubSettings:
    """How to reach GitHub: an App (`app_id` and its key) or, locally, a plain token."""

    api_url: str
    token: str = field(repr=False)
    app_id: str
    app_key: str = field(repr=False)

    @classmethod
    def read(cls, environment: Environment) -> GitHubSettings:
        return cls(
            api_url=environment.url("GITHUB_API_URL", ("https", "http"), "https://api.github.com").rstrip(
                "/"
            ),
            token=environment.secret("GITHUB_TOKEN"),
            app_id=environment.text("GITHUB_APP_ID", ""),
            app_key=environment.secret("GITHUB_APP_PRIVATE_KEY"),
        )


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """The `model` executor's endpoint and limits."""

    name: str
    base_url: str
    api_key: str = field(repr=False)
    endpoints: tuple[str, ...]
    """Base URLs that this zone's data may go to."""
    allow_shell: bool

    @classmethod
    def read(cls, environment: Environment, zone: Zone) -> ModelSettings:
        """MODEL_ENDPOINTS allows more base URLs than OpenAI's own of the zone, separated by commas."""
        more = environment.text("MODEL_ENDPOINTS", "").split(",")
        allowed = (*ENDPOINTS[zone], *(url.strip().rstrip("/") for url in more if url.strip()))
        return cls(
            name=environment.text("MODEL", "gpt-4.1-mini"),
            base_url=environment.text("OPENAI_BASE_URL", allowed[0]).rstrip("/"),
            api_key=environment.secret("OPENAI_API_KEY"),
            endpoints=allowed,
            allow_shell=environment.yes("ALLOW_SHELL"),
        )


@dataclass(frozen=True, slots=True)
class RunnerSettings:
    """One runner process."""

    agent: str
    agents_folder: Path
    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    host: str
    port: int
    runner_id: str
    concurrency: int
    executor: ExecutorName
    lease_seconds: float
    drain_seconds: float
    poll_seconds: float
    stalled_seconds: float
    """A loop that has not gone round for so long makes /health fail."""
    work_folder: Path
    github: GitHubSettings
    model: ModelSettings

    @classmethod
    def from_environment(cls, variables: Mapping[str, str] = os.environ) -> RunnerSettings:
        """Read the variables. Raises SettingsError that lists every mistake."""
        environment = Environment(variables)
        settings = cls(
            agent=environment.text("AGENT_NAME"),
            agents_folder=Path(environment.text("AGENTS_DIR", ".github/agents")),
            database_url=environment.url("DATABASE_URL", DATABASE_SCHEMES),
            redis_url=environment.url("REDIS_URL", REDIS_SCHEMES, ""),
            host=environment.text("HOST", "127.0.0.1"),
            port=environment.whole("PORT", 8080, 0, 65535),
            runner_id=environment.text("RUNNER_ID", f"{socket.gethostname()}-{os.getpid()}"),
            concurrency=environment.whole("CONCURRENCY", 4, 1, 64),
            executor=cast(ExecutorName, environment.choice("EXECUTOR", "recall", get_args(ExecutorName))),
            # Heartbeats come every third of it, well within STALLED_SECONDS.
            lease_seconds=environment.seconds("LEASE_SECONDS", 60, 1, 300),
            drain_seconds=environment.seconds("DRAIN_SECONDS", 100, 0, 3600),
            poll_seconds=environment.seconds("POLL_SECONDS", 30, 0.05, 50),
            stalled_seconds=environment.seconds("STALLED_SECONDS", STALLED_SECONDS, 1, 3600),
            work_folder=Path(environment.text("WORK_DIR", "/tmp/agents-cloud")),  # noqa: S108 - a pod's own
            github=GitHubSettings.read(environment),
            model=ModelSettings.read(environment, cast(Zone, environment.choice("ZONE", "US", ZONES))),
        )
        environment.check()
        return settings


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """One gateway process."""

    agents_folder: Path
    geography: Path | None
    history: Path | None
    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    host: str
    port: int
    zone: Zone
    webhook_secret: str = field(repr=False)
    executor: ExecutorName
    embedding: EmbeddingSettings | None
    """None: issues are compared by their words alone."""
    control_percent: int
    caps: Mapping[str, Decimal]
    """Dollars by scope (mission, day, month) that replace the caps in the database; empty leaves them."""
    reconcile_seconds: float
    page_hosts: frozenset[str]
    """Names under which people reach the page, besides this machine's own."""
    github: GitHubSettings

    @classmethod
    def from_environment(cls, variables: Mapping[str, str] = os.environ) -> GatewaySettings:
        """Read the variables. Raises SettingsError that lists every mistake."""
        environment = Environment(variables)
        geography = environment.text("GEOGRAPHY", "")
        history = environment.text("HISTORY", "")
        zone = cast(Zone, environment.choice("ZONE", "US", ZONES))
        settings = cls(
            agents_folder=Path(environment.text("AGENTS_DIR", ".github/agents")),
            geography=Path(geography) if geography else None,
            history=Path(history) if history else None,
            database_url=environment.url("DATABASE_URL", DATABASE_SCHEMES),
            redis_url=environment.url("REDIS_URL", REDIS_SCHEMES, ""),
            host=environment.text("HOST", "127.0.0.1"),
            port=environment.whole("PORT", 8080, 0, 65535),
            zone=zone,
            webhook_secret=environment.secret("WEBHOOK_SECRET"),
            executor=cast(ExecutorName, environment.choice("EXECUTOR", "recall", get_args(ExecutorName))),
            embedding=_embedding(environment, variables, zone),
            control_percent=environment.whole("CONTROL_PERCENT", 10, 0, 100),
            caps=environment.dollars(
                {"mission": "MISSION_CAP_USD", "day": "DAY_CAP_USD", "month": "MONTH_CAP_USD"}
            ),
            reconcile_seconds=environment.seconds("RECONCILE_SECONDS", 300, 1, 86400),
            page_hosts=frozenset(environment.text("PAGE_HOSTS", "").replace(",", " ").lower().split()),
            github=GitHubSettings.read(environment),
        )
        if len(settings.webhook_secret) < LEAST_SECRET:
            environment.note(
                SettingsError(
                    f"WEBHOOK_SECRET is shorter than {LEAST_SECRET} characters",
                    "set the secret of the GitHub webhook",
                )
            )
        environment.check()
        return settings


def _embedding(
    environment: Environment, variables: Mapping[str, str], zone: Zone
) -> EmbeddingSettings | None:
    if environment.text("EMBEDDING_MODEL", "minilm") == "none":
        return None
    try:
        return EmbeddingSettings.from_environment(variables, zone)
    except SettingsError as problem:
        environment.note(problem)
        return None
