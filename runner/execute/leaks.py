"""Credentials that must not stand in a pull request, a comment or an agent's memory."""

from __future__ import annotations

import re

# Prefixes as their issuers document them: GitHub ("About authentication to GitHub", token formats), AWS ("IAM
# identifiers", unique ID prefixes), OpenAI and Anthropic, Slack ("Token types"), Google, Stripe, npm, PyPI;
# RFC 7468 for keys. Encoded or split ones are not recognised: that no tool can reach one keeps them out.
_CREDENTIALS: tuple[tuple[str, re.Pattern[bytes]], ...] = tuple(
    (name, re.compile(pattern))
    for name, pattern in (
        ("private key", rb"-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----"),
        ("GitHub token", rb"\b(?:gh[pousr]_[A-Za-z0-9]{30,255}|github_pat_[A-Za-z0-9_]{40,255})"),
        ("AWS access key", rb"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
        ("model API key", rb"\bsk-(?:ant-|proj-|svcacct-)?[A-Za-z0-9_-]{32,255}"),
        ("Slack token", rb"\bxox[abeoprs]-[A-Za-z0-9-]{20,255}"),
        ("Google API key", rb"\bAIza[A-Za-z0-9_-]{35}"),
        ("Stripe key", rb"\b[rs]k_live_[A-Za-z0-9]{20,255}"),
        ("package registry token", rb"\b(?:npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{50,255})"),
    )
)


def credentials(content: bytes) -> tuple[tuple[str, bytes], ...]:
    """What looks like a credential in `content`: its kind and the text itself, each once."""
    found = dict.fromkeys(
        (kind, m.group()) for kind, pattern in _CREDENTIALS for m in pattern.finditer(content)
    )
    return tuple(found)


def redact(text: str) -> str:
    """`text` with whatever looks like a credential replaced by its kind."""
    for kind, secret in credentials(text.encode("utf-8", "replace")):
        text = text.replace(secret.decode(), f"[{kind} removed]")
    return text
