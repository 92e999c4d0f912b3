"""Custom kinds as they come and go, for parts that look at objects of kinds they are not made for."""

from __future__ import annotations

from collections.abc import Callable

from pilothouse.client.shared import SharedInformers
from pilothouse.kinds.apiextensions.custom_kind import api_order
from pilothouse.kinds.apiextensions.definition import CustomResourceDefinition
from pilothouse.machinery.objects import Resource

Heard = Callable[[Resource], None]


def resource_of(definition: CustomResourceDefinition) -> Resource | None:
    """The one version in which to read a definition's objects; None before its names are accepted."""
    if not definition.has("Established"):
        return None
    spec, names = definition.spec, definition.status.accepted_names
    going = definition.metadata.deletion_timestamp is not None
    stored = [version.name for version in spec.versions if version.storage and (version.served or going)]
    served = stored or api_order([version.name for version in spec.versions if version.served])
    if not served:
        return None
    return Resource(spec.group, served[0], names.kind, names.plural, spec.scope == "Namespaced")


def follow(informers: SharedInformers, comes: Heard, goes: Heard) -> None:
    """Calls `comes` for every custom kind there is and will be, `goes` when it is no more (or in another version)."""

    def changed(key: str, old: CustomResourceDefinition | None, new: CustomResourceDefinition | None) -> None:
        before = resource_of(old) if old is not None else None
        after = resource_of(new) if new is not None else None
        if before == after:
            return
        if before is not None:
            goes(before)
        if after is not None:
            comes(after)

    informers.of(CustomResourceDefinition).subscribe(changed)
