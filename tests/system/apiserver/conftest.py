"""The in-memory control plane behind HTTPS on loopback, and a kubectl that is its administrator."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from kubectl_runner import Kubectl

from pilothouse.apiserver.http import HttpsEdge
from pilothouse.launch.pki import ClusterPki
from pilothouse.testing.control_plane import ControlPlane


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
