"""The GitHub client that the settings describe: as an App, or with a plain token."""

from __future__ import annotations

from errors import SettingsError
from runner.github import GitHub, transport
from runner.github.app import AppTokens, PlainToken, Tokens
from runner.settings import GitHubSettings


def open_github(settings: GitHubSettings) -> GitHub:
    """A client, to be used as `async with`. Raises SettingsError where there is no credential."""
    tokens: Tokens
    if settings.app_id:
        tokens = AppTokens(settings.app_id, settings.app_key)
    elif settings.token:
        tokens = PlainToken(settings.token)
    else:
        raise SettingsError(
            "no credential for GitHub", "set GITHUB_APP_ID and GITHUB_APP_PRIVATE_KEY, or GITHUB_TOKEN"
        )
    return GitHub(tokens, transport.GitHubSettings(base_url=settings.api_url))
