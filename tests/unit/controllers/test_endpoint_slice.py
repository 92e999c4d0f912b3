"""EndpointSlices: who is in, in what condition, and how little is rewritten."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pilothouse.controllers.endpoint_slice.decide import MOST, Plan, decide
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.service import Service
from pilothouse.kinds.discovery.endpoint_slice import EndpointHints, EndpointSlice
from pilothouse.kinds.view import ObjectMeta


def service(**spec: Any) -> Service:
    ports = [{"name": "http", "port": 80, "targetPort": "web"}]
    tree = {
        "metadata": {"name": "web", "namespace": "shop", "uid": "s"},
        "spec": {"selector": {"app": "web"}, "ports": ports, **spec},
    }
    return msgspec.convert(tree, Service)


def pod(number: int, *, ready: bool = True, port: int = 8080, **more: Any) -> Pod:
    tree = {
        "metadata": {"name": f"p{number}", "namespace": "shop", "uid": f"u{number}", **more.pop("metadata", {})},
        "spec": {
            "nodeName": "n1",
            "containers": [{"name": "c", "ports": [{"name": "web", "containerPort": port}]}],
            **more.pop("spec", {}),
        },
        "status": {
            "phase": "Running",
            "podIP": f"10.0.{number // 250}.{number % 250}",
            "conditions": [{"type": "Ready", "status": str(ready)}],
            **more,
        },
    }
    return msgspec.convert(tree, Pod)


def applied(plan: Plan, slices: list[EndpointSlice]) -> list[EndpointSlice]:
    """The slices after the plan."""
    kept = [s for s in slices if s not in plan.delete]
    for update in plan.update:
        index = kept.index(update.slice)
        kept[index] = msgspec.structs.replace(update.slice, endpoints=update.endpoints)
        kept[index].metadata = msgspec.structs.replace(update.slice.metadata, labels=update.labels)
    for number, new in enumerate(plan.create):
        meta = ObjectMeta(name=f"web-{len(slices)}-{number}", namespace="shop", labels=new.labels)
        kept.append(EndpointSlice(metadata=meta, address_type="IPv4", endpoints=new.endpoints, ports=new.ports))
    return kept


def addresses(slices: list[EndpointSlice]) -> list[str]:
    return sorted(address for s in slices for endpoint in s.endpoints for address in endpoint.addresses)


def test_named_ports_and_conditions() -> None:
    terminating = pod(3, metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})
    (made,) = decide(service(), [pod(1), pod(2, ready=False), terminating], []).create
    assert [(port.name, port.port) for port in made.ports] == [("http", 8080)]
    shown = [(e.conditions.ready, e.conditions.serving, e.conditions.terminating) for e in made.endpoints]
    assert shown == [(True, True, False), (False, False, False), (False, True, True)]
    target = made.endpoints[0].target_ref
    assert target is not None
    assert (target.kind, target.name, made.endpoints[0].node_name) == ("Pod", "p1", "n1")


def test_pods_without_an_address_or_that_have_ended_are_left_out() -> None:
    (made,) = decide(service(), [pod(1, podIP=""), pod(2, phase="Succeeded")], []).create
    assert made.endpoints == []


def test_unready_pods_may_be_published() -> None:
    (made,) = decide(service(publishNotReadyAddresses=True), [pod(1, ready=False)], []).create
    assert made.endpoints[0].conditions.ready is True
    assert made.endpoints[0].conditions.serving is False


def test_pods_of_lost_nodes_are_not_ready() -> None:
    (made,) = decide(service(), [pod(1)], [], {"n1"}).create
    assert made.endpoints[0].conditions.ready is False


def test_a_headless_service_is_marked_and_names_its_pods() -> None:
    named = pod(1, spec={"hostname": "db-0", "subdomain": "web"})
    (made,) = decide(service(clusterIP="None"), [named], []).create
    assert "service.kubernetes.io/headless" in made.labels
    assert made.endpoints[0].hostname == "db-0"


def test_pods_with_other_port_numbers_get_slices_of_their_own() -> None:
    plan = decide(service(), [pod(1), pod(2, port=9090)], [])
    assert sorted(new.ports[0].port or 0 for new in plan.create) == [8080, 9090]


def test_nothing_changed_nothing_written() -> None:
    pods = [pod(1), pod(2)]
    slices = applied(decide(service(), pods, []), [])
    assert decide(service(), pods, slices) == Plan()


def test_many_pods_are_split_and_a_change_touches_one_slice() -> None:
    pods = [pod(number) for number in range(1, 251)]
    slices = applied(decide(service(), pods, []), [])
    assert [len(s.endpoints) for s in slices] == [MOST, MOST, 50]
    pods[0] = pod(1, ready=False)
    plan = decide(service(), pods, slices)
    assert (len(plan.update), plan.create, plan.delete) == (1, [], [])
    more = decide(service(), [*pods, pod(300)], applied(plan, slices))
    assert (len(more.update), more.create, more.delete) == (1, [], [])
    slices = applied(more, applied(plan, slices))
    assert len(addresses(slices)) == 251


def test_the_last_slice_stays_and_says_that_nobody_is_there() -> None:
    slices = applied(decide(service(), [pod(1)], []), [])
    plan = decide(service(), [], slices)
    left = applied(plan, slices)
    assert len(left) == 1
    assert left[0].endpoints == []


@pytest.mark.parametrize(
    ("distribution", "zones", "nodes"),
    [
        (None, [], []),
        ("PreferClose", ["east"], []),
        ("PreferSameZone", ["east"], []),
        ("PreferSameNode", ["east"], ["n1"]),
    ],
)
def test_hints_follow_the_traffic_distribution(distribution: str | None, zones: list[str], nodes: list[str]) -> None:
    pods = [pod(1), pod(2, ready=False)]
    (made,) = decide(service(trafficDistribution=distribution), pods, [], zones={"n1": "east"}).create
    ready, unready = made.endpoints
    assert (ready.zone, unready.zone, unready.hints) == ("east", "east", None)
    shown = ready.hints or EndpointHints()
    assert [zone.name for zone in shown.for_zones] == zones
    assert [node.name for node in shown.for_nodes] == nodes


def test_a_node_without_a_zone_gives_no_hint_of_one() -> None:
    (made,) = decide(service(trafficDistribution="PreferClose"), [pod(1)], []).create
    assert (made.endpoints[0].zone, made.endpoints[0].hints) == (None, None)


def test_a_service_of_two_families_has_slices_of_each() -> None:
    both = service(ipFamilies=["IPv4", "IPv6"])
    pods = [
        pod(1, podIPs=[{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]),
        pod(2, podIPs=[{"ip": "10.0.0.2"}]),
    ]
    made = {new.address_type: [e.addresses for e in new.endpoints] for new in decide(both, pods, []).create}
    assert made == {"IPv4": [["10.0.0.1"], ["10.0.0.2"]], "IPv6": [["fd00::1"]]}


def test_a_service_of_ipv6_alone_has_no_slice_of_ipv4() -> None:
    plan = decide(service(ipFamilies=["IPv6"]), [pod(1)], [])
    assert [(new.address_type, new.endpoints) for new in plan.create] == [("IPv6", [])]
