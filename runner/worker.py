"""A runner: claims missions of one agent and takes each from claim to remembered outcome."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar
from uuid import UUID

from prometheus_client import Counter, Gauge, Histogram

from database.connect import AWAY, Pool
from database.memory import Embedded, Recalled, recall
from database.missions import (
    MAX_ATTEMPTS,
    Effect,
    Finish,
    Mission,
    claim_missions,
    extend_leases,
    finish_mission,
    release_mission,
)
from errors import AgentsCloudError, BudgetExceeded, EmbeddingMismatch, StaleFence, Unavailable
from runner.agents import Agent
from runner.execute import Executor, Result, Task
from runner.execute.publish import publishable
from runner.health import Health
from runner.issue import Issue
from runner.stream import WakeUps
from runner.validate import why_declined

log = logging.getLogger(__name__)

_AWAY_SECONDS = 1.0  # between two tries to reach PostgreSQL
_GATHER_SECONDS = 0.005  # slots that get free together are filled by one claim
_FIRST_RETRY_SECONDS = 5.0
_BUDGET_RETRY_SECONDS = 3600.0  # a day's or a month's cap is full: look again in an hour


T = TypeVar("T")
OnStep = Callable[[str, Mission], Awaitable[None]]


async def no_hook(step: str, mission: Mission) -> None:
    """Tests put a crash here, between any two steps."""


@dataclass(slots=True)
class Worker:
    """Works the missions of `agent`, at most `concurrency` at once, until it is told to stop."""

    agent: Agent
    pool: Pool
    wake_ups: WakeUps
    executor: Executor
    health: Health
    runner_id: str
    concurrency: int
    lease_seconds: float
    poll_seconds: float
    drain_seconds: float
    on_step: OnStep = no_hook
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _active: dict[UUID, tuple[Mission, asyncio.Task[None]]] = field(default_factory=dict)
    _cancelled_by: dict[UUID, str] = field(default_factory=dict)
    _slot_free: asyncio.Event = field(default_factory=asyncio.Event)
    _metrics: _Metrics = field(init=False)

    def __post_init__(self) -> None:
        self._metrics = _Metrics(self.health, self.agent.name)

    def stop(self) -> None:
        """Claim no more; `run` returns when what is held is finished or given back."""
        self._stopping.set()

    async def run(self) -> None:
        """Claim and work until `stop`; then drain."""
        heartbeat = asyncio.create_task(self._heartbeat())
        try:
            try:
                await self._claim_until_stopped()
            finally:
                await self._drain()
        finally:
            heartbeat.cancel()
            with suppress(asyncio.CancelledError):
                await heartbeat
            self.health.ended("heartbeat")

    async def _claim_until_stopped(self) -> None:
        while not self._stopping.is_set():
            self.health.beat("claim")
            free = self.concurrency - len(self._active)
            if free == 0:
                await self._first_of(self._slot_free.wait(), self.poll_seconds)
                await asyncio.sleep(_GATHER_SECONDS)
                self._slot_free.clear()
                continue
            try:
                missions = await claim_missions(
                    self.pool, self.agent.name, self.runner_id, most=free, lease_seconds=self.lease_seconds
                )
                self.health.found("database")
            except AWAY as away:
                self.health.missing("database", type(away).__name__)
                away_seconds = _about(_AWAY_SECONDS)
                await self._first_of(asyncio.sleep(away_seconds), away_seconds)
                continue
            for mission in missions:
                self._start(mission)
            if not missions:
                poll_seconds = _about(self.poll_seconds)
                await self._first_of(self.wake_ups.wait(poll_seconds), poll_seconds + 5)
                if self.wake_ups.connected:
                    self.health.found("redis")
                else:
                    self.health.missing("redis", "polling PostgreSQL instead", required=False)
        self.health.ended("claim")

    async def _first_of(self, awaitable: Awaitable[object], seconds: float) -> None:
        """Wait for `awaitable`, for `stop`, or for `seconds`, whichever comes first."""
        tasks = [asyncio.ensure_future(awaitable), asyncio.ensure_future(self._stopping.wait())]
        try:
            done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
        if tasks[0] in done:
            tasks[0].result()

    def _start(self, mission: Mission) -> None:
        if mission.id in self._active:
            # Our own lease ran out while we were cut off; the newer fence is the one that counts.
            self._active[mission.id][1].cancel()
        task = asyncio.create_task(self._work(mission))
        self._active[mission.id] = (mission, task)
        self._metrics.active.set(len(self._active))
        task.add_done_callback(lambda _: self._ended(mission))

    def _ended(self, mission: Mission) -> None:
        if self._active.get(mission.id, (None,))[0] is mission:
            del self._active[mission.id]
        self._cancelled_by.pop(mission.id, None)
        self._metrics.active.set(len(self._active))
        self._slot_free.set()

    async def _drain(self) -> None:
        tasks = [task for _, task in self._active.values()]
        if tasks:
            log.info("draining %s missions", len(tasks))
            _, left = await asyncio.wait(tasks, timeout=self.drain_seconds)
            for task in left:
                task.cancel()  # which gives the mission back
            if left:
                await asyncio.wait(left, timeout=10)

    async def _heartbeat(self) -> None:
        extended = time.monotonic()
        while True:
            self.health.beat("heartbeat")
            await asyncio.sleep(self.lease_seconds / 3)
            held = [mission for mission, _ in self._active.values()]
            if not held:
                extended = time.monotonic()
                continue
            try:
                still = await extend_leases(
                    self.pool, self.agent.name, held, lease_seconds=self.lease_seconds
                )
                extended = time.monotonic()
            except AWAY:
                if time.monotonic() - extended < self.lease_seconds:
                    continue
                still = {}  # cut off for a whole lease: others may have it all by now
            for mission in held:
                entry = self._active.get(mission.id)
                if entry is None or entry[0] is not mission:
                    continue
                if mission.id not in still:
                    log.warning("mission %s has passed to another runner", mission.id)
                    entry[1].cancel()
                elif person := still[mission.id]:
                    self._cancelled_by[mission.id] = person
                    entry[1].cancel()

    async def _work(self, mission: Mission) -> None:
        started = time.monotonic()
        try:
            finish = await self._finish_of(mission)
            if finish is None:
                return
            await self.on_step("executed", mission)
            await self._write(mission, finish)
            await self.on_step("remembered", mission)
        except asyncio.CancelledError:
            await self._give_back(mission)
            return
        except StaleFence as stale:
            log.warning("%s", stale)
            return
        except AWAY as away:
            # The lease runs out and another runner starts over; nothing was written twice.
            log.warning("mission %s: PostgreSQL is away (%s)", mission.id, type(away).__name__)
            return
        self._metrics.missions.labels(self.agent.name, finish.state).inc()
        self._metrics.seconds.labels(self.agent.name).observe(time.monotonic() - started)

    async def _finish_of(self, mission: Mission) -> Finish | None:
        """Validate, recall, execute. None: the mission was given back, to be tried again later."""
        await self.on_step("claimed", mission)
        issue = Issue(
            mission.repository,
            mission.issue_number,
            mission.title,
            mission.body,
            mission.labels,
            mission.author,
        )
        if reason := why_declined(issue, self.agent, mission):
            return Finish("declined", reason=reason, effects=[_comment(f"I decline this issue: {reason}.")])
        await self.on_step("validated", mission)
        noted = None
        try:
            recalled = await self._recall(mission)
            await self.on_step("recalled", mission)
            noted = None if recalled is None else [_noted(memory) for memory in recalled]
            result = await self.executor.execute(Task(mission, self.agent, issue, recalled or ()))
        except Unavailable as away:
            if mission.attempts < MAX_ATTEMPTS:
                delay = _FIRST_RETRY_SECONDS * 2 ** (mission.attempts - 1)
                await release_mission(self.pool, mission, delay_seconds=delay, reason=str(away))
                return None
            reason = f"{away} (tried {mission.attempts} times)"
        except BudgetExceeded as full:
            if full.scope != "mission":
                await release_mission(
                    self.pool, mission, delay_seconds=_BUDGET_RETRY_SECONDS, uncounted=True, reason=str(full)
                )
                return None
            reason = str(full)
        except StaleFence:
            raise
        except AgentsCloudError as broken:
            reason = str(broken)
        except AWAY:
            raise
        except Exception as broken:
            # A defect must end one mission with a reason, not hold it until its lease is used up.
            log.exception("mission %s", mission.id)
            reason = f"an unexpected {type(broken).__name__}; the runner's log has the details"
        else:
            authors = tuple(dict.fromkeys(author for memory in recalled or () for author in memory.authors))
            return _finish_from(result, noted, authors)
        return Finish(
            "failed", reason=reason, recalled=noted, effects=[_comment(f"I could not finish this: {reason}.")]
        )

    async def _recall(self, mission: Mission) -> Sequence[Recalled] | None:
        if mission.arm == "control":
            return None
        embedded = None
        if mission.embedding is not None and mission.embedding_model is not None:
            embedded = Embedded(mission.embedding, mission.embedding_model, mission.embedding_version)
        similar = partial(recall, self.pool, self.agent.name, title=mission.title, body=mission.body)
        try:
            recalled = await self._through_outages(partial(similar, embedded=embedded))
        except EmbeddingMismatch as mismatch:
            log.error("mission %s recalls by words alone: %s", mission.id, mismatch)
            recalled = await self._through_outages(similar)
        self._metrics.recalls.labels(self.agent.name, "hit" if recalled else "miss").inc()
        return recalled

    async def _write(self, mission: Mission, finish: Finish) -> None:
        if not await self._through_outages(partial(finish_mission, self.pool, mission, finish)):
            raise StaleFence(f"mission {mission.id} has passed to another runner; its end was not written")

    async def _through_outages(self, call: Callable[[], Awaitable[T]]) -> T:
        """Past a restart of PostgreSQL, or a moment without a free connection; the lease's end cancels it."""
        while True:
            try:
                return await call()
            except AWAY as away:
                self.health.missing("database", f"{type(away).__name__} while a mission was worked")
                await asyncio.sleep(_about(_AWAY_SECONDS))

    async def _give_back(self, mission: Mission) -> None:
        person = self._cancelled_by.get(mission.id)
        try:
            if person is not None:
                reason = f"cancelled by {person}"
                await finish_mission(self.pool, mission, Finish("cancelled", reason=reason))
                self._metrics.missions.labels(self.agent.name, "cancelled").inc()
            else:
                await release_mission(self.pool, mission, uncounted=True, reason="given back by its runner")
        except AWAY:
            log.warning("mission %s stays under its lease: PostgreSQL is away", mission.id)


