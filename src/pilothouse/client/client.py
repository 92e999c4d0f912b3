"""The one client of the Kubernetes API that every component uses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import msgspec
import orjson

from pilothouse.client.wire import Request, Response, Transport, raise_for_status
from pilothouse.kinds.view import Object, to_tree
from pilothouse.machinery.errors import ApiError, from_status
from pilothouse.machinery.objects import Obj, Resource

T = TypeVar("T", bound=Object)

PatchType = Literal["merge", "strategic", "json", "apply"]
_CONTENT_TYPES: dict[PatchType, str] = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
    "apply": "application/apply-patch+yaml",
}


_TOO_MANY = 429
_SENT_AGAIN = 5
_LONGEST_WAIT = 10.0


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """What a list returned: the objects, and the resourceVersion from which a watch continues."""

    items: list[T]
    resource_version: str


@dataclass(frozen=True, slots=True)
class WatchEvent(Generic[T]):
    """`type` is ADDED, MODIFIED, DELETED or BOOKMARK; a BOOKMARK's object carries only a resourceVersion."""

    type: str
    object: T
    initial_events_end: bool = False


class _ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""


class _RawList(msgspec.Struct):
    items: list[msgspec.Raw] | None = None
    metadata: _ListMeta = msgspec.field(default_factory=_ListMeta)


class _RawEvent(msgspec.Struct):
    type: str
    object: msgspec.Raw


