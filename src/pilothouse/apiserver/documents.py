"""Everything outside resources: discovery, OpenAPI, version, health, metrics, and public documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson

from pilothouse.apiserver import refusals
from pilothouse.apiserver.accept import wants_aggregated_discovery
from pilothouse.apiserver.aggregation.registered import Registered
from pilothouse.apiserver.call import JSON_HEADERS
from pilothouse.apiserver.chain import Chain
from pilothouse.apiserver.discovery import AGGREGATED, Discovery, Document, Entry, entries
from pilothouse.apiserver.health import health
from pilothouse.apiserver.measures import Measures
from pilothouse.apiserver.openapi_documents import OpenApiDocuments
from pilothouse.apiserver.route import Route
from pilothouse.apiserver.served_kinds import ServedKinds
from pilothouse.apiserver.snapshots import SNAPSHOTS, Snapshot, answer_snapshot
from pilothouse.apiserver.verbs.binding import BINDING
from pilothouse.apiserver.version import version_document
from pilothouse.client.wire import Request, Response
from pilothouse.kinds.core.component_status import KIND as COMPONENT_STATUS
from pilothouse.store.store import Store

_BINDINGS = Entry(BINDING, "binding", ("create",))
_HEALTH = frozenset({"/healthz", "/livez", "/readyz"})
_TEXT = "text/plain; version=0.0.4; charset=utf-8"


class Documents:
    """Answers paths that are not resources. `extra` are resources served by other means, for discovery to show."""

    def __init__(
        self,
        kinds: ServedKinds,
        chain: Chain,
        measures: Measures,
        store: Store,
        extra: Sequence[Entry] = (),
        snapshots: Mapping[str, Snapshot] | None = None,
        *,
        registered: Registered,
    ) -> None:
        self._kinds = kinds
        self._registered = registered
        self._reviews = chain.reviews
        self._extra = extra
        self._openapi = OpenApiDocuments()
        self._version = (-1, -1)
        self._current()
        self._public = chain.documents
        self._measures = measures
        self._store = store
        self._snapshots = snapshots or {}

    async def answer(self, request: Request, route: Route) -> Response:
        """The document of the path. Raises NotFound, MethodNotAllowed."""
        path = route.path
        if request.method not in ("GET", "HEAD"):
            raise refusals.method_not_allowed()
        if path == "/version":
            return _json(version_document())
        if path == "/":
            return _json(self._index())
        if path == "/metrics":
            return Response(200, {"content-type": _TEXT}, self._measures.text())
        self._current()
        head = path[: path.index("/", 1)] if "/" in path[1:] else path
        if head in _HEALTH:
            return health(path, request.query, self._store)
        if path in self._public:
            return _json(self._public[path]())
        if path == SNAPSHOTS or path.startswith(f"{SNAPSHOTS}/"):
            return await answer_snapshot(path, self._snapshots)
        if head == "/openapi":
            return await self._openapi.answer(request, path)
        return self._discover(request, path)

    def _current(self) -> None:
        """Follows the kinds that are served, here and by others."""
        version = (self._kinds.version, self._registered.version)
        if version != self._version:
            self._version = version
            found = [*entries([*self._kinds.all(), COMPONENT_STATUS], self._reviews), _BINDINGS, *self._extra]
            others = self._registered.all()
            places = [(service.spec.group, service.spec.version) for service in others]
            learned = {place: self._registered.learned(*place) for place in places}
            listed = {place: known.entries for place, known in learned.items()}
            self._discovery = Discovery(found, listed)
            self._openapi.describe(found, {place: known.openapi for place, known in learned.items() if known.openapi})

    def _discover(self, request: Request, path: str) -> Response:
        if wants_aggregated_discovery(request.headers.get("accept", "")):
            document = self._discovery.aggregated(path)
            if document is not None:
                return _tagged(request, document, AGGREGATED)
        document = self._discovery.legacy(path)
        if document is None:
            raise refusals.no_such_path()
        return _tagged(request, document, "application/json")

    def _index(self) -> bytes:
        paths = ["/api", "/apis", "/healthz", "/livez", "/metrics", "/openapi/v3", "/readyz", "/version"]
        return orjson.dumps({"paths": sorted([*paths, *self._public])})


def _json(body: bytes) -> Response:
    return Response(200, dict(JSON_HEADERS), body)


def _tagged(request: Request, document: Document, content_type: str) -> Response:
    headers = {"content-type": content_type, "etag": document.etag, "vary": "Accept", "cache-control": "public"}
    if request.headers.get("if-none-match") == document.etag:
        return Response(304, headers)
    return Response(200, headers, document.body)
