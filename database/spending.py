"""Model dollars: reserved in PostgreSQL before each call, so that no cap is passed however many runners there are."""

from __future__ import annotations

from decimal import Decimal
from typing import Protocol
from uuid import UUID

from database.connect import Connection, Pool
from errors import BudgetExceeded, StaleFence

_RESERVE = "SELECT reservation, refused_by FROM reserve_spending($1, $2, $3)"
_SETTLE = "SELECT settle_spending($1, $2)"
_SET_CAP = "UPDATE spending_caps SET usd = $2 WHERE scope = $1"


class HeldMission(Protocol):
    """A mission as far as its wallet needs to know it."""

    @property
    def id(self) -> UUID: ...
    @property
    def fence(self) -> int: ...


class MissionWallet:
    """What one mission may spend; the caps stand in the database, where a runner cannot raise them."""

    def __init__(self, pool: Pool, mission: HeldMission) -> None:
        self._pool = pool
        self._mission = mission

    async def reserve(self, usd: Decimal) -> UUID:
        """Count `usd` against the caps of mission, day and month.

        Raises BudgetExceeded or StaleFence, with nothing counted.
        """
        row = await self._pool.fetchrow(_RESERVE, self._mission.id, self._mission.fence, usd)
        assert row is not None
        if row["refused_by"] is not None:
            raise BudgetExceeded(row["refused_by"], usd)
        if row["reservation"] is None:
            raise StaleFence(f"mission {self._mission.id} has passed to another runner")
        reservation: UUID = row["reservation"]
        return reservation

    async def settle(self, reservation: UUID, usd: Decimal) -> None:
        """Replace a reservation by what the call cost. One that is never settled stays counted in full."""
        await self._pool.execute(_SETTLE, reservation, usd)


async def set_cap(connection: Connection, scope: str, usd: Decimal) -> None:
    """Set the cap in dollars of `mission`, `day` or `month`."""
    await connection.execute(_SET_CAP, scope, usd)
