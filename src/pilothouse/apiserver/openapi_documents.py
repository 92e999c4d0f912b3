"""`/openapi/v3` and `/openapi/v2`: cached for ever at the URL with the right hash, kept and sent compressed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from pilothouse.apiserver import refusals
from pilothouse.apiserver.accept import media_types
from pilothouse.apiserver.discovery import Entry, Part
from pilothouse.client.wire import Request, Response
from pilothouse.machinery.errors import NotAcceptable
from pilothouse.machinery.schema import GroupVersionKind

if TYPE_CHECKING:
    from pilothouse.apiserver.openapi.documents import Document, OpenApi

_FOREVER = {"cache-control": "public, immutable", "expires": "Fri, 31 Dec 2100 00:00:00 GMT"}
_PROTOBUF_V2 = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_NAME, _VERSION = b"Kubernetes", b"v1"
# openapi.v2.Document{swagger: 1, info: 2 {title: 1, version: 2}}, which names no definitions.
_EMPTY_INFO = b"\x0a%c%b\x12%c%b" % (len(_NAME), _NAME, len(_VERSION), _VERSION)
_EMPTY_V2 = b"\x0a\x032.0\x12%c%b" % (len(_EMPTY_INFO), _EMPTY_INFO)
"""kubectl asks for v2 in protobuf only to check the items of a `v1 List` by itself. A document without definitions has
it leave them to the server, which is sent `fieldValidation` with every item anyway."""


class OpenApiDocuments:
    """Made when first asked for: most servers of a small cluster are asked by `kubectl apply` only."""

    def __init__(self) -> None:
        self._entries: tuple[Entry, ...] = ()
        self._others: dict[tuple[str, str], str] = {}
        self._made: OpenApi | None = None
        self._last: OpenApi | None = None

    def describe(self, entries: Iterable[Entry], others: Mapping[tuple[str, str], str]) -> None:
        """What the documents are about from now on; those of group-versions that have not changed are kept. `others`
        are the places of documents that other servers make, by group and version."""
        self._entries = tuple(entries)
        self._others = dict(others)
        self._last, self._made = self._made or self._last, None

    def _documents(self) -> OpenApi:
        if self._made is None:
            from pilothouse.apiserver.openapi.documents import OpenApi
            from pilothouse.apiserver.openapi.served import Served, ServedSubresource

            self._made = OpenApi(
                Served(
                    entry.resource,
                    frozenset(entry.verbs),
                    tuple(ServedSubresource(part.name, frozenset(part.verbs), _kind(part)) for part in entry.parts),
                    entry.schema,
                    entry.list_kind,
                    entry.returns_deleted,
                )
                for entry in self._entries
            )
            self._made.others = {f"apis/{group}/{version}": url for (group, version), url in self._others.items()}
            if self._last is not None:
                self._made.take_over(self._last)
                self._last = None
        return self._made

    async def answer(self, request: Request, path: str) -> Response:
        """The document of a path. Raises NotFound, NotAcceptable."""
        documents = self._documents()
        if path == "/openapi/v3":
            return _respond(request, documents.index(), {})
        if path == "/openapi/v2":
            if not _accepts_json(request):
                if _accepts(request, _PROTOBUF_V2):
                    return Response(200, {"content-type": _PROTOBUF_V2}, _EMPTY_V2)
                raise NotAcceptable(
                    "only the following media types are accepted: application/json; /openapi/v3 is served in full"
                )
            return _respond(request, await asyncio.to_thread(documents.v2), {})
        group_path = path.removeprefix("/openapi/v3/")
        # A thread: making the larger documents takes longer than the event loop may stand still.
        document = await asyncio.to_thread(documents.document, group_path)
        if document is None:
            raise refusals.no_such_path()
        asked = next((value for key, value in request.query if key == "hash"), "")
        return _respond(request, document, _FOREVER if asked == documents.hash_of(group_path) else {})


def _kind(part: Part) -> GroupVersionKind:
    return GroupVersionKind(part.group, part.version, part.kind)


def _accepts_json(request: Request) -> bool:
    return not request.headers.get("accept") or _accepts(request, "application/json", "*/*", "application/*")


def _accepts(request: Request, *types: str) -> bool:
    """True when one of the media types is asked for; upstream's clients write `@` where they mean a dot."""
    asked = media_types(request.headers.get("accept", ""))
    return any(media.type.replace("@", ".") in types for media in asked)


def _respond(request: Request, document: Document, headers: dict[str, str]) -> Response:
    answer = {"content-type": "application/json", "etag": document.etag, "vary": "Accept-Encoding", **headers}
    if request.headers.get("if-none-match") == document.etag:
        return Response(304, answer)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(200, {**answer, "content-encoding": "gzip"}, document.compressed)
    return Response(200, answer, document.body())
