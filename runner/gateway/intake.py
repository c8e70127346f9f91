"""From a stored delivery to a mission: who it is for, where it goes, and whether it may start."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from database.connect import Connection
from database.control import (
    ask_for_approval,
    cancel_live_mission,
    latest_mission,
    note_comment,
    supersede_mission,
)
from database.inbox import Delivery
from database.last_words import hear
from database.memory import Embedded
from database.missions import LIVE, Effect, NewMission, add_effects, add_mission
from errors import InputError
from runner.gateway.learn import learn_from_issue, learn_from_pull_request
from runner.gateway.matchers import Matchers
from runner.gateway.words import OUTCOME_LABEL, is_last, moment_of, word_of
from runner.geography import Geography, Zone
from runner.issue import AGENT_LABEL, Issue, issue_from_github
from runner.match import Match
from runner.route import route, zone_of_issue

log = logging.getLogger(__name__)

_ENDED = frozenset({"deleted", "transferred"})


@dataclass(frozen=True, slots=True)
class Intake:
    """What a gateway needs to decide about deliveries. It makes no network call; PostgreSQL is the caller's."""

    geography: Geography
    zone: Zone
    matchers: Matchers
    paid: bool
    """Whether working a mission costs money, so that not everyone may start one."""
    control_percent: int
    """Share of missions, in percent, that work without memory, to measure what memory is worth."""

    async def take(self, connection: Connection, delivery: Delivery, embedding: Embedded | None) -> str:
        """Work one delivery in the caller's transaction; what came of it, in words."""
        payload = delivery.payload
        action = str(payload.get("action") or "")
        word = word_of(delivery)
        if word is not None and not await hear(connection, word):
            return f"{delivery.event} {action}: heard before, or overruled by a later event"
        try:
            if delivery.event == "issues":
                return await self._issue(connection, delivery.repository, action, payload, embedding)
            if delivery.event == "pull_request":
                return await learn_from_pull_request(connection, delivery.repository, action, payload)
            if delivery.event == "issue_comment" and action == "created":
                return await _comment(connection, delivery.repository, payload)
        except InputError as broken:
            return f"refused: {broken}"
        return f"{delivery.event} {action} changes nothing"

    async def _issue(
        self,
        connection: Connection,
        repository: str,
        action: str,
        payload: Mapping[str, Any],
        embedding: Embedded | None,
    ) -> str:
        issue = issue_from_github(_section(payload, "issue"), repository)
        sender = Person.read(payload.get("sender"))
        if action == "opened":
            return await self._start(connection, issue, "opened", sender, embedding)
        if action == "labeled" and sender.bot:
            return f"a label by the bot {sender.login} starts nothing"
        if action == "labeled":
            return await self._labeled(connection, issue, payload, sender, embedding)
        if action == "reopened":
            at = moment_of(_section(payload, "issue"), "updated_at")
            learned = await learn_from_issue(connection, issue, action, sender.login, "", at)
            if sender.bot:
                return f"reopened by the bot {sender.login}; {learned}"
            event = f"reopened:{_section(payload, 'issue').get('updated_at') or ''}"
            return f"{await self._start(connection, issue, event, sender, embedding)}; {learned}"
        if action == "closed":
            reason = str(_section(payload, "issue").get("state_reason") or "completed")
            cancelled = await cancel_live_mission(
                connection, repository, issue.number, sender.login, f"issue closed as {reason}"
            )
            if cancelled is not None:
                return f"issue closed as {reason}: mission {cancelled}"
            if sender.bot:
                return f"closed by the bot {sender.login}, which proves nothing"
            at = moment_of(_section(payload, "issue"), "closed_at")
            return await learn_from_issue(connection, issue, action, sender.login, reason, at)
        if action in _ENDED:
            await cancel_live_mission(connection, repository, issue.number, sender.login, f"issue {action}")
            return f"issue {action}"
        return f"issues {action} changes nothing"

    async def _labeled(
        self,
        connection: Connection,
        issue: Issue,
        payload: Mapping[str, Any],
        sender: Person,
        embedding: Embedded | None,
    ) -> str:
        label = str(_section(payload, "label").get("name") or "")
        at = moment_of(_section(payload, "issue"), "updated_at")
        if label.startswith(OUTCOME_LABEL):
            return await learn_from_issue(connection, issue, label, sender.login, "", at)
        if label.startswith(AGENT_LABEL) and not await is_last(
            connection, issue.repository, issue.number, "agent", label, at
        ):
            return f"label {label[:50]}: a later one chose the agent"
        latest = await latest_mission(connection, issue.repository, issue.number)
        chosen = (
            self.matchers.named(label.removeprefix(AGENT_LABEL)) if label.startswith(AGENT_LABEL) else None
        )
        if chosen is not None and (latest is None or latest.agent != chosen):
            await supersede_mission(connection, issue.repository, issue.number, sender.login, chosen)
            return await self._start(connection, issue, f"assigned:{chosen}", sender, embedding, chosen)
        if latest is None or (latest.state == "abstained" and chosen is not None):
            return await self._start(connection, issue, "labeled", sender, embedding, chosen)
        if latest.state == "waiting":
            await ask_for_approval(connection, latest.id, sender.login)
            return f"looking up whether {sender.login} may spend"
        return f"label {label[:50]} changes nothing"

    async def _start(
        self,
        connection: Connection,
        issue: Issue,
        event: str,
        sender: Person,
        embedding: Embedded | None,
        chosen: str | None = None,
    ) -> str:
        if chosen is None and event == "opened" and (sender.bot or issue.author_is_bot):
            new = self._new(issue, event, "abstained", reason="opened by a bot; a person's label starts it")
            await add_mission(connection, new)
            return "opened by a bot"
        zone = zone_of_issue(issue, self.geography.zone_of(issue.repository) or self.zone)
        match = self.matchers.match(issue, zone)
        unlabelled = (
            self.matchers.match_unlabelled(issue, zone) if issue.assigned_agent() or chosen else match
        )
        agent = chosen or match.agent
        decided: dict[str, Any] = {
            "score": match.score,
            "why": match.why,
            "candidates": [{"agent": c.agent, "score": round(c.score, 3)} for c in match.candidates],
        }
        if agent is None:
            reason = _abstention(match)
            new = self._new(issue, event, "abstained", reason=reason, **decided)
            return await _add_with_comment(connection, new, reason)
        where = route(agent, zone, self.geography)
        if where.region is None:
            new = self._new(issue, event, "failed", agent=agent, reason=where.reason, **decided)
            return await _add_with_comment(connection, new, where.reason)
        people = dict.fromkeys(login for login in (sender.login, issue.author) if login)
        new = self._new(
            issue,
            event,
            "waiting" if self.paid else "queued",
            agent=agent,
            region=where.region,
            reason="looking up who may spend" if self.paid else None,
            misrouted_from=unlabelled.agent if unlabelled.agent not in (None, agent) else None,
            paid=self.paid,
            unchecked_logins=list(people) if self.paid else (),
            arm=self._arm(issue),
            embedding=embedding.vector if embedding else None,
            embedding_model=embedding.model if embedding else None,
            embedding_version=embedding.version if embedding else "",
            **decided,
        )
        mission = await add_mission(connection, new)
        return f"mission for {agent}" if mission else "the issue has a mission for this already"

    def _new(
        self,
        issue: Issue,
        event: str,
        state: Literal["waiting", "queued", "abstained", "failed"],
        **decided: Any,
    ) -> NewMission:
        return NewMission(
            repository=issue.repository,
            issue_number=issue.number,
            event=event,
            title=issue.title,
            body=issue.body,
            labels=issue.labels,
            author=issue.author,
            zone=zone_of_issue(issue, self.geography.zone_of(issue.repository) or self.zone),
            state=state,
            **decided,
        )

    def _arm(self, issue: Issue) -> Literal["memory", "control"]:
        digest = hashlib.sha256(f"{issue.repository}#{issue.number}".encode()).digest()
        return "control" if int.from_bytes(digest[:4]) % 100 < self.control_percent else "memory"


