"""The in-memory control plane behind HTTPS on loopback, and a kubectl that is its administrator."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pilothouse.apiserver.http import HttpsEdge
from pilothouse.launch.pki import ClusterPki
from pilothouse.testing.control_plane import ControlPlane


class Kubectl:
    """Runs kubectl against one server."""

    def __init__(self, program: Path, config: Path, home: Path) -> None:
        self._program = program
        self._environment = {**os.environ, "KUBECONFIG": str(config), "HOME": str(home)}

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        """A running kubectl with its output in pipes."""
        return await asyncio.create_subprocess_exec(
            self._program,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment,
        )

    async def __call__(self, *arguments: str, stdin: str = "", fails: bool = False) -> str:
        """What it prints; its errors instead when it is meant to fail."""
        process = await self.start(*arguments)
        async with asyncio.timeout(30):
            output, errors = await process.communicate(stdin.encode())
        assert (process.returncode != 0) == fails, f"kubectl {' '.join(arguments)}: {output!r} {errors!r}"
        return (errors if fails else output).decode()


@pytest.fixture
async def plane() -> AsyncIterator[ControlPlane]:
    async with ControlPlane() as running:
        yield running


@pytest.fixture
async def run(plane: ControlPlane, kubectl: Path, tmp_path: Path) -> AsyncIterator[Kubectl]:
    """kubectl against `plane` over TLS."""
    pki = ClusterPki.open(tmp_path / "pki", addresses=["127.0.0.1"], service_ip="10.96.0.1", domain="cluster.local")
    sock = socket.create_server(("127.0.0.1", 0))
    config = tmp_path / "kubeconfig"
    config.write_text(pki.admin_kubeconfig(f"https://127.0.0.1:{sock.getsockname()[1]}"))
    edge = HttpsEdge(plane.api.handle, pki.server_context())
    await edge.start([sock])
    yield Kubectl(kubectl, config, tmp_path)
    await edge.close()
