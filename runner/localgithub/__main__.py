"""`python -m runner.localgithub`: the local GitHub alone, until Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from errors import AgentsCloudError, SettingsError
from runner.localgithub import LocalGitHub, LocalGitHubSettings, load_reactions


def main(arguments: list[str] | None = None) -> int:
    """Serves until a signal; 1 with a message on stderr where that cannot be."""
    options = _parser().parse_args(arguments)
    try:
        asyncio.run(_serve(options))
    except AgentsCloudError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m runner.localgithub", description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=Path(".agents-cloud/localgithub"), help="folder for the state"
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8081)
    parser.add_argument("--issues", type=Path, help="`gh issue list --json` output, or webhook deliveries")
    parser.add_argument(
        "--repository", default="local/repository", help="owner/name for issues that name none"
    )
    parser.add_argument("--contents", type=Path, help="folder with the repository's first commit")
    parser.add_argument("--maintainer", type=Path, help="script of a simulated maintainer")
    parser.add_argument("--webhook", help="URL that deliveries go to")
    parser.add_argument("--secret-file", type=Path, help="file with the webhook's secret")
    parser.add_argument("--token-file", type=Path, help="where to write a token for the API")
    parser.add_argument("--app-id", default="1")
    parser.add_argument("--app-public-key", type=Path, help="PEM file; lets a GitHub App log in")
    return parser


async def _serve(options: argparse.Namespace) -> None:
    if options.webhook and not options.secret_file:
        raise SettingsError("--webhook without --secret-file", "give the file with the secret for signatures")
    settings = LocalGitHubSettings(
        data=options.data,
        host=options.host,
        port=options.port,
        webhook_url=options.webhook,
        secret=_read(options.secret_file),
        repository=options.repository,
        contents=options.contents,
        app_id=options.app_id,
        app_public_key=_read(options.app_public_key) or None,
    )
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with LocalGitHub(settings) as github:
        if options.token_file:
            options.token_file.touch(mode=0o600)
            options.token_file.write_text(github.token())
        if options.maintainer:
            github.simulate_maintainer(load_reactions(options.maintainer))
        if options.issues:
            new = await github.load(options.issues)
            print(f"{new} new from {options.issues}", flush=True)
        print(f"The local GitHub listens on {github.url}", flush=True)
        await stop.wait()


def _read(path: Path | None) -> str:
    try:
        return "" if path is None else path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}", "give a readable text file") from error


if __name__ == "__main__":
    sys.exit(main())