class Client:
    """Reads typed views, writes patches and new objects.

    A view holds a part of its object's fields, so objects are changed by `patch` and `apply`, never put back whole.
    Every method raises the `ApiError` the server answered with, or `ServiceUnavailable` when it is out of reach.
    """

    def __init__(self, transport: Transport, *, user_agent: str = "pilothouse") -> None:
        self._transport = transport
        self._user_agent = user_agent
        self._decoders: dict[type, msgspec.json.Decoder[Any]] = {}
        self._raw_list = msgspec.json.Decoder(_RawList)
        self._raw_event = msgspec.json.Decoder(_RawEvent)

    def decode(self, cls: type[T], data: bytes | msgspec.Raw) -> T:
        """The view `cls` of JSON bytes."""
        decoder = self._decoders.get(cls)
        if decoder is None:
            decoder = self._decoders[cls] = msgspec.json.Decoder(cls)
        result: T = decoder.decode(data)
        if cls.whole:
            result.received(bytes(data))
        return result

    async def send(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        content_type: str = "",
        accept: str = "application/json",
    ) -> Response:
        """One request as it is. The response is not checked for errors and may be a stream.

        A request that the server had no time for is sent again when the server says, a few times.
        """
        headers = {"user-agent": self._user_agent, "accept": accept}
        if body:
            headers["content-type"] = content_type or "application/json"
        response = await self._transport.send(Request(method, path, list(query), dict(headers), body))
        for _ in range(_SENT_AGAIN):
            if response.status != _TOO_MANY or path.endswith("/eviction"):
                break
            await asyncio.sleep(_seconds(response.headers.get("retry-after", "")))
            response = await self._transport.send(Request(method, path, list(query), dict(headers), body))
        return response

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: Any = None,
        content_type: str = "",
    ) -> bytes:
        """One request whose `body` is a JSON tree or bytes; returns the response's body, errors raised."""
        data = b"" if body is None else body if isinstance(body, bytes) else orjson.dumps(body)
        response = await self.send(method, path, query=query, body=data, content_type=content_type)
        if response.stream is not None:
            response.body = b"".join([chunk async for chunk in response.stream])
        raise_for_status(response, orjson.loads)
        return response.body

    async def get(self, cls: type[T], name: str, namespace: str | None = None) -> T:
        return self.decode(cls, await self.request("GET", cls.resource.path(namespace, name)))

    async def find(self, cls: type[T], name: str, namespace: str | None = None) -> T | None:
        """As `get`, with None for an object that does not exist."""
        try:
            return await self.get(cls, name, namespace)
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    async def list(
        self,
        cls: type[T],
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str = "",
    ) -> Page[T]:
        query = _selectors(label_selector, field_selector)
        if resource_version:
            query.append(("resourceVersion", resource_version))
        body = await self.request("GET", cls.resource.path(namespace), query=query)
        raw = self._raw_list.decode(body)
        return Page([self.decode(cls, item) for item in raw.items or ()], raw.metadata.resource_version)

    async def watch(
        self,
        cls: type[T],
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str = "",
        send_initial_events: bool = False,
    ) -> AsyncIterator[WatchEvent[T]]:
        """Events until the server ends the watch. Raises `Expired` when `resource_version` is too old."""
        query = [("watch", "true"), ("allowWatchBookmarks", "true")]
        query += _selectors(label_selector, field_selector)
        if resource_version:
            query.append(("resourceVersion", resource_version))
        if send_initial_events:
            query += [("sendInitialEvents", "true"), ("resourceVersionMatch", "NotOlderThan")]
        response = await self.send("GET", cls.resource.path(namespace), query=query)
        if response.status >= 400:
            if response.stream is not None:
                response.body = b"".join([chunk async for chunk in response.stream])
            raise_for_status(response, orjson.loads)
        assert response.stream is not None
        async for line in _lines(response.stream):
            event = self._raw_event.decode(line)
            if event.type == "ERROR":
                tree = orjson.loads(bytes(event.object))
                raise from_status(tree, tree.get("code", 500))
            obj = self.decode(cls, event.object)
            end = event.type == "BOOKMARK" and (obj.metadata.annotations.get("k8s.io/initial-events-end") == "true")
            yield WatchEvent(event.type, obj, end)

    async def create(self, obj: T, namespace: str | None = None) -> T:
        """Creates the object a view describes, and returns it as stored."""
        tree = to_tree(obj)
        path = obj.resource.path(namespace or obj.metadata.namespace or None)
        return self.decode(type(obj), await self.request("POST", path, body=tree))

    async def create_tree(self, resource: Resource, tree: Obj, namespace: str | None = None) -> Obj:
        """Creates an object from its JSON tree (for parts no view names, such as a pod template's)."""
        tree = {"apiVersion": resource.api_version, "kind": resource.kind, **tree}
        result: Obj = orjson.loads(await self.request("POST", resource.path(namespace), body=tree))
        return result

    async def patch(
        self,
        cls: type[T],
        name: str,
        namespace: str | None,
        patch: Any,
        *,
        type: PatchType = "merge",
        subresource: str = "",
        field_manager: str = "",
        force: bool = False,
    ) -> T:
        """Changes what `patch` (a JSON tree) names. `metadata.resourceVersion` in it makes the change conditional."""
        query: list[tuple[str, str]] = []
        if field_manager or type == "apply":
            query.append(("fieldManager", field_manager or self._user_agent))
        if force:
            query.append(("force", "true"))
        path = cls.resource.path(namespace, name, subresource)
        body = await self.request("PATCH", path, query=query, body=patch, content_type=_CONTENT_TYPES[type])
        return self.decode(cls, body)

    async def delete(
        self,
        cls: type[T],
        name: str,
        namespace: str | None = None,
        *,
        uid: str = "",
        resource_version: str = "",
        grace_period_seconds: int | None = None,
        propagation_policy: str = "",
    ) -> None:
        """Asks for deletion; with `uid` or `resource_version`, only of that very object (else `Conflict`)."""
        options: Obj = {"kind": "DeleteOptions", "apiVersion": "v1"}
        preconditions = {key: value for key, value in (("uid", uid), ("resourceVersion", resource_version)) if value}
        if preconditions:
            options["preconditions"] = preconditions
        if grace_period_seconds is not None:
            options["gracePeriodSeconds"] = grace_period_seconds
        if propagation_policy:
            options["propagationPolicy"] = propagation_policy
        await self.request("DELETE", cls.resource.path(namespace, name), body=options)

    async def close(self) -> None:
        await self._transport.close()


def _selectors(label_selector: str, field_selector: str) -> list[tuple[str, str]]:
    pairs = (("labelSelector", label_selector), ("fieldSelector", field_selector))
    return [(key, value) for key, value in pairs if value]


async def _lines(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The newline-separated documents of a watch; a chunk may hold many lines or a part of one."""
    rest = b""
    async for chunk in stream:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line:
                yield line
    if rest.strip():
        yield rest


def _seconds(retry_after: str) -> float:
    """What a `Retry-After` header says, within bounds; a second if it says nothing that can be read."""
    return min(float(retry_after), _LONGEST_WAIT) if retry_after.isascii() and retry_after.isdigit() else 1.0
