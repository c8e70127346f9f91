"""The program's resources without a cloud: the real components run against mocks that keep what they are asked for."""

from __future__ import annotations

import asyncio
import gc
import logging
import selectors
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pulumi
from google.protobuf.struct_pb2 import Struct
from pulumi.runtime import MockCallArgs, MockResourceArgs, Mocks, set_mocks
from pulumi.runtime.mocks import MockMonitor
from pulumi.runtime.proto.resource_pb2 import RegisterResourceResponse
from pulumi.runtime.rpc import deserialize_properties

from infra.build import build
from infra.outputs import answer
from infra.plan import Plan
from infra.sdk_waits import wait_for_calls_first
from infra.settings import Settings
from infra.shapes import Resource

STACK = "pulumi:pulumi:Stack"
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
    """Keeps what mocks are not told. Answers at once, where Pulumi's own runs an event loop for each resource."""

    def __init__(self, mocks: Mocks) -> None:
        super().__init__(mocks)
        self.protected: set[tuple[str, str]] = set()
        self.components: dict[tuple[str, str], str] = {}

    def RegisterResource(self, request: Any) -> Any:
        urn = self.make_urn(request.parent, request.type, request.name)
        if request.type == STACK:
            return RegisterResourceResponse(urn=urn)
        key = request.type, request.name
        if request.protect:
            self.protected.add(key)
        self.components[key] = _component(urn)
        id, outputs = self.mocks.new_resource(
            MockResourceArgs(
                request.type,
                request.name,
                deserialize_properties(request.object),
                provider=request.provider,
                custom=request.custom,
            )
        )
        answer = Struct()
        answer.update(outputs)
        return RegisterResourceResponse(urn=urn, id=id or "", object=answer)


class _AtOnce(ThreadPoolExecutor):
    """Calls where it is asked to: a recording waits for nothing, and threads would only take turns."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        result: Future[Any] = Future()
        try:
            result.set_result(fn(*args, **kwargs))
        except Exception as problem:
            result.set_exception(problem)
        return result


class _NeverWaits(selectors.SelectSelector):
    """Nothing comes from outside: a loop with nothing left to do would wait for ever.

    That happens when an interrupt, such as a test's time limit, ends one of Pulumi's tasks: asyncio keeps the
    exception in that task, and all others wait for its result.
    """

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError(
                "the recording stands still: a task was interrupted, or waits for what never comes"
            )
        return super().select(timeout)


def _with_status(type: str, region: str, inputs: dict[str, Any]) -> dict[str, Any]:
    if type.endswith(":Ingress"):
        host = LOAD_BALANCER.format(region=region)
        return inputs | {"status": {"loadBalancer": {"ingress": [{"hostname": host}]}}}
    return inputs


def record(settings: Settings, plan: Plan) -> list[Resource]:
    """Every resource that `pulumi up` would register, in no particular order, with its inputs. Secrets are absent."""
    recorder = _Recorder(settings.account_id)
    monitor = _Monitor(recorder)

    with _own_loop(), _no_collection():
        set_mocks(
            recorder,
            project=settings.project,
            stack=settings.stack,
            preview=False,
            logger=_silent(),
            monitor=monitor,
        )

        def program() -> None:
            wait_for_calls_first()
            build(settings, plan)

        # Pulumi's own way to wait for every registration; it carries no types.
        pulumi.runtime.test(program)()  # type: ignore[no-untyped-call]
    return [
        replace(
            resource,
            component=monitor.components[resource.type, resource.name],
            protected=(resource.type, resource.name) in monitor.protected,
        )
        for resource in recorder.resources
    ]


@contextmanager
def _own_loop() -> Iterator[None]:
    """An event loop for Pulumi, which takes what is current and closes nothing."""
    loop = asyncio.SelectorEventLoop(_NeverWaits())
    loop.set_default_executor(_AtOnce())
    asyncio.set_event_loop(loop)
    try:
        yield
    finally:
        # Only a recording that failed leaves tasks.
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        try:
            loop.run_until_complete(_ended(left))
        finally:
            asyncio.set_event_loop(None)
            loop.close()


async def _ended(tasks: set[asyncio.Task[Any]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Pulumi makes thousands of futures that all live until the end: looking for dead ones took 40 % of the time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _silent() -> logging.Logger:
    """Takes the components' warnings: which secret nobody has set yet is news at `up` only."""
    logger = logging.getLogger(__name__)
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    return logger


def _component(urn: str) -> str:
    """The component in a URN such as `…::agents-cloud:infra:Network$aws:ec2/vpc:Vpc::us-west-2-vpc`, or ""."""
    parents = urn.split("::")[2].split("$")[:-1]
    return parents[-1].rsplit(":", 1)[-1] if parents else ""
