"""Which embedding model, where it may be asked, and where its files are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, cast
from urllib.parse import urlsplit

from database.embeddings.models import MODELS, Model
from errors import SettingsError

Zone = Literal["US", "EU"]

OPENAI_DEFAULT = "text-embedding-3-small"

# A zone's texts are sent to these endpoints and no others. The EU host keeps data in the EU:
# https://platform.openai.com/docs/guides/your-data (data residency), read 2026-11-24.
ENDPOINTS: Final[Mapping[Zone, tuple[str, ...]]] = {
    "US": ("https://api.openai.com/v1",),
    "EU": ("https://eu.api.openai.com/v1",),
}


@dataclass(frozen=True, slots=True)
class EmbeddingSettings:
    """`model` is a name of MODELS. `endpoint` and `api_key` matter to OpenAI's models, the rest to minilm."""

    model: str = "minilm"
    dimension: int = 384
    endpoint: str = ""
    api_key: str = field(default="", repr=False)
    cache: Path = Path.home() / ".cache" / "agents-cloud"
    weights: Path | None = None
    threads: int = 2

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], zone: Zone) -> EmbeddingSettings:
        """Read and check, for a process of `zone`. Raises SettingsError.

        EMBEDDING_MODEL      `minilm` (default) or `openai[:model[:dimension]]`
        EMBEDDING_ENDPOINTS  more allowed endpoints per zone, as in `EU=https://llm.example/v1,https://…;US=…`
        EMBEDDING_ENDPOINT   one of the zone's allowed endpoints (default: the first)
        OPENAI_API_KEY       the key for it
        EMBEDDING_CACHE      folder for the built model (default ~/.cache/agents-cloud)
        EMBEDDING_WEIGHTS    folder with the original MiniLM download (default: the installed package)
        EMBEDDING_THREADS    cores that minilm may use (default 2)
        """
        model, dimension = _parse_model(environment.get("EMBEDDING_MODEL", "minilm"))
        weights = environment.get("EMBEDDING_WEIGHTS")
        paid = model.name != "minilm"
        if paid and not environment.get("OPENAI_API_KEY"):
            raise SettingsError(
                f"the embedding model {model.name} needs OPENAI_API_KEY", "set it, or use minilm"
            )
        return cls(
            model=model.name,
            dimension=dimension,
            endpoint=_choose_endpoint(environment, zone) if paid else "",
            api_key=environment.get("OPENAI_API_KEY", "") if paid else "",
            cache=Path(environment.get("EMBEDDING_CACHE") or Path.home() / ".cache" / "agents-cloud"),
            weights=Path(weights) if weights else None,
            threads=_parse_threads(environment.get("EMBEDDING_THREADS", "2")),
        )


def _parse_model(value: str) -> tuple[Model, int]:
    kind, _, rest = value.partition(":")
    name, _, wanted = rest.partition(":")
    model = MODELS.get({"minilm": "minilm", "openai": name or OPENAI_DEFAULT}.get(kind, ""))
    if model is None or (kind == "minilm") != (model.name == "minilm") or (kind == "minilm" and rest):
        known = ", ".join(f"openai:{name}" for name in MODELS if name != "minilm")
        raise SettingsError(
            f"EMBEDDING_MODEL is {value!r}, which is no known model", f"use one of minilm, {known}"
        )
    if not wanted:
        return model, model.dimension
    smallest = 1 if model.shortens else model.dimension
    if not wanted.isascii() or not wanted.isdecimal() or not smallest <= int(wanted) <= model.dimension:
        allowed = f"{smallest} to {model.dimension}" if model.shortens else str(model.dimension)
        raise SettingsError(
            f"EMBEDDING_MODEL asks for dimension {wanted!r} of {model.name}", f"use {allowed}"
        )
    return model, int(wanted)


def _choose_endpoint(environment: Mapping[str, str], zone: Zone) -> str:
    allowed = ENDPOINTS[zone] + _parse_endpoints(environment.get("EMBEDDING_ENDPOINTS", "")).get(zone, ())
    endpoint = environment.get("EMBEDDING_ENDPOINT", allowed[0]).rstrip("/")
    if endpoint not in allowed:
        raise SettingsError(
            f"EMBEDDING_ENDPOINT {endpoint!r} is not allowed in zone {zone}",
            f"use one of {', '.join(allowed)}, or allow it with EMBEDDING_ENDPOINTS={zone}=…",
        )
    return endpoint


def _parse_endpoints(value: str) -> dict[Zone, tuple[str, ...]]:
    """`EU=https://a/v1,https://b/v1;US=…` as zone → endpoints."""
    endpoints: dict[Zone, tuple[str, ...]] = {}
    for entry in filter(None, value.split(";")):
        zone, _, listed = entry.strip().partition("=")
        if zone not in ENDPOINTS:
            raise SettingsError(f"EMBEDDING_ENDPOINTS names the zone {zone!r}", "use US=… or EU=…")
        endpoints[cast(Zone, zone)] = tuple(_check_url(url.strip().rstrip("/")) for url in listed.split(","))
    return endpoints


def _check_url(url: str) -> str:
    parts = urlsplit(url)
    loopback = parts.hostname in ("127.0.0.1", "::1", "localhost")
    if (
        not parts.hostname
        or parts.username
        or not (parts.scheme == "https" or (parts.scheme == "http" and loopback))
    ):
        # The URL itself may hold a password, so it is not repeated.
        raise SettingsError(
            "EMBEDDING_ENDPOINTS holds a URL that is not https://host/path", "correct or remove it"
        )
    return url


def _parse_threads(value: str) -> int:
    if not value.isascii() or not value.isdecimal() or not 1 <= int(value) <= 64:
        raise SettingsError(f"EMBEDDING_THREADS is {value!r}", "use a whole number from 1 to 64")
    return int(value)
