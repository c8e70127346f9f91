"""Kubernetes objects as plain manifests, in the form that everybody reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Manifest = dict[str, Any]
NAMESPACE = "agents"
CLASS_LABEL = "agents-cloud/node-class"
SPOT_TAINT = "agents-cloud/spot"


def manifest(
    api_version: str,
    kind: str,
    name: str,
    *,
    namespace: str | None = NAMESPACE,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, Any] | None = None,
    **content: Any,
) -> Manifest:
    """An object; `content` is what stands beside `metadata`, such as `spec`."""
    metadata: Manifest = {"name": name}
    if namespace is not None:
        metadata["namespace"] = namespace
    metadata["labels"] = {"app.kubernetes.io/part-of": "agents-cloud", **(labels or {})}
    if annotations:
        metadata["annotations"] = dict(annotations)
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **content}
