"""Which paths an agent may name, and which of them a pull request may carry."""

from __future__ import annotations

import unicodedata

from errors import ExecutionError

MAX_DEPTH = 40
MAX_PATH_BYTES = 1_024
MAX_NAME_BYTES = 255
# Files here run with the repository's own rights on the next push, before any person has read them.
PROTECTED = (".github/workflows", ".github/actions")


class Refused(ExecutionError):
    """A tool may not do this; the message says why and is read by the model."""


def repository_path(text: str) -> str:
    """`text` as a plain path in the repository: `a/b.txt`, or `` for the root.

    Raises Refused for absolute paths, `..`, git's own folder in any spelling, control characters and
    whatever could not be stored in git on every system.
    """
    if text.startswith("/"):
        raise Refused(f"{text!r} is absolute; name a path relative to the repository's root")
    parts = [part for part in text.split("/") if part not in ("", ".")]
    path = "/".join(parts)
    try:
        too_long = len(path.encode()) > MAX_PATH_BYTES or any(len(p.encode()) > MAX_NAME_BYTES for p in parts)
    except UnicodeEncodeError:
        raise Refused(f"{text!r} is not valid Unicode") from None
    if too_long or len(parts) > MAX_DEPTH:
        raise Refused(f"{text[:80]!r}… is too long or too deep ({MAX_DEPTH} folders at most)")
    for part in parts:
        if part == "..":
            raise Refused(f"{text!r} leaves the repository; `..` is not allowed")
        if "\\" in part or any(unicodedata.category(character) == "Cc" for character in part):
            raise Refused(f"{text!r} has a backslash or a control character")
        if is_git_folder(part):
            raise Refused(f"{text!r} is inside git's own folder")
    return path


def is_git_folder(name: str) -> bool:
    """True for `.git` and for what case-folding, HFS+ or NTFS file systems take for it (CVE-2014-9390)."""
    visible = "".join(c for c in unicodedata.normalize("NFKC", name) if unicodedata.category(c) != "Cf")
    return visible.casefold().split(":")[0].rstrip(". ") in {".git", "git~1"}


def is_protected(path: str) -> bool:
    """True where a change needs the operator's permission."""
    folded = path.casefold()
    return any(folded == folder or folded.startswith(folder + "/") for folder in PROTECTED)
