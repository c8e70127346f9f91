"""`python -m database.embeddings`: builds MiniLM's graph once, as an image build or a first start does."""

from __future__ import annotations

import os
import sys

from database.embeddings.settings import EmbeddingSettings
from database.embeddings.weights import prepared
from errors import AgentsCloudError


def main() -> int:
    """Print the folder of the built model; 1 and the reason where it cannot be built."""
    try:
        settings = EmbeddingSettings.from_environment({**os.environ, "EMBEDDING_MODEL": "minilm"}, zone="US")
        print(prepared(settings.cache, settings.weights))
    except AgentsCloudError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
