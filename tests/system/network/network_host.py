"""A node, pods and a neighbour as network namespaces, wired as the CNI plugin `ptp` does, and a small API."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import socket
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any, TypeVar

import orjson
import pytest

from pilothouse.client.client import Client
from pilothouse.client.informer import Informer
from pilothouse.client.wire import HandlerTransport, Request, Response, User
from pilothouse.kinds.core.pod import Pod
from pilothouse.network.config import NetworkConfig, Ranges
from pilothouse.network.network import Network

T = TypeVar("T")
Tree = dict[str, Any]

PREFIX = f"ph{os.getpid() % 10000}"
NODE, LAN = f"{PREFIX}node", f"{PREFIX}lan"
NODE_ADDRESS, LAN_ADDRESS = "192.168.77.1", "192.168.77.2"
FAR_NODE, FAR_NODE_ADDRESS = f"{PREFIX}far", "192.168.77.3"
"""A second node on the same segment."""
FAR = {"d": "10.232.1.11", "e": "10.232.1.12"}
PODS = {"a": "10.232.0.11", "b": "10.232.0.12", "c": "10.232.0.13"}
_libc = ctypes.CDLL(None, use_errno=True)


def sh(command: str) -> str:
    return subprocess.run(command, shell=True, check=True, capture_output=True, text=True).stdout


def enter(namespace: str) -> None:
    """Moves the calling thread into a network namespace."""
    with open(namespace if "/" in namespace else f"/run/netns/{namespace}") as file:
        if _libc.setns(file.fileno(), 0x40000000):
            raise OSError(ctypes.get_errno(), "setns")


def within(namespace: str, work: Callable[[], T]) -> T:
    """The result of `work`, done in a thread inside a network namespace."""
    with ThreadPoolExecutor(1, initializer=enter, initargs=(namespace,)) as pool:
        return pool.submit(work).result()


class Server:
    """Answers each TCP line or UDP datagram with its name and the address it sees the client at."""

    def __init__(self, namespace: str, name: str, port: int, kind: str = "tcp", address: str = "0.0.0.0") -> None:
        self.name = name
        style = socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM

        def bind() -> socket.socket:
            sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, style)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if ":" in address:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((address, port))
            if kind == "tcp":
                sock.listen(64)
            return sock

        self._socket = within(namespace, bind)
        threading.Thread(target=self._tcp if kind == "tcp" else self._udp, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _tcp(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, peer = self._socket.accept()
                threading.Thread(target=self._talk, args=(connection, peer[0]), daemon=True).start()

    def _talk(self, connection: socket.socket, peer: str) -> None:
        with connection, contextlib.suppress(OSError):
            while connection.recv(100):
                connection.sendall(f"{self.name} {peer}\n".encode())

    def _udp(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                _, peer = self._socket.recvfrom(100)
                if peer is None:
                    return  # shut down
                self._socket.sendto(f"{self.name} {peer[0]}\n".encode(), peer)


class Connection:
    """A TCP connection, or a UDP socket that sends always from the same port, made inside a namespace."""

    def __init__(self, namespace: str, address: str, port: int, kind: str = "tcp", timeout: float = 1.0) -> None:
        def connect() -> socket.socket:
            if kind == "tcp":
                return socket.create_connection((address, port), timeout)
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.settimeout(timeout)
            sock.connect((address, port))
            return sock

        self._socket = within(namespace, connect)

    def ask(self) -> tuple[str, str]:
        """Sends a line; returns the name of who answered and the address it saw."""
        self._socket.sendall(b"?\n")
        name, peer = self._socket.recv(100).decode().split()
        return name, peer

    def close(self) -> None:
        self._socket.close()


def ask(namespace: str, address: str, port: int, kind: str = "tcp", timeout: float = 1.0) -> tuple[str, str]:
    """One question on a connection of its own."""
    connection = Connection(namespace, address, port, kind, timeout)
    try:
        return connection.ask()
    finally:
        connection.close()


class Cluster:
    """Collections with list and watch, as much as informers need, changed by `put` and `delete`."""

    def __init__(self) -> None:
        self.version = 1
        self.objects: dict[str, dict[str, Tree]] = {}
        self._watchers: dict[str, list[asyncio.Queue[bytes]]] = {}
        self.client = Client(HandlerTransport(self._handle, User("node")))

    async def _handle(self, request: Request) -> Response:
        plural = request.path.rsplit("/", 1)[1]
        query = dict(request.query)
        if request.method == "PATCH":
            plural, name = request.path.split("/")[-2:]
            tree = self.objects[plural][f"/{name}"]
            before = tree["metadata"].get("annotations", {})
            merged = {**before, **orjson.loads(request.body)["metadata"]["annotations"]}
            tree["metadata"]["annotations"] = {key: value for key, value in merged.items() if value is not None}
            self.put(plural, tree)
            return Response(200, body=orjson.dumps(tree))
        if "watch" not in query:
            items = list(self.objects.get(plural, {}).values())
            return Response(
                200, body=orjson.dumps({"items": items, "metadata": {"resourceVersion": str(self.version)}})
            )
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._watchers.setdefault(plural, []).append(queue)
        return Response(200, stream=self._events(queue))

    async def _events(self, queue: asyncio.Queue[bytes]) -> AsyncIterator[bytes]:
        while True:
            yield await queue.get()

    def put(self, plural: str, tree: Tree) -> None:
        self.version += 1
        meta = tree["metadata"]
        meta["resourceVersion"] = str(self.version)
        key = f"{meta.get('namespace', '')}/{meta['name']}"
        known = key in self.objects.setdefault(plural, {})
        self.objects[plural][key] = tree
        self._send(plural, "MODIFIED" if known else "ADDED", tree)

    def delete(self, plural: str, key: str) -> None:
        self.version += 1
        tree = self.objects[plural].pop(key)
        tree["metadata"]["resourceVersion"] = str(self.version)
        self._send(plural, "DELETED", tree)

    def _send(self, plural: str, kind: str, tree: Tree) -> None:
        for queue in self._watchers.get(plural, ()):
            queue.put_nowait(orjson.dumps({"type": kind, "object": tree}) + b"\n")

    def service(self, name: str, address: str, ports: list[Tree], balanced: str = "", **spec: Any) -> None:
        """`balanced` is the load balancer's address."""
        tree: Tree = {
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"clusterIP": address, "ports": ports, **spec},
        }
        if balanced:
            tree["status"] = {"loadBalancer": {"ingress": [{"ip": balanced}]}}
        self.put("services", tree)

    def endpoints(
        self, service: str, addresses: list[str], ports: list[Tree], conditions: Tree | None = None, node: str = "n1"
    ) -> None:
        self.put(
            "endpointslices",
            {
                "metadata": {
                    "name": f"{service}-1",
                    "namespace": "shop",
                    "labels": {"kubernetes.io/service-name": service},
                },
                "addressType": "IPv4",
                "ports": ports,
                "endpoints": [
                    {"addresses": [address], "conditions": conditions or {"ready": True}, "nodeName": node}
                    for address in addresses
                ],
            },
        )

    def pod(self, name: str, address: str, labels: dict[str, str], ports: list[Tree] | None = None) -> Tree:
        tree: Tree = {
            "metadata": {"name": name, "namespace": "shop", "uid": f"u-{name}", "labels": labels},
            "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i", "ports": ports or []}]},
            "status": {"phase": "Running", "podIP": address},
        }
        self.put("pods", tree)
        return tree


