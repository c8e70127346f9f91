"""The preview as one JSON document, for the parts of the system that do not import `infra`, and for comparing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from infra.outlook import Outlook
from infra.policy.data import fixed_inputs
from infra.shapes import Bill, NodeGroupPlan, RegionPlan


def to_document(outlook: Outlook) -> dict[str, Any]:
    """`phase`, `resources`, `capacity`, `bill` and `policies`; and `plan`: what stands where, and how it is set.

    Money is in USD a month; the lines of the bill add up to `base`.
    """
    plan, limits = outlook.plan, outlook.settings.limits
    return {
        "phase": plan.phase,
        "resources": [
            {"type": resource.type, "name": resource.name, "region": resource.region}
            for resource in outlook.resources
        ],
        "capacity": {region.name: _capacity(region) for region in plan.regions},
        "bill": {
            "base": float(plan.bill.base),
            "worst": float(plan.bill.worst),
            "budget": limits.budget,
            "ceiling": limits.ceiling,
            "lines": [
                {
                    "item": line.item,
                    "region": line.region,
                    "quantity": float(line.quantity),
                    "unit_price": float(line.unit_price),
                    "monthly": float(line.monthly),
                    "source": line.source,
                }
                for line in plan.bill.lines
            ],
        },
        "policies": [
            {"name": verdict.name, "passed": verdict.passed, "message": verdict.message}
            for verdict in outlook.verdicts
        ],
        "plan": {
            "stack": outlook.settings.stack,
            "profile": outlook.settings.profile,
            "gate_override": outlook.settings.gate.override,
            "regions": [_region(region) for region in plan.regions],
            "costs": _costs(plan.bill),
            "findings": [{"rule": finding.rule, "message": finding.message} for finding in plan.findings],
            "inputs": {resource.key: _digest(resource.inputs) for resource in outlook.resources},
            "data": fixed_inputs(outlook.resources),
        },
    }


def _capacity(region: RegionPlan) -> dict[str, Any]:
    capacity = region.capacity
    return {
        "node_groups": [_group(group) for group in region.node_groups],
        "loads": [
            {"name": load.name, "used": load.used, "available": load.available, "unit": load.unit}
            for load in capacity.loads
        ],
        "pods_at_rest": capacity.pods_at_rest,
        "pods_at_most": capacity.pods_at_most,
        "rollout_steps": capacity.rollout_steps,
        "measured_nodes_at_rest": capacity.measured_nodes_at_rest,
        "measured_pods_at_most": capacity.measured_pods_at_most,
        "fits": all(load.fits for load in capacity.loads if load.required),
    }


def _group(group: NodeGroupPlan) -> dict[str, Any]:
    return {
        "name": group.name,
        "spot": group.spot,
        "instance_types": list(group.instance_types),
        "nodes_at_rest": group.nodes_at_rest,
        "max_size": group.max_size,
        "allocatable": group.allocatable.quantities,
        "max_pods": group.max_pods,
    }


def _region(region: RegionPlan) -> dict[str, Any]:
    return {
        "name": region.name,
        "zone": region.zone,
        "location": region.location,
        "webhook_host": region.webhook_host,
        "model_endpoint": region.model_endpoint,
        "database": {
            "instance_class": region.database.instance_class,
            "multi_az": region.database.multi_az,
            "backup_copy_region": region.database.backup_copy_region,
        },
        "agents": [
            {
                "name": agent.agent,
                "runs_on": agent.runs_on,
                "node_class": agent.node_class,
                "replicas": agent.replicas,
                "max_replicas": agent.max_replicas,
                "image": agent.image,
                "digest": agent.digest,
            }
            for agent in region.agents
        ],
    }


def _costs(bill: Bill) -> dict[str, Any]:
    return {
        "annual": float(bill.annual),
        "per_agent": float(bill.per_agent),
        "per_mission": float(bill.per_mission),
        "model_cap_monthly": float(bill.model_cap_monthly),
        "spot_saving_percent": float(bill.spot_saving_percent),
        "compute_saving_percent": float(bill.compute_saving_percent),
        "kinds": {
            kind: {"base": float(bill.total(kind=kind)), "worst": float(bill.total(kind=kind, worst=True))}
            for kind in ("compute", "database", "services")
        },
        "over_github_actions": {str(actions): float(more) for actions, more in bill.break_even},
    }


def _digest(inputs: Mapping[str, object]) -> str:
    canonical = json.dumps(inputs, sort_keys=True, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
