"""A control plane in memory, and the same behind HTTPS on loopback with certificates of its own."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import pytest
from edge_certificates import Certificates

from pilothouse.apiserver.http import HttpsEdge
from pilothouse.testing.control_plane import ControlPlane


@pytest.fixture
async def plane() -> AsyncIterator[ControlPlane]:
    async with ControlPlane() as running:
        yield running


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("pki"))


@pytest.fixture
async def url(plane: ControlPlane, certificates: Certificates) -> AsyncIterator[str]:
    """Where `plane` is served over HTTPS."""
    sock = socket.create_server(("127.0.0.1", 0))
    edge = HttpsEdge(plane.api.handle, certificates.server_context())
    await edge.start([sock])
    yield f"https://127.0.0.1:{sock.getsockname()[1]}"
    await edge.close()
