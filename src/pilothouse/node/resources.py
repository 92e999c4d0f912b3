"""Requests and limits as the kernel takes them: CPU shares and quota, memory limits, OOM scores, service classes.

Figures are upstream's (kubelet `cm/helpers_linux.go`, `qos/policy.go`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from pilothouse.kinds.core.pod import Container, Pod
from pilothouse.machinery.quantity import cpu_millis, parse_quantity, to_bytes

CPU_PERIOD_US = 100_000
_MIN_SHARES, _MAX_SHARES = 2, 262_144
_MIN_QUOTA_US = 1000
SYSTEM_CRITICAL_PRIORITY = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """What a cgroup is held to; 0 means no limit (and for `cpu_shares`, not set)."""

    cpu_shares: int = 0
    cpu_quota_us: int = 0
    memory_bytes: int = 0


def resizable(container: Container) -> dict[str, dict[str, str]]:
    """What of a container's resources can change while it runs, as its status shows it."""
    if container.resources is None:
        return {}
    sides = {"limits": container.resources.limits, "requests": container.resources.requests}
    chosen = {side: {n: v for n, v in given.items() if n in ("cpu", "memory")} for side, given in sides.items()}
    return {side: given for side, given in chosen.items() if given}


def shares(milli_cpu: int) -> int:
    """CPU shares (cgroup v1) for a request in thousandths of a CPU."""
    return min(_MAX_SHARES, max(_MIN_SHARES, milli_cpu * 1024 // 1000))


def quota(milli_cpu: int) -> int:
    """CPU quota in microseconds a period for a limit in thousandths; 0 for no limit."""
    return max(_MIN_QUOTA_US, milli_cpu * CPU_PERIOD_US // 1000) if milli_cpu else 0


def container_limits(container: Container) -> Limits:
    """The cgroup limits of one container."""
    requests, limits = _effective(container)
    return Limits(
        cpu_shares=shares(cpu_millis(requests.get("cpu", "0"))),
        cpu_quota_us=quota(cpu_millis(limits.get("cpu", "0"))),
        memory_bytes=to_bytes(limits.get("memory", "0")),
    )


def pod_limits(pod: Pod) -> Limits:
    """The cgroup limits of the pod as a whole: a limit applies only where every container has one."""
    requests = pod_requests(pod)
    limits = _total(pod, limits=True)
    whole = pod.spec.resources.limits if pod.spec.resources is not None else {}
    complete = {
        name: name in whole or all(name in _effective(c)[1] for c in [*pod.spec.containers, *pod.spec.init_containers])
        for name in ("cpu", "memory")
    }
    return Limits(
        cpu_shares=shares(int(requests.get("cpu", Fraction(0)) * 1000)),
        cpu_quota_us=quota(int(limits.get("cpu", Fraction(0)) * 1000)) if complete["cpu"] else 0,
        memory_bytes=int(limits.get("memory", Fraction(0))) if complete["memory"] else 0,
    )


def pod_requests(pod: Pod) -> dict[str, Fraction]:
    """What the pod asks of its node: the larger of the containers together and of any moment of its start."""
    return _total(pod, limits=False)


def class_and_cpu(pod: Pod) -> tuple[str, int]:
    """The pod's service class, and the thousandths of a CPU it asks for."""
    return qos_class(pod).lower(), int(pod_requests(pod).get("cpu", Fraction(0)) * 1000)


def qos_shares(pods: Iterable[tuple[str, int]]) -> dict[str, int]:
    """CPU shares of the group of each service class: what its pods ask for together; the least for best effort.

    Without them each class would get a third, however little its pods asked for (kubelet `qos_container_manager`).
    """
    millis = dict.fromkeys(("guaranteed", "burstable", "besteffort"), 0)
    for name, asked in pods:
        millis[name] += asked
    return {name: shares(0 if name == "besteffort" else asked) for name, asked in millis.items()}


def _total(pod: Pod, *, limits: bool) -> dict[str, Fraction]:
    sidecars: dict[str, Fraction] = {}
    peak: dict[str, Fraction] = {}
    for container in pod.spec.init_containers:
        amounts = _amounts(_effective(container)[limits])
        if container.restart_policy == "Always":
            _add(sidecars, amounts)
            _raise(peak, sidecars)
        else:
            moment = dict(sidecars)
            _add(moment, amounts)
            _raise(peak, moment)
    total = dict(sidecars)
    for container in pod.spec.containers:
        _add(total, _amounts(_effective(container)[limits]))
    _raise(total, peak)
    if pod.spec.resources is not None:
        # What is set for the pod as a whole takes the place of the sum.
        whole = pod.spec.resources
        total.update(_amounts(whole.limits if limits else {**whole.limits, **whole.requests}))
    if pod.spec.overhead and (not limits or total):
        _add(total, _amounts(pod.spec.overhead))
    return total


def _effective(container: Container) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Requests and limits; a limit without a request is one too, as the API's defaulting says."""
    if container.resources is None:
        return {}, {}
    return {**container.resources.limits, **container.resources.requests}, container.resources.limits


def _amounts(quantities: Mapping[str, str]) -> dict[str, Fraction]:
    return {name: parse_quantity(value) for name, value in quantities.items()}


def _add(total: dict[str, Fraction], amounts: Mapping[str, Fraction]) -> None:
    for name, amount in amounts.items():
        total[name] = total.get(name, Fraction(0)) + amount


def _raise(total: dict[str, Fraction], least: Mapping[str, Fraction]) -> None:
    for name, amount in least.items():
        total[name] = max(total.get(name, Fraction(0)), amount)


def qos_class(pod: Pod) -> str:
    """Guaranteed, Burstable or BestEffort."""
    whole = pod.spec.resources
    sides: list[tuple[Mapping[str, str], Mapping[str, str]]]
    if whole is not None and (whole.limits or whole.requests):
        # Resources of the pod as a whole decide alone.
        sides = [({**whole.limits, **whole.requests}, whole.limits)]
    else:
        sides = [_effective(container) for container in [*pod.spec.containers, *pod.spec.init_containers]]
    anything, guaranteed = False, True
    for requests, limits in sides:
        for name in ("cpu", "memory"):
            request, limit = parse_quantity(requests.get(name, "0")), parse_quantity(limits.get(name, "0"))
            anything = anything or request > 0 or limit > 0
            guaranteed = guaranteed and limit > 0 and request == limit
    if not anything:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def oom_score_adj(pod: Pod, container: Container, memory_capacity: int) -> int:
    """The container's badness: a burstable one's falls with the share of memory it asked for."""
    if (pod.spec.priority or 0) >= SYSTEM_CRITICAL_PRIORITY:
        return -997
    qos = qos_class(pod)
    if qos == "Guaranteed":
        return -997
    if qos == "BestEffort":
        return 1000
    requested = to_bytes(_effective(container)[0].get("memory", "0"))
    score = 1000 - 1000 * requested // max(1, memory_capacity)
    return min(999, max(3, score))


def cgroup_parent(root: str, pod: Pod) -> str:
    """The pod's cgroup below `root`: `ROOT/<qos>/pod<UID>`."""
    return f"{root}/{qos_class(pod).lower()}/pod{pod.metadata.uid}"
