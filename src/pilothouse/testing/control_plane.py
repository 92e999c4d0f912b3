"""An API server over a store in memory, in this process: for tests of components against the real API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from types import TracebackType

from pilothouse.apiserver.admission.steps import standard_chain
from pilothouse.apiserver.allocation import service_allocators
from pilothouse.apiserver.audit.log import AuditLog
from pilothouse.apiserver.authorization.index import RbacIndex
from pilothouse.apiserver.chain import AdmissionRequest, Attributes, Chain, Decision
from pilothouse.apiserver.flow_control.control import FlowControl
from pilothouse.apiserver.node_link import NodeLink
from pilothouse.apiserver.reader import StoreReader
from pilothouse.apiserver.server import ApiServer, Page
from pilothouse.client.client import Client
from pilothouse.client.wire import HandlerTransport, Request, Transport, User
from pilothouse.kinds.catalogue import KINDS
from pilothouse.kinds.kind import Kind
from pilothouse.machinery.errors import Unauthorized
from pilothouse.machinery.objects import Resource
from pilothouse.store.memory import MemoryStore
from pilothouse.store.store import Store

ADMIN = User("admin", ("system:masters",))


class AllowAll:
    """Whoever the request says it is may do everything; nothing is admitted otherwise than it came."""

    async def authenticate(self, request: Request) -> User:
        if request.user is None:
            raise Unauthorized("Unauthorized")
        return request.user

    async def allow(self, attributes: Attributes) -> Decision:
        return Decision(True)

    async def admit(self, request: AdmissionRequest) -> None:
        return None

    mutate = validate = admit

    async def close(self) -> None:
        return None

    def reserved(self, request: AdmissionRequest) -> AbstractAsyncContextManager[None]:
        return nullcontext()


def allow_all() -> Chain:
    """A chain that lets everything through."""
    everything = AllowAll()
    return Chain(everything, everything, everything)


def admitting(store: Store) -> Chain:
    """A chain that lets everybody in, and admits as every server does."""
    everything = AllowAll()
    return Chain(everything, everything, standard_chain(store, StoreReader(store), everything, RbacIndex(store)))


class ControlPlane:
    """`async with ControlPlane() as plane: plane.client().create(…)`. Any part can be replaced by another."""

    def __init__(
        self,
        *,
        store: Store | None = None,
        chain: Chain | None = None,
        kinds: Sequence[Kind] = KINDS,
        nodes: NodeLink | None = None,
        service_range: str = "10.96.0.0/16",
        beside: Mapping[Resource, Store] | None = None,
        pages: Mapping[str, Page] | None = None,
        proxy_certificate: Path | None = None,
        audit: AuditLog | None = None,
        flow: FlowControl | None = None,
    ) -> None:
        self.store = store or MemoryStore()
        self.api = ApiServer(
            self.store,
            chain or allow_all(),
            kinds,
            allocators=service_allocators(self.store, service_range),
            nodes=nodes,
            beside=beside,
            pages=pages,
            proxy_certificate=proxy_certificate,
            audit=audit,
            flow=flow,
        )

    def client(self, user: User = ADMIN, *, user_agent: str = "test") -> Client:
        """A client that is `user`."""
        return Client(self.transport(user), user_agent=user_agent)

    def transport(self, user: User = ADMIN) -> Transport:
        """The way of `user` to the server, for clients that are made elsewhere."""
        return HandlerTransport(self.api.handle, user)

    async def __aenter__(self) -> ControlPlane:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.api.close()
        await self.store.close()
