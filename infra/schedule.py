"""What a deployed phase does by the clock: CronJobs in a cluster (infra/jobs.py), timers on the phase-2 host. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

SCHEDULED = "scheduled"
"""The plan's room for what runs by the clock, which is one at a time: the hours below keep them apart."""
HOST_FOLDER = "/opt/agents-cloud"


@dataclass(frozen=True, slots=True)
class Scheduled:
    """`python -m database COMMAND`, at a time in UTC on `days` (as in `Mon,Thu`; empty: every day)."""

    command: str
    arguments: tuple[str, ...]
    hour: int
    minute: int
    days: str
    deadline_seconds: int

    @property
    def cron(self) -> str:
        return f"{self.minute} {self.hour} * * {self.days or '*'}"

    @property
    def calendar(self) -> str:
        """The same for systemd."""
        return f"{self.days} *-*-* {self.hour:02}:{self.minute:02}:00 UTC".lstrip()

    @property
    def invocation(self) -> list[str]:
        return ["python", "-m", "database", self.command, *self.arguments]


INDEX = Scheduled("index", (), 1, 17, "", 2 * 3600)
# Twice a week, because an alarm looks back seven days at most: a week without an audit must be longer than two turns.
# Without the latest reads, which are nothing for a log.
AUDIT = Scheduled("audit", ("--last", "0"), 5, 43, "Mon,Thu", 1800)
SCHEDULE = (INDEX, AUDIT)


def host_setup(schedule: Iterable[Scheduled] = SCHEDULE) -> str:
    """Shell lines that make a service and a timer of systemd for each; the compose file has their containers."""
    return "".join(map(_units, schedule))


def _units(scheduled: Scheduled) -> str:
    unit = f"agents-cloud-{scheduled.command}"
    return f"""
cat > /etc/systemd/system/{unit}.service <<'UNIT'
[Unit]
After=agents-cloud.service
[Service]
Type=oneshot
WorkingDirectory={HOST_FOLDER}
ExecStart=/usr/bin/docker compose run --rm --no-TTY --no-deps --name {unit} {scheduled.command}
ExecStopPost=-/usr/bin/docker rm --force {unit}
TimeoutStartSec={scheduled.deadline_seconds}
UNIT
cat > /etc/systemd/system/{unit}.timer <<'UNIT'
[Timer]
OnCalendar={scheduled.calendar}
Persistent=true
[Install]
WantedBy=timers.target
UNIT
systemctl daemon-reload
systemctl enable --now {unit}.timer
"""
