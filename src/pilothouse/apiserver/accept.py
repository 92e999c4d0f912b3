"""What form of answer a client accepts: the `Accept` header, and the media types of request bodies. Pure."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from pilothouse.machinery.errors import NotAcceptable

JSON = "application/json"


class Media(NamedTuple):
    """One media type with its parameters."""

    type: str
    parameters: tuple[tuple[str, str], ...] = ()

    def parameter(self, name: str) -> str:
        return next((value for key, value in self.parameters if key == name), "")


class Form(NamedTuple):
    """How objects are to be answered: whole (`as_kind` empty), as a Table, or as their metadata."""

    as_kind: str = ""
    version: str = ""


WHOLE = Form()
_TRANSFORMS = frozenset({"Table", "PartialObjectMetadata", "PartialObjectMetadataList"})
_OFFERED = (JSON, "application/yaml", "application/vnd.kubernetes.protobuf")
_SATISFIED = frozenset({*_OFFERED, "*/*", "application/*"})
"""Protobuf is answered in JSON, which every client that asks for it reads as well."""


@lru_cache(maxsize=512)
def media_types(header: str) -> tuple[Media, ...]:
    """The media types of a header in the order given; quality values do not matter to any known client."""
    found = []
    for entry in header.split(","):
        name, *rest = entry.strip().split(";")
        parameters = tuple(
            (key.strip(), value.strip().strip('"'))
            for key, _, value in (parameter.partition("=") for parameter in rest)
        )
        if name.strip():
            found.append(Media(name.strip().lower(), parameters))
    return tuple(found)


@lru_cache(maxsize=512)
def object_form(header: str) -> Form:
    """The first form of the header that can be served. Raises NotAcceptable when none can."""
    asked = media_types(header)
    for media in asked:
        as_kind = media.parameter("as")
        if not as_kind:
            if media.type in _SATISFIED:
                return WHOLE
            continue
        if as_kind in _TRANSFORMS and media.type in (JSON, "*/*", "application/*"):
            version = media.parameter("v")
            if media.parameter("g") == "meta.k8s.io" and version in ("v1", "v1beta1"):
                return Form(as_kind.removesuffix("List"), version)
    if not asked:
        return WHOLE
    raise NotAcceptable(f"only the following media types are accepted: {', '.join(_OFFERED)}")


@lru_cache(maxsize=64)
def wants_aggregated_discovery(header: str) -> bool:
    """Whether `APIGroupDiscoveryList` v2 is accepted."""
    return any(
        media.parameter("as") == "APIGroupDiscoveryList"
        and media.parameter("g") == "apidiscovery.k8s.io"
        and media.parameter("v") == "v2"
        and media.type in (JSON, "*/*")
        for media in media_types(header)
    )
