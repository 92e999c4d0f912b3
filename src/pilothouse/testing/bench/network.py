"""`scripts/bench network`: services against straight to the pod, the cost of one change, cluster DNS.

A node with its pods is made of network namespaces; the API is in memory, nftables and the dns process are real.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import selectors
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from nftables import Nftables

from pilothouse.client.client import Client
from pilothouse.dns import message
from pilothouse.kinds.core.namespace import Namespace
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.service import Service
from pilothouse.kinds.discovery.endpoint_slice import EndpointSlice
from pilothouse.linux.netlink import NETLINK_NETFILTER
from pilothouse.network.config import NetworkConfig, Ranges
from pilothouse.network.network import Network
from pilothouse.testing.bench.host import ADDRESS, BenchError, own_network
from pilothouse.testing.bench.report import Figure, median, percentile
from pilothouse.testing.control_plane import ControlPlane

_PODS = {"server": "10.233.0.5", "service": "10.233.0.6", "pod": "10.233.0.7"}
"""A server, and a client for each way to it: one client's tracked flows would be in the other's way."""
_TABLE = "pilothouse"
_SLOT = 0x50480000
_SIZES = (100, 1_000, 10_000)
_NAMES = 1_000
_WINDOW = 64
_SERVER = """\
global
  nbthread 1
defaults
  mode http
  timeout client 60s
  timeout server 60s
  timeout connect 5s
frontend web
  bind :8080
  http-request return status 200 content-type text/plain string ok
