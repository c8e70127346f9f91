"""`python -m database audit`: exit code 0 where no agent reaches another's memory, 1 where something is off."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from database.audit import AgentUrl, Audit, audit
from database.owner import LOCAL_DATA, find_servers, open_owner
from errors import SettingsError

SOUND, OFF = "AUDIT SOUND", "AUDIT OFF"
"""How the line begins that tells how an audit ended. Filters of logs look for it."""
_HOW = (
    "name the way in with --agent-url 'postgresql://{role}:PASSWORD@HOST/DATABASE', or --data FOLDER of"
    " `python -m runner run`; on RDS run it with AWS_REGION set and rds-db:connect for the agents' roles"
)


def add_audit_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `audit` to `python -m database`."""
    command = commands.add_parser("audit", help="prove that no agent reaches another's memory")
    command.add_argument("--json", action="store_true", help="one JSON document on standard output")
    command.add_argument("--agent-url", help="URL with {role} in place of the agent's login role")
    command.add_argument(
        "--last", type=int, default=20, help="how many of the latest reads to list (default 20)"
    )
    command.add_argument("--data", type=Path, help="data folder of `python -m runner run`")
    command.set_defaults(run=lambda options: asyncio.run(_audit(options)))


async def _audit(options: argparse.Namespace) -> int:
    try:
        servers = find_servers(options.data)
        way_in = agent_urls(servers.database_url, options.agent_url, options.data)
        async with open_owner(servers.database_url) as owner:
            done = await audit(owner, way_in, last=options.last)
    except BaseException as ended:
        _log(f"{OFF} not finished: {type(ended).__name__}")
        raise
    print(json.dumps(asdict(done), default=str, indent=2) if options.json else told(done))
    tried = f"{len(done.findings)} findings, {done.agents} agents, {done.pairs} pairs tried"
    _log(f"{OFF if done.findings else SOUND} {tried}")
    return 1 if done.findings else 0


def _log(line: str) -> None:
    """What alarms are made of where the audit runs unattended: one line, beside what a person or a program reads."""
    print(line, file=sys.stderr)


def agent_urls(owner_url: str, template: str | None, data: Path | None) -> AgentUrl:
    """How to log in as a role: by the template, by the passwords in the data folder, or in AWS by tokens.

    Raises SettingsError where none of them is there.
    """
    if template is not None:
        if "{role}" not in template:
            raise SettingsError("--agent-url names no role", _HOW)
        return lambda role: template.replace("{role}", quote(role, safe=""))
    if os.environ.get("AWS_REGION"):
        return lambda role: _as_role(owner_url, role, None)
    file = (data or LOCAL_DATA) / "secrets.json"
    try:
        secrets = json.loads(file.read_text())
        if not isinstance(secrets, dict):
            raise TypeError
    except (OSError, ValueError, TypeError) as missing:
        raise SettingsError("agents log in with passwords that are not known here", _HOW) from missing

    def local(role: str) -> str:
        password = secrets.get(f"role {role}")
        if not isinstance(password, str):
            raise SettingsError(f"{file} has no password of role {role}", _HOW)
        return _as_role(owner_url, role, password)

    return local


def _as_role(url: str, role: str, password: str | None) -> str:
    parts = urlsplit(url)
    login = quote(role, safe="") + ("" if password is None else f":{quote(password, safe='')}")
    return urlunsplit(parts._replace(netloc=f"{login}@{parts.netloc.rpartition('@')[2]}"))


def told(done: Audit) -> str:
    """The audit in words, the worst last."""
    lines = [f"{len(done.grants)} grants", *(f"  {grant}" for grant in done.grants)]
    lines += [f"{len(done.policies)} policies", *(f"  {policy}" for policy in done.policies)]
    lines.append(f"{len(done.reads)} latest reads")
    lines += [
        f"  {read.at:%Y-%m-%d %H:%M} {read.agent} recalled {len(read.memories)}"
        f" for {read.repository}#{read.issue_number}"
        for read in done.reads
    ]
    lines.append(
        f"{done.agents} agents, {done.pairs} pairs tried through the agents' own roles in {done.seconds} s"
    )
    for finding in done.findings:
        lines.append(f"OFF  {finding.check}: {finding.problem}. Fix: {finding.fix}")
    lines.append(
        f"{len(done.findings)} findings"
        if done.findings
        else "no agent reaches another's memory; nothing is off"
    )
    return "\n".join(lines)
