"""Texts to vectors behind one small protocol. Importing this package loads nothing heavy."""

from __future__ import annotations

from database.embeddings.models import MODELS, Model
from database.embeddings.protocol import Embedder
from database.embeddings.settings import EmbeddingSettings

__all__ = ["MODELS", "Embedder", "EmbeddingSettings", "Model", "open_embedder"]


async def open_embedder(settings: EmbeddingSettings) -> Embedder:
    """The embedder that the settings name; close it after use. Raises SettingsError.

    `minilm` loads about 250 MiB into this process: one process per region opens it and serves the others.
    """
    if settings.model == "minilm":
        from database.embeddings.minilm import MiniLM

        return await MiniLM.open(settings.cache, settings.weights, settings.threads)
    from database.embeddings.openai import OpenAIEmbedder

    return OpenAIEmbedder(settings)
