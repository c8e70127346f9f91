"""A runner's own check that a mission is its agent's work, made again where the work is done."""

from __future__ import annotations

from database.missions import Mission
from runner.agents import Agent
from runner.issue import Issue

MINIMUM_SCORE = 3.0  # the proposal's minimum for work within a specialisation


def why_declined(issue: Issue, agent: Agent, mission: Mission) -> str | None:
    """The reason why `agent` must not work this mission, or None.

    A person's label outweighs every score.
    """
    assigned = issue.assigned_agent()
    if assigned is not None and assigned.lower() == agent.resource_name:
        return None
    if mission.agent != agent.name:
        return f"it was queued for {mission.agent}, and this runner is {agent.name}"
    if mission.score is None or mission.score < MINIMUM_SCORE:
        score = "no score" if mission.score is None else f"a score of {mission.score:.2f}"
        return f"{score} is below {MINIMUM_SCORE:g}, the minimum for work within {agent.specialization}"
    return None
