"""Calls conversion webhooks, and remembers what they said of objects that have not changed since."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

import orjson

from pilothouse.apiserver.conversion.review import answer, question
from pilothouse.apiserver.service_link import ServiceLink
from pilothouse.kinds.apiextensions.custom_kind import CustomKind
from pilothouse.machinery.errors import InternalError, ServiceUnavailable
from pilothouse.machinery.objects import Obj

SECONDS: Final = 30.0
_AT_ONCE: Final = 200
_REMEMBERED: Final = 8 << 20
"""Bytes of converted objects that are kept."""

Place = tuple[str, str, int, int]
"""Of a conversion: key, apiVersion, revision of the object, revision of its definition."""


class Converter:
    """Converts objects of any custom kind."""

    def __init__(self, link: ServiceLink) -> None:
        self._link = link
        self._known: OrderedDict[Place, bytes] = OrderedDict()
        self._size = 0

    def known(self, place: Place) -> bytes | None:
        found = self._known.get(place)
        if found is not None:
            self._known.move_to_end(place)
        return found

    def remember(self, place: Place, value: bytes) -> None:
        if place not in self._known:
            self._size += len(value)
        self._known[place] = value
        while self._size > _REMEMBERED and self._known:
            _, dropped = self._known.popitem(last=False)
            self._size -= len(dropped)

    async def convert(self, kind: CustomKind, api_version: str, objects: Sequence[Obj]) -> list[Obj]:
        """The objects in another version, in order. Raises InternalError, with the webhook's reason."""
        webhook = kind.conversion_webhook or {}
        who = f"{kind.resource.api_version}, Kind={kind.resource.kind}"
        reviews = webhook.get("conversionReviewVersions") or ["v1"]
        review = next((version for version in reviews if version in ("v1", "v1beta1")), "v1")
        found: list[Obj] = []
        for start in range(0, len(objects), _AT_ONCE):
            asked = objects[start : start + _AT_ONCE]
            uid, body = question(api_version, asked, review)
            try:
                target = self._link.target(webhook.get("clientConfig") or {})
                reply = await self._link.post(target, body, SECONDS)
            except (ServiceUnavailable, TimeoutError) as error:
                why = error.message if isinstance(error, ServiceUnavailable) else f"no answer within {SECONDS:g} s"
                raise InternalError(f"conversion webhook for {who} failed: {why}") from error
            found += answer(reply, uid, api_version, asked, who)
        return found


def version_of(value: bytes) -> str:
    """The apiVersion of stored bytes."""
    version: str = orjson.loads(value)["apiVersion"] if b'"apiVersion":"' not in value[:512] else _quick(value)
    return version


def _quick(value: bytes) -> str:
    start = value.index(b'"apiVersion":"') + len(b'"apiVersion":"')
    return value[start : value.index(b'"', start)].decode()