def link_pod(node: str, name: str, address: str) -> None:
    """Links a pod's namespace to a node as the CNI plugin `ptp` does."""
    pod, gateway = PREFIX + name, address.rsplit(".", 1)[0] + ".1"
    network = address.rsplit(".", 1)[0] + ".0/24"
    sh(f"ip -n {node} link add v{name} type veth peer name eth0 netns {pod}")
    sh(f"ip -n {node} addr add {gateway}/32 dev v{name} && ip -n {node} link set v{name} up")
    sh(f"ip -n {node} route add {address}/32 dev v{name}")
    sh(f"ip -n {pod} addr add {address}/24 dev eth0 && ip -n {pod} link set eth0 up")
    sh(f"ip -n {pod} route del {network} && ip -n {pod} route add {gateway} dev eth0")
    sh(f"ip -n {pod} route add default via {gateway}")


@pytest.fixture(scope="session")
def host() -> Iterator[None]:
    """The namespaces. The test's own thread lives on the node while the session runs."""
    if os.geteuid():
        pytest.skip("needs root")
    names = [NODE, LAN, FAR_NODE, *(PREFIX + name for name in (*PODS, *FAR))]
    try:
        for name in names:
            sh(f"ip netns add {name} && ip -n {name} link set lo up")
        sh(f"ip -n {NODE} link add lan0 type bridge && ip -n {NODE} addr add {NODE_ADDRESS}/24 dev lan0")
        sh(f"ip -n {NODE} link set lan0 up")
        for port, (name, address) in enumerate(((LAN, LAN_ADDRESS), (FAR_NODE, FAR_NODE_ADDRESS))):
            sh(f"ip -n {NODE} link add port{port} type veth peer name eth0 netns {name}")
            sh(f"ip -n {NODE} link set port{port} master lan0 up")
            sh(f"ip -n {name} addr add {address}/24 dev eth0 && ip -n {name} link set eth0 up")
        for name in (NODE, FAR_NODE):
            sh(f"ip -n {name} route add default via {LAN_ADDRESS}")
        for name, address in PODS.items():
            link_pod(NODE, name, address)
        for name, address in FAR.items():
            link_pod(FAR_NODE, name, address)
        before = f"/proc/{os.getpid()}/ns/net"
        with open(before) as own:
            enter(NODE)
            try:
                yield
            finally:
                _libc.setns(own.fileno(), 0x40000000)
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


