"""A model's answer in the chat completions form, read with suspicion."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runner.execute.pricing import Usage

MAX_NAME = 200


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool that the model wants run; `arguments` is the JSON text it wrote."""

    id: str
    name: str
    arguments: str

    def as_message(self) -> dict[str, Any]:
        """The call as it is sent back with its result."""
        return {
            "id": self.id,
            "type": "function",
            "function": {"name": self.name, "arguments": self.arguments},
        }


@dataclass(frozen=True, slots=True)
class Answer:
    """One message of the model. `usage` is None where the endpoint does not say what it billed."""

    text: str
    calls: tuple[ToolCall, ...]
    finish_reason: str
    usage: Usage | None
    refusal: str = ""


def read_answer(content: bytes) -> Answer:
    """The answer in `content`. Raises ValueError that says what is missing."""
    try:
        data = json.loads(content)
        choice = data["choices"][0]
        message = choice["message"]
        calls = message.get("tool_calls") or ()
        return Answer(
            text=_text(message.get("content")),
            calls=tuple(_call(call, place) for place, call in enumerate(calls)),
            finish_reason=str(choice.get("finish_reason") or ""),
            usage=_usage(data.get("usage")),
            refusal=_text(message.get("refusal")),
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"no JSON at character {error.pos}") from error
    except (KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"unexpected shape ({type(error).__name__})") from error


def _text(value: object) -> str:
    if isinstance(value, list):  # some servers answer in parts
        value = "".join(part.get("text", "") for part in value if isinstance(part, Mapping))
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError("text expected")
    return value.encode("utf-8", "replace").decode()  # lone surrogates cannot be sent back


def _call(call: Mapping[str, Any], place: int) -> ToolCall:
    function = call["function"]
    arguments = function.get("arguments") or "{}"
    if not isinstance(arguments, str):  # some servers answer with the object itself
        arguments = json.dumps(arguments)
    identity = call.get("id")
    return ToolCall(
        id=_text(identity)[:MAX_NAME] if isinstance(identity, str) and identity else f"call_{place}",
        name=_text(function["name"])[:MAX_NAME],
        arguments=_text(arguments),
    )


def _usage(value: object) -> Usage | None:
    if not isinstance(value, Mapping):
        return None
    details = value.get("prompt_tokens_details")
    tokens = value.get("prompt_tokens"), value.get("completion_tokens")
    cached = details.get("cached_tokens") if isinstance(details, Mapping) else 0
    if not all(type(count) is int and count >= 0 for count in tokens) or tokens == (0, 0):
        return None
    used, written = int(tokens[0] or 0), int(tokens[1] or 0)
    return Usage(used, written, min(cached, used) if type(cached) is int and cached > 0 else 0)
