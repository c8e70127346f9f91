"""Versions of images: the release tag, or the pin that holds one of them back."""

from __future__ import annotations

from infra.settings import Settings


def version(settings: Settings, name: str) -> str:
    """What goes behind the repository's URL of `gateway` or `migrate`: `:TAG` or `@sha256:…`."""
    wanted = settings.images.pins.get(name, settings.images.tag)
    return f"@{wanted}" if wanted.startswith("sha256:") else f":{wanted}"
