"""pods/resize: CPU and memory of a pod's containers, and nothing else."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from pilothouse.kinds.core.pod import Pod
from pilothouse.machinery.errors import Invalid
from pilothouse.machinery.objects import Obj
from pilothouse.testing.control_plane import ControlPlane

PATH = Pod.resource.path("default", "p", "resize")
STRATEGIC = "application/strategic-merge-patch+json"
BEFORE = {"limits": {"cpu": "1", "memory": "64Mi"}, "requests": {"cpu": "500m", "memory": "32Mi"}}


@pytest.fixture
async def api(plane: ControlPlane) -> ControlPlane:
    containers = [{"name": "main", "image": "i", "resources": BEFORE}]
    await plane.client().create_tree(
        Pod.resource, {"metadata": {"name": "p"}, "spec": {"containers": containers}}, "default"
    )
    return plane


async def resize(api: ControlPlane, resources: Obj, **more: Any) -> Obj:
    body = {"spec": {"containers": [{"name": "main", "resources": resources, **more}]}}
    tree: Obj = orjson.loads(await api.client().request("PATCH", PATH, body=body, content_type=STRATEGIC))
    return tree


async def test_resources_change_and_nothing_else(api: ControlPlane) -> None:
    pod = await resize(api, {"requests": {"cpu": "600m"}}, image="other")
    (container,) = pod["spec"]["containers"]
    assert container["resources"]["requests"] == {"cpu": "600m", "memory": "32Mi"}
    assert container["image"] == "i"
    assert pod["metadata"]["generation"] == 2


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ({"limits": {"cpu": "500m", "memory": "32Mi"}}, "Pod QOS Class may not change as a result of resizing"),
        (
            {"limits": {"cpu": None}},
            "spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed",
        ),
        ({"limits": {"ephemeral-storage": "1Gi"}}, "only cpu and memory resources are mutable"),
        ({"requests": {"memory": "128Mi"}}, "must be less than or equal to memory limit"),
    ],
)
async def test_what_is_wrong_is_named(api: ControlPlane, resources: Obj, message: str) -> None:
    with pytest.raises(Invalid) as refused:
        await resize(api, resources)
    assert message in refused.value.message


async def test_an_ordinary_update_may_not_resize(api: ControlPlane) -> None:
    pod = orjson.loads(await api.client().request("GET", Pod.resource.path("default", "p")))
    pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "700m"
    with pytest.raises(Invalid, match="pod updates may not change fields other than"):
        await api.client().request("PUT", Pod.resource.path("default", "p"), body=pod)