@pytest.fixture(scope="session")
def servers(host: None) -> Iterator[None]:
    made = [
        Server(PREFIX + name, name, port, kind)
        for name in (*PODS, *FAR)
        for port, kind in ((8080, "tcp"), (9090, "tcp"), (5353, "udp"))
    ]
    made.append(Server(LAN, "lan", 80))
    yield
    for server in made:
        server.close()


@pytest.fixture
def config(tmp_path: Path) -> NetworkConfig:
    return NetworkConfig(
        node_name="n1",
        versions=(
            Ranges(
                version=4,
                node_address=IPv4Address(NODE_ADDRESS),
                pod_range=IPv4Network("10.232.0.0/16"),
                service_range=IPv4Network("10.97.0.0/16"),
                dns_address=IPv4Address("10.97.0.10"),
            ),
        ),
        state_dir=tmp_path / "network",
        cni_conf_dir=tmp_path / "cni",
        ipam_dir=tmp_path / "ipam",
    )


@pytest.fixture
def cluster() -> Cluster:
    cluster = Cluster()
    cluster.put(
        "nodes",
        {
            "metadata": {"name": "n1"},
            "spec": {"podCIDR": "10.232.0.0/24"},
            "status": {"addresses": [{"type": "InternalIP", "address": NODE_ADDRESS}]},
        },
    )
    cluster.put("namespaces", {"metadata": {"name": "shop", "labels": {"kubernetes.io/metadata.name": "shop"}}})
    return cluster


@contextlib.asynccontextmanager
async def running(config: NetworkConfig, cluster: Cluster, pods: Informer[Pod] | None = None) -> AsyncIterator[Network]:
    network = Network(config, cluster.client)
    if pods is not None:
        network.share_pods(pods)
    await network.setup()
    task = asyncio.create_task(network.run())
    try:
        await asyncio.wait_for(network.ready(), 5)
        yield network
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def network(config: NetworkConfig, cluster: Cluster, servers: None) -> AsyncIterator[Network]:
    async with running(config, cluster) as made:
        yield made


@contextlib.contextmanager
def in_thread(namespace: str, work: Callable[[asyncio.Event], Any]) -> Iterator[asyncio.AbstractEventLoop]:
    """Runs `work` in an event loop of its own, in a thread inside a network namespace, until left."""
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    failed: list[BaseException] = []

    def run() -> None:
        enter(namespace)
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(work(stop))
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()
    assert not failed, failed


async def eventually(check: Callable[[], T], expected: Any, seconds: float = 15.0) -> None:
    """Waits until `check`, done in a thread on the node, returns or raises what is expected."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        try:
            result: Any = await asyncio.to_thread(check)
        except OSError as error:
            result = type(error)
        if result == expected:
            return
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"{result!r} instead of {expected!r}")
        await asyncio.sleep(0.01)
