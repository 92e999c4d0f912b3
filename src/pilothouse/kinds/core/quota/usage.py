"""What one object uses, under the names that quotas count it by."""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.quota.amounts import ONE, Amounts, amounts, raise_to
from pilothouse.kinds.core.quota.pod_amounts import container_limits, container_requests, pod_limits, pod_requests
from pilothouse.kinds.core.quota.scopes import ClaimScopes, Scopes, scopes_of_pod
from pilothouse.kinds.core.service import Service
from pilothouse.kinds.view import Object
from pilothouse.machinery.objects import Resource, parse_timestamp
from pilothouse.machinery.quantity import Quantity

COUNT = "count/"
OBJECTS = frozenset(
    {"configmaps", "persistentvolumeclaims", "pods", "replicationcontrollers", "resourcequotas", "secrets", "services"}
)
"""Kinds of the core group that are also counted under their plural alone."""
PODS, SERVICES, CLAIMS = ("", "pods"), ("", "services"), ("", "persistentvolumeclaims")
OF_CLASS = ".storageclass.storage.k8s.io/"
_STANDARD = ("cpu", "memory", "ephemeral-storage")
_ENDED = ("Failed", "Succeeded")

Place = tuple[str, str]
"""Group and plural of a kind."""


class Item(NamedTuple):
    """An object as quotas see it. From `free_at` on only its existence counts (a pod whose node does not end it)."""

    uid: str
    version: str
    usage: Amounts
    scopes: Scopes = None
    free_at: dt.datetime | None = None


def place_of(resource: Resource) -> Place:
    return resource.group, resource.plural


def counted_in(name: str) -> Place:
    """The one kind whose objects count for a name in `spec.hard`."""
    if name.startswith(COUNT):
        plural, _, group = name.removeprefix(COUNT).partition(".")
        return group, plural
    if name in OBJECTS:
        return "", name
    if name.startswith("services."):
        return SERVICES
    if name == "requests.storage" or OF_CLASS in name:
        return CLAIMS
    return PODS


def item_of(place: Place, obj: Object) -> Item:
    """What an object uses; of kinds without a rule of their own only their number counts."""
    meta = obj.metadata
    if isinstance(obj, Pod):
        return Item(meta.uid, meta.resource_version, _of_pod(obj), scopes_of_pod(obj), _free_at(obj))
    usage = counted(place)
    scopes: Scopes = None
    if isinstance(obj, Service):
        usage |= _of_service(obj)
    elif isinstance(obj, PersistentVolumeClaim):
        usage |= _of_claim(obj)
        scopes = ClaimScopes(obj.spec.volume_attributes_class_name or "")
    return Item(meta.uid, meta.resource_version, usage, scopes)


def counted(place: Place) -> Amounts:
    """One object of a kind."""
    group, plural = place
    usage = {f"{COUNT}{plural}.{group}" if group else COUNT + plural: ONE}
    if not group and plural in OBJECTS:
        usage[plural] = ONE
    return usage


def freed(item: Item) -> Item:
    """The same pod once nothing of it counts but that it exists."""
    return item._replace(usage={COUNT + "pods": ONE}, free_at=None)


def _of_pod(pod: Pod) -> Amounts:
    if pod.status.phase in _ENDED:
        return {COUNT + "pods": ONE}
    usage = counted(PODS)
    for name, amount in pod_requests(pod).items():
        if name in _STANDARD or name.startswith("hugepages-"):
            usage[name] = amount
        usage[f"requests.{name}"] = amount
    for name, amount in pod_limits(pod).items():
        if name in _STANDARD:
            usage[f"limits.{name}"] = amount
    return usage


def _free_at(pod: Pod) -> dt.datetime | None:
    ends, grace = pod.metadata.deletion_timestamp, pod.metadata.deletion_grace_period_seconds
    if ends is None or grace is None or pod.status.phase in _ENDED:
        return None
    return parse_timestamp(ends) + dt.timedelta(seconds=grace)


def _of_service(service: Service) -> Amounts:
    usage: Amounts = {}
    spec = service.spec
    ports = len(spec.ports)
    if spec.type == "LoadBalancer":
        usage["services.loadbalancers"] = ONE
        if spec.allocate_load_balancer_node_ports is False:
            ports = sum(1 for port in spec.ports if port.node_port)
    if spec.type in ("LoadBalancer", "NodePort"):
        usage["services.nodeports"] = Quantity.parse(ports)
    return usage


def _of_claim(claim: PersistentVolumeClaim) -> Amounts:
    class_name = claim.spec.storage_class_name or ""
    asked = amounts({"requests.storage": claim.spec.resources.requests.get("storage", "0")})
    raise_to(asked, amounts({"requests.storage": claim.status.allocated_resources.get("storage", "0")}))
    if not class_name:
        return asked
    own = {f"{class_name}{OF_CLASS}{name}": amount for name, amount in asked.items()}
    return {**asked, **own, f"{class_name}{OF_CLASS}persistentvolumeclaims": ONE}


_REQUIRED = frozenset(
    {"cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"},
)


def unspecified(pod: Pod, names: frozenset[str]) -> str:
    """What containers must say for a quota of these names: `must specify limits.cpu for: app`, "" for nothing."""
    missing: dict[str, set[str]] = {}
    for container in [*pod.spec.containers, *pod.spec.init_containers]:
        requests, limits = container_requests(container), container_limits(container)
        said = {*requests, *(f"requests.{name}" for name in requests), *(f"limits.{name}" for name in limits)}
        for name in (_REQUIRED & names) - said:
            missing.setdefault(name, set()).add(container.name)
    found = "; ".join(f"{name} for: {','.join(sorted(missing[name]))}" for name in sorted(missing))
    return f"must specify {found}" if found else ""
