"""What is in this node's images, told to the cluster's guard: manifests, and records of layers."""

from __future__ import annotations

from typing import Protocol

from aiohttp import web

from pilothouse.machinery.errors import BadRequest, NotFound


class ImageContents(Protocol):
    """Reads images that the node keeps. All answer JSON, and raise LookupError saying what cannot be read."""

    async def listed(self) -> bytes:
        """Every image: what containers' statuses call it, names and size."""

    async def manifest(self, name: str) -> bytes:
        """Configuration and layers of an image by its name or id."""

    async def layer(self, digest: str) -> bytes:
        """The record of a layer."""


class ImageRoutes:
    """Handlers for `/images/list`, `/images/manifest?name=` and `/images/layer?digest=`."""

    def __init__(self, contents: ImageContents) -> None:
        self._contents = contents

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Adds the routes."""
        router.add_get("/images/list", self._list, allow_head=False)
        router.add_get("/images/manifest", self._manifest, allow_head=False)
        router.add_get("/images/layer", self._layer, allow_head=False)

    async def _list(self, request: web.Request) -> web.Response:
        try:
            return _json(await self._contents.listed())
        except LookupError as error:
            raise NotFound(str(error)) from error

    async def _manifest(self, request: web.Request) -> web.Response:
        try:
            return _json(await self._contents.manifest(_wanted(request, "name")))
        except LookupError as error:
            raise NotFound(str(error)) from error

    async def _layer(self, request: web.Request) -> web.Response:
        try:
            return _json(await self._contents.layer(_wanted(request, "digest")))
        except LookupError as error:
            raise NotFound(str(error)) from error


def _wanted(request: web.Request, name: str) -> str:
    value = request.query.get(name, "")
    if not value or len(value) > 1000:
        raise BadRequest(f"{request.path} needs {name}=")
    return value


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")
