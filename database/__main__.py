"""`python -m database`."""

from __future__ import annotations

import sys

from database.cli import main

if __name__ == "__main__":
    sys.exit(main())
