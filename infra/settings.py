"""The settings of a stack: read once, typed, and refused as a whole with every mistake listed.

Defaults stand in one place, the `config:` schema of `Pulumi.yaml`. What differs between phases (budget,
database class, Multi-AZ, node limits) is 0 or "" there and comes from `PHASES`, so that changing `phase` alone moves a stack.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Literal, cast

from errors import SettingsError
from infra.config import Reader
from runner.geography import Zone

Phase = Literal[2, 3, 4]
Profile = Literal["proposed", "measured"]
Endpoint = Literal["private", "public"]

PROJECT = "agents-cloud"
# AWS regions named eu-… that lie outside the European Union (London, Zurich).
OUTSIDE_THE_EU = frozenset({"eu-west-2", "eu-central-2"})


@dataclass(frozen=True, slots=True)
class PhaseDefaults:
    """What a phase means where the stack does not say otherwise. Budget and ceiling: USD a month, the proposal's."""

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
    """The nodes that suit a profile's requests."""

    critical_types: tuple[str, ...]
    flex_types: tuple[str, ...]
    flex_min_size: int
    max_sizes: tuple[int, int]
    """No (critical, flex) group is larger by default: more pods than these would need more database connections than there are."""


PROFILES: Mapping[str, ProfileDefaults] = {
    "proposed": ProfileDefaults(("t4g.large",), ("t4g.xlarge", "c6g.xlarge"), 2, (3, 5)),
    "measured": ProfileDefaults(("t4g.medium",), ("t4g.medium", "c6g.large"), 1, (2, 3)),
}


@dataclass(frozen=True, slots=True)
class RegionSettings:
    """One region's place in the network. All are fixed from phase 2 on: changing them replaces what holds data."""

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
    engine_version: str
    instance_class: str
    multi_az: bool
    storage_gb: int
    max_storage_gb: int
    """Storage autoscaling stops here; the worst bill counts it."""
    backup_days: int


@dataclass(frozen=True, slots=True)
class CacheSettings:
    node_type: str
    nodes: int


@dataclass(frozen=True, slots=True)
class ImageSettings:
    tag: str
    """Release tag; the repositories refuse to overwrite a tag."""
    pins: Mapping[str, str]
    """Agent, `gateway` or `migrate` → `sha256:…` digest or release tag, instead of `tag`."""


@dataclass(frozen=True, slots=True)
class GateSettings:
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
    audit_days: int
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


def from_config(mapping: Mapping[str, object], *, stack: str) -> Settings:
    """Settings of `stack` from its configuration: bare keys, values as YAML gives them or as Pulumi's strings.

    Raises SettingsError that lists every mistake at once.
    """
    read = Reader(mapping)
    phase = read.integer("phase", 2, 4)
    phase = phase if phase in PHASES else 2
    defaults = PHASES[phase]
    profile = read.choice("profile", *PROFILES)
    nodes = PROFILES[profile]
    settings = Settings(
        project=PROJECT,
        stack=stack,
        phase=cast(Phase, phase),
        profile=cast(Profile, profile),
        regions=(_region(read, "home", 0, defaults, nodes), _region(read, "second", 1, defaults, nodes)),
        agents_dir=Path(read.text("agentsDir", r".+", "a folder")),
        geography_file=Path(read.text("geographyFile", r".+", "a file")),
        fleet_file=Path(read.text("fleetFile", r".+", "a file")),
        domain=read.text("domain", r"([a-z0-9-]+\.)+[a-z]{2,}", "a DNS name such as agents.example.org"),
        hosted_zone_id=read.text("hostedZoneId", r"(Z[A-Z0-9]+)?", "a Route 53 zone id (Z…) or empty"),
        alarm_email=read.text("alarmEmail", r"[^@\s]+@[^@\s]+\.[^@\s]+", "an e-mail address"),
        owner=read.text("owner", r"[\w .:/=+@-]{1,256}", "a person or team, in characters an AWS tag allows"),
        account_id=read.text("accountId", r"\d{12}", "the 12 digits of an AWS account"),
        github_repository=read.text("githubRepository", r"[A-Za-z0-9-]+/[A-Za-z0-9._-]+", "owner/name"),
        github_environment=read.text("githubEnvironment", r"[A-Za-z0-9_-]+", "a GitHub environment's name"),
        github_oidc_provider_arn=read.text(
            "githubOidcProviderArn", r"(arn:aws:iam::\d{12}:oidc-provider/.+)?", "an ARN or empty"
        ),
        account_budgets=read.boolean("accountBudgets"),
        protect=read.boolean("protect"),
        actions_agents=read.texts("actionsAgents", r"[A-Za-z0-9-]+", "an agent's name"),
        log_days=read.one_of("logDays", (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365)),
        inbox_days=read.integer("inboxDays", 1, 365),
        audit_days=read.integer("auditDays", 1, 3650),
        missions_a_month=read.integer("missionsAMonth", 1, 10_000_000),
        cluster=_cluster(read, nodes),
        host=HostSettings(
            read.text("hostType", r"[a-z0-9]+\.[a-z0-9]+", "an EC2 type"),
            read.integer("hostDiskGb", 20, 1000),
        ),
        database=_database(read, defaults),
        cache=CacheSettings(
            read.text("cacheType", r"cache\.[a-z0-9]+\.[a-z0-9]+", "a cache.… type"),
            read.integer("cacheNodes", 1, 5),
        ),
        images=_images(read),
        gate=GateSettings(
            read.text("gateFile"), read.text("gateOverride", r"([^:]+: .+)?", '"NAME: REASON" or empty')
        ),
        models=_models(read),
        limits=Limits(
            budget=read.integer("budget", 0, 1_000_000) or defaults.budget,
            ceiling=read.integer("ceiling", 0, 1_000_000) or defaults.ceiling,
            max_replicas=read.integer("maxReplicas", 1, 100),
            spot_saving=read.integer("spotSaving", 0, 90),
        ),
    )
    _check_together(settings, read)
    read.refuse_unknown()
    if read.mistakes:
        raise SettingsError.together(
            [SettingsError(f"stack {stack}: {problem}", fix) for problem, fix in read.mistakes]
        )
    return settings


