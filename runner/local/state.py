"""The data folder of `python -m runner run`: whose it is, its secrets, and how to reach what runs on it."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from errors import SettingsError

FORMAT = 1  # a folder of another format is not touched
_MARK = "agents-cloud.json"


@dataclass(frozen=True, slots=True)
class LocalState:
    """How operators' commands reach the running system."""

    process: int
    gateway_database_url: str
    owner_database_url: str
    redis_url: str
    page: str

    @classmethod
    def read(cls, data: Path) -> LocalState | None:
        """The state of what runs on `data`; None where nothing does."""
        try:
            return cls(**json.loads((data / "running.json").read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, data: Path) -> None:
        _write_private(data / "running.json", asdict(self))


@contextmanager
def locked_data_folder(data: Path) -> Iterator[Path]:
    """The folder, made where it is missing, for this process alone.

    Raises SettingsError where another instance has it, it is of another format, or something else lives in it.
    """
    data = data.resolve()
    mark = data / _MARK
    if data.exists() and not data.is_dir():
        raise SettingsError(f"{data} is not a folder", "choose another one with --data")
    if data.exists() and any(data.iterdir()) and not mark.exists():
        raise SettingsError(f"{data} holds other files", "choose an empty or new folder with --data")
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (data / "lock").open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                process = lock.read().strip() or "unknown"
                raise SettingsError(
                    f"another instance (process {process}) uses {data}",
                    "stop it, or choose another folder with --data",
                ) from None
            _check_format(mark)
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            try:
                yield data
            finally:
                (data / "running.json").unlink(missing_ok=True)
    except PermissionError as refused:
        raise SettingsError(f"{data} is not writable", "choose another folder with --data") from refused


def load_secrets(data: Path) -> dict[str, str]:
    """Passwords and tokens of this folder's servers, readable for its owner alone."""
    file = data / "secrets.json"
    known: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
    return _Secrets(file, known)


class _Secrets(dict[str, str]):
    """Makes a secret the first time it is asked for, and keeps it."""

    def __init__(self, file: Path, known: dict[str, str]) -> None:
        super().__init__(known)
        self._file = file

    def __missing__(self, name: str) -> str:
        self[name] = secrets.token_hex(24)
        _write_private(self._file, dict(self))
        return self[name]


def _check_format(mark: Path) -> None:
    if not mark.exists():
        mark.write_text(json.dumps({"format": FORMAT}))
        return
    try:
        found = json.loads(mark.read_text())["format"]
    except (ValueError, KeyError, TypeError) as broken:
        raise SettingsError(f"{mark} is damaged", "choose another folder with --data") from broken
    if found != FORMAT:
        raise SettingsError(
            f"{mark.parent} has format {found}, this version writes {FORMAT}",
            "run the version that wrote it, or choose another folder with --data",
        )


def _write_private(file: Path, value: dict[str, Any]) -> None:
    new = file.with_suffix(".new")
    new.touch(mode=0o600)
    new.write_text(json.dumps(value, indent=2))
    new.replace(file)
