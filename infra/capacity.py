"""Whether what a region must hold fits: nodes, addresses, database connections, a rollout's surge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from errors import PlanError
from infra.connections import connections_needed, database_connections
from infra.fleet import Fleet
from infra.nodes import SUBNET_RESERVED, NodeShape, Packing, addresses_of, node_shape, nodes_for, pack
from infra.schedule import SCHEDULED
from infra.settings import RegionSettings, Settings
from infra.shapes import (
    AgentPlan,
    Load,
    NodeClass,
    NodeGroupPlan,
    RegionCapacity,
    Resources,
    Subnet,
    SystemPod,
)

LONGEST_LANE = 10  # agents that wait for each other in a rollout; rather a node more for a while
REDIS_MIB = 256  # on the phase-2 host


@dataclass(frozen=True, slots=True)
class Group:
    """A node group while it is being filled: its pods and what a node has left beside DaemonSets."""

    name: NodeClass
    shape: NodeShape
    pods: tuple[Resources, ...]
    free: Resources
    slots: int
    least: int
    most: int

    def at(self, nodes: int) -> Packing:
        return pack(self.pods, self.free, self.slots, nodes)


def fill(
    agents: Sequence[AgentPlan],
    fleet: Fleet,
    settings: Settings,
    region: RegionSettings,
    blocks: Sequence[Subnet],
) -> tuple[tuple[AgentPlan, ...], tuple[NodeGroupPlan, ...], RegionCapacity]:
    """Fill a region's node groups (phases 3 and 4): agents with their lane, groups, how full they are.

    Raises PlanError when minimum replicas, a surge, addresses or connections do not fit at `max_size`.
    """
    working = [agent for agent in agents if agent.runs_on == "cloud"]
    groups = [_group(name, working, fleet.system, settings, region) for name in ("critical", "flex")]
    at_rest = [_nodes_at_rest(group, region.name) for group in groups]
    in_lanes: dict[str, AgentPlan] = {}
    longest = 0
    for group, nodes in zip(groups, at_rest, strict=True):
        members = [agent for agent in working if agent.node_class == group.name]
        waiting, length = _in_lanes(members, group, nodes, region.name)
        in_lanes |= waiting
        longest = max(longest, length)
    result = tuple(in_lanes.get(agent.agent, agent) for agent in agents)
    plans = tuple(_node_group(group, nodes, settings) for group, nodes in zip(groups, at_rest, strict=True))
    capacity = _capacity(result, groups, at_rest, longest, fleet, settings, region, blocks)
    _refuse_unfit(
        region.name, capacity.loads, "lower the largest size of a group, or choose a larger databaseClass"
    )
    return result, plans, capacity


def fill_host(agents: Sequence[AgentPlan], fleet: Fleet, settings: Settings) -> RegionCapacity:
    """How full the phase-2 host is: one container an agent, the gateway, what runs by the clock, and Redis.

    Measured memory counts: containers have no requests there and share the CPU. Raises PlanError when full.
    """
    shape = node_shape((settings.host.instance_type,))
    # No kubelet there: what it would keep is free again.
    free = shape.allocatable.memory_mib + shape.kube_reserved.memory_mib
    containers = sum(agent.runs_on == "cloud" for agent in agents)
    beside = sum(pod.requests.memory_mib for pod in fleet.system if pod.name in ("gateway", SCHEDULED))
    connections = connections_needed(1, containers)
    loads = (
        Load("memory", REDIS_MIB + beside + fleet.measured.memory_mib * containers, free, "MiB"),
        Load(
            "database connections",
            connections,
            database_connections(settings.database.instance_class),
            "connections",
        ),
    )
    _refuse_unfit(
        settings.host.instance_type, loads, "choose a larger hostType or databaseClass, or go to phase 3"
    )
    return RegionCapacity(loads, containers, containers, 1, 1, containers, ())


def _refuse_unfit(where: str, loads: Sequence[Load], fix: str) -> None:
    for load in loads:
        if load.required and not load.fits:
            raise PlanError(
                f"{where}: {load.name} needs {load.used} {load.unit}, and there are {load.available}", fix
            )


def _group(
    name: NodeClass,
    agents: Sequence[AgentPlan],
    system: Sequence[SystemPod],
    settings: Settings,
    region: RegionSettings,
) -> Group:
    cluster = settings.cluster
    shape = node_shape(cluster.critical_types if name == "critical" else cluster.flex_types)
    daemons = [pod.requests for pod in system if pod.daemonset]
    pods = [agent.requests for agent in agents if agent.node_class == name for _ in range(agent.replicas)]
    if name == "critical":  # spot nodes are tainted: what the cluster itself needs does not stand there
        own = [pod for pod in system if not pod.daemonset]
        pods += [pod.requests for pod in own for _ in range(pod.replicas)]
        # Their surge, which comes last, is counted for good: a release or an add-on's update may come at any time.
        pods += [pod.requests for pod in own for _ in range(pod.surge)]
    used = sum(daemons, Resources(0, 0))
    free = Resources(
        shape.allocatable.cpu_millicores - used.cpu_millicores, shape.allocatable.memory_mib - used.memory_mib
    )
    least, most = (
        (cluster.critical_min_size, region.critical_max_size)
        if name == "critical"
        else (cluster.flex_min_size if pods else 0, region.flex_max_size)
    )
    return Group(name, shape, tuple(pods), free, shape.max_pods - len(daemons), least, most)


def _nodes_at_rest(group: Group, region: str) -> int:
    nodes = nodes_for(group.pods, group.free, group.slots, group.least, group.most)
    if nodes is None:
        lacking = group.at(group.most).left_over
        raise PlanError(
            f"{region}: {lacking} of {len(group.pods)} pods do not fit on {group.most} {group.name} nodes",
            f"raise the {group.name} group's largest size, use larger nodes, or lower requests or replicas",
        )
    return nodes


def _in_lanes(
    agents: Sequence[AgentPlan], group: Group, nodes: int, region: str
) -> tuple[dict[str, AgentPlan], int]:
    """Agents with whom each waits for in a rollout, and the length of the longest chain.

    There are as many lanes as further pods fit, and each lane rolls one agent (its one surge pod) at a time.
    """
    if not agents:
        return {}, 0
    largest = max((agent.requests for agent in agents), key=lambda pod: (pod.cpu_millicores, pod.memory_mib))
    room = group.at(nodes).more(largest)
    if room * LONGEST_LANE < len(agents) and nodes < group.most:
        # The first surge pods wait for a node that the autoscaler adds, and the lanes are short.
        room = group.at(nodes + 1).more(largest)
    if not room:
        raise PlanError(
            f"{region}: the {group.name} nodes are full at rest: no agent can be rolled without downtime",
            f"raise the largest size of the {group.name} group",
        )
    names = [None] * room + [agent.agent for agent in agents]
    waiting = {
        agent.agent: replace(agent, after=before) for agent, before in zip(agents, names, strict=False)
    }
    return waiting, -(-len(agents) // room)


def _node_group(group: Group, nodes: int, settings: Settings) -> NodeGroupPlan:
    critical = group.name == "critical"
    return NodeGroupPlan(
        name=group.name,
        spot=not critical,
        instance_types=settings.cluster.critical_types if critical else settings.cluster.flex_types,
        min_size=group.least,
        max_size=group.most,
        nodes_at_rest=nodes,
        allocatable=group.shape.allocatable,
        kube_reserved=group.shape.kube_reserved,
        max_pods=group.shape.max_pods,
        disk_gb=settings.cluster.node_disk_gb,
    )


def _capacity(
    agents: Sequence[AgentPlan],
    groups: Sequence[Group],
    at_rest: Sequence[int],
    rollout_steps: int,
    fleet: Fleet,
    settings: Settings,
    region: RegionSettings,
    blocks: Sequence[Subnet],
) -> RegionCapacity:
    working = [agent for agent in agents if agent.runs_on == "cloud"]
    pods = sum(agent.replicas for agent in working)
    at_most = pods + sum(group.at(group.most).more(fleet.default.requests) for group in groups)
    measured = _measured(working, fleet, settings, region)
    addresses = sum(group.most * addresses_of(group.slots) for group in groups)
    private = sum(block.cidr.num_addresses - SUBNET_RESERVED for block in blocks if block.kind == "private")
    gateways = sum(pod.replicas for pod in fleet.system if pod.name == "gateway")
    connections = connections_needed(gateways, at_most)
    pool = database_connections(settings.database.instance_class)
    used = sum((pod for group in groups for pod in group.pods), Resources(0, 0))
    free_cpu = sum(group.free.cpu_millicores * nodes for group, nodes in zip(groups, at_rest, strict=True))
    free_memory = sum(group.free.memory_mib * nodes for group, nodes in zip(groups, at_rest, strict=True))
    loads = (
        Load("CPU at rest", used.cpu_millicores, free_cpu, "millicores"),
        Load("memory at rest", used.memory_mib, free_memory, "MiB"),
        Load(
            "pods at rest",
            sum(len(g.pods) for g in groups),
            sum(g.slots * n for g, n in zip(groups, at_rest, strict=True)),
            "pods",
        ),
        Load("addresses at most", addresses, private, "addresses"),
        # A runner over the limit waits for its turn: missions get slower, nothing breaks.
        Load("database connections at most", connections, pool, "connections", required=False),
    )
    short = tuple(agent.agent for group in groups for agent in _short_of_maximum(working, group))
    return RegionCapacity(loads, pods, at_most, rollout_steps, *measured, short)


def _short_of_maximum(agents: Sequence[AgentPlan], group: Group) -> Iterator[AgentPlan]:
    """Agents that cannot reach `max_replicas` with all others at rest and their group at its largest."""
    full = group.at(group.most)
    for agent in agents:
        if agent.node_class == group.name and agent.replicas + full.more(agent.requests) < agent.max_replicas:
            yield agent


def _measured(
    working: Sequence[AgentPlan], fleet: Fleet, settings: Settings, region: RegionSettings
) -> tuple[int, int]:
    """(nodes at rest, agent pods at most) if every agent asked for what was measured, on the same types."""
    lean = [replace(agent, requests=fleet.measured) for agent in working]
    groups = [_group(name, lean, fleet.system, settings, region) for name in ("critical", "flex")]
    nodes = sum(
        nodes_for(group.pods, group.free, group.slots, group.least, group.most) or group.most
        for group in groups
    )
    pods = sum(agent.replicas for agent in lean)
    return nodes, pods + sum(group.at(group.most).more(fleet.measured) for group in groups)
