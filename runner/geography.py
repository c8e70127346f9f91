"""The geography: which agent lives in which region, and which legal zone each region and repository belongs to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from errors import GeographyError
from runner.agents import Agent
from runner.strict_yaml import Text, read_mapping

Zone = Literal["US", "EU"]
ZONES: tuple[str, ...] = get_args(Zone)
LOCAL_REGION = "local"
MAX_FILE_BYTES = 1024 * 1024
_REGION = re.compile(r"(us|eu)-[a-z]+-[1-9]")
_OUTSIDE_THE_EU = frozenset({"eu-west-2", "eu-central-2"})  # London and Zurich, whatever their names say
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}")


@dataclass(frozen=True, slots=True)
class Region:
    """A place where agents run, inside one zone."""

    name: str
    location: str
    zone: Zone
    agents: tuple[str, ...]
    drafts: tuple[str, ...] = ()
    """Agents that are planned here and have no definition yet."""


@dataclass(frozen=True, slots=True)
class Geography:
    """Every agent in exactly one region, and the zone of each repository that has one."""

    regions: tuple[Region, ...]
    repositories: Mapping[str, Zone] = field(default_factory=dict)

    def region_of(self, agent: str) -> Region:
        """The one region that `agent` lives in. Raises KeyError for a name that is not placed."""
        for region in self.regions:
            if agent in region.agents:
                return region
        raise KeyError(agent)

    def zone_of(self, repository: str) -> Zone | None:
        """The zone of `repository` ("owner/name", where case does not count), or None where none is set."""
        return self.repositories.get(repository.lower())


def zone_of_region(region: str) -> Zone | None:
    """The legal zone an AWS region (or this machine, `local`) lies in, or None where it lies in neither."""
    if region == LOCAL_REGION or (region.startswith("us-") and _REGION.fullmatch(region)):
        return "US"
    return "EU" if _REGION.fullmatch(region) and region not in _OUTSIDE_THE_EU else None


def local_geography(agents: Sequence[Agent]) -> Geography:
    """All agents on this machine, for phase 1 without a geography file."""
    return Geography((Region(LOCAL_REGION, "this machine", "US", tuple(agent.name for agent in agents)),))


def load_geography(path: Path, agents: Sequence[Agent]) -> Geography:
    """Read `agent_geography.yaml` and check it against the definitions.

    Raises GeographyError that lists every unknown, doubled or missing agent with its line.
    """
    fields = read_mapping(_read(path), GeographyError, path)
    _refuse_unknown(fields, {"regions", "repositories"}, path)
    raw = fields.get("regions")
    if not isinstance(raw, dict) or not raw:
        raise GeographyError(
            "`regions` is missing or empty", "write `regions:` with one key a region", file=path, line=1
        )

    problems: list[GeographyError] = []
    known = {agent.name for agent in agents}
    placed: dict[str, str] = {}
    regions = [_region(name, value, path, known, placed, problems) for name, value in raw.items()]
    missing = sorted(known - placed.keys())
    if missing:
        problems.append(
            GeographyError(
                f"no region for {', '.join(missing)}",
                "list each under one region's `agents`",
                file=path,
                line=next(key.line for key in fields if key == "regions"),
            )
        )
    repositories = _repositories(fields, path, problems)
    if problems:
        raise GeographyError.together(problems)
    return Geography(tuple(regions), repositories)


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise GeographyError(f"over {MAX_FILE_BYTES} bytes", "shorten the file", file=path)
        return path.read_text(encoding="utf-8-sig")
    except OSError as broken:
        raise GeographyError(
            f"it cannot be read ({broken.strerror})", "name an existing file with --geography", file=path
        ) from broken
    except UnicodeDecodeError as broken:
        raise GeographyError("not valid UTF-8", "save the file as UTF-8", file=path) from broken


def _region(
    name: object,
    value: object,
    path: Path,
    known: set[str],
    placed: dict[str, str],
    problems: list[GeographyError],
) -> Region:
    line = getattr(name, "line", 1)
    derived = zone_of_region(name) if isinstance(name, Text) else None
    if not isinstance(name, Text) or derived is None:
        raise GeographyError(
            f"{name!r} is not a region in a known zone",
            "use a us-… or eu-… AWS region of the US or the EU, or `local`",
            file=path,
            line=line,
        )
    if not isinstance(value, dict):
        raise GeographyError(
            f"region {name} is not a mapping", "give it `location` and `agents`", file=path, line=line
        )
    _refuse_unknown(value, {"location", "zone", "agents", "draft"}, path)

    zone = value.get("zone", derived)
    if zone not in ZONES:
        raise GeographyError(
            f"zone {zone!r} is unknown",
            f"use one of {', '.join(ZONES)}",
            file=path,
            line=getattr(zone, "line", line),
        )
    if zone != derived and name != LOCAL_REGION:
        problems.append(
            GeographyError(
                f"{name} lies in zone {derived}, not {zone}",
                "leave `zone` out",
                file=path,
                line=getattr(zone, "line", line),
            )
        )
    agents: list[str] = []
    drafts = _drafts(value, name, path)
    entries = value.get("agents")
    if not isinstance(entries, list):
        raise GeographyError(
            f"region {name} lists no agents", "write `agents:` with `- name` lines", file=path, line=line
        )
    for entry in entries:
        if isinstance(entry, dict) and set(entry) == {"draft"} and isinstance(entry["draft"], Text):
            drafts.append(str(entry["draft"]))
        elif not isinstance(entry, Text):
            problems.append(
                GeographyError(
                    f"{entry!r} in {name} is not an agent's name", "write `- name`", file=path, line=line
                )
            )
        elif entry not in known:
            problems.append(
                GeographyError(
                    f"{entry!r} has no definition",
                    "correct the name, or write `- draft: name`",
                    file=path,
                    line=entry.line,
                )
            )
        elif entry in placed:
            problems.append(
                GeographyError(
                    f"{entry!r} stands in {placed[entry]} already",
                    "keep one of the two lines",
                    file=path,
                    line=entry.line,
                )
            )
        else:
            placed[entry] = name
            agents.append(str(entry))
    return Region(str(name), str(value.get("location", name)), zone, tuple(agents), tuple(drafts))


def _drafts(region: Mapping[Any, Any], name: str, path: Path) -> list[str]:
    drafts = region.get("draft", [])
    if not isinstance(drafts, list) or not all(isinstance(draft, Text) for draft in drafts):
        raise GeographyError(
            f"`draft` of {name} is not a list of names",
            "write `- draft: name` among the agents",
            file=path,
            line=next(key.line for key in region if key == "draft"),
        )
    return [str(draft) for draft in drafts]


def _repositories(fields: Mapping[Any, Any], path: Path, problems: list[GeographyError]) -> dict[str, Zone]:
    value = fields.get("repositories")
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise GeographyError(
            "`repositories` is not a mapping",
            "write `owner/name: EU` lines",
            file=path,
            line=next(key.line for key in fields if key == "repositories"),
        )
    repositories: dict[str, Zone] = {}
    for name, zone in value.items():
        if not isinstance(name, Text) or not _REPOSITORY.fullmatch(name) or zone not in ZONES:
            problems.append(
                GeographyError(
                    f"`{name}: {zone}` does not give a repository's zone",
                    f"write `owner/name: {' or '.join(ZONES)}`",
                    file=path,
                    line=getattr(name, "line", None),
                )
            )
        else:
            repositories[name.lower()] = zone
    return repositories


def _refuse_unknown(fields: Mapping[Any, Any], allowed: set[str], path: Path) -> None:
    for key in fields:
        if key not in allowed:
            raise GeographyError(
                f"the key {key!r} is unknown",
                f"use one of {', '.join(sorted(allowed))}",
                file=path,
                line=getattr(key, "line", None),
            )
