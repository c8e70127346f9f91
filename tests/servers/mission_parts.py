"""What the tests of the executors work on: a repository as a tarball, a mission, a wallet with a cap."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from uuid import UUID, uuid4

from errors import BudgetExceeded
from runner.agents import Agent
from runner.execute import Task
from runner.issue import Issue

SHA = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "octo/planets"
FILES: Mapping[str, bytes] = {
    "README.md": b"# Planets\n\nThere are nine planets.\n",
    "src/planets.py": b"PLANETS = 9\n",
    "src/moons.py": b"MOONS = 1\n",
    ".github/workflows/ci.yml": b"on: push\n",
}


def tarball(
    files: Mapping[str, bytes],
    links: Mapping[str, str] | None = None,
    *,
    sha: str = SHA,
    top: str = "octo-planets",
) -> bytes:
    """The files as GitHub packs them: in one folder, with the commit's id in the header."""
    packed = io.BytesIO()
    with tarfile.open(
        fileobj=packed, mode="w:gz", format=tarfile.PAX_FORMAT, pax_headers={"comment": sha}
    ) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{top}/{name}")
            member.size = len(content)
            member.mode = 0o664
            archive.addfile(member, io.BytesIO(content))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(f"{top}/{name}")
            member.type = tarfile.SYMTYPE
            member.linkname = target
            archive.addfile(member)
    return packed.getvalue()


@dataclass(frozen=True, slots=True)
class Head:
    branch: str
    sha: str


@dataclass(slots=True)
class Repository:
    """Gives the same tarball to everyone."""

    packed: bytes = field(default_factory=lambda: tarball(FILES))

    async def head(self, repository: str) -> Head:
        assert repository == REPOSITORY
        return Head("main", SHA)

    async def tarball(self, repository: str, ref: str, target: Path, max_bytes: int) -> int:
        assert (repository, ref) == (REPOSITORY, SHA)
        return target.write_bytes(self.packed)


@dataclass(slots=True)
class CappedWallet:
    """A wallet in memory. `most` is the highest sum of settled and reserved dollars that ever stood."""

    cap: Decimal = Decimal(5)
    counted: dict[UUID, Decimal] = field(default_factory=dict)
    settled: dict[UUID, Decimal] = field(default_factory=dict)
    most: Decimal = Decimal(0)

    async def reserve(self, usd: Decimal) -> UUID:
        assert usd >= 0
        if self.total + usd > self.cap:
            raise BudgetExceeded("mission", usd)
        reservation = uuid4()
        self.counted[reservation] = usd
        self.most = max(self.most, self.total)
        return reservation

    async def settle(self, reservation: UUID, usd: Decimal) -> None:
        assert reservation not in self.settled, "settled twice"
        self.settled[reservation] = self.counted[reservation] = usd
        self.most = max(self.most, self.total)

    @property
    def total(self) -> Decimal:
        return sum(self.counted.values(), Decimal(0))


@dataclass(frozen=True, slots=True)
class Mission:
    id: UUID = field(default_factory=uuid4)
    repository: str = REPOSITORY
    issue_number: int = 7
    attempts: int = 1
    fence: int = 1


@dataclass(frozen=True, slots=True)
class Recalled:
    issue_title: str = "Wrong number of moons"
    issue_number: int = 3
    solution_approach: str = "Counted them again."
    lessons_learned: str = "Count twice."
    similarity: float = 0.91


def agent(*tools: str, body: str = "You are an astronomer. You mend numbers.") -> Agent:
    return Agent(
        name="astronomer",
        description="Mends numbers about the sky.",
        tools=tools,
        specialization="astronomy",
        personality="calm",
        responsibilities=(),
        body=body,
        path=Path(".github/agents/astronomer.md"),
        digest="0" * 64,
    )


def task(
    *tools: str, body: str = "It should be eight.", recalled: Sequence[Recalled] = (), attempts: int = 1
) -> Task:
    """A mission on issue 7 for an agent whose definition names `tools`."""
    issue = Issue(REPOSITORY, 7, "Wrong number of planets", body)
    return Task(Mission(attempts=attempts), agent(*tools), issue, recalled)
