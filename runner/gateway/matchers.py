"""One matcher a zone, because an issue of the EU may only go to agents in the EU; with the newest history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

from runner.agents import Agent
from runner.geography import Geography, Zone
from runner.issue import AGENT_LABEL, Issue
from runner.match import Match, Matcher
from runner.match.history import Work
from runner.route import agents_of_zone


class Matchers:
    """Chooses agents for issues of every zone that has any."""

    def __init__(self, agents: Sequence[Agent], geography: Geography, history: Sequence[Work] = ()) -> None:
        self._agents = agents
        self._geography = geography
        self._names = {agent.resource_name: agent.name for agent in agents}
        self._by_zone: dict[Zone, Matcher | None] = {}
        self.learn(history)

    def learn(self, history: Sequence[Work]) -> None:
        """Start over with another history; matching goes on with the old one until this returns."""
        by_agents: dict[tuple[str, ...], Matcher | None] = {(): None}
        by_zone: dict[Zone, Matcher | None] = {}
        for zone in get_args(Zone):
            agents = agents_of_zone(self._agents, self._geography, zone)
            key = tuple(agent.name for agent in agents)
            if key not in by_agents:
                by_agents[key] = Matcher(agents, history)
            by_zone[zone] = by_agents[key]
        self._by_zone = by_zone

    def match(self, issue: Issue, zone: Zone) -> Match:
        """The specialist for `issue` among those of `zone`, or an abstention."""
        matcher = self._by_zone[zone]
        if matcher is None:
            return Match(None, 0.0, (), (f"no agent lives in zone {zone}",))
        return matcher.match(issue)

    def match_unlabelled(self, issue: Issue, zone: Zone) -> Match:
        """What the matcher would choose had no person named an agent: where the two differ, it was a misroute."""
        labels = tuple(label for label in issue.labels if not label.startswith(AGENT_LABEL))
        return self.match(replace(issue, labels=labels), zone)

    def named(self, name: str) -> str | None:
        """The agent of this name, where case does not count; None where there is none."""
        return self._names.get(name.strip().lower())
