"""pods/ephemeralcontainers: containers are added to a pod, and never changed or removed."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from pilothouse.kinds.core.pod import Pod
from pilothouse.machinery.errors import Invalid
from pilothouse.machinery.objects import Obj
from pilothouse.testing.control_plane import ControlPlane

PATH = Pod.resource.path("default", "p", "ephemeralcontainers")
STRATEGIC = "application/strategic-merge-patch+json"


@pytest.fixture
async def api(plane: ControlPlane) -> ControlPlane:
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "main", "image": "i"}]}}
    await plane.client().create_tree(Pod.resource, pod, "default")
    return plane


async def add(api: ControlPlane, *containers: Obj) -> Obj:
    body = {"metadata": {"labels": {"ignored": "yes"}}, "spec": {"ephemeralContainers": list(containers)}}
    answer = await api.client().request("PATCH", PATH, body=body, content_type=STRATEGIC)
    tree: Obj = orjson.loads(answer)
    return tree


async def test_a_container_is_added_with_defaults(api: ControlPlane) -> None:
    pod = await add(api, {"name": "debugger", "image": "tools", "targetContainerName": "main", "stdin": True})
    (made,) = pod["spec"]["ephemeralContainers"]
    assert (made["imagePullPolicy"], made["terminationMessagePolicy"]) == ("Always", "File")
    assert "labels" not in pod["metadata"]
    assert pod["metadata"]["generation"] == 2
    pod = await add(api, {"name": "second", "image": "tools"})
    assert [c["name"] for c in pod["spec"]["ephemeralContainers"]] == ["second", "debugger"]


@pytest.mark.parametrize(
    ("container", "message"),
    [
        ({"name": "main", "image": "i"}, 'spec.ephemeralContainers[0].name: Duplicate value: "main"'),
        (
            {"name": "d", "image": "i", "targetContainerName": "nobody"},
            'spec.ephemeralContainers[0].targetContainerName: Not found: "nobody"',
        ),
        (
            {"name": "d", "image": "i", "resources": {"limits": {"cpu": "1"}}},
            "spec.ephemeralContainers[0].resources: Forbidden: cannot be set for an Ephemeral Container",
        ),
        ({"name": "d"}, "spec.ephemeralContainers[0].image: Required value"),
    ],
)
async def test_what_is_wrong_is_named(api: ControlPlane, container: dict[str, Any], message: str) -> None:
    with pytest.raises(Invalid) as refused:
        await add(api, container)
    assert message in refused.value.message


async def test_none_is_changed_or_removed(api: ControlPlane) -> None:
    pod = await add(api, {"name": "debugger", "image": "tools"})
    with pytest.raises(Invalid, match='existing ephemeral containers "debugger" may not be changed'):
        await add(api, {"name": "debugger", "image": "others"})
    pod["spec"]["ephemeralContainers"] = []
    with pytest.raises(Invalid, match='existing ephemeral containers "debugger" may not be removed'):
        await api.client().request("PUT", PATH, body=pod)
    pod["spec"]["ephemeralContainers"] = [{"name": "x", "image": "y"}]
    with pytest.raises(Invalid, match="pod updates may not change fields other than"):
        await api.client().request("PUT", Pod.resource.path("default", "p"), body=pod)
