"""What scheduling reads of a pod, worked out once. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from pilothouse.kinds.core.pod import Container, Pod, PodAffinityTerm, ResourceRequirements
from pilothouse.kinds.view import LabelSelector
from pilothouse.machinery.quantity import cpu_millis, to_bytes
from pilothouse.machinery.selectors import Operator, Requirement, Selector, from_label_selector
from pilothouse.scheduler.profile import Profile, profile_of

Amounts = dict[str, int]
"""Resources by name: `cpu` in thousandths of a core, all others in bytes or pieces."""

_SCORED_CPU_MILLIS = 100
_SCORED_MEMORY_BYTES = 200 * 1024 * 1024
"""What a container without requests counts when nodes are compared, so that they do not all land on one (upstream)."""


@dataclass(frozen=True, slots=True)
class Term:
    """A pod (anti-)affinity term made ready for matching."""

    topology_key: str
    selector: Selector
    namespaces: frozenset[str]
    namespace_selector: Selector | None
    weight: int = 0

    def matches(self, pod: PodInfo, namespaces: Mapping[str, Mapping[str, str]]) -> bool:
        """True if `pod` is one of those the term speaks of; `namespaces` gives the labels of each namespace."""
        name = pod.pod.metadata.namespace
        if name not in self.namespaces and (
            self.namespace_selector is None or not self.namespace_selector.matches(namespaces.get(name, {}))
        ):
            return False
        return self.selector.matches(pod.pod.metadata.labels)


_SPREAD = frozenset({("apps/v1", "ReplicaSet"), ("apps/v1", "StatefulSet"), ("v1", "ReplicationController")})


@dataclass(frozen=True, slots=True)
class PodInfo:
    pod: Pod
    requests: Amounts
    scored: Amounts
    """cpu and memory with assumed amounts where nothing is requested."""
    ports: frozenset[tuple[str, str, int]]
    """Host address, protocol and number of host ports."""
    claims: tuple[str, ...]
    affinity: tuple[Term, ...] = ()
    anti_affinity: tuple[Term, ...] = ()
    preferred: tuple[Term, ...] = ()
    """Preferred terms, those of anti-affinity with negative weight."""

    identity: tuple[str, frozenset[tuple[str, str]]] = ("", frozenset())
    """Namespace and labels: what selectors of other pods go by."""

    owner: str = ""
    """Uid of the controller whose pods stand for one another, "" for a pod of none."""

    @property
    def key(self) -> str:
        return self.pod.key

    @property
    def profile(self) -> Profile:
        return profile_of(self.pod.spec.scheduler_name)

    @property
    def priority(self) -> int:
        return self.pod.spec.priority or 0

    @classmethod
    def of(cls, pod: Pod) -> PodInfo:
        affinity = pod.spec.affinity
        attract = affinity.pod_affinity if affinity is not None else None
        repel = affinity.pod_anti_affinity if affinity is not None else None
        preferred: list[Term] = []
        for side, sign in ((attract, 1), (repel, -1)):
            for weighted in side.preferred_during_scheduling_ignored_during_execution if side is not None else ():
                preferred.append(_term(pod, weighted.pod_affinity_term, sign * weighted.weight))
        return cls(
            pod,
            requests_of(pod),
            _scored(pod),
            frozenset(_host_ports(pod)),
            tuple(_claims(pod)),
            _terms(pod, attract.required_during_scheduling_ignored_during_execution if attract else ()),
            _terms(pod, repel.required_during_scheduling_ignored_during_execution if repel else ()),
            tuple(preferred),
            (pod.metadata.namespace, frozenset(pod.metadata.labels.items())),
            _owner(pod),
        )


def _owner(pod: Pod) -> str:
    owner = pod.controller()
    return owner.uid if owner is not None and (owner.api_version, owner.kind) in _SPREAD else ""


@lru_cache(maxsize=4096)
def amount(resource: str, text: str) -> int:
    """A quantity as this module counts it. Raises InvalidQuantity."""
    return cpu_millis(text) if resource == "cpu" else to_bytes(text)


def amounts(quantities: Mapping[str, str]) -> Amounts:
    return {resource: amount(resource, text) for resource, text in quantities.items()}


def requests_of(pod: Pod) -> Amounts:
    """What the pod needs at its most demanding moment, overhead and its own place among pods included.

    Containers and sidecars run together; each init container runs beside the sidecars started before it. Requests set
    for the pod as a whole take the place of the sum.
    """
    running: Amounts = {}
    for container in pod.spec.containers:
        _add(running, _requests(container.resources))
    sidecars: Amounts = {}
    peak: Amounts = {}
    for container in pod.spec.init_containers:
        need = _requests(container.resources)
        if container.restart_policy == "Always":
            _add(sidecars, need)
            need = sidecars
        else:
            need = _sum(sidecars, need)
        _raise(peak, need)
    _add(running, sidecars)
    _raise(running, peak)
    if pod.spec.resources is not None:
        running.update(_requests(pod.spec.resources))
    _add(running, amounts(pod.spec.overhead))
    running["pods"] = 1
    return running


def _scored(pod: Pod) -> Amounts:
    total = {"cpu": 0, "memory": 0}
    for container in _together(pod):
        need = _requests(container.resources)
        total["cpu"] += need.get("cpu", _SCORED_CPU_MILLIS)
        total["memory"] += need.get("memory", _SCORED_MEMORY_BYTES)
    return total


def _together(pod: Pod) -> list[Container]:
    return [*pod.spec.containers, *(c for c in pod.spec.init_containers if c.restart_policy == "Always")]


def _requests(resources: ResourceRequirements | None) -> Amounts:
    return amounts(resources.requests) if resources is not None else {}


def _add(total: Amounts, more: Amounts) -> None:
    for resource, value in more.items():
        total[resource] = total.get(resource, 0) + value


def _sum(left: Amounts, right: Amounts) -> Amounts:
    total = dict(left)
    _add(total, right)
    return total


def _raise(total: Amounts, least: Amounts) -> None:
    for resource, value in least.items():
        total[resource] = max(total.get(resource, 0), value)


def _host_ports(pod: Pod) -> Iterable[tuple[str, str, int]]:
    for container in _together(pod):
        for port in container.ports:
            number = port.host_port or (port.container_port if pod.spec.host_network else 0)
            if number:
                yield port.host_ip or "0.0.0.0", port.protocol, number


def _claims(pod: Pod) -> Iterable[str]:
    for volume in pod.spec.volumes:
        if volume.persistent_volume_claim is not None:
            yield f"{pod.metadata.namespace}/{volume.persistent_volume_claim.claim_name}"
        elif volume.ephemeral is not None:
            yield f"{pod.metadata.namespace}/{pod.metadata.name}-{volume.name}"


def _terms(pod: Pod, terms: Iterable[PodAffinityTerm]) -> tuple[Term, ...]:
    return tuple(_term(pod, term) for term in terms)


def _term(pod: Pod, term: PodAffinityTerm, weight: int = 0) -> Term:
    namespaces = frozenset(term.namespaces)
    if not namespaces and term.namespace_selector is None:
        namespaces = frozenset((pod.metadata.namespace,))
    return Term(
        term.topology_key,
        own_selector(pod, term.label_selector, term.match_label_keys, term.mismatch_label_keys),
        namespaces,
        from_label_selector(term.namespace_selector) if term.namespace_selector is not None else None,
        weight,
    )


def own_selector(
    pod: Pod, selector: LabelSelector | None, same: Iterable[str], different: Iterable[str] = ()
) -> Selector:
    """A selector narrowed to pods whose labels under some keys equal (or differ from) this pod's own."""
    made = from_label_selector(selector)
    labels = pod.metadata.labels
    extra = [Requirement(key, Operator.IN, frozenset((labels[key],))) for key in same if key in labels]
    extra += [Requirement(key, Operator.NOT_IN, frozenset((labels[key],))) for key in different if key in labels]
    return made._replace(requirements=(*made.requirements, *extra)) if extra else made
