"""The program's resources without a cloud: the real components run against mocks that keep what they are asked for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pulumi
from pulumi.runtime import MockCallArgs, MockResourceArgs, Mocks, set_mocks
from pulumi.runtime.mocks import MockMonitor

from infra.build import build
from infra.outputs import answer
from infra.plan import Plan
from infra.settings import Settings
from infra.shapes import Resource

LOAD_BALANCER = "k8s-agents-gateway-0123456789.{region}.elb.amazonaws.com"


class _Recorder(Mocks):
    def __init__(self, account: str) -> None:
        self.resources: list[Resource] = []
        self._account = account
        self._regions: dict[str, str] = {}
        """Provider (its URN) → region."""

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        inputs: dict[str, Any] = _whole_numbers(dict(args.inputs))
        if not args.custom:
            return None, inputs
        if args.typ.startswith("pulumi:providers:"):
            self._regions[args.name] = str(inputs.get("region") or args.name.removesuffix("-cluster"))
            region = self._regions[args.name]
            self._note(args, region, inputs)
            return f"{args.name}-id", inputs
        region = self._regions[(args.provider or "").split("::")[3]]
        self._note(args, region, inputs)
        if args.typ.startswith("kubernetes:"):
            return args.name, _with_status(args.typ, region, inputs)
        return answer(args.typ, args.name, region, self._account, inputs)

    def call(self, args: MockCallArgs) -> tuple[dict[Any, Any], None]:
        raise NotImplementedError(f"the program asks the cloud while it plans: {args.token}")

    def _note(self, args: MockResourceArgs, region: str, inputs: dict[str, Any]) -> None:
        self.resources.append(Resource(args.typ, args.name, region, "", inputs))


def _whole_numbers(value: Any) -> Any:
    """Between program and engine every number is a double; `8080.0` is no port."""
    if isinstance(value, dict):
        return {key: _whole_numbers(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_whole_numbers(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


class _Monitor(MockMonitor):
    """Also keeps which resources are protected, which mocks are not told."""

    def __init__(self, mocks: Mocks) -> None:
        super().__init__(mocks)
        self.protected: set[tuple[str, str]] = set()

    def RegisterResource(self, request: Any) -> Any:
        if request.protect:
            self.protected.add((request.type, request.name))
        return super().RegisterResource(request)  # type: ignore[no-untyped-call]


def _with_status(type: str, region: str, inputs: dict[str, Any]) -> dict[str, Any]:
    if type.endswith(":Ingress"):
        host = LOAD_BALANCER.format(region=region)
        return inputs | {"status": {"loadBalancer": {"ingress": [{"hostname": host}]}}}
    return inputs


def record(settings: Settings, plan: Plan) -> list[Resource]:
    """Every resource that `pulumi up` would register, in no particular order, with its inputs. Secrets are absent."""
    recorder = _Recorder(settings.account_id)
    monitor = _Monitor(recorder)

    with _own_loops():
        set_mocks(
            recorder,
            project=settings.project,
            stack=settings.stack,
            preview=False,
            logger=_silent(),
            monitor=monitor,
        )
        # Pulumi's own way to wait for every registration; it carries no types.
        pulumi.runtime.test(lambda: build(settings, plan) and None)()  # type: ignore[no-untyped-call]
    components = dict(map(_component, monitor.get_registered_resources()))
    return [
        replace(
            resource,
            component=components.get((resource.type, resource.name), ""),
            protected=(resource.type, resource.name) in monitor.protected,
        )
        for resource in recorder.resources
    ]


@contextmanager
def _own_loops() -> Iterator[None]:
    """Event loops for this thread and for Pulumi's threads, which take what is current and close nothing."""
    loops: list[asyncio.AbstractEventLoop] = []

    def make_loop() -> None:
        loops.append(asyncio.new_event_loop())
        asyncio.set_event_loop(loops[-1])

    make_loop()
    with ThreadPoolExecutor(initializer=make_loop) as threads:
        loops[0].set_default_executor(threads)
        try:
            yield
        finally:
            threads.shutdown()
            asyncio.set_event_loop(None)
            for loop in loops:
                loop.close()


def _silent() -> logging.Logger:
    """Takes the components' warnings: which secret nobody has set yet is news at `up` only."""
    logger = logging.getLogger(__name__)
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    return logger


def _component(urn: str) -> tuple[tuple[str, str], str]:
    """((type, name), component) from a URN such as `…::agents-cloud:infra:Network$aws:ec2/vpc:Vpc::us-west-2-vpc`."""
    _, _, chain, name = urn.split("::", 3)
    *parents, kind = chain.split("$")
    return (kind, name), parents[-1].rsplit(":", 1)[-1] if parents else ""
