"""A provider that the real Pulumi engine attaches to, in place of one that would need a cloud account.

It keeps inputs, answers with ids and outputs of the right form, and decides what is replaced from data, not by
itself. What a cloud is known to refuse, a `Cloud` refuses. It proves nothing about what a cloud really does.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import grpc
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""How the engine writes a value that is known only after `up` (sdk/go/common/resource/plugin, UnknownStringValue)."""
Properties = dict[str, Any]


class Refused(Exception):
    """The cloud would refuse this; the text is the reason it would give."""


@dataclass
class Thing:
    """Something that exists in a cloud."""

    type: str
    id: str
    region: str
    inputs: Properties
    outputs: Properties


@dataclass
class Change:
    """What a diff leads to: the changed property paths, and those of them that replace the resource."""

    changed: list[str]
    replaces: list[str]
    delete_first: bool = False


@dataclass
class Cloud(ABC):
    """What a kind of cloud answers. `things` is what exists, by (region, type, id)."""

    name: str
    things: dict[tuple[str, str, str], Thing] = field(default_factory=dict)
    unreachable: set[str] = field(default_factory=set)
    """Regions whose calls fail."""
    calls: list[tuple[str, str]] = field(default_factory=list)
    """(method, type) of every call that touched a region."""

    @abstractmethod
    def region(self, configuration: Mapping[str, Any]) -> str:
        """The region (or cluster) that a provider so configured works on."""

    def check(self, type: str, name: str, inputs: Properties, olds: Properties) -> Properties:
        """Inputs with defaults filled in. Raises Refused."""
        return inputs

    @abstractmethod
    def diff(self, type: str, old: Properties, new: Properties) -> Change:
        """What would happen to a resource whose inputs change from `old` to `new`."""

    def planned(self, type: str, inputs: Properties) -> Properties:
        """Outputs as far as they are known before `create`. Absent ones count as unknown, except inside an input."""
        return inputs

    @abstractmethod
    def create(self, type: str, name: str, region: str, inputs: Properties) -> Thing:
        """The new thing. Raises Refused."""

    def update(self, thing: Thing, inputs: Properties) -> Properties:
        """New outputs of `thing`. Raises Refused."""
        return thing.outputs | inputs

    def delete(self, thing: Thing) -> None:  # noqa: B027 - most things may go
        """Raises Refused where something still holds `thing`."""

    def of_type(self, type: str) -> list[Thing]:
        return [thing for thing in self.things.values() if thing.type == type]


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """Speaks the engine's protocol and leaves every decision to its cloud."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._lock = threading.RLock()
        # All instances of a provider attach to one port, each over a connection of its own.
        self._regions: dict[str, str] = {}

    def Attach(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()

    def Handshake(self, request: Any, context: Any) -> Any:
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=False, accept_resources=False)

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo(version=version(f"pulumi-{self._cloud.name}"))

    def GetSchema(self, request: Any, context: Any) -> Any:
        return provider_pb2.GetSchemaResponse(schema="{}")

    def CheckConfig(self, request: Any, context: Any) -> Any:
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, context: Any) -> Any:
        return _difference(_changed(_read(request.old_inputs or request.olds), _read(request.news)), [])

    def Configure(self, request: Any, context: Any) -> Any:
        with self._lock:
            self._regions[context.peer()] = self._cloud.region(_read(request.args))
        return provider_pb2.ConfigureResponse(supportsPreview=True)

    def Check(self, request: Any, context: Any) -> Any:
        news = _read(request.news)
        with self._lock:
            self._reach("check", request, context)
            try:
                inputs = self._cloud.check(_type(request.urn), _name(request.urn), news, _read(request.olds))
            except Refused as refused:
                failure = provider_pb2.CheckFailure(reason=str(refused))
                return provider_pb2.CheckResponse(inputs=request.news, failures=[failure])
        return provider_pb2.CheckResponse(inputs=request.news if inputs is news else _write(inputs))

    def Diff(self, request: Any, context: Any) -> Any:
        if request.old_inputs == request.news:  # most resources of most runs: nothing to be read
            with self._lock:
                self._reach("diff", request, context)
            return _difference([], [])
        old, new = _read(request.old_inputs), _read(request.news)
        for ignored in request.ignoreChanges:
            _copy_path(old, new, ignored.split("."))
        with self._lock:
            self._reach("diff", request, context)
            change = self._cloud.diff(_type(request.urn), old, new)
        return _difference(change.changed, change.replaces, change.delete_first)

    def Create(self, request: Any, context: Any) -> Any:
        inputs = _read(request.properties)
        with self._lock:
            region = self._reach("create", request, context)
            if request.preview:
                planned = self._cloud.planned(_type(request.urn), inputs)
                known = request.properties if planned is inputs else _write(planned)
                return provider_pb2.CreateResponse(properties=known)
            try:
                thing = self._cloud.create(_type(request.urn), _name(request.urn), region, inputs)
            except Refused as refused:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(refused))
            self._cloud.things[region, thing.type, thing.id] = thing
        return provider_pb2.CreateResponse(id=thing.id, properties=_write(thing.outputs))

    def Read(self, request: Any, context: Any) -> Any:
        with self._lock:
            region = self._reach("read", request, context)
            thing = self._cloud.things.get((region, _type(request.urn), request.id))
        if thing is None:
            return provider_pb2.ReadResponse()
        return provider_pb2.ReadResponse(
            id=thing.id, properties=_write(thing.outputs), inputs=_write(thing.inputs)
        )

    def Update(self, request: Any, context: Any) -> Any:
        inputs = _read(request.news)
        with self._lock:
            region = self._reach("update", request, context)
            if request.preview:
                return provider_pb2.UpdateResponse(properties=_write(_read(request.olds) | inputs))
            thing = self._cloud.things[region, _type(request.urn), request.id]
            try:
                thing.outputs = self._cloud.update(thing, inputs)
            except Refused as refused:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(refused))
            thing.inputs = inputs
        return provider_pb2.UpdateResponse(properties=_write(thing.outputs))

    def Delete(self, request: Any, context: Any) -> Any:
        with self._lock:
            region = self._reach("delete", request, context)
            key = region, _type(request.urn), request.id
            if key in self._cloud.things:
                try:
                    self._cloud.delete(self._cloud.things[key])
                except Refused as refused:
                    context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(refused))
                del self._cloud.things[key]
        return empty_pb2.Empty()

    def Invoke(self, request: Any, context: Any) -> Any:
        context.abort(
            grpc.StatusCode.UNIMPLEMENTED, f"the program asks the cloud while it plans: {request.tok}"
        )

    def Cancel(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()

    def _reach(self, method: str, request: Any, context: Any) -> str:
        region = self._regions.get(context.peer(), "")
        if region in self._cloud.unreachable:
            context.abort(grpc.StatusCode.UNAVAILABLE, f"{self._cloud.name} in {region} cannot be reached")
        self._cloud.calls.append((method, _type(request.urn)))
        return region


@contextmanager
def serving(*clouds: Cloud) -> Iterator[str]:
    """Serve each cloud on a loopback port. Gives the value of PULUMI_DEBUG_PROVIDERS."""
    servers, attach = [], []
    try:
        for cloud in clouds:
            server = grpc.server(ThreadPoolExecutor(max_workers=16))
            provider_pb2_grpc.add_ResourceProviderServicer_to_server(Provider(cloud), server)
            port = server.add_insecure_port("127.0.0.1:0")
            server.start()
            servers.append(server)
            attach.append(f"{cloud.name}:{port}")
        yield ",".join(attach)
    finally:
        for server in servers:
            server.stop(grace=None).wait(5)


def changed_paths(old: Any, new: Any, prefix: str = "") -> list[str]:
    """Dotted paths, without list positions, where two property values differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        paths: list[str] = []
        for key in sorted(old.keys() | new.keys()):
            paths += changed_paths(old.get(key), new.get(key), f"{prefix}.{key}" if prefix else key)
        return paths
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return sorted({path for a, b in zip(old, new, strict=True) for path in changed_paths(a, b, prefix)})
    return [] if old == new else [prefix]


