"""The client for GitHub: `calls` are single requests, `effects` happen once however often they are repeated."""

from __future__ import annotations

from runner.github.effects import GitHub, marker

__all__ = ["GitHub", "marker"]
