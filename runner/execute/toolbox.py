"""What the tools do, on one checkout."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.execute.checkout import Checkout
from runner.execute.files import MAX_FILE_BYTES
from runner.execute.paths import Refused, is_protected, repository_path
from runner.execute.sandbox import Sandbox
from runner.execute.tools import TOOLS
from runner.execute.uncancelled import to_the_end

MAX_MATCHES = 100
SEARCH_SECONDS = 10.0
MAX_COMMAND = 32_768  # characters


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What the model is answered."""

    text: str
    failed: bool = False


class Toolbox:
    """The granted tools on one checkout. Nothing that a model or an issue says adds to them."""

    def __init__(
        self,
        names: Sequence[str],
        checkout: Checkout,
        sandbox: Sandbox,
        *,
        output_bytes: int,
        protected_allowed: bool,
    ) -> None:
        self._tools = {name: TOOLS[name] for name in names}
        self._checkout = checkout
        self._sandbox = sandbox
        self._output_bytes = output_bytes
        self._protected_allowed = protected_allowed

    def schemas(self) -> list[dict[str, Any]]:
        """The tools as the chat completions API takes them."""
        return [tool.schema() for tool in self._tools.values()]

    async def call(self, name: str, arguments: str) -> ToolResult:
        """Run a tool. What goes wrong is told to the model, which may try otherwise."""
        try:
            if name not in self._tools:
                offered = ", ".join(self._tools) or "none"
                raise Refused(f"there is no tool {name[:80]!r} here; yours: {offered}")
            return ToolResult(self._cut(await self._run(name, self._tools[name].arguments(arguments))))
        except Refused as refusal:
            return ToolResult(self._cut(f"Error: {refusal}"), failed=True)

    async def _run(self, name: str, given: Mapping[str, Any]) -> str:
        match name:
            case "view":
                return self._view(given["path"], given.get("first_line", 1), given.get("last_line"))
            case "search":
                return await to_the_end(asyncio.to_thread(self._search, given["text"], given.get("path", "")))
            case "edit":
                return self._edit(given["path"], given["old"], given["new"])
            case "create":
                self._checkout.files.write(self._writable(given["path"]), _bytes(given["content"]), new=True)
                return f"Made {given['path']}."
            case "delete":
                self._checkout.files.delete(self._writable(given["path"]))
                return f"Deleted {given['path']}."
            case _:
                return await self._bash(given["command"])

    def _view(self, path: str, first: int, last: int | None) -> str:
        plain = repository_path(path)
        names = self._checkout.files.list(plain)
        if names is not None:
            return "\n".join(names) or "(empty)"
        lines = self._text(plain).split("\n")
        shown = lines[max(first, 1) - 1 : last]
        if not shown:
            return f"(no lines there; {plain} has {len(lines)})"
        return "\n".join(f"{number}\t{line}" for number, line in enumerate(shown, max(first, 1)))

    def _search(self, text: str, path: str) -> str:
        wanted = text.casefold()
        if not wanted.strip():
            raise Refused("the text to search for is empty")
        below = repository_path(path)
        until = time.monotonic() + SEARCH_SECONDS
        found: list[str] = []
        for entry in self._checkout.files.walk():
            if entry.kind != "file" or not (not below or f"{entry.path}/".startswith(f"{below}/")):
                continue
            if time.monotonic() > until or len(found) >= MAX_MATCHES:
                found.append("… (stopped; narrow the search with `path` or a longer text)")
                break
            try:
                lines = self._text(entry.path).split("\n")
            except Refused:  # binary or too long
                continue
            found += [
                f"{entry.path}:{number}:{line[:300]}"
                for number, line in enumerate(lines, 1)
                if wanted in line.casefold()
            ][:MAX_MATCHES]
        return "\n".join(found) or "(no match)"

    def _edit(self, path: str, old: str, new: str) -> str:
        path = self._writable(path)
        content = self._text(path)
        count = content.count(old) if old else 0
        if count != 1:
            raise Refused(f"`old` stands {count} times in {path}; it must stand there exactly once")
        self._checkout.files.write(path, _bytes(content.replace(old, new)), new=False)
        return f"Edited {path}."

    async def _bash(self, command: str) -> str:
        if len(command) > MAX_COMMAND or "\0" in command:
            raise Refused(f"a command has at most {MAX_COMMAND} characters and no NUL")
        command = _bytes(command).decode()
        outcome = await self._sandbox.shell(command, self._checkout.tree, self._checkout.home)
        note = f" ({outcome.note})" if outcome.note else ""
        return f"exit code {outcome.exit_code}{note}\n{outcome.output}"

    def _text(self, path: str) -> str:
        content = self._checkout.files.read(path)
        try:
            text = content.decode()
        except UnicodeDecodeError:
            text = "\0"
        if "\0" in text:
            raise Refused(f"{path} is a binary file; tools take text in UTF-8")
        return text

    def _writable(self, path: str) -> str:
        plain = repository_path(path)
        if is_protected(plain) and not self._protected_allowed:
            raise Refused(f"{plain} may only be changed where the operator allows it")
        return plain

    def _cut(self, text: str) -> str:
        content = text.encode("utf-8", "backslashreplace")
        if len(content) <= self._output_bytes:
            return content.decode()
        kept = content[: self._output_bytes].decode(errors="ignore")
        return f"{kept}\n… ({len(content) - self._output_bytes} bytes left out)"


def _bytes(text: str) -> bytes:
    try:
        content = text.encode()
    except UnicodeEncodeError:
        raise Refused("the text is not valid Unicode") from None
    if len(content) > MAX_FILE_BYTES:
        raise Refused(f"the content has more than {MAX_FILE_BYTES} bytes")
    return content
