"""A node's network: watches services, endpoints, policies, pods and nodes, and keeps the host's rules like them.

What may be assumed: rules outlive this process, and a new one changes only what differs, so nothing is committed
until everything was listed once. Changes within a few milliseconds become one transaction. The pods of other nodes
are watched only while there are policies.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import Any

from pilothouse.client.client import Client
from pilothouse.client.events import EventRecorder
from pilothouse.client.informer import Informer
from pilothouse.kinds.core.node import ZONE
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.service import Service
from pilothouse.kinds.discovery.endpoint_slice import EndpointSlice
from pilothouse.kinds.families import Network as Network_
from pilothouse.kinds.families import canonical
from pilothouse.kinds.networking.network_policy import NetworkPolicy
from pilothouse.linux.conntrack import Flow
from pilothouse.linux.netlink import AddressWatch
from pilothouse.linux.nftables import TableWatch
from pilothouse.machinery.errors import ApiError
from pilothouse.network import flows, host
from pilothouse.network.cni import write_cni_config
from pilothouse.network.config import NetworkConfig, Ranges
from pilothouse.network.cut import Cutter
from pilothouse.network.facts import NOTHING, Check, Contribution, NodeFacts, version_of
from pilothouse.network.health import HealthChecks
from pilothouse.network.isolation import Isolation, Start
from pilothouse.network.plane import Plane
from pilothouse.network.pods import PodFacts, pod_facts
from pilothouse.network.policy import Plan
from pilothouse.network.ports import PORTS_IN_USE, PortGuard
from pilothouse.network.recorder import FlowRecorder
from pilothouse.network.rules import health_check, host_port_rules, outside_ports, pace_rules, service_rules
from pilothouse.network.verdict import allowed
from pilothouse.network.views import NodeView, PodView

log = logging.getLogger(__name__)

SERVICE_LABEL = "kubernetes.io/service-name"
_DEBOUNCE = 0.005
_PORTS_SECONDS = 5.0
_RETRY_FIRST, _RETRY_MOST = 0.5, 30.0


class Network:
    """The network of one node.

    `setup` prepares the host before any pod starts and needs no API; `run` keeps rules, routes and the CNI
    configuration like the cluster's objects until cancelled. `services` and `slices` may be read by others.
    """

    def __init__(self, config: NetworkConfig, client: Client, events: EventRecorder | None = None) -> None:
        self._config = config
        self._client = client
        self._events = events
        self._planes = [Plane(config.facts_of(ranges), ranges) for ranges in config.versions]
        self._ports = PortGuard()
        self._reported: dict[str, str] | None = None
        self._checks: dict[str, tuple[int, Check]] = {}
        self._health = HealthChecks(str(config.node_address))
        self.recorder = FlowRecorder(config.state_dir / "flows.json", self._known, self._forget_seen)
        self.services: Informer[Service] = Informer(client, Service)
        self.slices: Informer[EndpointSlice] = Informer(client, EndpointSlice, indexers={"service": service_keys})
        self._nodes: Informer[NodeView] = Informer(client, NodeView)
        self._policies: Informer[NetworkPolicy] = Informer(client, NetworkPolicy)
        self._local_pods: Informer[PodView] | Informer[Pod] = Informer(
            client, PodView, field_selector=f"spec.nodeName={config.node_name}"
        )
        self._shared_pods = False
        self._isolation = Isolation(client)
        self._cutter = Cutter(self._forbidden, [ranges.version for ranges in config.versions])
        self._starting: dict[str, tuple[str, tuple[str, ...]]] = {}
        self._dirty_services: set[str] = set()
        self._dirty_pods: set[str] = set()
        self._dirty_policies = True
        self._dirty_nodes = True
        self._dirty_addresses = True
        self._lost = False
        self._changing = asyncio.Lock()
        self._start: Start = asyncio.create_task
        self._wake = asyncio.Event()
        self._in_force = asyncio.Event()
        self._configured = asyncio.Event()
        self._problems: set[str] = set()

    def share_pods(self, pods: Informer[Pod]) -> None:
        """Uses the informer of this node's pods that a caller runs anyway, in place of one of its own."""
        self._local_pods = pods
        self._shared_pods = True

    async def setup(self) -> None:
        """Routes, device, table and kernel parameters, in the order in which nothing can leak. Takes some 10 ms.

        Raises RangeInUse, AddressMissing or OSError: without these no pod may start.
        """
        host.keep_ranges_in(self._config)
        host.make_service_device(self._config)
        for plane in self._planes:
            plane.make(self._config.table)
        host.set_parameters(self._config)

    async def ready(self) -> None:
        """Waits until the rules are in force and the CNI configuration is written: pods may start."""
        await self._in_force.wait()
        await self._configured.wait()

    async def pod_starting(self, pod: Pod, *addresses: str) -> None:
        """Puts policies and host ports in force for a pod whose sandbox got those addresses, before its containers
        start.

        Waits until this node knows the policies. An earlier pod's rules for the same address go at once.
        Raises OSError when the kernel refuses; the pod must not start then.
        """
        await self._in_force.wait()
        self._starting[pod.key] = (pod.metadata.uid, addresses)
        async with self._changing:
            await self._follow_policies()
            for plane in self._planes:
                facts = pod_facts(pod, plane.first(addresses), self._config.node_name)
                self._put_pods(plane, plane.pods.put(pod.key, facts, starting=True))
            await self._commit()
            self.recorder.names_changed()

    async def run(self) -> None:
        """Watches and converges until cancelled. Call `setup` first."""
        self.services.subscribe(lambda key, old, new: self._mark(self._dirty_services, key))
        self.slices.subscribe(self._on_slice)
        self._policies.subscribe(lambda key, old, new: self._mark_policies())
        self._local_pods.subscribe(self._on_local_pod)
        self._isolation.subscribe(lambda key: self._mark(self._dirty_pods, key), self._mark_policies)
        self._nodes.subscribe(self._on_node)
        loop = asyncio.get_running_loop()
        watch, addresses = TableWatch(self._config.table), AddressWatch(self._config.has(6))
        loop.add_reader(watch.fileno(), self._on_table_news, watch)
        loop.add_reader(addresses.fileno(), self._on_address_news, addresses)
        try:
            await self._run()
        finally:
            for each in (watch, addresses):
                loop.remove_reader(each.fileno())
                each.close()
            await self._health.close()

    async def _run(self) -> None:
        watched: tuple[Informer[Any], ...] = (self.services, self.slices, self._policies, self._local_pods, self._nodes)
        async with asyncio.TaskGroup() as tasks:
            for informer in watched:
                if informer is not self._local_pods or not self._shared_pods:
                    tasks.create_task(informer.run())
            for informer in watched:
                await informer.synced()
            self._start = tasks.create_task
            tasks.create_task(self._follow())
            tasks.create_task(self._cutter.run())
            tasks.create_task(self._watch_ports())
            tasks.create_task(self.recorder.run())
            tasks.create_task(self.recorder.keep_names())

    async def _follow(self) -> None:
        wait = _RETRY_FIRST
        while True:
            self._wake.clear()
            try:
                async with self._changing:
                    await self._converge()
            except OSError as error:
                log.error("the network could not be changed, trying again in %.1f s: %s", wait, error)
                await asyncio.sleep(wait)
                wait = min(wait * 2, _RETRY_MOST)
                continue
            wait = _RETRY_FIRST
            await self._wake.wait()
            await asyncio.sleep(_DEBOUNCE)

    async def _converge(self) -> None:
        if self._lost:
            for plane in self._planes:
                plane.table.make()
            self._lost = False
        self._follow_addresses()
        await self._follow_policies()
        keys = _take(self._dirty_pods)
        for plane in self._planes:
            changed: set[str] = set()
            for key in keys:
                changed |= plane.pods.put(key, self._facts_of(plane, key))
            if changed:
                self.recorder.names_changed()
            self._put_pods(plane, changed)
        if self._dirty_nodes:
            self._follow_zone()
            for plane in self._planes:
                elements = {("nodes", address): "" for node in self._nodes if (address := plane.first(_internal(node)))}
                plane.table.desired.put("nodes", Contribution(elements=elements))
        self._put_services()
        await self._commit()
        await self._health.put(dict(self._checks.values()))
        self._in_force.set()
        if self._dirty_nodes:
            self._route_nodes()
            self._dirty_nodes = False

    def _put_services(self) -> None:
        keys = _take(self._dirty_services)
        services = {key: self.services.get(key) for key in keys}
        asked = {key: outside_ports(service, self._facts) if service else set() for key, service in services.items()}
        if len([key for key, ports in asked.items() if self._ports.want(key, ports)]):
            changed = self._look_at_ports()
            others = [key for key, ports in self._ports.wanted.items() if ports & changed]
            services |= {key: self.services.get(key) for key in others}
        for key, service in services.items():
            slices = self.slices.by_index("service", key)
            for plane in self._planes:
                rules = (
                    service_rules(service, slices, plane.facts, self._ports.taken) if service is not None else NOTHING
                )
                plane.table.desired.put(f"service/{key}", rules)
            check = health_check(service, slices, self._facts.node_name) if service is not None else None
            if check is not None:
                self._checks[key] = check
            else:
                self._checks.pop(key, None)

    def _look_at_ports(self) -> set[tuple[str, int]]:
        """The wanted ports that somebody came to hold, or let go."""

        def served(port: tuple[str, int]) -> bool:
            key = ("services", f"{self._config.node_address} . {port[0]} . {port[1]}")
            return self._planes[0].table.desired.in_force(key)

        addresses = tuple(address for plane in self._planes for address in plane.facts.addresses)
        changed = self._ports.check(addresses, self._planes[0].pods, served)
        for port in sorted(changed & self._ports.taken.keys()):
            who = self._ports.taken[port]
            where = f"port {port[0]}/{port[1]} of node {self._facts.node_name}"
            log.warning("%s belongs to %s: services do not get it", where, who)
            for key, ports in self._ports.wanted.items():
                service = self.services.get(key)
                if port in ports and service is not None and self._events is not None:
                    self._events.event(service, "Warning", "PortInUse", f"{where} already belongs to {who}")
        return changed

    async def _watch_ports(self) -> None:
        """Looks now and then whether a held port became free, and tells the API which are held."""
        while True:
            if self._ports.taken:
                changed = self._look_at_ports()
                for key, ports in self._ports.wanted.items():
                    if ports & changed:
                        self._mark(self._dirty_services, key)
            found = self._ports.annotation()
            if found != (self._reported or {}) or (self._reported is None and self._ports.wanted):
                value = json.dumps(found) if found else None
                patch = {"metadata": {"annotations": {PORTS_IN_USE: value}}}
                try:
                    await self._client.patch(NodeView, self._facts.node_name, None, patch)
                    self._reported = found
                except ApiError as error:
                    log.warning("held ports could not be told to the API, trying again: %s", error)
            await asyncio.sleep(_PORTS_SECONDS)

    def _follow_addresses(self) -> None:
        """Node ports and host ports follow the host's addresses."""
        if not self._dirty_addresses:
            return
        self._dirty_addresses = False
        for plane in self._planes:
            if plane.change(addresses=host.node_addresses(self._config, plane.ranges)):
                self._dirty_services |= {service.key for service in self.services}
                self._put_pods(plane, {pod.key for pod in plane.pods if pod.host_ports})

    def _follow_zone(self) -> None:
        """The endpoints that this node prefers follow its zone."""
        node = self._nodes.get(self._config.node_name)
        zone = node.metadata.labels.get(ZONE, "") if node is not None else ""
        changed = [plane for plane in self._planes if plane.change(zone=zone)]
        if changed:
            self._dirty_services |= {service.key for service in self.services}

    async def _follow_policies(self) -> None:
        while self._dirty_policies:
            self._dirty_policies = False
            await self._isolation.follow(self._policies, self._start)
            self.recorder.record.keep_policies(policy.key for policy in self._policies)
            for plane in self._planes:
                plane.table.desired.put("policies", self._isolation.shared_rules())
                self._put_pods(plane, {pod.key for pod in plane.pods} | {_DNS_POD})

    async def _forget_seen(self) -> None:
        for plane in self._planes:
            await plane.table.forget_seen()

    def _put_pods(self, plane: Plane, keys: set[str]) -> None:
        namespaces = self._isolation.namespaces() if keys and self._isolation.plan else {}
        for key in keys:
            pod = _dns_pod(plane) if key == _DNS_POD else plane.pods.get(key)
            rules = NOTHING
            if pod is not None and self._isolation.plan:
                rules = self._isolation.pod_rules(pod, namespaces)
            if pod is not None and pod.local:
                rules |= host_port_rules(pod, plane.facts) | pace_rules(pod)
            plane.table.desired.put(f"pod/{key}", rules)

    async def _commit(self) -> None:
        for plane in self._planes:
            self._cutter.note(await plane.table.commit())

    def _forbidden(self) -> Callable[[Flow], bool]:
        """Tells the established flows of this node's pods that policies no longer allow."""
        namespaces = self._isolation.namespaces()
        known, plan = self._known()
        pods = dict(known)  # a thread reads it
        own = {address for plane in self._planes for address in host.own_addresses(plane.ranges)}
        own -= {plane.facts.dns_address for plane in self._planes}

        def forbidden(flow: Flow) -> bool:
            attempt = flows.attempt_of(flow)
            if attempt.source == attempt.destination or attempt.source in own or attempt.destination in own:
                return False
            return not allowed(plan, pods, namespaces, attempt)

        return forbidden

    def _known(self) -> tuple[Mapping[str, PodFacts], Plan]:
        """The pods by address, cluster DNS among them, and the policies."""
        dns = {pod.address: pod for plane in self._planes if (pod := _dns_pod(plane)) is not None}
        return ChainMap(*(plane.pods.by_address for plane in self._planes), dns), self._isolation.plan

    def _facts_of(self, plane: Plane, key: str) -> PodFacts | None:
        pod = self._local_pods.get(key) or self._isolation.pods.get(key)
        if pod is None:
            return None
        uid, addresses = self._starting.get(key, ("", ()))
        if uid != pod.metadata.uid:
            addresses = (pod.status.pod_ip, *(entry.ip for entry in pod.status.pod_ips))
        return pod_facts(pod, plane.first(addresses), self._config.node_name)

    def _route_nodes(self) -> None:
        """Routes to the other nodes' pods; this node's own ranges go into the CNI configuration."""
        versions = self._config.versions
        others: list[host.Places] = []
        own: dict[int, Network_] = {}
        problems: set[str] = set()
        for node in self._nodes:
            places = node_places(node, versions)
            if node.name != self._config.node_name:
                others += [places] if places else []
            elif places:
                own = {place.pods.version: place.pods for place in places}
                problems |= {
                    f"node {node.name} has no {name} range, so its pods have no {name} address"
                    for name in (f"IPv{ranges.version}" for ranges in versions if ranges.version not in own)
                }
        found = host.put_node_routes(self._config, others, own)
        if own:
            first = self._config.first.version
            mtu = host.default_mtu(first) - (host.VXLAN_OVERHEAD[first] if found.tunnelled else 0)
            write_cni_config(self._config.cni_conf_dir, self._config.ipam_dir, list(own.values()), mtu)
            self._configured.set()
        problems |= set(found.problems)
        for problem in problems - self._problems:
            log.error("%s", problem)
        self._problems = problems

    def _on_slice(self, key: str, old: EndpointSlice | None, new: EndpointSlice | None) -> None:
        for slice_ in (old, new):
            if slice_ is not None:
                for service in service_keys(slice_):
                    self._mark(self._dirty_services, service)

    def _on_table_news(self, watch: TableWatch) -> None:
        if watch.deleted() and not all(plane.table.exists() for plane in self._planes):
            log.warning("nftables table %s was deleted by somebody else, making it anew", self._config.table)
            self._lost = True
            self._wake.set()

    def _on_address_news(self, watch: AddressWatch) -> None:
        watch.drain()
        self._dirty_addresses = True
        self._wake.set()

    def _on_local_pod(self, key: str, old: PodView | Pod | None, new: PodView | Pod | None) -> None:
        if new is None:
            self._starting.pop(key, None)
        self._mark(self._dirty_pods, key)

    def _on_node(self, key: str, old: NodeView | None, new: NodeView | None) -> None:
        if (_seen_of(old) if old else None) != (_seen_of(new) if new else None):
            self._dirty_nodes = True
            self._wake.set()

    def _mark(self, dirty: set[str], key: str) -> None:
        dirty.add(key)
        self._wake.set()

    def _mark_policies(self) -> None:
        self._dirty_policies = True
        self._wake.set()

    @property
    def _facts(self) -> NodeFacts:
        """Those of the cluster's first version of IP."""
        return self._planes[0].facts


