"""LimitRanges: containers get default requests and limits; pods and claims keep within the bounds of their namespace.

Source of the rules and messages: upstream's admission plugin LimitRanger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

import msgspec

from pilothouse.apiserver.admission.refuse import forbidden
from pilothouse.apiserver.chain import AdmissionRequest, ObjectReader
from pilothouse.kinds.core.container import Container
from pilothouse.kinds.core.limit_range import LimitRange, LimitRangeItem
from pilothouse.kinds.core.persistent_volume_claim import PersistentVolumeClaim
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.quota.amounts import Amounts, amounts
from pilothouse.kinds.core.quota.pod_amounts import container_limits, container_requests, pod_limits, pod_requests
from pilothouse.machinery.objects import Obj
from pilothouse.machinery.quantity import Quantity

_ANNOTATION: Final = "kubernetes.io/limit-ranger"


def is_resize(request: AdmissionRequest) -> bool:
    """Whether a running pod is to get other resources."""
    return request.resource == Pod.resource and request.operation == "UPDATE" and request.subresource == "resize"


class LimitRanger:
    """Fills in what containers leave out, then refuses what is out of bounds."""

    def __init__(self, objects: ObjectReader) -> None:
        self._objects = objects

    async def mutate(self, request: AdmissionRequest) -> None:
        pod = request.object
        if request.resource != Pod.resource or request.operation != "CREATE" or request.subresource or pod is None:
            return
        notes: list[str] = []
        for limit_range in self._ranges(request.namespace):
            defaults = [item for item in limit_range.spec.limits if item.type == "Container"]
            if defaults:
                notes += _fill_pod(pod, defaults)
        if notes:
            meta = pod.setdefault("metadata", {})
            text = f"LimitRanger plugin set: {'; '.join(notes)}"
            meta["annotations"] = {**(meta.get("annotations") or {}), _ANNOTATION: text}

    async def validate(self, request: AdmissionRequest) -> None:
        obj = request.object
        resizes = is_resize(request)
        if obj is None or (request.subresource and not resizes):
            return
        check: Callable[[LimitRangeItem], Iterator[str]]
        if resizes or (request.resource == Pod.resource and request.operation == "CREATE"):
            pod = msgspec.convert(obj, Pod)
            check = lambda item: _pod_faults(item, pod)  # noqa: E731
        elif request.resource == PersistentVolumeClaim.resource and request.operation in ("CREATE", "UPDATE"):
            claim = msgspec.convert(obj, PersistentVolumeClaim)
            check = lambda item: _claim_faults(item, claim)  # noqa: E731
        else:
            return
        for limit_range in self._ranges(request.namespace):
            faults = list(dict.fromkeys(fault for item in limit_range.spec.limits for fault in check(item)))
            if faults:
                raise forbidden(request, faults[0] if len(faults) == 1 else f"[{', '.join(faults)}]")

    def _ranges(self, namespace: str) -> list[LimitRange]:
        return [msgspec.convert(tree, LimitRange) for tree in self._objects.list(LimitRange.resource, namespace)]


def _fill_pod(pod: Obj, items: list[LimitRangeItem]) -> Iterator[str]:
    requests: dict[str, str] = {}
    limits: dict[str, str] = {}
    for item in items:
        requests |= item.default_request
        limits |= item.default
    spec = pod.get("spec") or {}
    for key, what in (("containers", "container"), ("initContainers", "init container")):
        for container in spec.get(key) or ():
            resources = container.setdefault("resources", {})
            for kind, defaults, word in (("requests", requests, "request"), ("limits", limits, "limit")):
                missing = {name: amount for name, amount in defaults.items() if name not in (resources.get(kind) or {})}
                if missing:
                    resources[kind] = {**(resources.get(kind) or {}), **missing}
                    yield f"{', '.join(sorted(missing))} {word} for {what} {container.get('name', '')}"


def _pod_faults(item: LimitRangeItem, pod: Pod) -> Iterator[str]:
    if item.type == "Container":
        for container in [*pod.spec.containers, *pod.spec.init_containers]:
            yield from _bounds(item, *_of_container(container))
    elif item.type == "Pod":
        yield from _bounds(item, pod_requests(pod), pod_limits(pod))


def _of_container(container: Container) -> tuple[Amounts, Amounts]:
    return container_requests(container), container_limits(container)


def _bounds(item: LimitRangeItem, requests: Amounts, limits: Amounts) -> Iterator[str]:
    for name, least in amounts(item.min).items():
        yield from _too_little(f"minimum {name} usage per {item.type} is {least}", least, name, requests, limits)
    for name, most in amounts(item.max).items():
        yield from _too_much(f"maximum {name} usage per {item.type} is {most}", most, name, requests, limits)
    for name, most in amounts(item.max_limit_request_ratio).items():
        rule = f"{name} max limit to request ratio per {item.type} is {most}"
        yield from _too_unequal(rule, most, requests.get(name), limits.get(name))


def _too_little(
    rule: str, least: Quantity, name: str, requests: Mapping[str, Quantity], limits: Mapping[str, Quantity]
) -> Iterator[str]:
    request, limit = requests.get(name), limits.get(name)
    if request is None:
        yield f"{rule}.  No request is specified"
    elif request.value < least.value:
        yield f"{rule}, but request is {request}"
    elif limit is not None and limit.value < least.value:
        yield f"{rule}, but limit is {limit}"


def _too_much(
    rule: str, most: Quantity, name: str, requests: Mapping[str, Quantity], limits: Mapping[str, Quantity]
) -> Iterator[str]:
    request, limit = requests.get(name), limits.get(name)
    if limit is None:
        yield f"{rule}.  No limit is specified"
    elif limit.value > most.value:
        yield f"{rule}, but limit is {limit}"
    elif request is not None and request.value > most.value:
        yield f"{rule}, but request is {request}"


def _too_unequal(rule: str, most: Quantity, request: Quantity | None, limit: Quantity | None) -> Iterator[str]:
    if request is None or not request.value:
        yield f"{rule}, but no request is specified or request is 0"
    elif limit is None or not limit.value:
        yield f"{rule}, but no limit is specified or limit is 0"
    elif limit.value / request.value > most.value:
        yield f"{rule}, but provided ratio is {float(limit.value / request.value):f}"


def _claim_faults(item: LimitRangeItem, claim: PersistentVolumeClaim) -> Iterator[str]:
    if item.type != "PersistentVolumeClaim":
        return
    requests = amounts(claim.spec.resources.requests)
    for name, least in amounts(item.min).items():
        yield from _too_little(f"minimum {name} usage per {item.type} is {least}", least, name, requests, {})
    for name, most in amounts(item.max).items():
        request = requests.get(name)
        rule = f"maximum {name} usage per {item.type} is {most}"
        if request is None:
            yield f"{rule}.  No request is specified"
        elif request.value > most.value:
            yield f"{rule}, but request is {request}"
