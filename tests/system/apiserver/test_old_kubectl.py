"""kubectl as it was before WebSockets: exec and port-forward by SPDY/3.1."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import pty
import re
import struct
import termios
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from kubectl_runner import Kubectl
from process_node import ProcessNode

from pilothouse.apiserver.http import HttpsEdge
from pilothouse.apiserver.node_link import NodeLink
from pilothouse.client.wire import Request, Response
from pilothouse.launch.listeners import listen_tcp
from pilothouse.launch.pki import NODE_CLIENT, ClusterPki
from pilothouse.testing.control_plane import ControlPlane

_OLD = {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS": "false", "KUBECTL_PORT_FORWARD_WEBSOCKETS": "false"}


@pytest.fixture
def pki(tmp_path: Path) -> ClusterPki:
    return ClusterPki.open(tmp_path / "pki", addresses=["127.0.0.1"], service_ip="10.96.0.1", domain="cluster.local")


@pytest.fixture
async def node(pki: ClusterPki) -> AsyncIterator[ProcessNode]:
    running = ProcessNode()
    await running.start(pki.server_context())
    yield running
    await running.close()


@pytest.fixture
async def old(pki: ClusterPki, node: ProcessNode, kubectl: Path, tmp_path: Path) -> AsyncIterator[Kubectl]:
    """kubectl that is told to speak SPDY, and a pod on the node."""
    link = NodeLink(pki.client_context(NODE_CLIENT))
    async with ControlPlane(nodes=link) as plane:
        client = plane.client()
        await client.request("POST", "/api/v1/nodes", body={"metadata": {"name": "n"}})
        status = {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": node.port}},
        }
        merge = "application/merge-patch+json"
        await client.request("PATCH", "/api/v1/nodes/n/status", body={"status": status}, content_type=merge)
        spec = {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}
        await client.request("POST", "/api/v1/namespaces/ns/pods", body={"metadata": {"name": "p"}, "spec": spec})
        running = {"status": {"phase": "Running"}}
        await client.request("PATCH", "/api/v1/namespaces/ns/pods/p/status", body=running, content_type=merge)
        sock = listen_tcp("127.0.0.1", 0)
        config = tmp_path / "kubeconfig"
        config.write_text(pki.admin_kubeconfig(f"https://127.0.0.1:{sock.getsockname()[1]}"))
        upgrades: set[str] = set()

        async def noting(request: Request) -> Response:
            upgrades.add(request.headers.get("upgrade", ""))
            return await plane.api.handle(request)

        edge = HttpsEdge(noting, pki.server_context())
        await edge.start([sock])
        yield Kubectl(kubectl, config, tmp_path, _OLD)
        await edge.close()
        assert upgrades == {"", "SPDY/3.1"}
    await link.close()


def _exec(*command: str, options: tuple[str, ...] = ()) -> tuple[str, ...]:
    return ("exec", "-n", "ns", *options, "p", "--", *command)


async def test_output_errors_and_exit_codes(old: Kubectl) -> None:
    assert await old(*_exec("echo", "out")) == "out\n"
    process = await old.start(*_exec("sh", "-c", "echo out; echo err >&2; exit 3"))
    output, errors = await asyncio.wait_for(process.communicate(), 30)
    assert (output, process.returncode) == (b"out\n", 3)
    assert errors.startswith(b"err\n")


async def test_piped_input_ends_and_much_of_it_arrives(old: Kubectl) -> None:
    data = os.urandom(8 << 20)
    process = await old.start(*_exec("sha256sum", options=("-i",)))
    output, _ = await asyncio.wait_for(process.communicate(data), 60)
    assert output.split()[0].decode() == hashlib.sha256(data).hexdigest()
    process = await old.start(*_exec("cat", options=("-i",)))
    output, _ = await asyncio.wait_for(process.communicate(data), 60)
    assert output == data


async def test_a_client_that_goes_ends_the_process(old: Kubectl, node: ProcessNode) -> None:
    process = await old.start(*_exec("sh", "-c", "echo ready; exec sleep 1000"))
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 30) == b"ready\n"
    process.kill()
    await process.communicate()
    await asyncio.wait_for(node.ended.wait(), 10)


async def test_a_terminals_size_is_told(old: Kubectl, node: ProcessNode) -> None:
    parent, child = pty.openpty()
    os.set_blocking(parent, False)
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 111, 0, 0))
    process = await old.start(*_exec("cat", options=("-it",)), terminal=child)
    async with asyncio.timeout(30):
        while not node.sizes:  # noqa: ASYNC110 (the node tells nobody)
            await asyncio.sleep(0.01)
    assert (node.sizes[0].width, node.sizes[0].height) == (111, 33)
    process.kill()
    await process.wait()
    for descriptor in (parent, child):
        os.close(descriptor)


async def test_ports_are_forwarded(old: Kubectl) -> None:
    async def upper(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(1 << 16):
            writer.write(piece.upper())
            await writer.drain()
        writer.write(b"END")
        writer.close()

    server = await asyncio.start_server(upper, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    process = await old.start("port-forward", "-n", "ns", "pod/p", f":{port}")
    assert process.stdout is not None
    told = await asyncio.wait_for(process.stdout.readline(), 30)
    found = re.search(rb"127\.0\.0\.1:(\d+) ->", told)
    assert found is not None, told

    async def talk(text: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(found[1]))
        writer.write(text)
        writer.write_eof()
        answer = await asyncio.wait_for(reader.read(), 30)
        writer.close()
        return answer

    answers = await asyncio.gather(*(talk(letter * 300_000) for letter in (b"a", b"b", b"c")))
    assert answers == [letter * 300_000 + b"END" for letter in (b"A", b"B", b"C")]
    process.kill()
    await process.communicate()
    server.close()
