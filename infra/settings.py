"""The settings of a stack, typed. `infra.stack.from_config` reads and checks them.

Defaults stand in one place, the `config:` schema of `Pulumi.yaml`. What differs between phases (budget,
database class, Multi-AZ, node limits) is 0 or "" there and comes from `PHASES`: changing `phase` moves a stack.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Literal

from runner.geography import Zone

Phase = Literal[2, 3, 4]
Profile = Literal["proposed", "measured"]
Endpoint = Literal["private", "public"]

PROJECT = "agents-cloud"


@dataclass(frozen=True, slots=True)
class PhaseDefaults:
    """What a phase means unless the stack says otherwise. Budget and ceiling, USD a month: the proposal's."""

    budget: int
    ceiling: int
    database_class: str
    multi_az: bool
    critical_max_size: tuple[int, int]
    """Largest number of nodes in (home, second) region."""
    flex_max_size: tuple[int, int]


PHASES: Mapping[int, PhaseDefaults] = {
    2: PhaseDefaults(100, 150, "db.t4g.small", False, (0, 0), (0, 0)),
    3: PhaseDefaults(600, 1000, "db.t4g.medium", True, (3, 0), (5, 0)),
    4: PhaseDefaults(1200, 2000, "db.t4g.medium", True, (3, 3), (5, 3)),
}


@dataclass(frozen=True, slots=True)
class ProfileDefaults:
    """The nodes and databases that suit a profile's requests."""

    critical_types: tuple[str, ...]
    flex_types: tuple[str, ...]
    flex_min_size: int
    max_sizes: tuple[int, int]
    """No (critical, flex) group is larger by default: more pods would need more database connections."""
    database_class: Mapping[int, str]
    """Phase → class, where it differs from the phase's own."""


PROFILES: Mapping[str, ProfileDefaults] = {
    "proposed": ProfileDefaults(("t4g.large",), ("t4g.xlarge", "c6g.xlarge"), 2, (3, 5), {}),
    # Phase 4 has two databases, which share the agents: together they are as large as the one of phase 3.
    "measured": ProfileDefaults(("t4g.medium",), ("t4g.medium", "c6g.large"), 1, (2, 3), {4: "db.t4g.small"}),
}


@dataclass(frozen=True, slots=True)
class RegionSettings:
    """One region. Name, addresses and zones are fixed from phase 2 on: a change replaces what holds data."""

    name: str
    zone: Zone
    cidr: ipaddress.IPv4Network
    availability_zones: tuple[str, ...]
    recovery_region: str
    """Where backup copies go; always in the same zone."""
    critical_max_size: int
    flex_max_size: int
    model_endpoint: str
    """OpenAI-compatible base URL for this region's missions and embeddings; must serve from `zone`."""


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """The EKS cluster of each region."""

    version: str
    """Kubernetes minor version of EKS, such as "1.35"."""
    endpoint: Endpoint
    endpoint_cidrs: tuple[str, ...]
    """Who may reach a public API endpoint; empty when it is private."""
    admin_principals: tuple[str, ...]
    """IAM ARNs that get cluster administration by an access entry."""
    critical_types: tuple[str, ...]
    flex_types: tuple[str, ...]
    critical_min_size: int
    flex_min_size: int
    node_disk_gb: int


@dataclass(frozen=True, slots=True)
class HostSettings:
    """The phase-2 host."""

    instance_type: str
    disk_gb: int


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """RDS PostgreSQL of each region."""

    engine_version: str
    instance_class: str
    multi_az: bool
    storage_gb: int
    max_storage_gb: int
    """Storage autoscaling stops here; the worst bill counts it."""
    backup_days: int


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """ElastiCache Valkey of each region, from phase 3 on."""

    node_type: str
    nodes: int


@dataclass(frozen=True, slots=True)
class ImageSettings:
    """Which release of the images runs."""

    tag: str
    """Release tag; the repositories refuse to overwrite a tag."""
    pins: Mapping[str, str]
    """Agent, `gateway` or `migrate` → `sha256:…` digest or release tag, instead of `tag`."""


@dataclass(frozen=True, slots=True)
class GateSettings:
    """Evidence that the step to this phase may be taken."""

    file: str
    """JSON of `python -m runner gate --json` for the gate before this phase; "" when there is none."""
    override: str
    """"NAME: REASON" of the person who goes on without it; recorded in the stack's outputs."""


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """Caps on what models cost. They lie outside the budget: the runners enforce them before each call."""

    executor: Literal["recall", "model", "actions"]
    model: str
    embedding_model: str
    embeddings_a_month: int
    mission_cap_usd: Decimal
    daily_cap_usd: Decimal
    monthly_cap_usd: Decimal


@dataclass(frozen=True, slots=True)
class Limits:
    """What the policy pack holds a plan to."""

    budget: int
    """USD a month at rest."""
    ceiling: int
    """USD a month, worst of planned capacity."""
    max_replicas: int
    spot_saving: int
    """Percent that spot nodes must save against on-demand."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the plan and the components need, validated together."""

    project: str
    stack: str
    phase: Phase
    profile: Profile
    regions: tuple[RegionSettings, RegionSettings]
    """Home first. The second exists from phase 4 on; its addresses are kept free from phase 2."""
    agents_dir: Path
    geography_file: Path
    fleet_file: Path
    domain: str
    hosted_zone_id: str
    """An existing Route 53 zone of `domain`; "" makes one."""
    alarm_email: str
    owner: str
    account_id: str
    """The only AWS account the providers accept."""
    github_repository: str
    github_environment: str
    github_oidc_provider_arn: str
    """The account's OIDC provider for GitHub; "" makes one."""
    account_budgets: bool
    """AWS Budgets are once an account: one stack of the account makes them."""
    protect: bool
    """Whether resources that hold data refuse to be deleted."""
    actions_agents: tuple[str, ...]
    """Agents whose missions GitHub Actions works; they get no Deployment."""
    log_days: int
    inbox_days: int
    missions_days: int
    missions_a_month: int
    cluster: ClusterSettings
    host: HostSettings
    database: DatabaseSettings
    cache: CacheSettings
    images: ImageSettings
    gate: GateSettings
    models: ModelSettings
    limits: Limits

    @property
    def home(self) -> RegionSettings:
        return self.regions[0]

    @property
    def active_regions(self) -> tuple[RegionSettings, ...]:
        """The regions that exist in this phase."""
        return self.regions if self.phase == 4 else self.regions[:1]

    def webhook_host(self, zone: Zone) -> str:
        """Where GitHub delivers the webhooks of repositories in `zone`."""
        return f"{zone.lower()}.hooks.{self.domain}"
