"""The command line of the runner: `python -m runner COMMAND`."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from errors import AgentsCloudError, SettingsError

DEFAULT_AGENTS = Path(".github/agents")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code. What a person did wrong is one message on standard error."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level=os.environ.get("LOG_LEVEL", "INFO").upper(),
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    try:
        code: int = options.run(options)
    except AgentsCloudError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m runner", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="the whole ecosystem on this machine")
    run.add_argument("--agents", type=Path, default=DEFAULT_AGENTS, help="folder of definitions")
    run.add_argument("--geography", type=Path, help="agent_geography.yaml (default: one local region)")
    run.add_argument("--issues", type=Path, help="issues to load into the local GitHub")
    run.add_argument("--maintainer", type=Path, help="what the simulated maintainer does with answers")
    run.add_argument("--history", type=Path, help="past works that matching learns from")
    run.add_argument("--data", type=Path, default=Path(".agents-cloud"), help="folder that keeps all state")
    run.add_argument("--port", type=int, default=8080, help="port of the page and the webhook")
    run.add_argument("--executor", choices=("recall", "model", "actions"), default="recall")
    run.add_argument(
        "--at-once", type=int, default=0, help="open at most so many issues at once (default: all)"
    )
    run.add_argument("--until-idle", action="store_true", help="exit when every issue is in a final state")
    run.add_argument("--report", type=Path, help="write a JSON report here at the end")
    run.set_defaults(run=_run)

    agent = commands.add_parser("agent", help="one runner process")
    agent.add_argument("name", nargs="?", help="the agent's name (default: AGENT_NAME)")
    agent.set_defaults(run=_agent)

    gateway = commands.add_parser("gateway", help="one gateway process")
    gateway.set_defaults(run=_gateway)

    register = commands.add_parser(
        "register", help="migrate the database and let it know the agents, as its owner"
    )
    register.add_argument("--agents", type=Path, help="folder of definitions (default: AGENTS_DIR)")
    register.set_defaults(run=_register)

    match = commands.add_parser("match", help="which specialist an issue goes to, and why")
    match.add_argument("--agents", type=Path, default=DEFAULT_AGENTS)
    match.add_argument(
        "--history", type=Path, help="past works (`gh pr list --json`) with agent:<name> labels"
    )
    match.add_argument("--issues", type=Path, help="a file as `gh issue list --json` prints it")
    match.add_argument("--title")
    match.add_argument("--body", default="")
    match.add_argument("--label", action="extend", nargs="+", default=[], metavar="LABEL")
    match.add_argument("--json", action="store_true")
    match.set_defaults(run=_match)

    for name, what in (("pause", "claim no more missions"), ("resume", "end a pause")):
        command = commands.add_parser(name, help=what)
        command.add_argument(
            "scope", nargs="?", default="all", help="all, paid, or an agent's name (default: all)"
        )
        command.add_argument("--reason", default="")
        command.set_defaults(run=_pause_or_resume, pausing=name == "pause")
    for name, what in (("cancel", "cancel a live mission"), ("retry", "work an ended mission's issue again")):
        command = commands.add_parser(name, help=what)
        command.add_argument("mission", help="the mission's id, or owner/name#number")
        command.set_defaults(run=_cancel_or_retry, cancelling=name == "cancel")
    cap = commands.add_parser("cap", help="set a cap on model spending")
    cap.add_argument("scope", choices=("mission", "day", "month"))
    cap.add_argument("usd", help="dollars")
    cap.set_defaults(run=_cap)
    shown = commands.add_parser("dashboard", help="how agents do, and what memory is worth")
    shown.add_argument("--json", action="store_true", help="one JSON document")
    shown.set_defaults(run=_dashboard)
    for command in commands.choices.values():
        if command.get_default("run") in (_pause_or_resume, _cancel_or_retry, _cap, _dashboard):
            command.add_argument(
                "--data", type=Path, help="data folder of `run` (default: DATABASE_URL, then .agents-cloud)"
            )
    return parser


def _run(options: argparse.Namespace) -> int:
    from runner.local import LocalOptions, run_local

    return asyncio.run(
        run_local(
            LocalOptions(
                agents=options.agents,
                geography=options.geography,
                issues=options.issues,
                maintainer=options.maintainer,
                history=options.history,
                data=options.data,
                port=options.port,
                executor=options.executor,
                at_once=options.at_once,
                until_idle=options.until_idle,
                report=options.report,
            )
        )
    )


def _agent(options: argparse.Namespace) -> int:
    from runner.process import run_agent, stop_on_signal
    from runner.settings import RunnerSettings

    variables = dict(os.environ)
    if options.name:
        variables["AGENT_NAME"] = options.name
    settings = RunnerSettings.from_environment(variables)

    async def work() -> None:
        async with stop_on_signal() as stop:
            await run_agent(settings, stop)

    asyncio.run(work())
    return 0


def _gateway(_: argparse.Namespace) -> int:
    from runner.gateway import run_gateway
    from runner.process import stop_on_signal
    from runner.settings import GatewaySettings

    settings = GatewaySettings.from_environment()

    async def work() -> None:
        async with stop_on_signal() as stop:
            await run_gateway(settings, stop)

    asyncio.run(work())
    return 0


def _register(options: argparse.Namespace) -> int:
    from runner.register import register

    folder = options.agents or Path(os.environ.get("AGENTS_DIR", DEFAULT_AGENTS))
    return asyncio.run(register(os.environ.get("DATABASE_URL", ""), folder))


def _match(options: argparse.Namespace) -> int:
    from runner.match.command import match_command

    return match_command(options)


def _pause_or_resume(options: argparse.Namespace) -> int:
    from runner import operate

    scope = options.scope if options.scope in ("all", "paid") else f"agent:{options.scope}"
    url = operate.database_url(options.data)
    if options.pausing:
        return asyncio.run(operate.pause(url, scope, getpass.getuser(), options.reason))
    return asyncio.run(operate.resume(url, scope))


def _cancel_or_retry(options: argparse.Namespace) -> int:
    from runner import operate

    action = operate.cancel if options.cancelling else operate.retry
    return asyncio.run(action(operate.database_url(options.data), options.mission, getpass.getuser()))


def _cap(options: argparse.Namespace) -> int:
    from decimal import Decimal, InvalidOperation

    from runner import operate

    try:
        usd = Decimal(options.usd)
        if not usd.is_finite() or usd < 0:
            raise InvalidOperation
    except InvalidOperation:
        raise SettingsError(f"{options.usd!r} is not an amount", "give dollars, as in 12.50") from None
    return asyncio.run(operate.cap(operate.database_url(options.data), options.scope, usd))


def _dashboard(options: argparse.Namespace) -> int:
    from runner import operate
    from runner.dashboard import show_dashboard

    return asyncio.run(show_dashboard(operate.database_url(options.data), as_json=options.json))
