"""One API call on its way through the server, and what the server's verbs work with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from pilothouse.apiserver import codec
from pilothouse.apiserver.chain import Chain
from pilothouse.apiserver.node_link import NodeLink
from pilothouse.apiserver.route import Route
from pilothouse.apiserver.served_kinds import ServedKinds
from pilothouse.apiserver.service_link import ServiceLink
from pilothouse.client.wire import Request, Response, User
from pilothouse.kinds.kind import Kind
from pilothouse.machinery.objects import Obj, Resource
from pilothouse.store.store import Store

JSON_HEADERS = {"content-type": "application/json"}
WRITE_RETRIES = 16
"""How often a write without a resourceVersion is tried again when another came between."""


@dataclass(slots=True)
class Call:
    """A request on a served kind, authenticated and authorised. `warnings` become `Warning` headers."""

    request: Request
    route: Route
    user: User
    kind: Kind
    params: dict[str, str]
    warnings: list[str] = field(default_factory=list)
    annotations: dict[str, str] = field(default_factory=dict)
    """What admission has for the audit log."""

    @property
    def resource(self) -> Resource:
        return self.kind.resource

    @property
    def namespace(self) -> str:
        """The namespace of the object asked for; empty for kinds outside namespaces."""
        return self.route.namespace if self.kind.resource.namespaced else ""

    @property
    def key(self) -> str:
        """The store's key of the object asked for."""
        return codec.key(self.kind.resource, self.route.namespace, self.route.name)

    def flag(self, name: str) -> bool:
        """A boolean query parameter; anything but `false` and `0` is true. Absent is false."""
        return self.params.get(name, "false").lower() not in ("false", "0")

    @property
    def dry_run(self) -> bool:
        """Whether nothing is to be stored."""
        return self.params.get("dryRun") == "All"

    def options(self, kind: str) -> Obj:
        """The request's options as an object of that kind, such as `CreateOptions`."""
        found: Obj = {"kind": kind, "apiVersion": "meta.k8s.io/v1"}
        for name in ("fieldManager", "fieldValidation"):
            if self.params.get(name):
                found[name] = self.params[name]
        if self.params.get("dryRun"):
            found["dryRun"] = [self.params["dryRun"]]
        return found

    @property
    def field_manager(self) -> str:
        """Who owns the fields written: the parameter, else the program's name from its user agent."""
        manager = self.params.get("fieldManager", "")
        if not manager:
            manager = self.request.headers.get("user-agent", "").partition("/")[0]
        return manager[:128] or "unknown"


class Allocator(Protocol):
    """Gives objects of one kind something scarce, such as a Service its addresses, while they are written."""

    def allocated(self, new: Obj, old: Obj | None, dry_run: bool) -> AbstractAsyncContextManager[None]:
        """Fills in what `new` lacks; nobody else is given the same until the context ends, by when the object is
        stored or the write has failed. Raises Invalid when what `new` asks for is taken."""


@dataclass(slots=True)
class Backend:
    """What verbs work with. `allocators` are found by group and plural."""

    store: Store
    chain: Chain
    kinds: ServedKinds
    allocators: Mapping[tuple[str, str], Allocator] = field(default_factory=dict)
    nodes: NodeLink | None = None
    link: ServiceLink | None = None


Verb = Callable[[Backend, Call], Awaitable[Response]]
