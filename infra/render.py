"""`python -m infra.render`: the Kubernetes objects of a phase as YAML, or as a Helm chart that gives the same ones.

They come from the components that `pulumi up` runs. Secrets are not among them: docs/deploy.md says how to make them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from errors import AgentsCloudError, InputError
from infra.chart import write_chart
from infra.config import read_stack
from infra.manifest import Manifest
from infra.outlook import plan_stack
from infra.preview import PRESETS, ROOT
from infra.record import record
from infra.shapes import RegionPlan, Resource

# Helm releases are charts of others, which `pulumi up` installs.
LEFT_OUT = ("kubernetes:helm.sh/v3:Release", "kubernetes:core/v1:Secret")
CERTIFICATE = "alb.ingress.kubernetes.io/certificate-arn"
FIRST = ("Namespace", "ServiceAccount", "ConfigMap")


@dataclass(frozen=True, slots=True)
class Places:
    """What is known only where the objects are applied, and is made up while they are recorded."""

    database: str
    peer_database: str
    redis: str
    registry: str
    """Host of the images, with the path before an image's name."""
    database_secret: str
    certificate: str


DEFAULTS = Places(
    database="database.agents.internal",
    peer_database="database.peer.agents.internal",
    redis="redis.agents.internal",
    registry="registry.agents.internal/agents-cloud",
    database_secret="arn-of-the-owners-secret",  # noqa: S106 - the name of one
    certificate="arn-of-the-certificate",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the objects and say how many. Returns 1 when the input is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.render", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument(
        "--phase", type=int, choices=(3, 4), required=True, help="the phase whose preset is rendered"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="an empty or new folder")
    parser.add_argument(
        "--helm", action="store_true", help="one Helm chart for each region instead of plain YAML"
    )
    for place in fields(Places):
        option = f"--{place.name.replace('_', '-')}"
        parser.add_argument(
            option, default=getattr(DEFAULTS, place.name), help=f"default {getattr(DEFAULTS, place.name)}"
        )
    options = parser.parse_args(arguments)
    places = Places(**{place.name: getattr(options, place.name) for place in fields(Places)})
    try:
        written = render(options.phase, options.out, places, helm=options.helm)
    except AgentsCloudError as wrong:
        sys.stderr.write(f"{wrong}\n")
        return wrong.exit_code
    for region, count in written.items():
        sys.stdout.write(f"{count} objects for {region} in {options.out / region}\n")
    return 0


def render(phase: int, out: Path, places: Places, *, helm: bool) -> dict[str, int]:
    """Write a folder for each region of the phase's preset. Gives the number of objects for each.

    Raises InputError where `out` is not empty: old objects would be applied along with the new ones.
    """
    if out.exists() and any(out.iterdir()):
        raise InputError("it is not empty", "name a new folder", file=out)
    stack = PRESETS[phase]
    settings, plan = plan_stack(ROOT, read_stack(ROOT, stack), stack)
    resources = record(settings, plan)
    written = {}
    for region in plan.regions:
        objects = objects_of(resources, region, places)
        folder = out / region.name
        folder.mkdir(parents=True)
        if helm:
            write_chart(folder, objects, region, settings)
        else:
            write_yaml(folder, objects)
        written[region.name] = len(objects)
    return written


def objects_of(resources: Iterable[Resource], region: RegionPlan, places: Places) -> list[Manifest]:
    """The Kubernetes objects of a region, those first that others need, with `places` instead of made-up ones."""
    objects = [
        dict(resource.inputs)
        for resource in resources
        if resource.region == region.name
        and resource.type.startswith("kubernetes:")
        and resource.type not in LEFT_OUT
    ]
    objects.sort(key=_order)
    known = _addresses(objects, places)
    return [_replaced(made, known) for made in objects]


def write_yaml(folder: Path, objects: Iterable[Manifest]) -> None:
    """One file an object, named so that `kubectl apply -f` takes them in order."""
    for number, made in enumerate(objects):
        name = f"{number:04}-{made['kind'].lower()}-{made['metadata']['name']}.yaml"
        (folder / name).write_text(
            yaml.safe_dump(made, sort_keys=False, allow_unicode=True), encoding="utf-8"
        )


def _order(made: Manifest) -> tuple[int, str, str]:
    rank = FIRST.index(made["kind"]) if made["kind"] in FIRST else len(FIRST)
    return rank, made["kind"], made["metadata"]["name"]


def _addresses(objects: Iterable[Manifest], places: Places) -> dict[str, str]:
    """What the recording made up → what was asked for."""
    made_up = {}
    for container in (_container(made) for made in objects if made["kind"] in ("Deployment", "Job")):
        variables = {entry["name"]: str(entry.get("value")) for entry in container["env"]}
        made_up[container["image"].rpartition("/")[0]] = places.registry
        made_up[str(urlsplit(variables["DATABASE_URL"]).hostname)] = places.database
        if "REDIS_URL" in variables:
            made_up[str(urlsplit(variables["REDIS_URL"]).hostname)] = places.redis
        if "PEER_HOST" in variables:
            made_up[variables["PEER_HOST"]] = places.peer_database
        if "DATABASE_SECRET_ARN" in variables:
            made_up[variables["DATABASE_SECRET_ARN"]] = places.database_secret
    for made in objects:
        if made["kind"] == "Ingress":
            made_up[made["metadata"]["annotations"][CERTIFICATE]] = places.certificate
    return made_up


def _container(workload: Manifest) -> Manifest:
    container: Manifest = workload["spec"]["template"]["spec"]["containers"][0]
    return container


def _replaced(value: Any, known: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        for old, new in known.items():
            value = value.replace(old, new)
        return value
    if isinstance(value, list):
        return [_replaced(entry, known) for entry in value]
    if isinstance(value, dict):
        return {key: _replaced(entry, known) for key, entry in value.items()}
    return value


if __name__ == "__main__":
    sys.exit(main())