@dataclass(frozen=True, slots=True)
class Person:
    """Who caused an event."""

    login: str
    bot: bool

    @classmethod
    def read(cls, data: object) -> Person:
        user = data if isinstance(data, Mapping) else {}
        login = str(user.get("login") or "")
        return cls(login, user.get("type") == "Bot" or login.endswith("[bot]"))


def text_to_embed(delivery: Delivery) -> str | None:
    """What of a delivery would be compared with memory, None where no mission can come of it."""
    if delivery.event != "issues" or delivery.payload.get("action") not in ("opened", "reopened", "labeled"):
        return None
    issue = delivery.payload.get("issue")
    if not isinstance(issue, Mapping):
        return None
    return f"{issue.get('title') or ''}\n{issue.get('body') or ''}"


async def _comment(connection: Connection, repository: str, payload: Mapping[str, Any]) -> str:
    """What a person writes last before closing an issue may tell what solved it."""
    comment = _section(payload, "comment")
    author = Person.read(comment.get("user"))
    issue = issue_from_github(_section(payload, "issue"), repository)
    if author.bot or "<!-- agents-cloud" in str(comment.get("body")):
        return "a comment of a bot"
    latest = await latest_mission(connection, repository, issue.number)
    if latest is None or latest.state in LIVE:
        return "no finished mission to note the comment on"
    at = moment_of(comment, "created_at")
    topic, said = f"comment {latest.id}", str(comment.get("id"))
    if not await is_last(connection, repository, issue.number, topic, said, at):
        return "a later comment was noted, or this one"
    await note_comment(connection, latest.id, author.login, str(comment.get("body") or "")[:20_000])
    return f"comment by {author.login} noted"


async def _add_with_comment(connection: Connection, new: NewMission, reason: str) -> str:
    mission = await add_mission(connection, new)
    if mission is None:
        return "the issue has a mission for this already"
    await add_effects(connection, mission, [Effect("comment", {"body": _sentence(reason)})])
    return reason


def _abstention(match: Match) -> str:
    best: Sequence[str] = [f"`{c.agent}` ({c.score:.1f})" for c in match.candidates[:3]]
    nearest = f" The nearest are {', '.join(best)}." if best else ""
    return f"no specialist fits this well enough.{nearest} A label `agent:<name>` chooses one"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _section(payload: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = payload.get(name)
    return value if isinstance(value, Mapping) else {}
