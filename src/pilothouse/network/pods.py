"""Pods as the rules see them, and which of them owns an address at present. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from pilothouse.kinds.core.bandwidth import UNBOUNDED, Bandwidth, bandwidth
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.families import canonical
from pilothouse.network.facts import version_of
from pilothouse.network.views import PodView


class HostPort(NamedTuple):
    """A port of the host that leads to a port of the pod; `address` is "" for all addresses of the node."""

    address: str
    port: int
    protocol: str
    container_port: int


@dataclass(frozen=True, slots=True)
class PodFacts:
    """A pod with an address. `ports` maps (name, protocol in lower case) to the container port's number."""

    key: str
    namespace: str
    address: str
    labels: Mapping[str, str]
    ports: Mapping[tuple[str, str], int] = field(default_factory=dict)
    local: bool = False
    host_ports: tuple[HostPort, ...] = ()
    created: str = ""
    bandwidth: Bandwidth = UNBOUNDED


def pod_facts(pod: Pod | PodView, address: str, node_name: str) -> PodFacts | None:
    """The facts of a pod; None for one that has ended, has no address, or lives in its host's network."""
    version = version_of(address)
    if not version or pod.spec.host_network or pod.status.phase in ("Succeeded", "Failed"):
        return None
    containers = [*pod.spec.init_containers, *pod.spec.containers]
    ports = [port for container in containers for port in container.ports]
    return PodFacts(
        key=pod.key,
        namespace=pod.namespace,
        address=address,
        labels=pod.metadata.labels,
        ports={(port.name, port.protocol.lower()): port.container_port for port in ports if port.name},
        local=pod.spec.node_name == node_name,
        host_ports=tuple(
            HostPort(
                "" if port.host_ip in ("0.0.0.0", "::") else canonical(port.host_ip),
                port.host_port,
                port.protocol.lower(),
                port.container_port,
            )
            for port in ports
            if port.host_port and (port.host_ip == "" or version_of(port.host_ip) == version)
        ),
        created=pod.metadata.creation_timestamp or "",
        bandwidth=_bandwidth(pod.metadata.annotations),
    )


def _bandwidth(annotations: Mapping[str, str]) -> Bandwidth:
    """No bounds where they make no sense: the node refuses a pod that asks for such, so it was changed since."""
    try:
        return bandwidth(annotations)
    except ValueError:
        return UNBOUNDED


class Pods:
    """The known pods, at most one for each address.

    An address given to a new pod is no longer the old one's, though that one's object may still name it.
    """

    def __init__(self) -> None:
        self._by_key: dict[str, PodFacts] = {}
        self.by_address: dict[str, PodFacts] = {}

    def __iter__(self) -> Iterator[PodFacts]:
        return iter(list(self._by_key.values()))

    def get(self, key: str) -> PodFacts | None:
        return self._by_key.get(key)

    def put(self, key: str, facts: PodFacts | None, *, starting: bool = False) -> set[str]:
        """Takes note of a pod (None: gone). Returns the keys of the pods that changed by that.

        Of two that claim an address the younger has it; one that is `starting` has it in any case.
        """
        before = self._by_key.get(key)
        if facts is not None:
            rival = self.by_address.get(facts.address)
            if rival is not None and rival.key != key and rival.created > facts.created and not starting:
                facts = None
        if facts == before:
            return set()
        changed = {key}
        if before is not None:
            self._drop(before)
        if facts is not None:
            rival = self.by_address.get(facts.address)
            if rival is not None:
                self._drop(rival)
                changed.add(rival.key)
            self._by_key[key] = self.by_address[facts.address] = facts
        return changed

    def _drop(self, facts: PodFacts) -> None:
        del self._by_key[facts.key]
        del self.by_address[facts.address]
