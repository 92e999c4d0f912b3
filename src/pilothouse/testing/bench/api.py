"""`scripts/bench api`: the API server over TLS on loopback, on a core of its own, loaded from the others."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import yaml

from pilothouse.client.client import Client
from pilothouse.client.https import HttpsTransport
from pilothouse.kinds.core.config_map import ConfigMap
from pilothouse.kinds.core.namespace import Namespace
from pilothouse.kinds.core.service_account import ServiceAccount
from pilothouse.kinds.rbac.role_binding import ClusterRoleBinding
from pilothouse.machinery.objects import Obj
from pilothouse.testing.bench.host import BenchError
from pilothouse.testing.bench.report import Figure, median, spread

Say = Callable[[str], None]
_NAMESPACE = "bench"
_NAME = "object"
_TURNS = 5


class _Server:
    """The server's process, its directory, and how to ask it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        cores = sorted(os.sched_getaffinity(0))
        self.shared = len(cores) < 2
        words = [] if self.shared else ["taskset", "-c", str(cores[0])]
        os.sched_setaffinity(0, cores[1:] or cores)
        self._process = subprocess.Popen(
            [*words, sys.executable, "-m", "pilothouse.testing.bench.api_server", str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.url = self._line().strip()
        if not self.url:
            raise BenchError("the API server did not start")

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def lag(self) -> dict[str, float]:
        """The loop's lag since the last call, milliseconds."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        found: dict[str, float] = json.loads(self._line())
        return found

    def memory(self) -> int:
        """Proportional set size, bytes."""
        rollup = Path(f"/proc/{self._process.pid}/smaps_rollup").read_text()
        return int(re.search(r"^Pss: +(\d+)", rollup, re.MULTILINE)[1]) * 1024  # type: ignore[index]

    def database(self) -> int:
        """Bytes of the database with its write-ahead log."""
        return sum(file.stat().st_size for file in self.directory.glob("state.db*"))

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)


@contextmanager
def _server() -> Iterator[_Server]:
    directory = Path(tempfile.mkdtemp(prefix="ph-bench-api-"))
    cores = os.sched_getaffinity(0)
    server = _Server(directory)
    try:
        yield server
    finally:
        server.end()
        os.sched_setaffinity(0, cores)
        shutil.rmtree(directory, ignore_errors=True)


def api_figures(objects: int, updates: int, watchers: int, seconds: float, say: Say) -> list[Figure]:
    """Measures; `objects` are listed, one is updated `updates` times, `watchers` wait for a write, wrk runs for
    `seconds`. Raises BenchError."""
    if shutil.which("wrk") is None:
        raise BenchError("wrk is not installed: apt-get install wrk")
    with _server() as server:
        return asyncio.run(_figures(server, objects, updates, watchers, seconds, say))


async def _figures(
    server: _Server, objects: int, updates: int, watchers: int, seconds: float, say: Say
) -> list[Figure]:
    context = ssl.create_default_context(cafile=str(server.directory / "pki" / "ca.crt"))
    admin = Client(HttpsTransport(server.url, _administrator(server.directory)))
    token = await _subject(admin)
    client = Client(HttpsTransport(server.url, context, token=token))
    try:
        await client.create_tree(ConfigMap.resource, _config(_NAME), _NAMESPACE)
        figures = [await _gets(server, token, seconds, say)]
        figures += await _creates(server, client, say)
        figures += await _lists(server, client, token, objects, say)
        figures += await _watchers(server, client, context, token, watchers, say)
        figures += await _updates(server, client, updates, say)
        return figures
    finally:
        await client.close()
        await admin.close()


def _administrator(directory: Path) -> ssl.SSLContext:
    """TLS with the certificate of the server's kubeconfig."""
    user = yaml.safe_load((directory / "kubeconfig").read_text())["users"][0]["user"]
    pem = directory / "admin.pem"
    pem.write_bytes(b"".join(base64.b64decode(user[f"client-{part}-data"]) for part in ("certificate", "key")))
    context = ssl.create_default_context(cafile=str(directory / "pki" / "ca.crt"))
    context.load_cert_chain(pem)
    return context


async def _subject(admin: Client) -> str:
    """A service account that may edit, so that requests pass tokens and RBAC; its token."""
    await admin.create_tree(Namespace.resource, {"metadata": {"name": _NAMESPACE}})
    await admin.create_tree(ServiceAccount.resource, {"metadata": {"name": "default"}}, _NAMESPACE)
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"}
    subject = {"kind": "ServiceAccount", "name": "default", "namespace": _NAMESPACE}
    binding: Obj = {"metadata": {"name": "bench"}, "roleRef": ref, "subjects": [subject]}
    await admin.create_tree(ClusterRoleBinding.resource, binding)
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 7200}}
    path = ServiceAccount.resource.path(_NAMESPACE, "default", "token")
    token: str = orjson.loads(await admin.request("POST", path, body=body))["status"]["token"]
    return token


