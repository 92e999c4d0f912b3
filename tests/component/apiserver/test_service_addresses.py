"""Addresses and node ports of Services: given once, kept by updates, free after deletion."""

import asyncio
from typing import Any

import orjson
import pytest

from pilothouse.client.client import Client
from pilothouse.kinds.core.service import Service
from pilothouse.machinery.errors import InternalError, Invalid
from pilothouse.machinery.objects import Obj
from pilothouse.testing.control_plane import ControlPlane

PATH = "/api/v1/namespaces/ns/services"


async def make(client: Client, name: str, **spec: Any) -> Obj:
    spec = {"selector": {"a": "b"}, "ports": [{"port": 80}], **spec}
    tree: Obj = orjson.loads(await client.request("POST", PATH, body={"metadata": {"name": name}, "spec": spec}))
    return tree


async def test_concurrent_creates_get_addresses_of_their_own(plane: ControlPlane) -> None:
    client = plane.client()
    made = await asyncio.gather(*(make(client, f"s{n}", type="NodePort") for n in range(60)))
    assert len({service["spec"]["clusterIP"] for service in made}) == 60
    assert len({service["spec"]["ports"][0]["nodePort"] for service in made}) == 60
    assert all(service["spec"]["clusterIPs"] == [service["spec"]["clusterIP"]] for service in made)


async def test_headless_and_external_name(plane: ControlPlane) -> None:
    client = plane.client()
    assert (await make(client, "a", clusterIP="None"))["spec"]["clusterIP"] == "None"
    external = await make(client, "b", type="ExternalName", externalName="example.com")
    assert "clusterIP" not in external["spec"]


async def test_an_address_asked_for_is_given_once(plane: ControlPlane) -> None:
    client = plane.client()
    assert (await make(client, "a", clusterIP="10.96.0.10"))["spec"]["clusterIP"] == "10.96.0.10"
    with pytest.raises(Invalid, match="provided IP is already allocated"):
        await make(client, "b", clusterIP="10.96.0.10")
    with pytest.raises(Invalid, match="not in the valid range"):
        await make(client, "c", clusterIP="192.168.0.1")
    await client.delete(Service, "a", "ns")
    assert (await make(client, "d", clusterIP="10.96.0.10"))["spec"]["clusterIP"] == "10.96.0.10"


async def test_a_node_port_asked_for_is_given_once_per_protocol(plane: ControlPlane) -> None:
    client = plane.client()
    await make(client, "a", type="NodePort", ports=[{"port": 80, "nodePort": 30080}])
    await make(client, "b", type="NodePort", ports=[{"port": 80, "nodePort": 30080, "protocol": "UDP"}])
    with pytest.raises(Invalid, match="provided port is already allocated"):
        await make(client, "c", type="NodePort", ports=[{"port": 80, "nodePort": 30080}])
    with pytest.raises(Invalid, match="range of valid ports is 30000-32767"):
        await make(client, "d", type="NodePort", ports=[{"port": 80, "nodePort": 80}])


async def test_updates_keep_what_was_given(plane: ControlPlane) -> None:
    client = plane.client()
    made = await make(client, "a", type="NodePort")
    spec = {"selector": {"a": "c"}, "type": "NodePort", "ports": [{"port": 80}]}
    body = await client.request("PUT", f"{PATH}/a", body={"metadata": {"name": "a"}, "spec": spec})
    again = orjson.loads(body)["spec"]
    assert again["clusterIP"] == made["spec"]["clusterIP"]
    assert again["ports"][0]["nodePort"] == made["spec"]["ports"][0]["nodePort"]


async def test_a_full_range_is_said_and_a_dry_run_takes_nothing() -> None:
    async with ControlPlane(service_range="10.0.0.0/29") as plane:
        client = plane.client()
        tree = {"metadata": {"name": "dry"}, "spec": {"ports": [{"port": 80}]}}
        for _ in range(8):
            await client.request("POST", PATH, body=tree, query=[("dryRun", "All")])
        for n in range(6):
            await make(client, f"s{n}")
        with pytest.raises(InternalError, match="range is full"):
            await make(client, "one-more")
        await client.delete(Service, "s3", "ns")
        await make(client, "again")


async def test_external_addresses_that_would_take_others_traffic(plane: ControlPlane) -> None:
    client = plane.client()
    for address, why in (
        ("10.96.0.1", "may not be in the range of the cluster's own service addresses"),
        ("127.0.0.1", "may not be in the loopback range"),
        ("0.0.0.0", "may not be unspecified"),
        ("169.254.169.254", "may not be in the link-local range"),
    ):
        with pytest.raises(Invalid, match=why):
            await make(client, "a", externalIPs=[address])
    await make(client, "a", externalIPs=["203.0.113.9"])


async def put(client: Client, name: str, **spec: Any) -> Obj:
    spec = {"selector": {"a": "b"}, "ports": [{"port": 80}], **spec}
    body = await client.request("PUT", f"{PATH}/{name}", body={"metadata": {"name": name}, "spec": spec})
    tree: Obj = orjson.loads(body)["spec"]
    return tree


