"""The tools an agent may use: which of them its definition names, and how a model is told of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.execute.paths import Refused

_READ = ("view", "search")
# Names in definitions as found in the wild, in lower case. GitHub's own ("Custom agents configuration", tool
# aliases): execute, read, edit, search. Two tools of its MCP server read the repository, as ours do.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "view": ("view",),
    "read": ("view",),
    "read_file": ("view",),
    "github-mcp-server-get_file_contents": ("view",),
    "search": ("search",),
    "grep": ("search",),
    "glob": ("search",),
    "github-mcp-server-search_code": ("search",),
    "edit": ("edit",),
    "str_replace": ("edit",),
    "multiedit": ("edit",),
    "create": ("create",),
    "write": ("create", "edit"),
    "str_replace_editor": ("view", "create", "edit"),
    "delete": ("delete",),
    "bash": ("bash",),
    "shell": ("bash",),
    "execute": ("bash",),
    "*": ("view", "search", "edit", "create", "delete"),  # all but a shell, which has to be named
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of a tool. `kind` is `string`, `integer` or `boolean`, as JSON Schema calls them."""

    kind: str
    description: str
    required: bool = True


@dataclass(frozen=True, slots=True)
class Tool:
    """What a model is told of a tool."""

    name: str
    description: str
    parameters: Mapping[str, Parameter]

    def schema(self) -> dict[str, Any]:
        """The tool as the chat completions API takes it."""
        properties = {
            name: {"type": parameter.kind, "description": parameter.description}
            for name, parameter in self.parameters.items()
        }
        required = [name for name, parameter in self.parameters.items() if parameter.required]
        parameters = {
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        }
        return {
            "type": "function",
            "function": {"name": self.name, "description": self.description, "parameters": parameters},
        }

    def arguments(self, text: str) -> dict[str, Any]:
        """`text`, JSON that a model wrote, as checked arguments. Raises Refused that says what is wrong."""
        try:
            given = json.loads(text or "{}")
        except (ValueError, RecursionError) as error:
            raise Refused(f"the arguments of {self.name} are not JSON: {str(error)[:200]}") from error
        if not isinstance(given, dict):
            raise Refused(f"the arguments of {self.name} must be a JSON object")
        if unknown := given.keys() - self.parameters.keys():
            known = ", ".join(self.parameters)
            raise Refused(f"{self.name} has no argument {sorted(unknown)[0][:80]!r}; it takes {known}")
        for name, parameter in self.parameters.items():
            value = given.get(name)
            if value is None:
                if parameter.required:
                    raise Refused(f"{self.name} needs the argument {name!r}")
                given.pop(name, None)
            elif type(value) is not _KINDS[parameter.kind]:
                raise Refused(f"{name!r} of {self.name} must be of type {parameter.kind}")
        return given


_KINDS: Mapping[str, type] = {"string": str, "integer": int, "boolean": bool}
_PATH = Parameter("string", "Path relative to the repository's root.")

TOOLS: Mapping[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool(
            "view",
            "Read a text file with line numbers, or list a folder.",
            {
                "path": Parameter("string", "Path relative to the repository's root; empty for the root."),
                "first_line": Parameter("integer", "First line to show, from 1.", required=False),
                "last_line": Parameter("integer", "Last line to show.", required=False),
            },
        ),
        Tool(
            "search",
            "Find lines that contain a text (plain text, not a pattern; case does not matter).",
            {
                "text": Parameter("string", "The text to find."),
                "path": Parameter("string", "Only below this folder or in this file.", required=False),
            },
        ),
        Tool(
            "edit",
            "Replace one passage of a file. `old` must stand in it exactly once.",
            {
                "path": _PATH,
                "old": Parameter("string", "The passage to replace, without line numbers."),
                "new": Parameter("string", "What takes its place."),
            },
        ),
        Tool(
            "create",
            "Make a new file; its folders are made too.",
            {"path": _PATH, "content": Parameter("string", "The whole content.")},
        ),
        Tool("delete", "Remove a file.", {"path": _PATH}),
        Tool(
            "bash",
            "Run a command in the repository's root. There is no network; no process outlives the call.",
            {"command": Parameter("string", "The command line.")},
        ),
    )
}


def granted(named: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Our tools that a definition's `tools` stand for, and the names that stand for none.

    A definition that names no tool at all may look at the repository and change nothing.
    """
    names = [name.strip() for name in named]
    found = {tool for name in names for tool in _NAMES.get(name.lower(), ())}
    ignored = tuple(name for name in names if name.lower() not in _NAMES)
    return tuple(name for name in TOOLS if name in found or (not names and name in _READ)), ignored
