"""Agent definitions: one Markdown file with YAML frontmatter per specialised agent, in `.github/agents/`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from errors import DefinitionError
from runner.strict_yaml import Text, read_mapping

MAX_FILE_BYTES = 256 * 1024  # the largest definition seen in the wild has 9 KiB
MAX_FRONTMATTER_BYTES = 16 * 1024
MAX_AGENTS = 2_000
# A Kubernetes Deployment adds up to 17 characters to make a pod's name, which may have 63.
NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,44}[A-Za-z0-9])?")
# One agent that takes everything would undo the specialisation that the fleet exists for.
GENERIC_NAMES = frozenset(
    {"agent", "agents", "cloud-agent", "default-agent", "general-agent", "generic-agent", "universal-agent"}
)
_NUMBERED_OR_BULLET = re.compile(r"^\s*(?:\d+[.)]|[-*])\s+(.*\S)")


@dataclass(frozen=True, slots=True)
class Agent:
    """A definition and the specialist it describes."""

    name: str
    description: str
    tools: tuple[str, ...]
    specialization: str
    personality: str
    responsibilities: tuple[str, ...]
    body: str
    """Markdown after the frontmatter, with LF line ends."""
    path: Path
    digest: str
    """SHA-256 of the file, in hex: a changed definition is a changed digest."""

    @property
    def resource_name(self) -> str:
        """The name where Kubernetes, ECR, DNS and database roles want lower case."""
        return self.name.lower()


def load_agents(folder: Path) -> tuple[Agent, ...]:
    """Load every definition in `folder`, sorted by name.

    Raises DefinitionError that lists every definition that cannot be used, and loads none then.
    """
    if not folder.is_dir():
        raise DefinitionError(f"{folder} is not a folder", "name the folder that holds the agents' .md files")
    files = list(_definition_files(folder))
    if not files:
        raise DefinitionError(
            "there is no agent definition", "add NAME.md files with frontmatter", file=folder
        )
    if len(files) > MAX_AGENTS:
        raise DefinitionError(
            f"{len(files)} definitions, the limit is {MAX_AGENTS}", "split the fleet", file=folder
        )
    agents: list[Agent] = []
    problems: list[DefinitionError] = []
    for file in files:
        try:
            agents.append(_load(file, folder))
        except DefinitionError as problem:
            problems.append(problem)
    problems.extend(_doubled(agents))
    if problems:
        raise DefinitionError.together(problems)
    return tuple(sorted(agents, key=lambda agent: agent.name))


def load_agent(folder: Path, name: str) -> Agent:
    """Load the one definition `name`; a runner needs no other. Raises DefinitionError."""
    _check_name(name, folder)
    for file in (folder / f"{name}.md", folder / f"{name}.agent.md"):
        if file.is_file():
            return _load(file, folder)
    raise DefinitionError(f"there is no definition {name}.md", "check the name and the folder", file=folder)


def _definition_files(folder: Path) -> Iterator[Path]:
    for file in sorted(folder.iterdir()):
        if file.suffix != ".md" or file.name.lower() == "readme.md" or file.is_dir():
            continue
        # NAME.context.md and the like accompany a definition; GitHub also accepts NAME.agent.md.
        if "." not in file.stem or file.name.endswith(".agent.md"):
            yield file


def _load(file: Path, folder: Path) -> Agent:
    raw = _read(file, folder)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as broken:
        line = raw.count(b"\n", 0, broken.start) + 1
        raise DefinitionError("not valid UTF-8", "save the file as UTF-8", file=file, line=line) from broken
    frontmatter, body = _split(text.replace("\r\n", "\n").replace("\r", "\n"), file)
    fields = read_mapping(frontmatter, DefinitionError, file, first_line=2)

    name = _text(fields, "name", file)
    _check_name(name, file)
    expected = file.name.removesuffix(".md").removesuffix(".agent")
    if name != expected:
        raise DefinitionError(
            f"the name {name!r} differs from the file's {expected!r}",
            f"write `name: {expected}` or rename the file",
            file=file,
            line=getattr(name, "line", 2),
        )
    return Agent(
        name=str(name),
        description=str(_text(fields, "description", file)),
        tools=_list(fields, "tools", file),
        specialization=str(fields.get("specialization") or name),
        personality=str(fields.get("personality") or "systematic"),
        responsibilities=_list(fields, "responsibilities", file, split=False)
        or _listed_responsibilities(body),
        body=body,
        path=file,
        digest=hashlib.sha256(raw).hexdigest(),
    )


def _read(file: Path, folder: Path) -> bytes:
    try:
        if not file.resolve(strict=True).is_relative_to(folder.resolve()):
            raise DefinitionError(
                "it is a link that leaves the folder", "put the file itself here", file=file
            )
        if not file.is_file():
            raise DefinitionError("it is not a file", "put a Markdown file here", file=file)
        size = file.stat().st_size
        if size > MAX_FILE_BYTES:
            raise DefinitionError(
                f"{size} bytes, the limit is {MAX_FILE_BYTES}", "shorten the definition", file=file
            )
        return file.read_bytes()
    except (OSError, RuntimeError) as broken:  # the latter is what a circle of links raises
        raise DefinitionError(
            f"it cannot be read ({broken})", "put a readable file here", file=file
        ) from broken


def _split(text: str, file: Path) -> tuple[str, str]:
    lines = text.split("\n")
    if lines[0].rstrip() != "---":
        raise DefinitionError("no frontmatter", "start the file with a line `---`", file=file, line=1)
    for index, line in enumerate(lines[1:], start=1):
        if line.rstrip() == "---":
            frontmatter = "\n".join(lines[1:index])
            if len(frontmatter.encode()) > MAX_FRONTMATTER_BYTES:
                raise DefinitionError(
                    f"the frontmatter is over {MAX_FRONTMATTER_BYTES} bytes",
                    "move text to the body",
                    file=file,
                    line=1,
                )
            return frontmatter, "\n".join(lines[index + 1 :]).strip("\n") + "\n"
    raise DefinitionError("the frontmatter does not end", "close it with a line `---`", file=file, line=1)


def _check_name(name: str, file: Path) -> None:
    line = getattr(name, "line", None)
    if not NAME.fullmatch(name):
        raise DefinitionError(
            f"the name {name[:80]!r} is not usable as a name",
            "use 1 to 46 letters, digits and hyphens, hyphens not at the ends",
            file=file,
            line=line,
        )
    if name.lower() in GENERIC_NAMES:
        raise DefinitionError(
            f"{name!r} is a generic agent",
            "give it one specialisation and name it after that",
            file=file,
            line=line,
        )


def _text(fields: dict[Any, Any], key: str, file: Path) -> Text:
    value = fields.get(key)
    if not isinstance(value, Text) or not value.strip():
        line = next((k.line for k in fields if k == key and isinstance(k, Text)), 2)
        raise DefinitionError(f"`{key}` is missing or not a text", f"write `{key}: …`", file=file, line=line)
    return Text.at(value.strip(), value.line)


def _list(fields: dict[Any, Any], key: str, file: Path, split: bool = True) -> tuple[str, ...]:
    """A list of texts, or (`split`) one text with commas: both are found in the wild."""
    value = fields.get(key)
    if value is None:
        return ()
    if isinstance(value, Text):
        value = value.split(",") if split else [value]
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        line = next((k.line for k in fields if k == key and isinstance(k, Text)), 2)
        raise DefinitionError(
            f"`{key}` is not a list of texts", "write one `- text` a line", file=file, line=line
        )
    return tuple(item.strip() for item in value if item.strip())


def _listed_responsibilities(body: str) -> tuple[str, ...]:
    """The list under the first heading that speaks of responsibilities; most wild definitions keep it there."""
    found: list[str] = []
    inside = False
    for line in body.split("\n"):
        if line.startswith("#"):
            if inside:
                break
            inside = "responsibilit" in line.lower()
        elif inside and (item := _NUMBERED_OR_BULLET.match(line)):
            found.append(item[1].replace("**", ""))
    return tuple(found)


def _doubled(agents: Sequence[Agent]) -> Iterator[DefinitionError]:
    first: dict[str, Agent] = {}
    for agent in agents:
        twin = first.setdefault(agent.resource_name, agent)
        if twin is not agent:
            yield DefinitionError(
                f"{agent.name!r} and {twin.name!r} ({twin.path.name}) are one name where case does not count",
                "rename one of them",
                file=agent.path,
            )