async def patch(client: Client, name: str, **spec: Any) -> Obj:
    body = await client.request("PATCH", f"{PATH}/{name}", body={"spec": spec}, content_type=MERGE)
    tree: Obj = orjson.loads(body)["spec"]
    return tree


MERGE = "application/merge-patch+json"
DUAL = "10.96.0.0/16,fd00:10:96::/112"


def families(spec: Obj) -> tuple[str, list[str], list[str]]:
    """Policy, families, and the families of the addresses."""
    found = ["IPv6" if ":" in address else "IPv4" for address in spec["clusterIPs"]]
    return spec["ipFamilyPolicy"], spec["ipFamilies"], found


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, ("SingleStack", ["IPv4"], ["IPv4"])),
        ({"ipFamilies": ["IPv6"]}, ("SingleStack", ["IPv6"], ["IPv6"])),
        ({"clusterIP": "fd00:10:96::9"}, ("SingleStack", ["IPv6"], ["IPv6"])),
        ({"ipFamilyPolicy": "PreferDualStack"}, ("PreferDualStack", ["IPv4", "IPv6"], ["IPv4", "IPv6"])),
        (
            {"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6"]},
            ("RequireDualStack", ["IPv6", "IPv4"], ["IPv6", "IPv4"]),
        ),
        (
            {"ipFamilyPolicy": "RequireDualStack", "clusterIPs": ["fd00:10:96::9"]},
            ("RequireDualStack", ["IPv6", "IPv4"], ["IPv6", "IPv4"]),
        ),
    ],
)
async def test_a_cluster_with_two_families(asked: Obj, expected: tuple[str, list[str], list[str]]) -> None:
    async with ControlPlane(service_range=DUAL) as plane:
        spec = (await make(plane.client(), "a", **asked))["spec"]
        assert families(spec) == expected
        assert spec["clusterIP"] == spec["clusterIPs"][0]


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"clusterIPs": ["10.96.0.9", "fd00:10:96::9"]}, "when multiple cluster IPs are specified"),
        ({"ipFamilies": ["IPv4", "IPv6"]}, "when multiple IP families are specified"),
        ({"clusterIP": "fd00:bad::9"}, "The range of valid IPs is fd00:10:96::/112"),
        ({"clusterIP": "10.96.0.9", "ipFamilies": ["IPv6"]}, "expected an IPv6 value"),
    ],
)
async def test_what_two_families_refuse(asked: Obj, why: str) -> None:
    async with ControlPlane(service_range=DUAL) as plane:
        with pytest.raises(Invalid, match=why):
            await make(plane.client(), "a", **asked)


async def test_one_family_refuses_two_and_prefers_one(plane: ControlPlane) -> None:
    client = plane.client()
    with pytest.raises(Invalid, match="this cluster is not configured for dual-stack services"):
        await make(client, "a", ipFamilyPolicy="RequireDualStack")
    with pytest.raises(Invalid, match="not configured on this cluster"):
        await make(client, "a", ipFamilies=["IPv6"])
    with pytest.raises(Invalid, match="IPv6 is not configured on this cluster"):
        await make(client, "a", clusterIP="fd00::1")
    spec = (await make(client, "a", ipFamilyPolicy="PreferDualStack"))["spec"]
    assert families(spec) == ("PreferDualStack", ["IPv4"], ["IPv4"])


async def test_a_second_address_comes_and_goes_by_the_policy() -> None:
    async with ControlPlane(service_range=DUAL) as plane:
        client = plane.client()
        first = (await make(client, "a"))["spec"]["clusterIP"]
        both = await patch(client, "a", ipFamilyPolicy="RequireDualStack")
        assert families(both) == ("RequireDualStack", ["IPv4", "IPv6"], ["IPv4", "IPv6"])
        with pytest.raises(Invalid, match="must be 'SingleStack' to release the secondary cluster IP"):
            await patch(client, "a", clusterIPs=[first])
        with pytest.raises(Invalid, match="may not change once set"):
            await patch(client, "a", clusterIPs=[first, "fd00:10:96::77"])
        assert (await put(client, "a"))["clusterIPs"] == both["clusterIPs"]
        second = both["clusterIPs"][1]
        with pytest.raises(Invalid, match="already allocated"):
            await make(client, "b", clusterIP=second.upper())
        assert families(await patch(client, "a", ipFamilyPolicy="SingleStack")) == ("SingleStack", ["IPv4"], ["IPv4"])
        assert (await make(client, "b", clusterIP=second))["spec"]["clusterIP"] == second


async def test_headless_without_a_selector_may_have_any_family(plane: ControlPlane) -> None:
    spec = (await make(plane.client(), "a", clusterIP="None", selector=None))["spec"]
    assert (spec["ipFamilyPolicy"], spec["ipFamilies"]) == ("RequireDualStack", ["IPv4", "IPv6"])
    assert (await make(plane.client(), "b", clusterIP="None"))["spec"]["ipFamilies"] == ["IPv4"]
