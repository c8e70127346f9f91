"""The offline executor: answers from the agent's own past work, and says that no model ran."""

from __future__ import annotations

from runner.execute import Recalled, Result, Task
from runner.execute.publish import publishable

MAX_APPROACH = 1_500  # characters of each recalled work, so that five of them stay readable in a comment


class RecallExecutor:
    """Costs nothing and changes nothing."""

    @property
    def paid(self) -> bool:
        return False

    async def execute(self, task: Task) -> Result:
        """List what is known. `success` says that an answer was given, not that it helped."""
        name = task.agent.name
        if not task.recalled:
            answer = (
                f"**{name}** took this issue. No model ran, and this agent knows no similar work that "
                "succeeded, so it has nothing to propose yet."
            )
            return Result(
                success=True,
                answer=publishable(answer),
                solution="",  # there is none to recall, unless who closes the issue tells one
                reason="no model ran; no similar work known",
            )
        works = "\n\n".join(_work(work) for work in task.recalled)
        answer = (
            f"**{name}** took this issue. No model ran; this is what the agent did in similar work "
            f"that succeeded, the most similar first:\n\n{works}"
        )
        nearest = task.recalled[0]
        return Result(
            success=True,
            answer=publishable(answer),
            solution=publishable(f"As in {_name(nearest)}: {_cut(nearest.solution_approach)}"),
            lessons=publishable(_cut(nearest.lessons_learned)),
            reason=f"no model ran; similar works recalled: {len(task.recalled)}",
        )


def _work(work: Recalled) -> str:
    lines = [f"- **{_name(work)}** (similarity {work.similarity:.2f})", f"  {_cut(work.solution_approach)}"]
    if work.lessons_learned:
        lines.append(f"  Learned: {_cut(work.lessons_learned)}")
    return "\n".join(lines)


def _name(work: Recalled) -> str:
    return f"#{work.issue_number} {' '.join(work.issue_title.split())}"


def _cut(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= MAX_APPROACH else plain[:MAX_APPROACH] + " …"
