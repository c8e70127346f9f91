"""What a Kubernetes cluster answers: objects by namespace and name, what the real provider replaces, and statuses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from tests.engine.provider import Change, Cloud, Properties, Refused, Thing, changed_paths

# pulumi-kubernetes v4, provider/pkg/provider/diff.go (forceNew): what the real provider replaces.
REPLACES: Mapping[str, tuple[str, ...]] = {
    "Deployment": ("spec.selector",),
    "DaemonSet": ("spec.selector",),
    "Job": ("spec.completions", "spec.parallelism", "spec.selector", "spec.template"),
    "Secret": ("type",),
    "Service": ("spec.clusterIP",),
    "RoleBinding": ("roleRef",),
    "ClusterRoleBinding": ("roleRef",),
}
EVERYWHERE = ("metadata.name", "metadata.namespace")
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass
class Kubernetes(Cloud):
    name: str = "kubernetes"

    def region(self, configuration: Mapping[str, Any]) -> str:
        """The region that stands in the API server's name, as in `https://….eu-west-1.eks.amazonaws.com`."""
        server = yaml.safe_load(configuration["kubeconfig"])["clusters"][0]["cluster"]["server"]
        return str(server.split(".")[-4])

    def forget(self, region: str) -> None:
        """The cluster of `region` is gone, and every object with it."""
        self.things = {key: thing for key, thing in self.things.items() if thing.region != region}

    def diff(self, type: str, old: Properties, new: Properties) -> Change:
        changed = changed_paths(old, new)
        replacing = EVERYWHERE + REPLACES.get(new.get("kind", ""), ())
        if new.get("immutable"):
            replacing += ("data", "binaryData", "stringData")
        replaces = [path for path in changed if path.startswith(replacing)]
        same_name = not any(path in EVERYWHERE for path in changed)
        return Change(changed, replaces, delete_first=bool(replaces) and same_name)

    def create(self, type: str, name: str, region: str, inputs: Properties) -> Thing:
        if type == "kubernetes:helm.sh/v3:Release":
            return self._release(type, region, inputs)
        metadata = inputs.get("metadata", {})
        if not LABEL.fullmatch(metadata.get("name", "").replace(".", "-").replace(":", "-")):
            raise Refused(f"{type} {name}: metadata.name {metadata.get('name')!r} is no DNS name")
        id = "/".join(part for part in (metadata.get("namespace"), metadata["name"]) if part)
        if (region, type, id) in self.things:
            raise Refused(f'{type} "{id}" already exists')
        outputs = dict(inputs)
        if inputs.get("kind") == "Ingress":
            host = f"k8s-{metadata['name']}-0123456789.{region}.elb.amazonaws.com"
            outputs["status"] = {"loadBalancer": {"ingress": [{"hostname": host}]}}
        return Thing(type, id, region, inputs, outputs)

    def _release(self, type: str, region: str, inputs: Properties) -> Thing:
        id = f"{inputs['namespace']}/{inputs['name']}"
        if (region, type, id) in self.things:
            raise Refused(f"cannot re-use a name that is still in use: {id}")
        return Thing(
            type, id, region, inputs, inputs | {"status": {"status": "deployed", "name": inputs["name"]}}
        )
