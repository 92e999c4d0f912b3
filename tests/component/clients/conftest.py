"""One cluster for all clients: the whole control plane over HTTPS, without containers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pilothouse.testing.served_cluster import ServedCluster


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedCluster]:
    with ServedCluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running
