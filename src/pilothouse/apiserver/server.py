"""The API server: a request in, a response out, free of any HTTP library.

Order of things: route, authenticate, authorise, then the verb, which admits, applies the kind's rules and writes to the
store. There is no other way to the store.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import orjson

from pilothouse.apiserver import by_websocket, refusals
from pilothouse.apiserver.accept import object_form
from pilothouse.apiserver.aggregation.availability import Availability
from pilothouse.apiserver.aggregation.proxy import Proxy
from pilothouse.apiserver.aggregation.registered import Registered
from pilothouse.apiserver.allocation.names import NameAllocator
from pilothouse.apiserver.audit.log import AuditLog, Trail
from pilothouse.apiserver.audit.stages import audited
from pilothouse.apiserver.authorise import authorise
from pilothouse.apiserver.call import JSON_HEADERS, WRITE_RETRIES, Allocator, Backend, Call, Verb
from pilothouse.apiserver.chain import Chain, ReviewResource
from pilothouse.apiserver.component_statuses import ComponentStatuses, Probe
from pilothouse.apiserver.conversion.converter import Converter
from pilothouse.apiserver.conversion.store import NotConverted, WebhookStore
from pilothouse.apiserver.converted import ConvertedStore, TwoVersions
from pilothouse.apiserver.documents import Documents
from pilothouse.apiserver.flow_control.control import FlowControl
from pilothouse.apiserver.flow_control.work import objects_read
from pilothouse.apiserver.measures import Measures
from pilothouse.apiserver.network_records.serve import NetworkRecords
from pilothouse.apiserver.node_link import NodeLink
from pilothouse.apiserver.options import KINDS as OPTIONS
from pilothouse.apiserver.options import check_options
from pilothouse.apiserver.reader import StoreReader
from pilothouse.apiserver.resource_metrics.serve import ENTRIES as metrics_entries
from pilothouse.apiserver.resource_metrics.serve import ResourceMetrics
from pilothouse.apiserver.review import answer_review
from pilothouse.apiserver.route import Route, parse
from pilothouse.apiserver.served_kinds import ServedKinds
from pilothouse.apiserver.service_link import ServiceLink
from pilothouse.apiserver.snapshots import Snapshot
from pilothouse.apiserver.subresources import OPAQUE, subresource
from pilothouse.apiserver.verbs.binding import BINDINGS, of_the_pod
from pilothouse.apiserver.verbs.create import create
from pilothouse.apiserver.verbs.delete import delete, delete_collection
from pilothouse.apiserver.verbs.get import get
from pilothouse.apiserver.verbs.list import list_
from pilothouse.apiserver.verbs.patch import patch, patch_type
from pilothouse.apiserver.verbs.update import update
from pilothouse.apiserver.verbs.watch import watch
from pilothouse.apiserver.versions import StoredVersion
from pilothouse.apiserver.yaml_reply import in_yaml, wanted
from pilothouse.client.wire import Request, Response, User
from pilothouse.kinds.apiextensions.custom_kind import CustomKind
from pilothouse.kinds.apiextensions.definition import CustomResourceDefinition
from pilothouse.kinds.apiregistration.api_service import APIService
from pilothouse.kinds.kind import Kind
from pilothouse.machinery.errors import ApiError, BadRequest, InternalError
from pilothouse.machinery.objects import Resource
from pilothouse.store.store import Store

log = logging.getLogger(__name__)

_VERBS: Mapping[str, Verb] = {
    "get": get,
    "list": list_,
    "watch": watch,
    "create": create,
    "update": update,
    "patch": patch,
    "delete": delete,
    "deletecollection": delete_collection,
}
_OPENAPI_APIS = "/openapi/v3/apis/"
Page = Callable[[Request, User], Awaitable[Response]]
BODY_LIMIT = 3 << 20
"""Bytes a request body may have; the edge refuses more with 413 before reading on."""


class ApiServer:
    """`handle` is the whole API. `nodes` is the way to the nodes' own API, None when there are no nodes.

    `beside` are stores of kinds that are kept apart, read only, each with a sequence of resourceVersions of its own.
    Without `flow` every request runs at once.
    `snapshots` are the databases that a backup takes, by name; `pages` are for people, by path; `components` are parts
    beside this one that ComponentStatuses tell of.
    """

    def __init__(
        self,
        store: Store,
        chain: Chain,
        kinds: Sequence[Kind],
        *,
        allocators: Mapping[tuple[str, str], Allocator] | None = None,
        nodes: NodeLink | None = None,
        beside: Mapping[Resource, Store] | None = None,
        proxy_certificate: Path | None = None,
        audit: AuditLog | None = None,
        flow: FlowControl | None = None,
        snapshots: Mapping[str, Snapshot] | None = None,
        pages: Mapping[str, Page] | None = None,
        components: Mapping[str, Probe] | None = None,
    ) -> None:
        served = ServedKinds(kinds, store)
        definitions = (CustomResourceDefinition.resource.group, CustomResourceDefinition.resource.plural)
        given = {**(allocators or {}), definitions: NameAllocator(served)}
        self._link = ServiceLink(StoreReader(store), proxy_certificate)
        self._proxy = Proxy(self._link)
        self._converter = Converter(self._link)
        self._backend = Backend(store, chain, served, given, nodes, self._link)
        self._elsewhere = {
            kind.resource: replace(
                self._backend, store=ConvertedStore(store, TwoVersions(kind.resource, kind.stored_as))
            )
            for kind in kinds
            if kind.stored_as is not None
        }
        self._elsewhere |= {resource: replace(self._backend, store=other) for resource, other in (beside or {}).items()}
        self._pages = pages or {}
        self._chain = chain
        self._reviews: dict[tuple[str, str, str], ReviewResource] = {
            (entry.resource.group, entry.resource.version, entry.resource.plural): entry for entry in chain.reviews
        }
        self._audit = audit
        self._flow = flow
        self.measures = Measures(served.serves, [part.lines for part in (audit, flow) if part is not None])
        self._metrics = ResourceMetrics(store, nodes)
        local = [entry.resource for entry in (*chain.reviews, *(metrics_entries if nodes else ()))]
        self._registered = Registered(store, served, local)
        self.availability = Availability(self._registered, self._proxy)
        self._documents = Documents(
            served,
            chain,
            self.measures,
            store,
            metrics_entries if nodes else (),
            snapshots,
            registered=self._registered,
        )
        self._network = NetworkRecords(store, nodes)
        self._components = ComponentStatuses({"store": lambda: store.problem, **(components or {})})

    def renew_proxy_certificate(self) -> None:
        """Reads the front proxy's certificate anew."""
        self._link.renew()

    async def close(self) -> None:
        """Gives up the connections to other servers, and the processes that judge for this one."""
        await self._link.close()
        if self._audit is not None:
            self._audit.close()
        await self._chain.admission.close()
        for end in self._chain.ends:
            await end()

    async def handle(self, request: Request) -> Response:
        """Answers a request; every failure is answered as a Status."""
        route = parse(request.method, request.path, request.query)
        self.measures.begin(route)
        trail = Trail(request.headers.get("audit-id", ""))
        try:
            response = await self._answer(request, route, trail)
        except ApiError as error:
            response = _refusal(error)
        except asyncio.CancelledError:
            self._end(request, route, trail, Response(499))
            raise
        except (RecursionError, orjson.JSONEncodeError) as error:
            response = _refusal(BadRequest(f"the body cannot be read: it is nested too deeply ({error})"))
        except Exception:
            log.exception("%s %s failed", request.method, request.path)
            trail.panicked = True
            response = _refusal(InternalError("the server met an unexpected error; its log says more"))
        response.headers["audit-id"] = trail.id
        response.headers.update(trail.headers)
        self._end(request, route, trail, response)
        return await in_yaml(response) if wanted(request) else response

    def _end(self, request: Request, route: Route, trail: Trail, response: Response) -> None:
        """Counts a request, and takes note of it for the audit log."""
        self.measures.end(route, response.status)
        if self._audit is not None:
            audited(self._audit, request, route, trail, response)

    async def _answer(self, request: Request, route: Route, trail: Trail) -> Response:
        user = trail.user = await self._chain.authenticator.authenticate(request)
        if self._audit is not None:
            self._audit.received(request, route, trail)
        if self._flow is None:
            return await self._carry_on(request, route, trail, user)
        place = await self._flow.place(user, route)
        trail.headers = place.headers
        ticket = await self._flow.enter(place, route, len(request.body), self._objects(request, route))
        try:
            return await self._carry_on(request, route, trail, user)
        finally:
            if ticket is not None:
                self._flow.leave(ticket)

    def _objects(self, request: Request, route: Route) -> int:
        """How many objects a request goes through, for flow control."""
        if route.verb not in ("list", "watch") or route.name:
            return 1
        kind = self._backend.kinds.get(route.group, route.version, route.resource)
        return 0 if kind is None else objects_read(request, route, kind.resource, self._backend_for(kind).store)

    async def _carry_on(self, request: Request, route: Route, trail: Trail, user: User) -> Response:
        trail.allowed = False
        await authorise(self._chain.authorizer, user, route)
        trail.allowed = True
        if not route.is_resource:
            if (page := self._pages.get(route.path)) is not None:
                return await page(request, user)
            other = self._other_document(route.path)
            if other is not None:
                return await self._proxy.forward(request, user, other)
            return await self._documents.answer(request, route)
        place = (route.group, route.version, route.resource)
        if place == BINDINGS:
            route = of_the_pod(request, route)
            place = (route.group, route.version, route.resource)
        kind = self._backend.kinds.built_in(place)
        if kind is None:
            answer = await self._answer_beside(request, route, user)
            if answer is not None:
                return answer
            kind = self._backend.kinds.get(*place)
        if kind is None:
            other = self._registered.find(route.group, route.version)
            if other is not None:
                return await self._proxy.forward(request, user, other)
            raise refusals.no_such_path()
        call = Call(request, route, user, kind, dict(reversed(request.query)), annotations=trail.annotations)
        if kind.warning:
            call.warnings.append(kind.warning)
        verb = self._verb(call)
        if route.subresource not in OPAQUE:
            _refuse_early(call)
        response = await _carry_out(verb, self._backend_for(kind), call)
        watched = route.verb == "watch"
        if (watched or route.subresource == "log") and response.status == 200 and by_websocket.asked(request.headers):
            response = by_websocket.told(response, request.headers, events=watched)
        if call.warnings:
            response.headers["warning"] = ", ".join(
                f'299 - "{_quotable(text)}"' for text in dict.fromkeys(call.warnings)
            )
        return response

    async def _answer_beside(self, request: Request, route: Route, user: User) -> Response | None:
        """The answer to a request for what this server has without storing it, None for everything else."""
        review = self._reviews.get((route.group, route.version, route.resource))
        if review is not None:
            return await answer_review(review, request, route, user)
        if self._metrics.serves(route):
            return await self._metrics.answer(request, route)
        if self._network.serves(route):
            return await self._network.answer(request, route)
        return self._components.answer(request, route) if self._components.serves(route) else None

    def _other_document(self, path: str) -> APIService | None:
        """The APIService whose server has the OpenAPI document of that path."""
        if not path.startswith(_OPENAPI_APIS):
            return None
        group, _, version = path.removeprefix(_OPENAPI_APIS).partition("/")
        return self._registered.find(group, version)

    def _backend_for(self, kind: Kind) -> Backend:
        """What verbs work with: for some kinds, objects in another form than they are stored in."""
        if isinstance(kind, CustomKind):
            own = kind.resource

            def current() -> bool:
                return self._backend.kinds.get(own.group, own.version, own.plural) is kind

            if kind.conversion_webhook is not None:
                return replace(self._backend, store=WebhookStore(self._backend.store, kind, self._converter))
            return replace(self._backend, store=ConvertedStore(self._backend.store, StoredVersion(kind), current))
        return self._elsewhere.get(kind.resource, self._backend)

    def _verb(self, call: Call) -> Verb:
        """The verb's function. Raises NotFound for what does not exist, MethodNotAllowed for a verb it lacks."""
        kind, route = call.kind, call.route
        if route.subresource:
            sub = subresource(route.group, route.resource, route.subresource)
            if sub is None or route.subresource not in kind.subresources:
                raise refusals.no_such_path()
            # OPTIONS is no verb of the API (who may do everything may send it), but other servers may know it.
            passed = call.request.method == "OPTIONS" and route.subresource == "proxy"
            found = sub.verbs.get("get" if passed else route.verb)
        else:
            found = _VERBS.get(route.verb) if route.verb in kind.verbs else None
        if found is None:
            raise refusals.method_not_allowed()
        if kind.resource.namespaced and not route.namespace and route.verb not in ("list", "watch"):
            if route.name:
                raise refusals.no_such_path()
            if route.verb == "deletecollection":
                raise refusals.method_not_allowed()
        return found


def _refuse_early(call: Call) -> None:
    """What cannot be answered, or asks for what there is not, is refused before anything is done. Raises NotAcceptable,
    Invalid."""
    object_form(call.request.headers.get("accept", ""))
    if call.route.verb in OPTIONS:
        check_options(call.route.verb, call.params, patch_type(call))


async def _carry_out(verb: Verb, backend: Backend, call: Call) -> Response:
    """Runs a verb; one that met objects in another version runs again when a webhook has converted them."""
    for _ in range(WRITE_RETRIES):
        try:
            return await verb(backend, call)
        except NotConverted as missing:
            assert isinstance(backend.store, WebhookStore)
            await backend.store.convert(missing.records)
    raise refusals.conflict(call.resource, call.route.name)


def _refusal(error: ApiError) -> Response:
    headers = dict(JSON_HEADERS)
    if error.retry_after_seconds:
        headers["retry-after"] = str(error.retry_after_seconds)
    return Response(error.code, headers, orjson.dumps(error.status()))


@lru_cache(maxsize=256)
def _quotable(text: str) -> str:
    """As a quoted string of a header. Most writers earn the same few warnings again and again."""
    return "".join(c for c in text.replace("\\", "\\\\").replace('"', '\\"') if c.isprintable())