def _config(name: str) -> Obj:
    """About 2 kB once stored."""
    return {"metadata": {"name": name}, "data": {f"key-{line}": "value " * 14 for line in range(16)}}


def _pod(name: str) -> Obj:
    """About 2 kB once stored."""
    probe = {"httpGet": {"path": "/healthz", "port": 8080}}
    container = {
        "name": "main",
        "image": "registry.test/main:1",
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": probe,
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
    }
    labels = {"app": "bench", "tier": "back"}
    return {"metadata": {"name": name, "labels": labels}, "spec": {"containers": [container]}}


async def _gets(server: _Server, token: str, seconds: float, say: Say) -> Figure:
    say("get of one object, wrk")
    url = server.url + ConfigMap.resource.path(_NAMESPACE, _NAME)
    words = ["wrk", "-t1", "-c32", f"-d{seconds:g}s", "-H", f"Authorization: Bearer {token}", url]
    rates: list[float] = []
    for _ in range(3):
        done = await asyncio.to_thread(subprocess.run, words, capture_output=True, text=True)
        found = re.search(r"Requests/sec: +([\d.]+)", done.stdout)
        if done.returncode or found is None or "Non-2xx" in done.stdout:
            raise BenchError(f"wrk: {done.stdout}{done.stderr}")
        rates.append(float(found[1]))
    note = spread(rates, "/s") + (", the server shares its core" if server.shared else "")
    return Figure("get of a 2 kB object over TLS, one core", median(rates), "/s", 10_000, at_least=True, note=note)


async def _creates(server: _Server, client: Client, say: Say) -> list[Figure]:
    figures = []
    for clients, count in ((1, 400), (64, 6400)):
        say(f"creates by {clients}")
        names = iter(range(count))

        async def work(clients: int = clients, names: Iterator[int] = names) -> None:
            for number in names:
                await client.create_tree(ConfigMap.resource, _config(f"c{clients}-{number}"), _NAMESPACE)

        server.lag()
        start = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(clients)))
        rate = count / (time.perf_counter() - start)
        lag = server.lag()
        name = f"durable creates of 2 kB, {clients} client{'s' if clients > 1 else ''}"
        figures.append(Figure(name, rate, "/s", note=f"loop lag p99 {lag['p99']:.1f} ms, most {lag['most']:.0f} ms"))
    return figures


async def _lists(server: _Server, client: Client, token: str, objects: int, say: Say) -> list[Figure]:
    say(f"{objects} pods")
    before = server.memory()
    names = iter(range(objects))

    async def work() -> None:
        for number in names:
            await client.request("POST", "/api/v1/namespaces/bench/pods", body=_pod(f"p{number}"))

    await asyncio.gather(*(work() for _ in range(64)))
    size = (server.memory() - before) / objects
    figures = []
    for encoding, aim in (("", 100.0), ("gzip", None)):
        took: list[float] = []
        for _ in range(_TURNS):
            server.lag()
            seconds, received = await _read_list(server, token, encoding)
            took.append(seconds * 1000)
        lag = server.lag()
        what = encoding or "plain"
        note = (
            f"{received / 1e6:.1f} MB; {spread(took, 'ms')}; loop lag p99 {lag['p99']:.1f}, most {lag['most']:.0f} ms"
        )
        figures.append(Figure(f"list of {objects} pods, {what}", median(took), "ms", aim, note=note))
    stored = len(await client.request("GET", "/api/v1/namespaces/bench/pods/p0"))
    note = f"a pod of {stored} bytes as JSON"
    return [*figures, Figure("memory per stored object", size, "bytes", note=note)]


