"""One mission's talk with the model: its tools are run, its circles noticed, its end checked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from errors import ExecutionError
from runner.execute import Change, Result, Task
from runner.execute.answer import Answer, ToolCall
from runner.execute.changes import ChangeLimits, changed_files
from runner.execute.checkout import Checkout
from runner.execute.metered import MeteredModel
from runner.execute.paths import Refused
from runner.execute.prompt import defused
from runner.execute.publish import publishable, title
from runner.execute.stuck import StuckDetector
from runner.execute.toolbox import Toolbox, ToolResult
from runner.execute.tools import Parameter, Tool
from runner.execute.uncancelled import to_the_end

FINISH = Tool(
    "finish",
    "End the work. What you changed becomes a pull request; the summary is posted on the issue.",
    {
        "summary": Parameter("string", "What you did or found, for the people who read the issue."),
        "success": Parameter("boolean", "Whether the issue is solved."),
        "solution_approach": Parameter("string", "How you solved it, for yourself on similar issues."),
        "lessons": Parameter("string", "What to do differently next time.", required=False),
    },
)
DECLINE = Tool(
    "decline",
    "Leave the issue to others, because it is not for a specialist like you.",
    {"reason": Parameter("string", "Why.")},
)
LAST_TURNS = 3  # the model is told when so few are left
DROPPED = "(dropped to save room; use the tool again if you need it)"


@dataclass(frozen=True, slots=True)
class TalkLimits:
    """For one mission."""

    turns: int = 40
    tokens: int = 2_000_000
    prompt_bytes: int = 300_000
    """Older tool results are dropped from a longer prompt."""
    calls_per_turn: int = 16
    refused_finishes: int = 3
    """How often a finish is refused, so that the model can mend its change, before the work fails."""


class Conversation:
    """Works one task to its result."""

    def __init__(
        self,
        task: Task,
        model: MeteredModel,
        toolbox: Toolbox,
        checkout: Checkout,
        opening: Sequence[Mapping[str, Any]],
        limits: TalkLimits,
        changes: ChangeLimits,
    ) -> None:
        self._task = task
        self._model = model
        self._toolbox = toolbox
        self._checkout = checkout
        self._messages: list[dict[str, Any]] = [dict(message) for message in opening]
        self._limits = limits
        self._changes = changes
        self._stuck = StuckDetector()
        self._warned = False
        self._refused_finishes = 0
        self._plain_answers = 0

    async def run(self) -> Result:
        """Talk until the model ends. Raises ExecutionError at a limit, or when it is stuck."""
        schemas = [*self._toolbox.schemas(), FINISH.schema(), DECLINE.schema()]
        for left in range(self._limits.turns, 0, -1):
            if self._model.tokens >= self._limits.tokens:
                raise ExecutionError(f"no result within {self._limits.tokens} tokens")
            if left == LAST_TURNS and self._limits.turns > LAST_TURNS:
                self._say(f"You have {LAST_TURNS} turns left. Call `finish` now.")
            self._save_room()
            answer = await self._model.complete(self._messages, schemas)
            result = await self._take(answer)
            if result is not None:
                return result
        raise ExecutionError(f"no result within {self._limits.turns} turns")

    async def _take(self, answer: Answer) -> Result | None:
        if answer.refusal or answer.finish_reason == "content_filter":
            raise ExecutionError(
                f"the model refuses: {publishable(answer.refusal)[:300] or 'filtered content'}"
            )
        if not answer.calls:
            return await self._plain(answer)
        self._plain_answers = 0
        said = {"role": "assistant", "content": answer.text or None}
        self._messages.append(said | {"tool_calls": [_sendable(call).as_message() for call in answer.calls]})
        watched: list[tuple[str, str, str, bool]] = []
        ended: Result | None = None
        for place, call in enumerate(answer.calls):
            if ended is not None or place >= self._limits.calls_per_turn:
                outcome = ToolResult(f"Not run: at most {self._limits.calls_per_turn} calls a turn.", True)
            elif call.name in (FINISH.name, DECLINE.name):
                outcome, ended = await self._end(call)
            else:
                outcome = await self._toolbox.call(call.name, call.arguments)
            text = defused(outcome.text)
            self._messages.append({"role": "tool", "tool_call_id": call.id, "content": text})
            watched.append((call.name, call.arguments, text, outcome.failed))
        if ended is None:
            self._watch(watched)
        return ended

    async def _plain(self, answer: Answer) -> Result | None:
        """Text without a call: asked to finish once; what a model then repeats in plain text is its answer."""
        self._messages.append({"role": "assistant", "content": answer.text})
        cut = answer.finish_reason == "length"
        if answer.text.strip() and not cut:
            self._plain_answers += 1
        if self._plain_answers >= 2:
            given = {"summary": answer.text, "success": True, "solution_approach": answer.text}
            try:
                return await self._finished(given, reason="ended in plain text, without calling finish")
            except Refused as refusal:
                raise _unfit(refusal) from refusal
        self._say(
            "Your answer was cut off because it was too long. Do less in one turn."
            if cut
            else "You called no tool. Go on with your tools, or call `finish` or `decline`."
        )
        self._watch([])
        return None

    async def _end(self, call: ToolCall) -> tuple[ToolResult, Result | None]:
        try:
            if call.name == DECLINE.name:
                reason = publishable(DECLINE.arguments(call.arguments)["reason"], limit=2_000)
                answer = f"**{self._task.agent.name}** declines this issue: {reason}"
                return ToolResult("Declined."), self._result(
                    success=False, declined=True, answer=answer, solution="", reason=reason
                )
            return ToolResult("Finished."), await self._finished(FINISH.arguments(call.arguments))
        except Refused as refusal:
            self._refused_finishes += 1
            if self._refused_finishes >= self._limits.refused_finishes:
                raise _unfit(refusal) from refusal
            return ToolResult(f"Error: not finished: {refusal}", failed=True), None

    async def _finished(self, given: Mapping[str, Any], reason: str = "") -> Result:
        summary = publishable(given["summary"])
        if not summary:
            raise Refused("the summary is empty")
        success = bool(given["success"])
        change = await self._change(given) if success else None
        return self._result(
            success=success,
            answer=summary,
            solution=publishable(given["solution_approach"]),
            lessons=publishable(given.get("lessons", "")),
            change=change,
            reason=reason or ("" if success else "the agent reports that it did not succeed"),
        )

    async def _change(self, given: Mapping[str, Any]) -> Change | None:
        snapshot = self._checkout.snapshot
        files = await to_the_end(
            asyncio.to_thread(changed_files, self._checkout.files, snapshot, self._changes)
        )
        if not files:
            return None
        body = (
            f"{publishable(given['summary'])}\n\n## Approach\n\n{publishable(given['solution_approach'])}"
            f"\n\nCloses #{self._task.issue.number}"
        )
        return Change(
            title(given["summary"]) or title(self._task.issue.title), body, snapshot.base_sha, files
        )

    def _result(self, **fields: Any) -> Result:
        return Result(tokens=self._model.tokens, cost_usd=self._model.spent_usd, **fields)

    def _watch(self, calls: Sequence[tuple[str, str, str, bool]]) -> None:
        problem = self._stuck.turn(calls)
        if not problem:
            return
        if self._warned:
            raise ExecutionError(f"stuck: {problem}, also after a warning")
        self._warned = True
        self._say(f"You go in circles: {problem}. Do something else, or call `finish` or `decline`.")

    def _say(self, text: str) -> None:
        self._messages.append({"role": "user", "content": text})

    def _save_room(self) -> None:
        """Drop the oldest tool results and long arguments until the prompt is short enough."""
        room = self._limits.prompt_bytes
        sizes = [len(json.dumps(message, ensure_ascii=False).encode()) for message in self._messages]
        excess = sum(sizes) - room
        for message in self._messages:
            if excess <= 0:
                return
            before = len(json.dumps(message, ensure_ascii=False).encode())
            if message["role"] == "tool":
                message["content"] = DROPPED
            for call in message.get("tool_calls", ()):
                if len(call["function"]["arguments"]) > len(DROPPED):
                    call["function"]["arguments"] = json.dumps({"dropped": DROPPED})
            excess -= before - len(json.dumps(message, ensure_ascii=False).encode())
        if excess > 0:
            raise ExecutionError(f"the talk is longer than {room} bytes even without what tools answered")


def _unfit(refusal: Refused) -> ExecutionError:
    return ExecutionError(f"the change cannot be proposed: {publishable(str(refusal), limit=1_000)}")


def _sendable(call: ToolCall) -> ToolCall:
    """The call with arguments that are JSON, because some servers refuse to read back what they wrote."""
    try:
        valid = isinstance(json.loads(call.arguments), dict)
    except (ValueError, RecursionError):
        valid = False
    return call if valid else ToolCall(call.id, call.name, "{}")
