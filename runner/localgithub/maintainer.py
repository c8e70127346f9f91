"""A simulated maintainer: reads a script of what a person would say to the agents' answers, and says it.

Real outcomes come from people. This stands in for them where nobody is there, and says so in every comment.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from errors import InputError
from runner.localgithub import issues
from runner.localgithub.people import grant, user_type
from runner.localgithub.shapes import issue_row, labels_of
from runner.localgithub.state import ApiError, State

LOGIN = "maintainer"
SIGNATURE = "\n\n_(simulated maintainer: a script wrote this, no person)_"
AGENT_LABEL = "agent:"
MAX_BYTES = 4 * 1024 * 1024
Action = Literal["complete", "not_planned", "relabel"]


@dataclass(frozen=True, slots=True)
class Reaction:
    """What the maintainer does about an issue: closes it after an agent's comment, or relabels it at once."""

    number: int
    action: Action
    comment: str = ""
    label: str = ""


def load_reactions(path: Path) -> tuple[Reaction, ...]:
    """Reads [{"number", "action", "comment", "label"?}, …]. Raises InputError."""
    form = 'write [{"number": 1, "action": "complete", "comment": "…"}]'
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"the file is larger than {MAX_BYTES} bytes", "split it", file=path)
        data = json.loads(path.read_text("utf-8"))
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
        raise InputError(problem, "give a readable file", file=path) from error
    except (ValueError, RecursionError) as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else None
        raise InputError(f"no JSON: {error}", form, file=path, line=line) from error
    if not isinstance(data, list):
        raise InputError("the file is no JSON array", form, file=path)
    return tuple(_reaction(path, place, item) for place, item in enumerate(data, start=1))


def _reaction(path: Path, place: int, item: object) -> Reaction:
    fields = item if isinstance(item, dict) else {}
    number, action = fields.get("number"), fields.get("action")
    comment, label = fields.get("comment") or "", fields.get("label") or ""
    problem = ""
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        problem = f"`number` is {number!r}, not a whole number from 1"
    elif action not in get_args(Action):
        problem = f"`action` is {action!r}, not one of {', '.join(get_args(Action))}"
    elif not isinstance(comment, str) or not isinstance(label, str):
        problem = "`comment` and `label` must be texts"
    elif action == "relabel" and not label:
        problem = "`relabel` needs a `label`"
    if problem:
        raise InputError(f"entry {place}: {problem}", "mend the entry", file=path)
    return Reaction(int(fields["number"]), fields["action"], comment, label)


class Maintainer:
    """Does each reaction once, also over restarts. Reactions are about issues of the default repository."""

    def __init__(self, state: State, reactions: Sequence[Reaction]) -> None:
        self._state = state
        self._repository = state.settings.repository
        self._reactions: dict[int, list[Reaction]] = {}
        for reaction in reactions:
            self._reactions.setdefault(reaction.number, []).append(reaction)

    def start(self) -> None:
        """Relabels what is there already, and listens from now on."""
        self._state.on_issue.append(self._on_issue)
        self._state.on_comment.append(self._on_comment)
        for number in self._reactions:
            self._on_issue(self._repository, number, "")

    def _on_issue(self, repository: str, number: int, _actor: str) -> None:
        self._soon(repository, number, relabel=True)

    def _on_comment(self, repository: str, number: int, actor: str) -> None:
        if user_type(self._state, actor) == "Bot":
            self._soon(repository, number, relabel=False)

    def _soon(self, repository: str, number: int, *, relabel: bool) -> None:
        if repository.lower() != self._repository.lower():
            return
        for reaction in self._reactions.get(number, ()):
            if (reaction.action == "relabel") == relabel:
                # Not inside the call that told us: its own answer and webhook come first.
                asyncio.get_running_loop().call_soon(self._react, reaction)

    def _react(self, reaction: Reaction) -> None:
        state, repository, number = self._state, self._repository, reaction.number
        try:
            row = issue_row(state, repository, number)
        except ApiError:  # the issue comes with a later file
            return
        with state.store.transaction():
            sql = "INSERT OR IGNORE INTO reactions (repository, number, action) VALUES (?, ?, ?)"
            if not state.store.run(sql, repository, number, reaction.action):
                return
            grant(state, repository, LOGIN, "write")
            if reaction.comment:
                issues.add_comment(state, repository, number, reaction.comment + SIGNATURE, LOGIN)
            if reaction.action == "relabel":
                for label in labels_of(state, row["id"]):
                    if label.startswith(AGENT_LABEL) and label != reaction.label:
                        issues.remove_label(state, repository, number, label, LOGIN)
                issues.add_labels(state, repository, number, [reaction.label], LOGIN)
            else:
                reason = "completed" if reaction.action == "complete" else "not_planned"
                issues.set_state(state, repository, number, "closed", reason, LOGIN)
