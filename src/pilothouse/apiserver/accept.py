"""What form of answer a client accepts: the `Accept` header, and the media types of request bodies. Pure."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

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
    """The first form of the header that can be served. Answers are JSON whatever else is asked for: clients that
    prefer protobuf read it as well."""
    for media in media_types(header):
        as_kind = media.parameter("as")
        if not as_kind:
            return WHOLE
        if as_kind in _TRANSFORMS and media.type in (JSON, "*/*", "application/*"):
            version = media.parameter("v")
            if media.parameter("g") == "meta.k8s.io" and version in ("v1", "v1beta1"):
                return Form(as_kind.removesuffix("List"), version)
    return WHOLE


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
