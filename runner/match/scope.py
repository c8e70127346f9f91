"""Definitions whose scope swallows others' are refused: one agent for everything undoes the fleet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from errors import DefinitionError
from runner.agents import Agent
from runner.match.definition_index import DefinitionIndex
from runner.match.fair_share import FEWEST, cap_for
from runner.match.terms import Terms
from runner.match.vocabulary import shared_vocabulary

BROADEST = 0.5  # share of the vocabulary's fields of work; among 66 definitions in the wild none had more than 4 of 19


def refuse_swallowing(agents: Sequence[Agent]) -> None:
    """Raise DefinitionError for the definitions that `swallowing` names."""
    too_broad = swallowing(agents)
    problems = [
        DefinitionError(
            f"the scope of {agent.name!r} swallows that of other agents",
            "describe one specialisation in `name`, `description` and `specialization`",
            file=agent.path,
        )
        for agent in agents
        if agent.name in too_broad
    ]
    if problems:
        raise DefinitionError.together(problems)


def swallowing(agents: Sequence[Agent]) -> list[str]:
    """The agents that claim half of all fields of work, or would take over 15 % of what others claim.

    For the latter every description and responsibility is tried as an issue. Whoever gets more points for it than
    the definition it stands in takes it away.
    """
    if not agents:
        return []
    agents = sorted(agents, key=lambda agent: agent.name)
    vocabulary = shared_vocabulary()
    index = DefinitionIndex(agents, vocabulary)
    taken: Counter[int] = Counter()
    claimed = [0] * len(agents)
    for owner, agent in enumerate(agents):
        for text in (agent.description, *agent.responsibilities):
            scores = index.scores(index.strengths(Terms(text, phrases=vocabulary.phrases)))
            best = max(range(len(agents)), key=scores.__getitem__)
            claimed[owner] += 1
            if scores[best] > scores[owner]:
                taken[best] += 1
    total, cap = sum(claimed), cap_for(len(agents))
    return [
        agent.name
        for position, agent in enumerate(agents)
        if index.breadth(position) > BROADEST * len(vocabulary.field_names)
        or taken[position] > cap * max(total - claimed[position], FEWEST)
    ]
