"""What all checks at the door add to a request: the whole API server in memory, with and without them, in turn."""

from __future__ import annotations

import asyncio
import statistics
import time

import orjson

from pilothouse.apiserver.admission.steps import standard_chain
from pilothouse.apiserver.authorization.index import RbacIndex
from pilothouse.apiserver.chain import Chain
from pilothouse.apiserver.reader import StoreReader
from pilothouse.client.wire import Request
from pilothouse.launch.door import GuardDoor
from pilothouse.machinery.objects import Obj
from pilothouse.store.memory import MemoryStore
from pilothouse.testing.bench.report import Figure
from pilothouse.testing.control_plane import ADMIN, AllowAll, ControlPlane

_REQUESTS = 200
_AIM_MILLISECONDS = 1.0


def door_figures() -> list[Figure]:
    """The median of what the checks add, by kind of request."""
    return asyncio.run(_figures())


async def _figures() -> list[Figure]:
    figures = []
    without, given = await _plane(checked=False), await _plane(checked=True)
    for name, path, tree, differ in _requests():
        plain: list[float] = []
        checked: list[float] = []
        for number in range(_REQUESTS):
            for plane, times in ((without, plain), (given, checked)):
                labels = {"app": "web", **({"number": str(number)} if differ else {})}
                body = {
                    **(_another(tree, number) if differ else tree),
                    "metadata": {"labels": labels, "name": f"{path.rpartition('/')[2]}-{differ}-{number}".lower()},
                }
                times.append(await _seconds(plane, path, body))
        added = (statistics.median(checked) - statistics.median(plain)) * 1e3
        note = f"{statistics.median(plain) * 1e3:.2f} ms without"
        figures.append(Figure(f"door: all checks on the create of a {name}", added, "ms", _AIM_MILLISECONDS, note=note))
    return figures


def _another(tree: Obj, number: int) -> Obj:
    """The object with other pods, where it has any: a verdict is remembered by what pods hold, too."""
    pods = tree["spec"].get("template", tree) if "spec" in tree else {}
    if "containers" not in pods.get("spec", {}):
        return tree
    spec = {**pods["spec"], "terminationGracePeriodSeconds": 30 + number}
    changed = {**pods, "spec": spec}
    return changed if pods is tree else {**tree, "spec": {**tree["spec"], "template": changed}}


async def _plane(*, checked: bool) -> ControlPlane:
    store, everything = MemoryStore(), AllowAll()
    objects = StoreReader(store)
    door = GuardDoor(objects)
    await door.prepare()
    chain = standard_chain(store, objects, everything, RbacIndex(store), (door,) if checked else ())
    plane = ControlPlane(store=store, chain=Chain(everything, everything, chain))
    for path, body in (
        ("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}),
        (
            "/api/v1/namespaces/shop/serviceaccounts",
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}},
        ),
    ):
        await _seconds(plane, path, body)
    return plane


async def _seconds(plane: ControlPlane, path: str, body: Obj) -> float:
    data = orjson.dumps(body)
    request = Request("POST", path, [], {"content-type": "application/json"}, data, ADMIN)
    started = time.perf_counter()
    response = await plane.api.handle(request)
    took = time.perf_counter() - started
    if response.status != 201:
        raise RuntimeError(f"{path}: {response.status} {response.body.decode()}")
    return took


def _requests() -> list[tuple[str, str, Obj, bool]]:
    """Kind, path, body, and whether each is to be another than the one before (a verdict is remembered by content)."""
    resources = {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "64Mi"}}
    containers = [
        {
            "name": name,
            "image": f"registry.example/{name}:1",
            "resources": resources,
            "ports": [{"containerPort": 8080}],
        }
        for name in ("web", "side")
    ]
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": containers}}
    deployment = {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    core, apps = "/api/v1/namespaces/shop", "/apis/apps/v1/namespaces/shop"
    meta = {"labels": {"app": "web"}}
    return [
        ("Deployment", f"{apps}/deployments", _object("apps/v1", "Deployment", meta, spec=deployment), True),
        ("Pod", f"{core}/pods", _object("v1", "Pod", meta, spec={"containers": containers}), True),
        ("Pod like others", f"{core}/pods", _object("v1", "Pod", meta, spec={"containers": containers}), False),
        ("Service", f"{core}/services", _object("v1", "Service", meta, spec={"ports": [{"port": 80}]}), True),
        ("ConfigMap", f"{core}/configmaps", _object("v1", "ConfigMap", meta, data={"a": "b"}), True),
        (
            "Lease",
            "/apis/coordination.k8s.io/v1/namespaces/shop/leases",
            _object("coordination.k8s.io/v1", "Lease", meta, spec={}),
            True,
        ),
    ]


def _object(api_version: str, kind: str, metadata: Obj, **fields: Obj) -> Obj:
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **fields}