def zone_of_region(region: str) -> Zone | None:
    """The legal zone an AWS region lies in, or None where it lies in neither."""
    if region.startswith("us-") and not region.startswith("us-gov-"):
        return "US"
    return "EU" if region.startswith("eu-") and region not in OUTSIDE_THE_EU else None


def _region(
    read: Reader, prefix: str, index: int, defaults: PhaseDefaults, nodes: ProfileDefaults
) -> RegionSettings:
    name = read.text(f"{prefix}Region", r"(us|eu)-[a-z]+-\d", "an AWS region us-… or eu-…")
    zone = zone_of_region(name)
    if zone is None and name:
        read.mistake(
            f"{prefix}Region {name} lies in neither zone, US or EU", "use a us-… region or one in the EU"
        )
    recovery = read.text(f"{prefix}RecoveryRegion", r"(us|eu)-[a-z]+-\d", "an AWS region us-… or eu-…")
    if zone is not None and recovery and (zone_of_region(recovery) != zone or recovery == name):
        read.mistake(
            f"{prefix}RecoveryRegion {recovery} is not another region of zone {zone}: backup copies may not leave it",
            f"name a second region of zone {zone}",
        )
    zones = read.texts(f"{prefix}Zones", r"(us|eu)-[a-z]+-\d[a-f]", "an availability zone")
    if (
        not 2 <= len(set(zones)) <= 3
        or len(set(zones)) != len(zones)
        or not all(z[:-1] == name for z in zones)
    ):
        read.mistake(
            f"{prefix}Zones must be two or three different availability zones of {name}",
            f"for example {name}a, {name}b",
        )
    return RegionSettings(
        name=name,
        zone=zone or "US",
        cidr=read.network(f"{prefix}Cidr", 16),
        availability_zones=zones,
        recovery_region=recovery,
        critical_max_size=read.integer(f"{prefix}CriticalMaxSize", 0, 450)
        or min(defaults.critical_max_size[index], nodes.max_sizes[0]),
        flex_max_size=read.integer(f"{prefix}FlexMaxSize", 0, 450)
        or min(defaults.flex_max_size[index], nodes.max_sizes[1]),
        model_endpoint=read.text(f"{prefix}ModelEndpoint", r"https://[^\s/]+(/\S*)?", "an https:// URL"),
    )


