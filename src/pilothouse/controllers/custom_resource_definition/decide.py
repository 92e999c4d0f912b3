"""How far the deletion of a definition's instances has come, as its condition says it. Pure."""

from __future__ import annotations

import datetime as dt

from pilothouse.controllers.conditions import with_condition
from pilothouse.kinds.apiextensions.definition import CLEANUP, CustomResourceDefinition
from pilothouse.kinds.view import Condition

IN_PROGRESS = ("True", "InstanceDeletionInProgress", "CustomResource deletion is in progress")
COMPLETED = ("False", "InstanceDeletionCompleted", "removed all instances")


def failed(message: str) -> tuple[str, str, str]:
    return ("True", "InstanceDeletionFailed", f"could not delete instances: {message}")


def terminating(
    definition: CustomResourceDefinition, state: tuple[str, str, str], now: dt.datetime
) -> list[Condition] | None:
    """The conditions with Terminating as given, None when it stands so already."""
    status, reason, message = state
    found = definition.status.conditions
    if any((c.type, c.status, c.reason, c.message) == ("Terminating", *state) for c in found):
        return None
    return with_condition(found, Condition(type="Terminating", status=status, reason=reason, message=message), now)


def waits_for_names(definition: CustomResourceDefinition) -> bool:
    """Whether a name it asks for was taken when it was last written."""
    return definition.metadata.deletion_timestamp is None and not definition.has("NamesAccepted")


def is_going(definition: CustomResourceDefinition) -> bool:
    """Whether it is being deleted and waits for its instances."""
    return definition.metadata.deletion_timestamp is not None and CLEANUP in definition.metadata.finalizers
