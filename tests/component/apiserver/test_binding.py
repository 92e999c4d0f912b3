"""Binding a pod: what it refuses, what it leaves behind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from pilothouse.client.client import Client
from pilothouse.machinery.errors import Conflict, Invalid
from pilothouse.machinery.objects import Obj
from pilothouse.store.memory import MemoryStore
from pilothouse.testing.control_plane import ControlPlane, admitting

_PODS = "/api/v1/namespaces/default/pods"
_ZONE, _REGION = "topology.kubernetes.io/zone", "topology.kubernetes.io/region"


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    store = MemoryStore()
    async with ControlPlane(store=store, chain=admitting(store)) as plane:
        client = plane.client()
        await client.request("POST", "/api/v1/namespaces", body={"metadata": {"name": "default"}})
        account = {"metadata": {"name": "default"}}
        await client.request("POST", "/api/v1/namespaces/default/serviceaccounts", body=account)
        labels = {_ZONE: "z1", _REGION: "r1", "disk": "fast"}
        await client.request("POST", "/api/v1/nodes", body={"metadata": {"name": "n1", "labels": labels}})
        yield client


async def make(client: Client, name: str, **spec: Any) -> None:
    body = {
        "metadata": {"name": name, "labels": {"app": "a", _ZONE: "mine"}},
        "spec": {"containers": [{"name": "c", "image": "i"}], **spec},
    }
    await client.request("POST", _PODS, body=body)


async def bind(client: Client, name: str, node: str) -> None:
    await client.request("POST", f"{_PODS}/{name}/binding", body={"target": {"kind": "Node", "name": node}})


async def read(client: Client, name: str) -> Obj:
    found: Obj = orjson.loads(await client.request("GET", f"{_PODS}/{name}"))
    return found


async def nominate(client: Client, name: str, node: str) -> None:
    patch = {"status": {"nominatedNodeName": node}}
    merge = "application/merge-patch+json"
    await client.request("PATCH", f"{_PODS}/{name}/status", body=patch, content_type=merge)


async def test_a_bound_pod_bears_its_node_s_zone_and_region(client: Client) -> None:
    await make(client, "bound")
    await bind(client, "bound", "n1")
    await make(client, "placed", nodeName="n1")
    for name in ("bound", "placed"):
        assert (await read(client, name))["metadata"]["labels"] == {"app": "a", _ZONE: "z1", _REGION: "r1"}


async def test_a_node_that_is_not_there_gives_no_labels(client: Client) -> None:
    await make(client, "p")
    await bind(client, "p", "n2")
    assert (await read(client, "p"))["metadata"]["labels"] == {"app": "a", _ZONE: "mine"}


async def test_a_gated_pod_is_not_bound(client: Client) -> None:
    await make(client, "gated", schedulingGates=[{"name": "example.org/wait"}])
    with pytest.raises(Conflict, match=r"non-empty \.spec\.schedulingGates"):
        await bind(client, "gated", "n1")


async def test_binding_ends_a_nomination_and_none_follows(client: Client) -> None:
    await make(client, "p")
    await nominate(client, "p", "n1")
    await bind(client, "p", "n1")
    assert "nominatedNodeName" not in (await read(client, "p"))["status"]
    with pytest.raises(Invalid, match="may not be set on pods that are already bound"):
        await nominate(client, "p", "n1")
