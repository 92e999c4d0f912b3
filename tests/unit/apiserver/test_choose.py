"""Choosing addresses and node ports."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.apiserver.allocation.choose import InUse, Ranges, addresses_of, assign, ports_of
from pilothouse.machinery.errors import InternalError, Invalid
from pilothouse.machinery.objects import Obj

RANGES = Ranges.of("10.0.0.0/27", (30000, 30019))


def service(name: str, **spec: Any) -> Obj:
    return {"metadata": {"name": name, "namespace": "ns"}, "spec": {"type": "ClusterIP", **spec}}


@given(st.lists(st.sampled_from(["create", "delete", "nodeport"]), max_size=60))
def test_nothing_is_given_twice_and_what_is_given_back_can_be_had_again(steps: list[str]) -> None:
    in_use = InUse()
    held: list[Obj] = []
    for number, step in enumerate(steps):
        if step == "delete":
            if held:
                in_use.remove(held.pop(0))
            continue
        kind = {"type": "NodePort", "ports": [{"port": 1}]} if step == "nodeport" else {}
        made = service(f"s{number}", **kind)
        try:
            assign(made, in_use, RANGES)
        except InternalError:
            ports_full = len(in_use.ports) == 20
            assert len(in_use.addresses) == 30 or (ports_full and step == "nodeport")
            continue
        in_use.add(made)
        held.append(made)
        addresses = [address for entry in held for address in addresses_of(entry)]
        ports = [port for entry in held for port in ports_of(entry)]
        assert len(addresses) == len(set(addresses)) == len(in_use.addresses)
        assert len(ports) == len(set(ports)) == len(in_use.ports)


def test_a_service_may_keep_what_it_holds() -> None:
    in_use = InUse()
    made = service("a", type="NodePort", ports=[{"port": 1}])
    assign(made, in_use, RANGES)
    in_use.add(made)
    assign(made, in_use, RANGES)
    other = service("b", clusterIP=made["spec"]["clusterIP"])
    with pytest.raises(Invalid, match="already allocated"):
        assign(other, in_use, RANGES)


def test_the_dns_address_is_given_to_nobody() -> None:
    ranges = Ranges.of("10.0.0.0/29", (30000, 30019), frozenset({"10.0.0.3"}))
    with pytest.raises(Invalid, match="cluster's own DNS"):
        assign(service("a", clusterIP="10.0.0.3"), InUse(), ranges)
    in_use = InUse()
    for number in range(5):
        made = service(f"s{number}")
        assign(made, in_use, ranges)
        in_use.add(made)
    assert sorted(in_use.addresses) == [f"10.0.0.{n}" for n in (1, 2, 4, 5, 6)]
    with pytest.raises(InternalError, match="range is full"):
        assign(service("s5"), in_use, ranges)


@pytest.mark.parametrize("address", ["10.0.0.0", "10.0.0.31", "10.0.1.1", "fd00::1", "x"])
def test_addresses_outside_are_refused(address: str) -> None:
    with pytest.raises(Invalid):
        assign(service("a", clusterIP=address), InUse(), RANGES)


def test_one_number_serves_two_protocols_but_not_the_same_twice() -> None:
    in_use = InUse()
    ports = [{"port": 53, "protocol": "UDP", "nodePort": 30001}, {"port": 53, "protocol": "TCP", "nodePort": 30001}]
    made = service("dns", type="NodePort", ports=ports)
    assign(made, in_use, RANGES)
    in_use.add(made)
    assert ports_of(made) == [(30001, "UDP"), (30001, "TCP")]


def test_a_local_load_balancer_gets_a_health_check_port() -> None:
    made = service("lb", type="LoadBalancer", externalTrafficPolicy="Local", ports=[{"port": 1}])
    assign(made, InUse(), RANGES)
    assert made["spec"]["healthCheckNodePort"] != made["spec"]["ports"][0]["nodePort"]
