"""Our memory beside its peers, on the same PostgreSQL and the same vectors: `python -m bench.memory`."""
