"""Webhooks of the App that GitHub could not deliver: it sends none a second time before it is asked to.

The reconcile pass finds what became of issues in repositories that are known; this also brings the first word of a
new repository, and what leaves no trace in its events, as that an issue was deleted or transferred.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from errors import GitHubError
from runner.gateway.webhook import EVENTS, FINAL_REFUSALS
from runner.github import GitHub
from runner.github.objects import Delivery

log = logging.getLogger(__name__)

FIRST_LOOK = timedelta(days=1)  # of the three that GitHub tells of
# Overlaps with the look before, because GitHub's clock and ours differ.
_OVERLAP = timedelta(minutes=5)
# Else one that no gateway can take would be sent at every pass.
MOST_ASKED = 5


@dataclass(slots=True)
class Redelivery:
    """How far one gateway has looked, and what it asked for how often since it started."""

    _looked_until: datetime | None = None
    _asked: Counter[str] = field(default_factory=Counter)

    async def ask(self, github: GitHub) -> int:
        """Ask for every webhook that never arrived; how many. None without an App.

        One that fails again is seen at the next look. Raises GitHubError and, where GitHub is away, Unavailable; the
        next look then begins where this one did.
        """
        began = datetime.now(UTC)
        since = began - FIRST_LOOK if self._looked_until is None else self._looked_until - _OVERLAP
        failed = _never_arrived(await github.deliveries(since))
        for guid in self._asked.keys() - failed.keys():
            del self._asked[guid]
        asked = 0
        for guid, delivery in failed.items():
            self._asked[guid] += 1
            if self._asked[guid] <= MOST_ASKED:
                try:
                    await github.redeliver(delivery.id)
                    asked += 1
                except GitHubError as refused:  # holds none of the others up
                    log.error("the webhook %s that failed is not sent again: %s", guid, refused)
            elif self._asked[guid] == MOST_ASKED + 1:
                log.error("the webhook %s failed each time (%s): it is given up", guid, delivery.status)
        self._looked_until = began
        return asked


def _never_arrived(attempts: list[Delivery]) -> dict[str, Delivery]:
    """The last attempt of each webhook of which none arrived, oldest first. `attempts`: newest first."""
    settled = {attempt.guid for attempt in attempts if attempt.status in ("OK", "pending")}
    failed: dict[str, Delivery] = {}
    for attempt in attempts:
        final = attempt.status_code in FINAL_REFUSALS
        if attempt.event in EVENTS and attempt.guid not in settled and not final:
            failed.setdefault(attempt.guid, attempt)
    return dict(reversed(failed.items()))
