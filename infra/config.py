"""Reading a flat configuration: values are checked where they are read; mistakes are collected."""

from __future__ import annotations

import difflib
import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path

import yaml

from errors import SettingsError

NAMESPACE = "agents-cloud:"


def read_stack(root: Path, stack: str) -> dict[str, object]:
    """Configuration of `stack`, bare keys: defaults of `Pulumi.yaml` under `Pulumi.<stack>.yaml`.

    `root` is the folder with both files. Raises SettingsError when one is absent or is not such a file.
    """
    schema = _read_mapping(root / "Pulumi.yaml").get("config")
    if not isinstance(schema, dict):
        raise SettingsError("there is no `config:` schema", "restore it", file=root / "Pulumi.yaml")
    if not re.fullmatch(r"[A-Za-z0-9_-]+", stack):
        raise SettingsError(f"{stack!r} is no stack name", "use letters, digits, - and _")
    path = root / f"Pulumi.{stack}.yaml"
    values = _read_mapping(path).get("config") or {}
    if not isinstance(values, dict):
        raise SettingsError("`config:` is not a mapping", "write `agents-cloud:KEY: VALUE` lines", file=path)
    merged = {
        key: entry["default"]
        for key, entry in schema.items()
        if isinstance(entry, dict) and "default" in entry
    }
    # Keys of other namespaces (aws:region) are not ours to read: providers are given explicitly.
    merged |= {
        key.removeprefix(NAMESPACE): value
        for key, value in values.items()
        if str(key).startswith(NAMESPACE) and not _is_secret(value)
    }
    return merged


def _is_secret(value: object) -> bool:
    """Encrypted values are no settings: the program hands them on unseen, and a plan does not depend on them."""
    return isinstance(value, dict) and value.keys() == {"secure"}


def _read_mapping(path: Path) -> dict[str, object]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as absent:
        known = sorted(p.name.split(".")[1] for p in path.parent.glob("Pulumi.*.yaml"))
        raise SettingsError(
            "there is no such file", f"use a stack of {', '.join(known) or 'your own'}", file=path
        ) from absent
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as broken:
        raise SettingsError(f"it is not readable YAML ({broken})", "correct the file", file=path) from broken
    if not isinstance(content, dict):
        raise SettingsError("it is not a mapping", "correct the file", file=path)
    return content


class Reader:
    """Typed reads from a flat mapping. A wrong value goes to `mistakes`, and a stand-in is returned."""

    def __init__(self, mapping: Mapping[str, object]) -> None:
        self.mistakes: list[tuple[str, str]] = []
        self._values = dict(mapping)
        self._known: set[str] = set()

    def mistake(self, problem: str, fix: str) -> None:
        self.mistakes.append((problem, fix))

    def refuse_unknown(self) -> None:
        """Note every key that nothing has read. Call it last."""
        for key in sorted(self._values.keys() - self._known):
            close = difflib.get_close_matches(key, self._known, 1)
            self.mistake(f"{key} is no setting", f"did you mean {close[0]}?" if close else "remove it")

    def text(self, key: str, pattern: str = r".*", meaning: str = "a text") -> str:
        """The text at `key`, which must match `pattern` as a whole."""
        value = self._value(key)
        if value is None:
            return ""
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            self.mistake(f"{key} is not a text", f"give {meaning}")
            return ""
        return self._matching(key, str(value), pattern, meaning)

    def texts(self, key: str, pattern: str, meaning: str) -> tuple[str, ...]:
        """The list at `key`, each entry matching `pattern`."""
        value = self._value(key)
        if isinstance(value, str):
            value = self._json(value)
        if value is None:
            return ()
        if not isinstance(value, list):
            self.mistake(f"{key} is not a list", f"list entries that are each {meaning}")
            return ()
        return tuple(self._matching(key, str(entry), pattern, meaning) for entry in value)

    def integer(self, key: str, low: int, high: int) -> int:
        """The whole number at `key`, from `low` to `high`."""
        value = self._value(key)
        if isinstance(value, str) and re.fullmatch(r"-?\d{1,15}", value):
            value = int(value)
        if value is None:
            return low
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.mistake(f"{key} is {value!r}", f"give a whole number from {low} to {high}")
            return low
        return value

    def one_of(self, key: str, allowed: Sequence[int]) -> int:
        value = self.integer(key, allowed[0], allowed[-1])
        if value not in allowed:
            self.mistake(f"{key} is {value}", f"use one of {', '.join(map(str, allowed))}")
        return value

    def dollars(self, key: str) -> Decimal:
        """A positive amount in USD."""
        value = self._value(key)
        if value is None:
            return Decimal(0)
        try:
            amount = Decimal(str(value))
        except InvalidOperation:
            amount = Decimal("NaN")
        if isinstance(value, bool) or not amount.is_finite() or amount <= 0:
            self.mistake(f"{key} is {value!r}", "give an amount in dollars above 0")
            return Decimal(0)
        return amount

    def boolean(self, key: str) -> bool:
        value = self._value(key)
        if value in ("true", "false"):
            return value == "true"
        if value is not None and not isinstance(value, bool):
            self.mistake(f"{key} is {value!r}", "use true or false")
        return value is True

    def choice(self, key: str, *allowed: str) -> str:
        """One of `allowed`; "" there means empty."""
        value = self._value(key)
        if value is None or value not in allowed:
            if value is not None:
                self.mistake(
                    f"{key} is {value!r}", f"use one of {', '.join(word or 'empty' for word in allowed)}"
                )
            return allowed[0]
        return str(value)

    def network(self, key: str, prefix: int) -> ipaddress.IPv4Network:
        """A private IPv4 block of exactly /`prefix`."""
        stand_in = ipaddress.IPv4Network((0, prefix))
        value = self._value(key)
        if value is None:
            return stand_in
        try:
            block = ipaddress.IPv4Network(str(value))
        except ValueError:
            block = stand_in
        if block.prefixlen != prefix or not block.is_private or block == stand_in:
            self.mistake(
                f"{key} is {value!r}", f"give a private IPv4 block of /{prefix} such as 10.20.0.0/{prefix}"
            )
            return stand_in
        return block

    def _value(self, key: str) -> object:
        self._known.add(key)
        value = self._values.get(key)
        if value is None:
            self.mistake(f"{key} is missing", f"set it: pulumi config set {NAMESPACE}{key} VALUE")
        return value

    def _json(self, value: str) -> object:
        """Pulumi hands lists to a program as JSON."""
        try:
            parsed: object = json.loads(value)
        except ValueError:
            return value
        return parsed

    def _matching(self, key: str, value: str, pattern: str, meaning: str) -> str:
        if not re.fullmatch(pattern, value):
            self.mistake(f"{key} is {value!r}", f"give {meaning}")
            return ""
        return value
