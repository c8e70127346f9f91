"""A real API server on etcd, on loopback, for as long as the ring runs."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from runner.local.embedded import free_port

BUILD = Path(__file__).with_name("tools") / "build"
BUILD_SECONDS = 1700
READY_SECONDS = 60
TOKEN = "for-tests"


@dataclass(frozen=True, slots=True)
class Cluster:
    """An API server that knows one administrator."""

    url: str
    authority: Path

    def kubectl(self, *arguments: str, input: str | None = None) -> subprocess.CompletedProcess[str]:
        access = [f"--server={self.url}", f"--certificate-authority={self.authority}", f"--token={TOKEN}"]
        return subprocess.run(
            ["kubectl", *access, *arguments],
            input=input,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    tools = {"etcd": shutil.which("etcd"), "kube-apiserver": shutil.which("kube-apiserver")}
    if not all(tools.values()):
        built = subprocess.run([BUILD], check=True, stdout=subprocess.PIPE, text=True, timeout=BUILD_SECONDS)
        tools = {name: f"{built.stdout.strip()}/{name}" for name in tools}
    folder = tmp_path_factory.mktemp("cluster")
    clients, peers, api = (free_port() for _ in range(3))
    with ExitStack() as running:
        etcd = f"http://127.0.0.1:{clients}"
        peer = f"http://127.0.0.1:{peers}"
        options = [f"--data-dir={folder / 'etcd'}", "--unsafe-no-fsync", "--log-level=error", "--name=one"]
        urls = [
            f"--listen-client-urls={etcd}",
            f"--advertise-client-urls={etcd}",
            f"--listen-peer-urls={peer}",
        ]
        joined = [f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=one={peer}"]
        running.enter_context(_process(folder / "etcd.log", [str(tools["etcd"]), *options, *urls, *joined]))
        command = [str(tools["kube-apiserver"]), *_api_options(folder, etcd, api)]
        server = running.enter_context(_process(folder / "api.log", command))
        made = Cluster(f"https://127.0.0.1:{api}", folder / "certificates" / "apiserver.crt")
        _wait(made, server, folder / "api.log")
        yield made


def _api_options(folder: Path, etcd: str, port: int) -> list[str]:
    (folder / "tokens.csv").write_text(f'{TOKEN},admin,admin,"system:masters"\n')
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = folder / "accounts.key"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    return [
        f"--etcd-servers={etcd}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={folder / 'certificates'}",
        f"--token-auth-file={folder / 'tokens.csv'}",
        "--authorization-mode=RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={private}",
        f"--service-account-signing-key-file={private}",
        "--service-cluster-ip-range=10.96.0.0/16",
    ]


@contextmanager
def _process(log: Path, command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Stopped by its own id, and by force: without etcd the API server would hold its port for minutes."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            process.kill()
            process.wait(10)


def _wait(cluster: Cluster, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        if cluster.authority.exists() and cluster.kubectl("get", "--raw", "/readyz").stdout == "ok":
            return
        time.sleep(0.2)
    raise AssertionError(f"the API server is not ready: {log.read_text()[-2000:]}")
