"""PriorityLevelConfiguration."""

from __future__ import annotations

from typing import ClassVar

from pilothouse.kinds.columns import AGE, NAME, NONE, Column, field
from pilothouse.kinds.kind import Kind
from pilothouse.kinds.view import Object
from pilothouse.machinery.objects import Resource


class PriorityLevelConfiguration(Object):
    resource: ClassVar[Resource] = Resource(
        "flowcontrol.apiserver.k8s.io", "v1", "PriorityLevelConfiguration", "prioritylevelconfigurations", False
    )


_QUEUING = ("spec", "limited", "limitResponse", "queuing")


KIND = Kind(
    view=PriorityLevelConfiguration,
    subresources=frozenset({"status"}),
    columns=(
        NAME,
        Column("Type", field("spec", "type"), "Limited or Exempt."),
        Column(
            "NominalConcurrencyShares",
            field("spec", "limited", "nominalConcurrencyShares", default=NONE),
            "Its share of the server's requests.",
        ),
        Column("Queues", field(*_QUEUING, "queues", default=NONE), "Queues of waiting requests."),
        Column("HandSize", field(*_QUEUING, "handSize", default=NONE), "Queues a flow may use."),
        Column("QueueLengthLimit", field(*_QUEUING, "queueLengthLimit", default=NONE), "Requests that may wait."),
        AGE,
    ),
    generation_fields=("spec",),
)
