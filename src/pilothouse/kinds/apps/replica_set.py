"""ReplicaSet."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from pilothouse.kinds.view import Condition, LabelSelector, Object, View
from pilothouse.machinery.objects import Obj, Resource


class ReplicaSetSpec(View):
    """`template` is a PodTemplateSpec tree, passed on as it is."""

    replicas: int | None = None
    min_ready_seconds: int = 0
    selector: LabelSelector | None = None
    template: Obj = {}


class ReplicaSetStatus(View):
    replicas: int = 0
    fully_labeled_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    terminating_replicas: int | None = None
    observed_generation: int = 0
    conditions: list[Condition] = []


class ReplicaSet(Object):
    resource: ClassVar[Resource] = Resource("apps", "v1", "ReplicaSet", "replicasets", True)

    spec: ReplicaSetSpec = msgspec.field(default_factory=ReplicaSetSpec)
    status: ReplicaSetStatus = msgspec.field(default_factory=ReplicaSetStatus)