_DNS_POD = "kube-system/(cluster DNS)"


def node_places(node: NodeView, versions: Sequence[Ranges]) -> tuple[host.Place, ...]:
    """A node's pod range and address of each version of IP; none while range or address of the first one is missing."""
    texts = node.spec.pod_cidrs or [node.spec.pod_cidr]
    places: list[host.Place] = []
    for ranges in versions:
        pods = _range(texts, ranges.version)
        address = next((text for text in _internal(node) if version_of(text) == ranges.version), "")
        if pods is not None and (address or places):
            places.append(host.Place(pods, ip_address(address) if address else None))
        elif not places:
            return ()
    return tuple(places)


def _range(texts: Sequence[str], version: int) -> Network_ | None:
    """The first range of that version among those."""
    for text in texts:
        with contextlib.suppress(ValueError):
            network = ip_network(text)
            if network.version == version:
                return network
    return None


def _internal(node: NodeView) -> list[str]:
    """The node's addresses inside the cluster, in its own order."""
    return [canonical(entry.address) for entry in node.status.addresses if entry.type == "InternalIP"]


def _dns_pod(plane: Plane) -> PodFacts | None:
    """Cluster DNS as policies know it: a pod with the labels that policies allowing DNS select."""
    if not plane.facts.dns_address:
        return None
    ports = {("dns", "udp"): 53, ("dns-tcp", "tcp"): 53}
    return PodFacts(_DNS_POD, "kube-system", plane.facts.dns_address, {"k8s-app": "kube-dns"}, ports)


def _seen_of(node: NodeView) -> tuple[object, ...]:
    """What of a node the rules and routes depend on."""
    return node.spec.pod_cidr, node.spec.pod_cidrs, _internal(node), node.metadata.labels.get(ZONE)


def service_keys(slice_: EndpointSlice) -> tuple[str, ...]:
    """The key of the service that a slice belongs to (none or one): the index "service" of `Network.slices`."""
    name = slice_.metadata.labels.get(SERVICE_LABEL)
    return (f"{slice_.namespace}/{name}",) if name else ()


def _take(keys: set[str]) -> list[str]:
    taken = sorted(keys)
    keys.clear()
    return taken
