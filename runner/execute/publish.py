"""What an agent wrote, made safe to publish: it may inform people, and neither summon nor command anyone."""

from __future__ import annotations

import re

from runner.execute.leaks import redact

MAX_TEXT = 60_000  # characters; GitHub takes 65,536, and the gateway adds its marker
MAX_TITLE = 100
CUT = "\n\n… (shortened)"
_INVISIBLE = "\u200b"

# Each: what GitHub or a bot would act on, and what stands there instead.
_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    # Control characters, and direction marks that make text read as something else (CVE-2021-42574).
    (re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]"), ""),
    # Comments: the gateway knows its own work by a marker in one.
    (re.compile(r"<!--"), "&lt;!--"),
    # Media are fetched when somebody looks: their address could carry content of the repository away.
    (re.compile(r"!\["), r"!\\["),
    (
        re.compile(r"<(?=\s*/?\s*(?:img|picture|source|video|audio|iframe|svg|object|embed|link)\b)", re.I),
        "&lt;",
    ),
    # Mentions notify people and teams.
    (re.compile(r"(?<![A-Za-z0-9_])@(?=[A-Za-z0-9])"), f"@{_INVISIBLE}"),
    # Closing keywords close other issues on merge (docs.github.com, "Linking a pull request to an issue").
    (
        re.compile(r"\b(close[sd]?|fix(?:e[sd])?|resolve[sd]?)(?=:?\s+(?:\S*#|GH-|https?://)\S*\d)", re.I),
        rf"\1{_INVISIBLE}",
    ),
    # Skips checks when it lands in a commit message (docs.github.com, "Skipping workflow runs").
    (re.compile(r"\[(skip ci|ci skip|no ci|skip actions|actions skip)\]", re.I), r"(\1)"),
    (re.compile(r"\bskip-checks\s*:", re.I), f"skip-checks{_INVISIBLE}:"),
    # Commands to bots, such as /merge, stand at the start of a line.
    (re.compile(r"^([ \t]*)/(?=[a-z-]+(?:\s|$))", re.M | re.I), r"\1\\/"),
)


def publishable(text: str, limit: int = MAX_TEXT) -> str:
    """`text` for an issue, a pull request or a memory, of at most `limit` characters."""
    text = redact(text.encode("utf-8", "replace").decode())
    for pattern, instead in _RULES:
        text = pattern.sub(instead, text)
    text = text.strip()
    return text if len(text) <= limit else text[: limit - len(CUT)] + CUT


def title(text: str) -> str:
    """The first line of `text` as a title of at most MAX_TITLE characters."""
    first = next((line.lstrip("# ") for line in text.splitlines() if line.strip("# \t")), "")
    plain = " ".join(publishable(first).split())
    return plain if len(plain) <= MAX_TITLE else plain[: MAX_TITLE - 1] + "…"