def _about(seconds: float) -> float:
    """From half to one and a half: what a whole fleet lost at one moment it must not ask for again at one moment."""
    return seconds * random.uniform(0.5, 1.5)


def _finish_from(
    result: Result, recalled: list[dict[str, object]] | None, authors: tuple[str, ...]
) -> Finish:
    if result.declined:
        return Finish(
            "declined",
            reason=result.reason,
            answer=result.answer,
            tokens=result.tokens,
            cost_usd=result.cost_usd,
            recalled=recalled,
            effects=[_comment(result.answer)],
        )
    effects = [_comment(result.answer)]
    if result.change is not None:
        # The pull request first: its number then stands in the comment.
        effects.insert(0, Effect("pull_request", result.change.to_json()))
    return Finish(
        "done" if result.success else "failed",
        reason=result.reason or None,
        answer=result.answer,
        solution=result.solution,
        lessons=result.lessons or None,
        files=sorted(result.change.files) if result.change is not None else (),
        tokens=result.tokens,
        cost_usd=result.cost_usd,
        recalled=recalled,
        solution_authors=authors,
        effects=effects,
    )


def _comment(body: str) -> Effect:
    return Effect("comment", {"body": publishable(body)})


def _noted(memory: Recalled) -> dict[str, object]:
    return {
        "memory_id": str(memory.memory_id),
        "issue_number": memory.issue_number,
        "issue_title": memory.issue_title,
        "similarity": round(memory.similarity, 4),
        "why": memory.why,
    }


class _Metrics:
    def __init__(self, health: Health, agent: str) -> None:
        self.missions = Counter(
            "agents_cloud_missions_total",
            "Missions ended, by state.",
            ["agent", "state"],
            registry=health.registry,
        )
        self.recalls = Counter(
            "agents_cloud_recalls_total",
            "Recalls, by hit or miss.",
            ["agent", "result"],
            registry=health.registry,
        )
        self.seconds = Histogram(
            "agents_cloud_mission_seconds",
            "Claim to remembered outcome.",
            ["agent"],
            registry=health.registry,
        )
        self.active = Gauge("agents_cloud_missions_active", "Missions in work.", registry=health.registry)
        for state in ("done", "declined", "failed", "cancelled"):
            self.missions.labels(agent, state)
        for result in ("hit", "miss"):
            self.recalls.labels(agent, result)