"""

Say = Callable[[str], None]


def network_figures(seconds: float, turns: int, say: Say) -> list[Figure]:
    """Measures; `seconds` for each run of wrk, `turns` of each kind. Raises BenchError."""
    for program in ("wrk", "haproxy"):
        if shutil.which(program) is None:
            raise BenchError(f"{program} is missing: apt-get install {program}")
    root = Path(tempfile.mkdtemp(prefix="ph-bench-", dir="/tmp"))
    try:
        with own_network(), _pods(), _server(root):
            return asyncio.run(_measure(root, seconds, turns, say)) + _names(root, say)
    finally:
        shutil.rmtree(root, ignore_errors=True)


async def _measure(root: Path, seconds: float, turns: int, say: Say) -> list[Figure]:
    async with ControlPlane() as plane, _network(root, plane.client()) as client:
        address = await _make_service(client, "web", _PODS["server"])
        await _until(address, _PODS["server"])
        figures = await _through_a_service(address, seconds, turns, say)
        figures += await _changes(client, say)
    return figures


async def _through_a_service(address: str, seconds: float, turns: int, say: Say) -> list[Figure]:
    figures = []
    for kind, header in (("kept connections", ""), ("a connection a request", "Connection: close")):
        results: dict[str, list[tuple[float, float]]] = {"service": [], "pod": []}
        for turn in range(turns):
            say(f"wrk, {kind}, {turn + 1} of {turns}")
            for name, url in (("pod", f"http://{_PODS['server']}:8080/"), ("service", f"http://{address}/")):
                results[name].append(await asyncio.to_thread(_wrk, name, url, seconds, header))
        rates = {name: median([rate for rate, _ in found]) for name, found in results.items()}
        tails = {name: median([tail for _, tail in found]) for name, found in results.items()}
        share = 100 * rates["service"] / rates["pod"]
        figures += [
            Figure(f"requests/s through a Service, {kind}", rates["service"], "/s", note=f"pod {rates['pod']:.0f}/s"),
            Figure(f"the same, of what the pod does, {kind}", share, "%", aim=95.0, at_least=True),
            Figure(f"p99 through a Service, {kind}", tails["service"], "ms", note=f"pod {tails['pod']:.2f} ms"),
        ]
    return figures


async def _changes(client: Client, say: Say) -> list[Figure]:
    """From the request to the API until the kernel has the rule; 5 ms of it wait for company."""
    figures, made = [], 0
    news = _News()
    medians: list[float] = []
    for size in _SIZES:
        say(f"{size} services")
        while made < size:
            step = min(50, size - made)
            await asyncio.gather(*(_make_service(client, f"s{made + n}", "10.233.1.1") for n in range(step)))
            made += step
        address = (await client.get(Service, f"s{made - 1}", "default")).spec.cluster_ip
        await _until(address, "10.233.1.1", 120.0)
        times = []
        for turn in range(30):
            target = f"10.233.1.{2 + turn}"
            body = {"endpoints": [{"addresses": [target], "conditions": {"ready": True}}]}
            news.quiet()
            began = time.perf_counter()
            await client.patch(EndpointSlice, f"s{made - 1}", "default", body)
            await news.wait()
            times.append(1000 * (time.perf_counter() - began))
        medians.append(median(times))
        note = f"p99 {percentile(times, 0.99):.1f} ms"
        figures.append(Figure(f"one change with {size} services, to the kernel", medians[-1], "ms", note=note))
    figures.append(Figure("the same, 10,000 services against 100", medians[-1] / medians[0], "times", aim=1.5))
    return figures


def _names(root: Path, say: Say) -> list[Figure]:
    say("dns")
    port = 5353
    words = ["--data-dir", str(root), "--address", "127.0.0.1", "--port", str(port), "--upstream", "127.0.0.1:9"]
    process = subprocess.Popen([sys.executable, "-m", "pilothouse.launch.dns", *words])
    try:
        names = [f"s{n}.default.svc.cluster.local" for n in range(_NAMES)]
        _feed(root / "run" / "dns.sock", {name: [[name, "A", f"10.96.1.{n % 250}"]] for n, name in enumerate(names)})
        rate, times = _ask(port, names, 5.0)
        cpu = _cpu_seconds(process.pid)
    finally:
        process.terminate()
        process.wait()
    tail = 1000 * percentile(times, 0.99)
    return [
        Figure("DNS answers/s, names of services", rate, "/s", note=f"{_WINDOW} questions under way"),
        Figure("DNS process, CPU for an answer", 1e6 * cpu / len(times), "µs", note="start included"),
        Figure("DNS p99 at that rate", tail, "ms", note=f"median {1000 * median(times):.2f} ms"),
    ]


def _ask(port: int, names: Sequence[str], seconds: float) -> tuple[float, list[float]]:
    """Answers a second, and how long each took."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect(("127.0.0.1", port))
    sock.setblocking(False)
    questions = [message.encode_name(name) + struct.pack("!HH", message.A, 1) for name in names]
    head = struct.Struct("!6H")
    _until_answered(sock, head.pack(1, 0x0100, 1, 0, 0, 0) + questions[0])
    times: list[float] = []
    sent: dict[int, float] = {}
    selector = selectors.DefaultSelector()
    selector.register(sock, selectors.EVENT_READ)
    began, number = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        while len(sent) < _WINDOW:
            number += 1
            sent[number & 0xFFFF] = time.perf_counter()
            sock.send(head.pack(number & 0xFFFF, 0x0100, 1, 0, 0, 0) + questions[number % len(questions)])
        if not selector.select(1.0):
            sent.clear()  # lost: a full socket buffer
        with contextlib.suppress(BlockingIOError):
            while True:
                wire = sock.recv(1500)
                at = sent.pop(int.from_bytes(wire[:2], "big"), None)
                if at is not None:
                    times.append(time.perf_counter() - at)
    elapsed = time.perf_counter() - began
    sock.close()
    return len(times) / elapsed, times


def _until_answered(sock: socket.socket, question: bytes) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            sock.send(question)
            time.sleep(0.02)
            if message.code_of(sock.recv(1500)) == message.NOERROR:
                return
    raise BenchError("the dns process does not answer")


def _feed(path: Path, owners: dict[str, list[list[str]]]) -> None:
    deadline = time.monotonic() + 10
    while not path.exists():
        if time.monotonic() > deadline:
            raise BenchError("the dns process does not start")
        time.sleep(0.02)
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(path))
        line.sendall(json.dumps({"zones": ["cluster.local"], "snapshot": owners}).encode() + b"\n")
        time.sleep(0.1)


