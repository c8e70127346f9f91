"""What `run` shows in a terminal: its steps, then a bar over the issues; nothing where nobody looks."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars


class Progress:
    """Writes to standard error, so that standard output stays for programs."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        console = Console(file=sys.stderr)
        self._bars = Bars(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=quiet,
        )
        self._task: TaskID | None = None
        self._announced = 0

    def step(self, what: str) -> None:
        """A part of the system is being started or stopped."""
        self._show(f"{what} …", None, 0)

    def page(self, url: str) -> None:
        """The page is up."""
        if not self._quiet:
            self._bars.console.print(f"The page is at [bold]{url}[/bold]; Ctrl-C stops everything.")

    def missions(self, final: int, all_issues: int) -> None:
        """How many of the issues are final."""
        if all_issues and final >= all_issues:
            if self._announced < final and not self._quiet:
                self._bars.console.print(f"All {all_issues} issues are in a final state.")
            self._announced = final
        self._show("issues in a final state", all_issues or None, final)

    def done(self) -> None:
        """Nothing more will be shown."""
        self._bars.stop()

    def _show(self, description: str, total: int | None, completed: int) -> None:
        if self._quiet:
            return
        if self._task is None:
            self._bars.start()
            self._task = self._bars.add_task(description)
        self._bars.update(self._task, description=description, total=total, completed=completed)
