"""From a stack's configuration to `Settings`: every mistake is collected, and all are told at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, cast
from urllib.parse import urlsplit

from errors import SettingsError
from infra.config import Reader
from infra.settings import (
    PHASES,
    PROFILES,
    PROJECT,
    CacheSettings,
    ClusterSettings,
    DatabaseSettings,
    Endpoint,
    GateSettings,
    HostSettings,
    ImageSettings,
    Limits,
    ModelSettings,
    Phase,
    PhaseDefaults,
    Profile,
    ProfileDefaults,
    RegionSettings,
    Settings,
)
from runner.geography import ZONES, Zone, zone_of_region


def from_config(mapping: Mapping[str, object], *, stack: str) -> Settings:
    """Settings of `stack` from its configuration: bare keys, values as YAML has them or as Pulumi's strings.

    Raises SettingsError that lists every mistake at once.
    """
    read = Reader(mapping)
    phase = cast(Phase, read.integer("phase", 2, 4))
    profile = cast(Profile, read.choice("profile", *PROFILES))
    defaults, nodes = PHASES[phase], PROFILES[profile]
    settings = Settings(
        project=PROJECT,
        stack=stack,
        phase=phase,
        profile=profile,
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
        missions_days=read.integer("missionsDays", 1, 3650),
        missions_a_month=read.integer("missionsAMonth", 1, 10_000_000),
        cluster=_cluster(read, nodes),
        host=HostSettings(
            read.text("hostType", r"[a-z0-9]+\.[a-z0-9]+", "an EC2 type"),
            read.integer("hostDiskGb", 20, 1000),
        ),
        database=_database(read, defaults, nodes.database_class.get(phase, defaults.database_class)),
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
            [SettingsError(f"stack {stack}: {problem}", fix) for problem, fix in dict.fromkeys(read.mistakes)]
        )
    return settings


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
            f"{prefix}RecoveryRegion {recovery} is no other region of zone {zone}, where backups must stay",
            f"name a second region of zone {zone}",
        )
    zones = read.texts(f"{prefix}Zones", r"(us|eu)-[a-z]+-\d[a-f]", "an availability zone")
    different = len(set(zones)) == len(zones) and all(entry[:-1] == name for entry in zones)
    if not (different and 2 <= len(zones) <= 3):
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
        model_endpoint=_model_endpoint(read, prefix, zone),
    )


def _model_endpoint(read: Reader, prefix: str, zone: Zone | None) -> str:
    endpoint = read.text(f"{prefix}ModelEndpoint", r"https://[^\s/]+(/\S*)?", "an https:// URL")
    hosts = {of: read.texts(f"{of.lower()}ModelHosts", r"[a-z0-9.-]+", "a host name") for of in ZONES}
    if zone is not None and endpoint and urlsplit(endpoint).hostname not in hosts[zone]:
        read.mistake(
            f"{prefix}ModelEndpoint {endpoint} is not among the hosts that serve from zone {zone}",
            f"use one of {', '.join(hosts[zone])}, or add it to {zone.lower()}ModelHosts",
        )
    return endpoint


def _cluster(read: Reader, defaults: ProfileDefaults) -> ClusterSettings:
    cluster = ClusterSettings(
        version=read.text("kubernetesVersion", r"1\.\d\d", "a minor version such as 1.36"),
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


def _database(read: Reader, defaults: PhaseDefaults, usual_class: str) -> DatabaseSettings:
    multi_az = read.choice("databaseMultiAz", "", "yes", "no")
    database = DatabaseSettings(
        engine_version=read.text("databaseVersion", r"1[6-9](\.\d+)?", "PostgreSQL 16 to 19"),
        instance_class=read.text("databaseClass", r"(db\.[a-z0-9]+\.[a-z0-9]+)?", "a db.… class, or empty")
        or usual_class,
        multi_az=multi_az == "yes" if multi_az else defaults.multi_az,
        storage_gb=read.integer("databaseStorageGb", 20, 65_536),
        max_storage_gb=read.integer("databaseMaxStorageGb", 20, 65_536),
        backup_days=read.integer("backupDays", 1, 35),
    )
    # RDS refuses less than 10 % between allocated storage and autoscaling's limit (CreateDBInstance).
    least = -(-database.storage_gb * 11 // 10)
    if database.max_storage_gb < least:
        read.mistake(
            f"databaseMaxStorageGb {database.max_storage_gb} is not 10 % above databaseStorageGb",
            f"set it to at least {least}",
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
    # IAM allows 64 characters, of which the longest role's name leaves nine; RDS allows no upper case and no `--`.
    if not re.fullmatch(r"(?=.{1,9}$)[a-z][a-z0-9]*(-[a-z0-9]+)*", settings.stack):
        read.mistake(
            f"the stack's name {settings.stack!r} cannot stand in names of AWS",
            "use one to nine lower-case letters, digits and single hyphens, a letter first",
        )
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
