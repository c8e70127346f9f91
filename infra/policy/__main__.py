"""What `pulumi preview --policy-pack infra/policy` runs: builds the pack, which serves and never returns."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pulumi_policy import PolicyPack

sys.path[0] = str(Path(__file__).resolve().parents[2])

from infra.policy.pack import policies  # noqa: E402

PolicyPack(name="agents-cloud", policies=policies(os.environ["PULUMI_STACK"]))
