from __future__ import annotations

from typing import Any

import pytest

from pilothouse.guard.images.live.exposure import Exposure
from pilothouse.guard.images.live.gateway_routes import GRPCRoute, HTTPRoute, ways_to
from pilothouse.guard.images.live.kept import Listed, kept, listed_in
from pilothouse.guard.images.live.uses import running, uses
from pilothouse.kinds.core.node import Node
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.service import Service
from pilothouse.kinds.networking.ingress import Ingress
from pilothouse.kinds.view import OwnerReference, from_tree

TOKEN = {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}


def nobody(namespace: str, reference: OwnerReference) -> OwnerReference | None:
    return None


def rights(namespace: str, name: str) -> tuple[str, ...]:
    return ("reads every Secret",) if (namespace, name) == ("shop", "strong") else ()


def pod(name: str = "a", container: dict[str, Any] | None = None, **spec: Any) -> Pod:
    made = {"name": "c", "image": "x", **(container or {})}
    meta = {"name": name, "namespace": "shop", "labels": {"app": "x"}}
    return from_tree(Pod, {"metadata": meta, "spec": {"containers": [made], **spec}})


def service(**spec: Any) -> Service:
    whole = {"selector": {"app": "x"}, "type": "ClusterIP", **spec}
    return from_tree(Service, {"metadata": {"name": "s", "namespace": "shop"}, "spec": whole})


def ingress(namespace: str = "shop") -> Ingress:
    backend = {"service": {"name": "s", "port": {"number": 1}}}
    rules = [{"host": "h", "http": {"paths": [{"path": "/", "backend": backend}]}}]
    return from_tree(Ingress, {"metadata": {"name": "i", "namespace": namespace}, "spec": {"rules": rules}})


def exposure(made: Pod, *services: Service, ingresses: tuple[Ingress, ...] = ()) -> Exposure:
    (entry,) = running([made], services, nobody, ingresses, rights)
    return entry.exposure


@pytest.mark.parametrize(
    ("made", "services", "ingresses", "ways", "level"),
    [
        (pod(), (), (), (), 0),
        (pod(), (service(),), (), ("Service s",), 2),
        (pod(), (service(selector={"app": "y"}),), (ingress(),), (), 0),
        (pod(), (service(type="NodePort"),), (), ("Service s (NodePort)",), 4),
        (pod(), (service(type="LoadBalancer"),), (), ("Service s (LoadBalancer)",), 4),
        (pod(), (service(externalIPs=["192.0.2.1"]),), (), ("Service s (external IPs)",), 4),
        (pod(), (service(),), (ingress(),), ("Ingress i", "Service s"), 4),
        (pod(), (service(),), (ingress("other"),), ("Service s",), 2),
        (pod(container={"ports": [{"containerPort": 1, "hostPort": 80}]}), (), (), ("host port 80",), 4),
        (pod(hostNetwork=True), (), (), ("host network",), 4),
        (pod(container={"securityContext": {"privileged": True}}), (), (), ("privileged",), 1),
        (pod(hostPID=True), (service(),), (), ("Service s", "host PID"), 3),
        (pod(serviceAccountName="strong"), (), (), (), 0),
        (
            pod(serviceAccountName="strong", volumes=[TOKEN]),
            (service(),),
            (ingress(),),
            ("Ingress i", "Service s", "ServiceAccount strong reads every Secret"),
            5,
        ),
        (pod(serviceAccountName="weak", volumes=[TOKEN]), (), (), (), 0),
    ],
)
def test_ways_and_level(
    made: Pod, services: tuple[Service, ...], ingresses: tuple[Ingress, ...], ways: tuple[str, ...], level: int
) -> None:
    assert exposure(made, *services, ingresses=ingresses) == Exposure(ways, level)


def test_a_workload_is_as_exposed_as_its_most_exposed_pod() -> None:
    entries = [*running([pod("a"), pod("b", hostNetwork=True)], (), nobody)]
    owner = entries[0].owner
    (use,) = uses([entry.__class__(*(*astuple(entry)[:6], owner, entry.exposure)) for entry in entries]).values()
    assert use.exposure.ways == ("host network",)


def astuple(entry: Any) -> tuple[Any, ...]:
    return tuple(getattr(entry, name) for name in entry.__slots__)


def test_kept_images_are_those_that_nothing_runs() -> None:
    one = Listed(("r/a@sha256:1", "mirror/a@sha256:2"), ("r/a:1",))
    lists = {"n1": [one, Listed(("r/b@sha256:3",), ("r/b:1",))], "n2": [Listed(("r/b@sha256:3",), ("r/b:2",))]}
    found = kept(lists, {"sha256:2"})
    assert {key: (entry.names, entry.nodes) for key, entry in found.items()} == {
        "sha256:3": (("r/b:1", "r/b:2"), ("n1", "n2"))
    }
    assert kept(lists, {"sha256:2", "sha256:3"}) == {}


def test_a_node_object_tells_of_images_that_have_a_digest() -> None:
    images = [{"names": ["r/a@sha256:1", "r/a:1"]}, {"names": ["r/b:1"]}]
    node = from_tree(Node, {"metadata": {"name": "n"}, "status": {"images": images}})
    assert listed_in(node) == [Listed(("r/a@sha256:1",), ("r/a:1",))]


@pytest.mark.parametrize("kind", [HTTPRoute, GRPCRoute])
@pytest.mark.parametrize(
    ("namespace", "accepted", "backend", "way"),
    [
        ("shop", "True", {}, "{} r"),
        ("shop", "False", {}, ""),
        ("front", "True", {}, ""),
        ("front", "True", {"namespace": "shop"}, "{} r of front"),
        ("shop", "True", {"kind": "Bucket", "group": "example.com"}, ""),
    ],
)
def test_routes_of_the_gateway_api_lead_out_once_a_gateway_accepts_them(
    kind: type[HTTPRoute], namespace: str, accepted: str, backend: dict[str, str], way: str
) -> None:
    tree = {
        "metadata": {"name": "r", "namespace": namespace},
        "spec": {"rules": [{"backendRefs": [{"name": "s", **backend}]}]},
        "status": {"parents": [{"conditions": [{"type": "Accepted", "status": accepted}]}]},
    }
    (entry,) = running([pod()], [service()], nobody, others=ways_to([from_tree(kind, tree)]))
    expected = Exposure((way.format(kind.resource.kind), "Service s"), 4) if way else Exposure(("Service s",), 2)
    assert entry.exposure == expected
