"""Preparing a host and giving it back."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator

import pytest
from network_host import LAN_ADDRESS, NODE, NODE_ADDRESS, PREFIX, Cluster, enter, running, sh

from pilothouse.linux import sysctl
from pilothouse.network import host
from pilothouse.network.config import NetworkConfig
from pilothouse.network.teardown import tear_down

pytestmark = pytest.mark.system

EMPTY = f"{PREFIX}empty"


@pytest.fixture
def empty_host(host: None) -> Iterator[None]:
    """A host with nothing on it, in which the test's thread lives."""
    sh(f"ip netns add {EMPTY} && ip -n {EMPTY} link set lo up")
    sh(f"ip -n {EMPTY} link add up0 type veth peer name up1 && ip -n {EMPTY} addr add {NODE_ADDRESS}/24 dev up0")
    sh(f"ip -n {EMPTY} link set up0 mtu 1400 up && ip -n {EMPTY} route add default via {LAN_ADDRESS}")
    enter(EMPTY)
    yield
    enter(NODE)
    subprocess.run(["ip", "netns", "del", EMPTY], check=True)


def state() -> str:
    """Devices, addresses, routes, rules and the parameters concerned."""
    run = f"ip netns exec {EMPTY}"
    parameters = [sysctl.read(name) for name in ("net.ipv4.ip_forward", "net.ipv4.conf.all.route_localnet")]
    return sh(f"ip -n {EMPTY} -o -4 addr; ip -n {EMPTY} route; {run} nft list ruleset") + str(parameters)


async def test_teardown_leaves_the_host_as_it_was(config: NetworkConfig, cluster: Cluster, empty_host: None) -> None:
    before = state()
    async with running(config, cluster):
        routes = sh(f"ip -n {EMPTY} route")
        assert "unreachable 10.232.0.0/16 proto 80 metric 9999" in routes
        assert "10.97.0.0/16 dev pilothouse0" in routes
        assert sysctl.read("net.ipv4.ip_forward") == "1"
        written = (config.cni_conf_dir / "10-pilothouse.conflist").read_text()
        assert '"mtu": 1400' in written
        assert '"subnet": "10.232.0.0/24"' in written
        sh(f"ip -n {EMPTY} link add left0 type veth peer name left1 && ip -n {EMPTY} addr add 10.232.0.1/32 dev left0")
    removed = await asyncio.to_thread(tear_down, config)
    assert "device left0" in removed
    assert state() == before
    assert tear_down(config) == []


def test_an_overlapping_range_is_refused(config: NetworkConfig, empty_host: None) -> None:
    sh(f"ip -n {EMPTY} addr add 10.232.7.1/24 dev up0")
    with pytest.raises(host.RangeInUse, match=r"10\.232\.0\.0/16 overlaps 10\.232\.7\.0/24"):
        host.keep_ranges_in(config)


def test_a_refusal_of_the_range_that_the_host_has_already_is_no_use_of_it(
    config: NetworkConfig, empty_host: None
) -> None:
    sh(f"ip -n {EMPTY} route add unreachable 10.232.0.0/16 metric 20000")
    host.keep_ranges_in(config)
    assert sh(f"ip -n {EMPTY} route").count("unreachable 10.232.0.0/16") == 2
    tear_down(config)
    assert "unreachable 10.232.0.0/16 metric 20000" in sh(f"ip -n {EMPTY} route")
    sh(f"ip -n {EMPTY} route add unreachable 10.232.0.0/16 metric 100")
    with pytest.raises(host.RangeInUse, match=r"overlaps 10\.232\.0\.0/16"):
        host.keep_ranges_in(config)


def test_an_address_of_another_host_is_refused(config: NetworkConfig, empty_host: None) -> None:
    sh(f"ip -n {EMPTY} addr del {NODE_ADDRESS}/24 dev up0")
    with pytest.raises(host.AddressMissing, match="no network device of this host has the address"):
        host.keep_ranges_in(config)
