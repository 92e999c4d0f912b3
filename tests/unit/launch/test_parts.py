"""What ComponentStatuses say of the scheduler and the controllers."""

from __future__ import annotations

import asyncio

import pytest

from pilothouse.apiserver import codec
from pilothouse.apiserver.reader import StoreReader
from pilothouse.kinds.coordination.lease import Lease
from pilothouse.launch.parts import Parts
from pilothouse.launch.replaced import CONTROLLERS, SCHEDULER
from pilothouse.store.memory import MemoryStore


async def test_our_own_are_told_by_their_tasks() -> None:
    parts = Parts([], StoreReader(MemoryStore()))
    probe = parts.probes()["controller-manager"]
    assert probe() == "it has not started"
    task = asyncio.create_task(asyncio.Event().wait())
    parts.started(CONTROLLERS, task)  # type: ignore[arg-type]
    assert probe() == ""
    task.cancel()
    await asyncio.wait([task])
    assert probe() == "it has ended"


@pytest.mark.parametrize(
    ("renewed", "problem"),
    [("2999-01-01T00:00:00.000000Z", ""), ("2020-01-01T00:00:00.000000Z", "its lease was last renewed at 2020-")],
)
async def test_those_in_their_place_by_their_leases(renewed: str, problem: str) -> None:
    store = MemoryStore()
    probe = Parts([SCHEDULER], StoreReader(store)).probes()["scheduler"]
    assert "nothing holds the lease kube-system/kube-scheduler" in probe()
    meta = {"name": "kube-scheduler", "namespace": "kube-system"}
    tree = {"kind": "Lease", "apiVersion": "coordination.k8s.io/v1", "metadata": meta}
    spec = {"renewTime": renewed, "leaseDurationSeconds": 15}
    await store.create(codec.key(Lease.resource, "kube-system", "kube-scheduler"), codec.encode({**tree, "spec": spec}))
    assert probe().startswith(problem)
    assert bool(probe()) == bool(problem)
