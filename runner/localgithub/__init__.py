"""A small GitHub for development and tests: REST, webhooks, faults on demand, state that survives a restart.

It answers with GitHub's JSON shapes and status codes where this project calls, and with 404 elsewhere. It checks
tokens, roles and rate limits. It runs no workflow and merges whole files, not lines.
"""

from __future__ import annotations

from runner.localgithub.faults import Fault
from runner.localgithub.maintainer import Reaction, load_reactions
from runner.localgithub.server import LocalGitHub
from runner.localgithub.settings import LocalGitHubSettings
from runner.localgithub.state import ApiError

__all__ = ["ApiError", "Fault", "LocalGitHub", "LocalGitHubSettings", "Reaction", "load_reactions"]
