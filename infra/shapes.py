"""The frozen values that a plan is made of. Money: USD a month as Decimal. CPU: millicores. Memory: MiB."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from runner.geography import Zone

NodeClass = Literal["critical", "flex"]
Kind = Literal["compute", "database", "services"]
SubnetKind = Literal["public", "private", "data"]


@dataclass(frozen=True, slots=True)
class Resources:
    """What a container asks for, or what a node has."""

    cpu_millicores: int
    memory_mib: int

    @property
    def quantities(self) -> dict[str, str]:
        """As Kubernetes writes it: `{"cpu": "200m", "memory": "256Mi"}`."""
        return {"cpu": f"{self.cpu_millicores}m", "memory": f"{self.memory_mib}Mi"}

    def __add__(self, other: Resources) -> Resources:
        return Resources(self.cpu_millicores + other.cpu_millicores, self.memory_mib + other.memory_mib)

    def __mul__(self, times: int) -> Resources:
        return Resources(self.cpu_millicores * times, self.memory_mib * times)


@dataclass(frozen=True, slots=True)
class AgentPlan:
    """One agent in its region."""

    agent: str
    """The definition's own name; labels and database roles keep it."""
    resource_name: str
    """Lower-case name of Kubernetes, ECR and DNS objects."""
    digest: str
    """sha256 of the definition; an edited definition rolls this agent alone."""
    runs_on: Literal["cloud", "actions"]
    node_class: NodeClass
    replicas: int
    max_replicas: int
    requests: Resources
    limits: Resources
    image: str
    """`:TAG` or `@sha256:…`, to be put behind the repository's URL."""
    after: str | None
    """The agent that must have been rolled before this one is: no more surge at once than the nodes have room for."""


@dataclass(frozen=True, slots=True)
class SystemPod:
    """A pod that is no agent: an add-on, a controller, the gateway. `daemonset` ones run on every node."""

    name: str
    namespace: str
    daemonset: bool
    replicas: int
    requests: Resources
    limits: Resources | None
    surge: int
    """Extra pods while it is rolled."""


@dataclass(frozen=True, slots=True)
class NodeGroupPlan:
    """A managed node group of a region's cluster."""

    name: NodeClass
    spot: bool
    instance_types: tuple[str, ...]
    min_size: int
    max_size: int
    nodes_at_rest: int
    """Nodes that hold the minimum replicas; the group's first `desired_size`, then the autoscaler's."""
    allocatable: Resources
    """Of the smallest of `instance_types`, for pods, before DaemonSets."""
    kube_reserved: Resources
    """What the launch template tells the kubelet to keep, with `max_pods`."""
    max_pods: int
    disk_gb: int


@dataclass(frozen=True, slots=True)
class Subnet:
    """One subnet of a region's VPC."""

    name: str
    kind: SubnetKind
    availability_zone: str
    cidr: ipaddress.IPv4Network


@dataclass(frozen=True, slots=True)
class HostPlan:
    """The phase-2 host."""

    instance_type: str
    disk_gb: int


@dataclass(frozen=True, slots=True)
class DatabasePlan:
    """RDS PostgreSQL of a region."""

    engine_version: str
    instance_class: str
    multi_az: bool
    storage_gb: int
    max_storage_gb: int
    backup_days: int
    max_connections: int
    backup_copy_region: str | None
    """In-zone region that automated backups are copied to, from phase 4 on."""


@dataclass(frozen=True, slots=True)
class CachePlan:
    """ElastiCache Valkey of a region."""

    node_type: str
    nodes: int


@dataclass(frozen=True, slots=True)
class Load:
    """How full something is."""

    name: str
    used: int
    available: int
    unit: str
    required: bool = True
    """Whether a plan is refused that does not fit; else it is a finding."""

    @property
    def fits(self) -> bool:
        return self.used <= self.available


@dataclass(frozen=True, slots=True)
class RegionCapacity:
    """What stands in a region at rest and at most, and what would with measured requests."""

    loads: tuple[Load, ...]
    """CPU, memory and pods at rest; addresses and database connections at the largest size."""
    pods_at_rest: int
    pods_at_most: int
    """Agent pods that the groups hold at `max_size`."""
    rollout_steps: int
    """How many agents are rolled one after another, at most, when a new image reaches all."""
    measured_nodes_at_rest: int
    """Nodes at rest if the agents asked for what was measured."""
    measured_pods_at_most: int
    short_of_maximum: tuple[str, ...]
    """Agents that cannot reach `max_replicas` even when all others are at rest."""


@dataclass(frozen=True, slots=True)
class RegionPlan:
    """What a region of this phase holds."""

    name: str
    zone: Zone
    location: str
    home: bool
    cidr: ipaddress.IPv4Network
    subnets: tuple[Subnet, ...]
    webhook_host: str
    model_endpoint: str
    agents: tuple[AgentPlan, ...]
    system: tuple[SystemPod, ...]
    node_groups: tuple[NodeGroupPlan, ...]
    """Critical, then flex; empty in phase 2."""
    host: HostPlan | None
    database: DatabasePlan
    cache: CachePlan | None
    capacity: RegionCapacity


@dataclass(frozen=True, slots=True)
class BillLine:
    """One priced item of one region. `monthly` = `quantity` × `unit_price`, rounded to cents."""

    item: str
    kind: Kind
    region: str
    quantity: Decimal
    most: Decimal
    """The quantity that `worst` counts."""
    unit: str
    unit_price: Decimal
    monthly: Decimal
    worst: Decimal
    """The same with every group at `max_size` all month at on-demand prices, and every meter at its cap."""
    source: str
    seen: bool
    """Whether the price was seen in `source`, or is assumed."""


@dataclass(frozen=True, slots=True)
class Bill:
    """What a plan costs a month, and what follows from it."""

    lines: tuple[BillLine, ...]
    base: Decimal
    """At rest: minimum replicas."""
    worst: Decimal
    """Worst of planned capacity."""
    annual: Decimal
    spot_saving_percent: Decimal
    """Against the on-demand price, on spot nodes at rest."""
    compute_saving_percent: Decimal
    """The same saving on all compute."""
    per_agent: Decimal
    per_mission: Decimal
    model_cap_monthly: Decimal
    """The most that models may cost beside the bill; enforced by the runners."""
    break_even: tuple[tuple[int, Decimal], ...]
    """(what GitHub Actions costs a month, how much more (+) or less (−) this bill is)."""

    def total(self, *, kind: Kind | None = None, region: str | None = None, worst: bool = False) -> Decimal:
        """Sum of the lines of `kind` and `region`; None means all."""
        chosen = (line for line in self.lines if kind in (None, line.kind) and region in (None, line.region))
        return sum((line.worst if worst else line.monthly for line in chosen), Decimal(0))


@dataclass(frozen=True, slots=True)
class Finding:
    """Something a person should know that does not refuse the plan."""

    rule: str
    message: str


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource that the program would create, as recorded offline."""

    type: str
    """Pulumi's type token, such as `aws:rds/instance:Instance`."""
    name: str
    region: str
    component: str
    """Name of the component it belongs to, such as `network`."""
    inputs: Mapping[str, Any]
    protected: bool = False
    """Whether an `up` may neither replace nor delete it."""
    unknown: frozenset[str] = frozenset()
    """Inputs that are known only after `up`; never so where the resource was recorded."""

    @property
    def key(self) -> str:
        """What tells it from all others in a preview's document."""
        return f"{self.region} {self.type} {self.name}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one rule says about a plan and its resources."""

    name: str
    passed: bool
    message: str
