"""What stays of phase 4 when a stack goes back: the second region's data, and the copies of all backups.

EU data may not move to a US region, and nobody deletes it by changing a phase. The stack's own former outputs say
where data stands; it stays, managed and protected, until `protect: false` lets the next `up` take it away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pulumi

from infra.datatier import DataTier
from infra.plan import Plan
from infra.scope import Scope

OUTPUT = "dataRegions"
"""The stack's output that names the regions with data, beside the home region."""


def keep_data(home: DataTier, widest: Callable[[], Plan]) -> pulumi.Output[list[str]]:
    """Keep what former phases left. `widest` gives the plan of phase 4. The names of the regions kept."""
    names = (pulumi.get_organization(), pulumi.get_project(), pulumi.get_stack())
    former = pulumi.StackReference("/".join(names))

    def keep(regions: list[str] | None) -> list[str]:
        if not regions:
            return []
        plan = widest()
        for region in plan.regions:
            if region.home:
                home.copy_backups(region)
            elif region.name in regions:
                DataTier(Scope(home.scope.settings, replace(region, node_groups=())))
                pulumi.log.warn(f"{region.name} keeps its database, which the bill of this phase leaves out")
        return regions

    return former.get_output(OUTPUT).apply(keep)
