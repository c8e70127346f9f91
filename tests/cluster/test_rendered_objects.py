"""The real API server takes every object that the program would make, with Pod Security's `restricted` in force."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from infra.render import DEFAULTS, render
from tests.cluster.conftest import Cluster


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rendered") / "yaml"
    render(4, folder, DEFAULTS, helm=False)
    return folder


@pytest.mark.parametrize("region", ["us-west-2", "eu-west-1"])
def test_the_api_server_accepts_every_object_without_a_warning(
    cluster: Cluster, rendered: Path, region: str
) -> None:
    folder = rendered / region
    (namespace,) = folder.glob("*-namespace-*.yaml")
    # A dry run of an object needs the namespace that it names.
    assert (
        cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(namespace)).returncode == 0
    )
    tried = cluster.kubectl("apply", "--server-side", "--dry-run=server", "-f", str(folder))
    assert tried.stderr == ""
    assert tried.returncode == 0
    assert len(tried.stdout.splitlines()) == len(list(folder.glob("*.yaml")))


def test_a_pod_of_the_program_is_admitted_and_one_that_may_become_root_is_not(
    cluster: Cluster, rendered: Path
) -> None:
    (namespace,) = (rendered / "us-west-2").glob("*-namespace-*.yaml")
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(namespace))
    (file,) = (rendered / "us-west-2").glob("*-deployment-engineer-master.yaml")
    template = yaml.safe_load(file.read_text())["spec"]["template"]
    template["spec"]["serviceAccountName"] = "default"
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "default", "namespace": "agents"},
    }
    cluster.kubectl("apply", "--server-side", "-f", "-", input=yaml.safe_dump(account))
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "one", "namespace": "agents"},
        "spec": template["spec"],
    }
    admitted = cluster.kubectl(
        "apply", "--server-side", "--dry-run=server", "-f", "-", input=yaml.safe_dump(pod)
    )
    assert admitted.returncode == 0, admitted.stderr
    pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    refused = cluster.kubectl(
        "apply", "--server-side", "--dry-run=server", "-f", "-", input=yaml.safe_dump(pod)
    )
    assert refused.returncode != 0
    assert "PodSecurity" in refused.stderr
