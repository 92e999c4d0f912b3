"""Programs that work on custom resources: the Python dynamic client and kr8s, as operators use them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import kr8s.asyncio
import kubernetes
import pytest
import yaml
from kr8s.asyncio.objects import new_class
from kubectl_runner import Kubectl
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import ConflictError, UnprocessibleEntityError

pytestmark = pytest.mark.system

DEFINITION = yaml.safe_load("""
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: buoys.sea.example.com}
spec:
  group: sea.example.com
  scope: Namespaced
  names: {plural: buoys, kind: Buoy}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties: {depth: {type: integer, minimum: 1}}
          status:
            type: object
            properties: {observed: {type: integer}}
""")


def buoy(name: str, depth: int = 3) -> dict[str, Any]:
    return {"apiVersion": "sea.example.com/v1", "kind": "Buoy", "metadata": {"name": name}, "spec": {"depth": depth}}


def operate(config: str) -> list[str]:
    """A loop as an operator has: watches buoys, notes what it saw in their status, ends when one is deleted."""
    client = DynamicClient(kubernetes.config.new_client_from_config(config))
    definitions = client.resources.get(api_version="apiextensions.k8s.io/v1", kind="CustomResourceDefinition")
    definitions.create(body=DEFINITION)
    client.resources.invalidate_cache()
    buoys = client.resources.get(api_version="sea.example.com/v1", kind="Buoy")
    buoys.create(body=buoy("one"), namespace="default")
    with pytest.raises(ConflictError):
        buoys.create(body=buoy("one"), namespace="default")
    with pytest.raises(UnprocessibleEntityError, match="should be greater than or equal to 1"):
        buoys.create(body=buoy("two", 0), namespace="default")
    seen = []
    for event in buoys.watch(namespace="default", timeout=60):
        found = event["object"]
        seen.append(f"{event['type']} {found.spec.depth} {found.status and found.status.observed}")
        if event["type"] == "DELETED":
            return seen
        if found.status is None or found.status.observed != found.spec.depth:
            body = {"status": {"observed": found.spec.depth}}
            patch = "application/merge-patch+json"
            buoys.status.patch(body=body, name="one", namespace="default", content_type=patch)
        elif found.spec.depth == 3:
            buoys.server_side_apply(
                body=buoy("one", 4), name="one", namespace="default", field_manager="loop", force_conflicts=True
            )
        else:
            buoys.delete(name="one", namespace="default")
    return seen


async def test_a_loop_with_the_dynamic_client(run: Kubectl, tmp_path: Path) -> None:
    seen = await asyncio.wait_for(asyncio.to_thread(operate, str(tmp_path / "kubeconfig")), 60)
    assert seen == ["ADDED 3 None", "MODIFIED 3 3", "MODIFIED 4 3", "MODIFIED 4 4", "DELETED 4 4"]


async def test_kr8s(run: Kubectl, tmp_path: Path) -> None:
    api = await kr8s.asyncio.api(kubeconfig=str(tmp_path / "kubeconfig"))
    definition = new_class("CustomResourceDefinition", "apiextensions.k8s.io/v1", namespaced=False)(DEFINITION, api=api)
    await definition.create()
    buoys = new_class("Buoy", "sea.example.com/v1", namespaced=True, plural="buoys")
    one = buoys({**buoy("one"), "metadata": {"name": "one", "namespace": "default"}}, api=api)
    await one.create()
    await one.patch({"spec": {"depth": 5}})
    await one.label({"a": "b"})
    found = [item async for item in api.get("buoys.sea.example.com", namespace="default", label_selector="a=b")]
    assert [item.raw["spec"]["depth"] for item in found] == [5]
    await one.delete()
    assert not await one.exists()
