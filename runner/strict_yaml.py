"""YAML from a repository, read strictly: no aliases (bombs), no tags, no doubled keys; every text knows its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import yaml

from errors import InputError


class Text(str):
    """A string scalar that remembers its line (from 1) in the file it came from."""

    line: int

    @classmethod
    def at(cls, value: str, line: int) -> Self:
        text = cls(value)
        text.line = line
        return text


def _refused(problem: str, where: Any) -> yaml.constructor.ConstructorError:
    """`where`: an event or a node."""
    return yaml.constructor.ConstructorError(None, None, problem, where.start_mark)


class _StrictLoader(yaml.SafeLoader):
    first_line = 1

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            raise _refused("an alias (*name) is not allowed", event)
        if getattr(event, "tag", None) is not None:
            raise _refused(f"a tag ({event.tag}) is not allowed", event)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _refused("a key is not a text", key)
            if key.value in seen:
                raise _refused(f"the key {key.value!r} stands twice", key)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_text(self, node: yaml.ScalarNode) -> Text:
        return Text.at(str(self.construct_scalar(node)), node.start_mark.line + self.first_line)


_StrictLoader.add_constructor("tag:yaml.org,2002:str", _StrictLoader.construct_text)
# A date or a bare `on` in a definition is text to us; numbers, booleans and null keep their type.
_StrictLoader.add_constructor("tag:yaml.org,2002:timestamp", _StrictLoader.construct_text)


def read_mapping(text: str, error: type[InputError], file: Path, first_line: int = 1) -> dict[Any, Any]:
    """Parse `text`, which starts on `first_line` of `file`, as one YAML mapping; strings come as `Text`.

    Raises `error` with file, line and remedy for anything else.
    """
    loader: _StrictLoader | None = None
    try:
        loader = _StrictLoader(text)
        loader.first_line = first_line
        data = loader.get_single_data()
    except yaml.reader.ReaderError as broken:
        line = first_line + text.count("\n", 0, broken.position)
        raise error(
            f"the character U+{broken.character:04X} is not allowed in YAML",
            "delete it",
            file=file,
            line=line,
        ) from broken
    except yaml.MarkedYAMLError as broken:
        mark = broken.problem_mark or broken.context_mark
        line = first_line + mark.line if mark else first_line
        problem = broken.problem or broken.context or "it does not parse"
        raise error(
            f"malformed YAML: {problem}", "correct the YAML at this line", file=file, line=line
        ) from broken
    except (yaml.YAMLError, ValueError) as broken:
        raise error(f"malformed YAML: {broken}", "correct the YAML", file=file, line=first_line) from broken
    except RecursionError:
        raise error("YAML nested too deeply", "flatten it", file=file, line=first_line) from None
    finally:
        if loader is not None:
            loader.dispose()
    if not isinstance(data, dict):
        kind = "empty" if data is None else f"a {type(data).__name__}"
        raise error(
            f"the YAML is {kind}, not a mapping", "write `key: value` lines", file=file, line=first_line
        )
    return data