def _cpu_seconds(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def _wrk(client: str, url: str, seconds: float, header: str) -> tuple[float, float]:
    """Requests a second and p99 in ms, from that client's pod."""
    words = ["wrk", "-t1", "-c32", f"-d{seconds:g}s", "--latency", *(["-H", header] if header else []), url]
    done = subprocess.run(["ip", "netns", "exec", _name(client), *words], capture_output=True, text=True)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    tail = re.search(r"99%\s+([\d.]+)(us|ms|s)", done.stdout)
    if rate is None or tail is None or "Socket errors" in done.stdout or "Non-2xx" in done.stdout:
        raise BenchError(f"wrk: {done.stdout}{done.stderr}")
    return float(rate[1]), float(tail[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[tail[2]]


async def _until(address: str, backend: str, seconds: float = 20.0) -> None:
    """Waits until the kernel leads the service's first slot to that backend."""
    nftables = Nftables()  # as text: `get element` knows no JSON
    question = f"get element ip {_TABLE} endpoints {{ {address} . tcp . 80 . {_SLOT} }}"
    deadline = time.monotonic() + seconds
    while f"{backend} . 8080" not in nftables.cmd(question)[1]:
        if time.monotonic() > deadline:
            raise BenchError(f"the service at {address} does not come to lead to {backend}")
        await asyncio.sleep(0.0005)


async def _make_service(client: Client, name: str, backend: str) -> str:
    spec = {"ports": [{"port": 80, "protocol": "TCP", "targetPort": 8080}]}
    made: dict[str, Any] = await client.create_tree(
        Service.resource, {"metadata": {"name": name}, "spec": spec}, "default"
    )
    tree = {
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [backend], "conditions": {"ready": True}}],
        "ports": [{"port": 8080, "protocol": "TCP", "name": ""}],
    }
    await client.create_tree(EndpointSlice.resource, tree, "default")
    return str(made["spec"]["clusterIP"])


@contextlib.asynccontextmanager
async def _network(root: Path, client: Client) -> AsyncIterator[Client]:
    config = NetworkConfig(
        node_name="bench",
        versions=(
            Ranges(
                version=4,
                node_address=IPv4Address(ADDRESS),
                pod_range=IPv4Network("10.233.0.0/16"),
                service_range=IPv4Network("10.96.0.0/16"),
                dns_address=IPv4Address("10.96.0.10"),
            ),
        ),
        state_dir=root / "network",
        cni_conf_dir=root / "cni",
        ipam_dir=root / "ipam",
        table=_TABLE,
    )
    await client.create_tree(Namespace.resource, {"metadata": {"name": "default"}})
    await client.create_tree(Node.resource, {"metadata": {"name": "bench"}, "spec": {"podCIDR": "10.233.0.0/24"}})
    status = {"addresses": [{"type": "InternalIP", "address": ADDRESS}]}
    await client.patch(Node, "bench", None, {"status": status}, subresource="status")
    network = Network(config, client)
    await network.setup()
    running = asyncio.create_task(network.run())
    try:
        await network.ready()
        yield client
    finally:
        running.cancel()
        await asyncio.wait([running])


class _News:
    """Tells when the kernel's rules change. Asking for an element would list its whole map."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, NETLINK_NETFILTER)
        self._socket.bind((0, 1 << 6))  # NFNLGRP_NFTABLES

    def quiet(self) -> None:
        """Forgets what was told so far."""
        while True:
            try:
                self._socket.recv(1 << 16)
            except BlockingIOError:
                return
            except OSError:  # ENOBUFS: some was lost
                continue

    async def wait(self) -> None:
        await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self._socket, 1 << 16), 20)


def _name(pod: str) -> str:
    return f"ph-bench-{pod}-{os.getpid()}"


def _ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True)


@contextlib.contextmanager
def _pods() -> Iterator[None]:
    """Two pods, linked as the CNI plugin `ptp` does."""
    try:
        for pod, address in _PODS.items():
            name = _name(pod)
            _ip(f"netns add {name}")
            _ip(f"-n {name} link set lo up")
            _ip(f"link add v{pod} type veth peer name eth0 netns {name}")
            _ip(f"address add 10.233.0.1/32 dev v{pod}")
            _ip(f"link set v{pod} up")
            _ip(f"route add {address}/32 dev v{pod}")
            _ip(f"-n {name} address add {address}/32 dev eth0")
            _ip(f"-n {name} link set eth0 up")
            _ip(f"-n {name} route add 10.233.0.1 dev eth0")
            _ip(f"-n {name} route add default via 10.233.0.1")
        yield
    finally:
        for pod in _PODS:
            subprocess.run(["ip", "netns", "delete", _name(pod)], check=False, capture_output=True)


@contextlib.contextmanager
def _server(root: Path) -> Iterator[None]:
    settings = root / "server.cfg"
    settings.write_text(_SERVER)
    process = subprocess.Popen(["ip", "netns", "exec", _name("server"), "haproxy", "-db", "-f", str(settings)])
    try:
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), socket.create_connection((_PODS["server"], 8080), 1.0):
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise BenchError("haproxy, which serves the requests, does not start")
            time.sleep(0.02)
        yield
    finally:
        process.kill()
        process.wait()
