"""What an instance type offers to pods on EKS, and how many nodes a set of pods needs. Pure arithmetic."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from errors import PlanError
from infra.shapes import Resources

# vCPU and GiB of the Graviton types that the price list knows (SkyPilot catalog, aws/vms.csv).
INSTANCE_TYPES: dict[str, tuple[int, int]] = {
    "t4g.medium": (2, 4),
    "t4g.large": (2, 8),
    "t4g.xlarge": (4, 16),
    "t4g.2xlarge": (8, 32),
    "c6g.large": (2, 4),
    "c6g.xlarge": (4, 8),
    "c6g.2xlarge": (8, 16),
}
# Thousandths of memory that the kernel never sees: Karpenter's default VM_MEMORY_OVERHEAD_PERCENT.
VM_OVERHEAD = 75
EVICTION_THRESHOLD_MIB = 100  # kubelet's evictionHard memory.available on EKS images
PREFIX_ADDRESSES = 16  # a /28, what the vpc-cni takes at a time under prefix delegation
INTERFACE_ADDRESSES = 4  # own addresses of a node's network interfaces, at most, on these types
SUBNET_RESERVED = 5  # addresses that AWS keeps of every subnet


@dataclass(frozen=True, slots=True)
class NodeShape:
    """The least that any of a group's instance types offers."""

    allocatable: Resources
    kube_reserved: Resources
    max_pods: int


def node_shape(instance_types: Sequence[str]) -> NodeShape:
    """The least common node of `instance_types`. Raises PlanError for one that is not in INSTANCE_TYPES.

    kube-reserved is nodeadm's (amazon-eks-ami, nodeadm/internal/kubelet/config.go): CPU 6 % of the first
    core, 1 % of the second, 0.5 % of the next two, 0.25 % of the rest; memory 255 MiB + 11 MiB × max_pods.
    The launch template states max_pods and kube-reserved itself, so that what is planned is what the kubelet does.
    """
    unknown = [name for name in instance_types if name not in INSTANCE_TYPES]
    if unknown:
        raise PlanError(
            f"the shape of {', '.join(unknown)} is unknown", f"use one of {', '.join(INSTANCE_TYPES)}"
        )
    cpus = min(INSTANCE_TYPES[name][0] for name in instance_types)
    gib = min(INSTANCE_TYPES[name][1] for name in instance_types)
    # EKS caps prefix delegation at 110. Each slot reserves 11 MiB: a small node should not offer as many.
    max_pods = min(110, 10 + 8 * gib)
    reserved_cpu = 60 + 10 + 5 * min(cpus - 2, 2) + (5 * max(cpus - 4, 0)) // 2
    reserved = Resources(reserved_cpu, 255 + 11 * max_pods)
    visible = gib * 1024 * (1000 - VM_OVERHEAD) // 1000
    return NodeShape(
        Resources(cpus * 1000 - reserved_cpu, visible - reserved.memory_mib - EVICTION_THRESHOLD_MIB),
        reserved,
        max_pods,
    )


def addresses_of(pods_per_node: int) -> int:
    """IPv4 addresses that a node takes: a prefix for each 16 pods begun, a warm one, its interfaces' own."""
    prefixes = -(-pods_per_node // PREFIX_ADDRESSES) + 1
    return prefixes * PREFIX_ADDRESSES + INTERFACE_ADDRESSES


@dataclass(frozen=True, slots=True)
class Packing:
    """Pods put on nodes."""

    left_over: int
    """Pods that found no node."""
    room: tuple[tuple[int, int, int], ...]
    """(millicores, MiB, pods) still free on each node."""

    def more(self, pod: Resources) -> int:
        """How many further pods like `pod` fit."""
        return sum(
            min(slots, cpu // max(pod.cpu_millicores, 1), memory // max(pod.memory_mib, 1))
            for cpu, memory, slots in self.room
        )


def pack(pods: Sequence[Resources], free: Resources, slots: int, nodes: int) -> Packing:
    """Put `pods` on `nodes` alike nodes that have `free` and `slots` beside their DaemonSets.

    Nobody orders pods for the scheduler. Small ones first leave the worst gaps for big ones, but not always: as
    they are listed and big ones first are tried too, and only what fits in all three orders fits.
    """
    small_first = sorted(pods, key=lambda pod: (pod.cpu_millicores, pod.memory_mib))
    orders = (small_first, pods, small_first[::-1])
    return max((_put(order, free, slots, nodes) for order in orders), key=lambda packing: packing.left_over)


def _put(pods: Sequence[Resources], free: Resources, slots: int, nodes: int) -> Packing:
    """Each pod, in this order, to the emptiest node that can take it, as the scheduler's LeastAllocated spreads."""
    room = [(free.cpu_millicores, free.memory_mib, slots)] * nodes
    queue = [(-_emptiness(space, free), node) for node, space in enumerate(room)]
    left_over = 0
    for pod in pods:
        passed: list[tuple[int, int]] = []
        while queue:
            entry = heapq.heappop(queue)
            cpu, memory, pod_slots = room[entry[1]]
            if cpu >= pod.cpu_millicores and memory >= pod.memory_mib and pod_slots > 0:
                room[entry[1]] = (cpu - pod.cpu_millicores, memory - pod.memory_mib, pod_slots - 1)
                heapq.heappush(queue, (-_emptiness(room[entry[1]], free), entry[1]))
                break
            passed.append(entry)
        else:
            left_over += 1
        for entry in passed:
            heapq.heappush(queue, entry)
    return Packing(left_over, tuple(room))


def nodes_for(pods: Sequence[Resources], free: Resources, slots: int, least: int, most: int) -> int | None:
    """The smallest number of nodes, from `least` to `most`, that holds `pods`; None when `most` do not."""
    cpu = sum(pod.cpu_millicores for pod in pods)
    memory = sum(pod.memory_mib for pod in pods)
    if pods and (free.cpu_millicores <= 0 or free.memory_mib <= 0):
        return None
    lower = max(
        least,
        -(-cpu // max(free.cpu_millicores, 1)),
        -(-memory // max(free.memory_mib, 1)),
        -(-len(pods) // slots),
    )
    return next(
        (nodes for nodes in range(lower, most + 1) if not pack(pods, free, slots, nodes).left_over), None
    )


def _emptiness(space: tuple[int, int, int], free: Resources) -> int:
    """Free share of CPU and of memory, in common units."""
    return space[0] * free.memory_mib + space[1] * free.cpu_millicores