def _cluster(read: Reader, defaults: ProfileDefaults) -> ClusterSettings:
    cluster = ClusterSettings(
        version=read.text("kubernetesVersion", r"1\.\d\d", "a minor version such as 1.35"),
        endpoint=cast(Endpoint, read.choice("clusterEndpoint", "private", "public")),
        endpoint_cidrs=read.texts("clusterEndpointCidrs", r"\d+(\.\d+){3}/\d+", "an IPv4 block"),
        admin_principals=read.texts(
            "adminPrincipals", r"arn:aws:iam::\d{12}:(role|user)/.+", "an IAM role or user ARN"
        ),
        critical_types=read.texts("criticalTypes", r"[a-z0-9]+\.[a-z0-9]+", "an EC2 type")
        or defaults.critical_types,
        flex_types=read.texts("flexTypes", r"[a-z0-9]+\.[a-z0-9]+", "an EC2 type") or defaults.flex_types,
        critical_min_size=read.integer("criticalMinSize", 1, 10),
        flex_min_size=read.integer("flexMinSize", 0, 10) or defaults.flex_min_size,
        node_disk_gb=read.integer("nodeDiskGb", 20, 1000),
    )
    if len(cluster.flex_types) < 2:
        read.mistake(
            "flexTypes has one entry: one spot market that dries up would stop every flex agent",
            "list two or more of one size",
        )
    if cluster.endpoint == "public" and (not cluster.endpoint_cidrs or "0.0.0.0/0" in cluster.endpoint_cidrs):
        read.mistake(
            "a public cluster endpoint needs clusterEndpointCidrs, and not 0.0.0.0/0", "list who may reach it"
        )
    if cluster.endpoint == "private" and cluster.endpoint_cidrs:
        read.mistake(
            "clusterEndpointCidrs without a public endpoint has no effect",
            "empty it or set clusterEndpoint: public",
        )
    return cluster


def _database(read: Reader, defaults: PhaseDefaults) -> DatabaseSettings:
    database = DatabaseSettings(
        engine_version=read.text("databaseVersion", r"1[6-9](\.\d+)?", "PostgreSQL 16 to 19"),
        instance_class=read.text("databaseClass", r"(db\.[a-z0-9]+\.[a-z0-9]+)?", "a db.… class, or empty")
        or defaults.database_class,
        multi_az={"": defaults.multi_az, "yes": True, "no": False}[
            read.choice("databaseMultiAz", "", "yes", "no")
        ],
        storage_gb=read.integer("databaseStorageGb", 20, 65_536),
        max_storage_gb=read.integer("databaseMaxStorageGb", 20, 65_536),
        backup_days=read.integer("backupDays", 1, 35),
    )
    # RDS refuses an autoscaling limit less than 10 % above the allocated storage (CreateDBInstance, MaxAllocatedStorage).
    if database.max_storage_gb * 10 < database.storage_gb * 11:
        read.mistake(
            f"databaseMaxStorageGb {database.max_storage_gb} is less than 10 % above databaseStorageGb {database.storage_gb}",
            f"set it to at least {-(-database.storage_gb * 11 // 10)}",
        )
    return database


def _images(read: Reader) -> ImageSettings:
    pins: dict[str, str] = {}
    for pin in read.texts(
        "imagePins", r"[A-Za-z0-9-]+=(sha256:[0-9a-f]{64}|v?\d+\.\d+\.\d+\S*)", "NAME=sha256:… or NAME=1.2.3"
    ):
        name, _, value = pin.partition("=")
        if name in pins:
            read.mistake(f"imagePins names {name} twice", "keep one")
        pins[name] = value
    return ImageSettings(read.text("imageTag", r"v?\d+\.\d+\.\d+\S*", "a release such as 0.1.0"), pins)


def _models(read: Reader) -> ModelSettings:
    models = ModelSettings(
        executor=cast(
            Literal["recall", "model", "actions"], read.choice("executor", "recall", "model", "actions")
        ),
        model=read.text("model", r"\S+", "a model's name"),
        embedding_model=read.text("embeddingModel", r"\S+", "a model's name"),
        embeddings_a_month=read.integer("embeddingsAMonth", 0, 100_000_000),
        mission_cap_usd=read.dollars("missionCapUsd"),
        daily_cap_usd=read.dollars("dailyCapUsd"),
        monthly_cap_usd=read.dollars("monthlyCapUsd"),
    )
    if not models.mission_cap_usd <= models.daily_cap_usd <= models.monthly_cap_usd:
        read.mistake(
            "the caps must grow: missionCapUsd ≤ dailyCapUsd ≤ monthlyCapUsd",
            "raise the outer or lower the inner cap",
        )
    return models


def _check_together(settings: Settings, read: Reader) -> None:
    home, second = settings.regions
    if home.name == second.name:
        read.mistake(f"homeRegion and secondRegion are both {home.name}", "name two regions")
    if home.cidr.overlaps(second.cidr):
        read.mistake(
            f"homeCidr {home.cidr} and secondCidr {second.cidr} overlap: they are peered in phase 4",
            "choose disjoint blocks",
        )
    if settings.limits.budget > settings.limits.ceiling:
        read.mistake(
            f"budget {settings.limits.budget} is above ceiling {settings.limits.ceiling}",
            "lower the one or raise the other",
        )
