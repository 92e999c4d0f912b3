"""One object in all versions it is served in, for rules with matchPolicy Equivalent.

Source: Kubernetes documentation, "Matching requests: matchPolicy". A rule for another version of the same kind means
the request too, and is shown the object in its own version.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import NamedTuple

from pilothouse.apiserver.served_kinds import ServedKinds
from pilothouse.kinds.kind import Kind
from pilothouse.machinery.objects import Obj, Resource
from pilothouse.machinery.schema import Schema

Convert = Callable[[Obj], Obj]


class Form(NamedTuple):
    """Another version: its resource, and ways there and back that make new trees."""

    resource: Resource
    to: Convert
    back: Convert


class Equivalents:
    """The other versions of each resource that is served in several; and resources by their kind."""

    def __init__(self, served: ServedKinds) -> None:
        self._served = served
        self._version = -1
        self._forms: dict[Resource, tuple[Form, ...]] = {}
        self._by_kind: dict[tuple[str, str], Resource] = {}

    def others(self, resource: Resource) -> tuple[Form, ...]:
        """The other versions of a resource; most have none."""
        self._refresh()
        return self._forms.get(resource, ())

    def of_kind(self, api_version: str, kind: str) -> Resource | None:
        """The resource of a kind, None when it is not served."""
        self._refresh()
        return self._by_kind.get((api_version, kind))

    def schema(self, resource: Resource) -> Schema | None:
        """What objects of a resource look like, None when nothing is known of them."""
        kind = self._served.get(resource.group, resource.version, resource.plural)
        return None if kind is None else kind.schema

    def _refresh(self) -> None:
        if self._version == self._served.version:
            return
        self._version = self._served.version
        kinds = self._served.all()
        self._by_kind = {(kind.resource.api_version, kind.resource.kind): kind.resource for kind in kinds}
        self._forms = _forms(kinds)


def _forms(kinds: Iterable[Kind]) -> dict[Resource, tuple[Form, ...]]:
    found: dict[Resource, list[Form]] = defaultdict(list)
    by_place: dict[tuple[str, str], list[Resource]] = defaultdict(list)
    for kind in kinds:
        by_place[kind.resource.group, kind.resource.plural].append(kind.resource)
        if kind.stored_as is not None:
            stored = kind.stored_as
            found[kind.resource].append(Form(stored.kind.resource, stored.to_stored, stored.from_stored))
            found[stored.kind.resource].append(Form(kind.resource, stored.from_stored, stored.to_stored))
    for resources in by_place.values():
        for resource in resources:
            known = {form.resource for form in found.get(resource, ())}
            for other in resources:
                if other != resource and other not in known:
                    found[resource].append(Form(other, _in_version(other), _in_version(resource)))
    return {resource: tuple(forms) for resource, forms in found.items()}


def _in_version(resource: Resource) -> Convert:
    """Versions of a custom resource that differ in nothing but their name."""
    return lambda tree: {**tree, "apiVersion": resource.api_version}
