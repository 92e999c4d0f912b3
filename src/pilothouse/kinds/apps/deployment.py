"""Deployment."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from pilothouse.kinds.view import Condition, LabelSelector, Object, View
from pilothouse.machinery.objects import Obj, Resource


class RollingUpdateDeployment(View):
    max_unavailable: int | str | None = None
    max_surge: int | str | None = None


class DeploymentStrategy(View):
    type: str = "RollingUpdate"
    rolling_update: RollingUpdateDeployment | None = None


class DeploymentSpec(View):
    """`template` is a PodTemplateSpec tree, passed on as it is."""

    replicas: int | None = None
    selector: LabelSelector | None = None
    template: Obj = {}
    strategy: DeploymentStrategy = msgspec.field(default_factory=DeploymentStrategy)
    min_ready_seconds: int = 0
    revision_history_limit: int | None = None
    paused: bool = False
    progress_deadline_seconds: int | None = None


class DeploymentStatus(View):
    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    unavailable_replicas: int = 0
    terminating_replicas: int | None = None
    collision_count: int | None = None
    conditions: list[Condition] = []


class Deployment(Object):
    resource: ClassVar[Resource] = Resource("apps", "v1", "Deployment", "deployments", True)

    spec: DeploymentSpec = msgspec.field(default_factory=DeploymentSpec)
    status: DeploymentStatus = msgspec.field(default_factory=DeploymentStatus)