_changed = changed_paths


def _type(urn: str) -> str:
    return urn.split("::")[2].split("$")[-1]


def _name(urn: str) -> str:
    return urn.split("::", 3)[3]


def _read(struct: Any) -> Properties:
    return {key: _value(value) for key, value in struct.fields.items()}


def _value(value: Any) -> Any:
    """A property. Protobuf knows only doubles; `8080.0` is no port."""
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return value.string_value
    if kind == "struct_value":
        return _read(value.struct_value)
    if kind == "list_value":
        return [_value(entry) for entry in value.list_value.values]
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    return value.bool_value if kind == "bool_value" else None


def _write(properties: Mapping[str, Any]) -> Any:
    struct = struct_pb2.Struct()
    struct.update(properties)
    return struct


def _copy_path(source: Properties, target: Properties, path: list[str]) -> None:
    """Make `target` hold at `path` what `source` holds there, absence included."""
    for key in path[:-1]:
        source, target = source.get(key) or {}, target.get(key) or {}
    if path[-1] in source:
        target[path[-1]] = source[path[-1]]
    else:
        target.pop(path[-1], None)


def _difference(changed: list[str], replaces: list[str], delete_first: bool = False) -> Any:
    some, none = provider_pb2.DiffResponse.DIFF_SOME, provider_pb2.DiffResponse.DIFF_NONE
    kinds = provider_pb2.PropertyDiff
    detail = {
        path: provider_pb2.PropertyDiff(
            kind=kinds.UPDATE_REPLACE if path in replaces else kinds.UPDATE, inputDiff=True
        )
        for path in changed
    }
    return provider_pb2.DiffResponse(
        changes=some if changed else none,
        diffs=sorted({path.split(".")[0] for path in changed}),
        replaces=replaces,
        deleteBeforeReplace=delete_first,
        detailedDiff=detail,
        hasDetailedDiff=True,
    )
