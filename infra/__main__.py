"""What `pulumi up` runs: settings → plan → resources → outputs."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import pulumi

# Pulumi runs this file from inside `infra/`: only with the root in that place is `infra.plan` one module everywhere.
ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

from errors import InputError  # noqa: E402
from infra.build import build  # noqa: E402
from infra.credentials import plain_config  # noqa: E402
from infra.gate import ask_gate  # noqa: E402
from infra.outlook import plan_stack  # noqa: E402
from infra.sdk_waits import spare_debug_lines, wait_for_calls_first  # noqa: E402

# All that a run makes lives until its end: looking for garbage took 40 % of the program's time.
gc.disable()
spare_debug_lines()
wait_for_calls_first()
config, stack = plain_config(pulumi.get_project()), pulumi.get_stack()
try:
    settings, plan = plan_stack(ROOT, config, stack)
    gate = ask_gate(ROOT, settings)
except InputError as wrong:
    raise pulumi.RunError(str(wrong)) from None
if not gate.passed:
    raise pulumi.RunError(f"{gate.name}: {gate.message}")
for finding in plan.findings:
    pulumi.log.warn(f"{finding.rule}: {finding.message}")
widest = None if settings.phase == 4 else lambda: plan_stack(ROOT, {**config, "phase": 4}, stack)[1]
for name, value in build(settings, plan, widest).items():
    pulumi.export(name, value)
