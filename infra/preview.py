"""`python -m infra.preview`: what a stack would be, fit and cost, and which rule it breaks, without a cloud account."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from errors import AgentsCloudError, SettingsError
from infra.config import read_stack
from infra.diff import difference, document_at, lost_data
from infra.document import to_document
from infra.outlook import look
from infra.show import show

ROOT = Path(__file__).parent.parent
PRESETS = {2: "dev", 3: "phase3", 4: "prod"}
OK, BAD_INPUT, RULE_BROKEN = 0, 1, 2


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Wrong usage is bad input; argparse's own 2 would say that a rule is broken."""
        self.print_usage(sys.stderr)
        self.exit(BAD_INPUT, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the preview. Returns 0 when every rule holds, 2 when one is broken, 1 when the input is wrong."""
    options = _parser().parse_args(arguments)
    try:
        stack, config = _configuration(options)
        before = document_at(ROOT, options.diff, _inherited(options)) if options.diff is not None else None
        outlook = look(ROOT, config, stack)
        if before is not None:
            after = to_document(outlook)
            sys.stdout.write(difference(before, after, options.diff))
            if lost_data(before, after):
                return RULE_BROKEN
        elif options.json:
            json.dump(to_document(outlook), sys.stdout, indent=1)
            sys.stdout.write("\n")
        else:
            show(outlook, sys.stdout)
    except AgentsCloudError as problem:
        sys.stderr.write(f"{problem}\n")
        return BAD_INPUT
    return OK if outlook.allowed else RULE_BROKEN


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m infra.preview",
        description=__doc__,
        epilog="exit code: 0 every rule holds, 2 a rule is broken, 1 wrong input",
    )
    parser.add_argument("--stack", help="a stack with a Pulumi.STACK.yaml, such as prod")
    parser.add_argument(
        "--phase",
        type=int,
        choices=PRESETS,
        help="the phase's preset, or --stack as it would be in that phase",
    )
    parser.add_argument("--agents", type=Path, metavar="DIR", help="agent definitions of another checkout")
    parser.add_argument("--geography", type=Path, metavar="FILE", help="geography of another checkout")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="what if a setting were so; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("--diff", metavar="REV", help="what changes since a git revision, as Markdown")
    return parser


def _configuration(options: argparse.Namespace) -> tuple[str, dict[str, object]]:
    if options.stack is None and options.phase is None:
        raise SettingsError("neither --stack nor --phase is given", "name one, for example --phase 3")
    stack = options.stack or PRESETS[options.phase]
    config = read_stack(ROOT, stack)
    if options.phase is not None:
        config["phase"] = options.phase
    for path, key in ((options.agents, "agentsDir"), (options.geography, "geographyFile")):
        if path is not None:
            config[key] = str(path.resolve())
    for entry in options.set:
        key, separator, value = entry.partition("=")
        if not separator:
            raise SettingsError(f"--set {entry} has no `=`", "write --set KEY=VALUE")
        config[key] = value
    return stack, config


def _inherited(options: argparse.Namespace) -> list[str]:
    """The same question, for the other revision to answer with its own code and files."""
    arguments = ["--json"]
    for name in ("stack", "phase"):
        if getattr(options, name) is not None:
            arguments += [f"--{name}", str(getattr(options, name))]
    for name in ("agents", "geography"):
        if getattr(options, name) is not None:
            arguments += [f"--{name}", str(getattr(options, name).resolve())]
    return arguments + [word for entry in options.set for word in ("--set", entry)]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:  # `… | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(OK)