async def _read_list(server: _Server, token: str, encoding: str) -> tuple[float, int]:
    """curl, so that what reads costs little: seconds until the last byte, connection included, and bytes."""
    words = ["curl", "-sk", "-o", "/dev/null", "-H", f"Authorization: Bearer {token}"]
    words += ["-H", f"Accept-Encoding: {encoding}"] if encoding else []
    words += ["-w", "%{time_total} %{time_appconnect} %{size_download}", f"{server.url}/api/v1/pods"]
    done = await asyncio.to_thread(subprocess.run, words, capture_output=True, text=True)
    if done.returncode:
        raise BenchError(f"curl: {done.stderr}")
    total, connected, size = done.stdout.split()
    return float(total) - float(connected), int(size)


async def _watchers(
    server: _Server, client: Client, context: ssl.SSLContext, token: str, count: int, say: Say
) -> list[Figure]:
    say(f"{count} watchers")
    host, port = server.url.removeprefix("https://").split(":")
    query = f"watch=true&fieldSelector=metadata.name%3D{_NAME}"
    path = f"{ConfigMap.resource.path(_NAMESPACE)}?{query}"
    request = f"GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    gate = asyncio.Semaphore(32)

    async def watch() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with gate:
            reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
            writer.write(request)
            await reader.readuntil(b'"type":"ADDED"')
            await reader.readuntil(b"\n\r\n")
        return reader, writer

    streams = await asyncio.gather(*(watch() for _ in range(count)))
    took: list[float] = []
    server.lag()
    for turn in range(_TURNS * 2):
        note = f"turn-{turn}".encode()
        seen = [asyncio.create_task(_seen(reader, note)) for reader, _ in streams]
        await asyncio.sleep(0.2)
        start = time.perf_counter()
        await client.patch(ConfigMap, _NAME, _NAMESPACE, {"metadata": {"annotations": {"note": note.decode()}}})
        moments = await asyncio.gather(*seen)
        took.append((max(moments) - start) * 1000)
    lag = server.lag()
    for _, writer in streams:
        writer.transport.abort()
    note_text = f"{spread(took, 'ms')}; the readers share one core"
    return [
        Figure(f"a write seen by the last of {count} watchers", median(took), "ms", 100, note=note_text),
        Figure("loop lag p99 meanwhile", lag["p99"], "ms", 50, note=f"most {lag['most']:.0f} ms"),
    ]


async def _seen(reader: asyncio.StreamReader, note: bytes) -> float:
    await reader.readuntil(note)
    moment = time.perf_counter()
    await reader.readuntil(b"\n\r\n")
    return moment


async def _updates(server: _Server, client: Client, count: int, say: Say) -> list[Figure]:
    say(f"{count} updates of one object")
    numbers = iter(range(count))
    sizes: list[int] = []

    async def work() -> None:
        for number in numbers:
            patch: dict[str, Any] = {"data": {"key-0": f"value {number}"}}
            await client.patch(ConfigMap, _NAME, _NAMESPACE, patch)
            if number % max(1, count // 10) == 0:
                sizes.append(server.database())

    before = server.database()
    start = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(16)))
    rate = count / (time.perf_counter() - start)
    sizes.append(server.database())
    grown = f"{before / 1e6:.1f} MB before, at most {max(sizes) / 1e6:.1f} meanwhile; {rate:.0f} updates/s"
    return [Figure(f"database after {count} updates of one object", sizes[-1] / 1e6, "MB", note=grown)]
