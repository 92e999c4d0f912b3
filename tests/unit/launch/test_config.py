"""The configuration: what is derived from it, what is kept, and what is refused."""

from __future__ import annotations

import dataclasses
import ipaddress
from pathlib import Path

import pytest

from pilothouse.launch import prepare
from pilothouse.launch.config import Config, ConfigError, check_ranges, load
from pilothouse.launch.prepare import Options, check_host, decide, listen_on
from pilothouse.launch.supervisor import dns_address_of
from pilothouse.linux.host import REQUIRED_CAPABILITIES, Host, Uplink

DUAL = "10.96.0.0/16,fd00:10:96::/112"


def config(**fields: object) -> Config:
    return Config(**{"data_dir": "/d", "node_name": "n", "node_address": "192.0.2.1", **fields})  # type: ignore[arg-type]


def host(uplink: Uplink | None = None) -> Host:
    return Host(
        kernel="6",
        machine="x86_64",
        os_name="Debian",
        cgroup_mode="v2",
        capabilities=frozenset(),
        init="systemd",
        seccomp=True,
        apparmor=False,
        selinux=False,
        filesystems=frozenset({"overlay"}),
        user_namespaces=True,
        programs={"containerd": "/usr/bin/containerd"},
        uplink=uplink,
        memory_bytes=1 << 30,
        cpus=2,
    )


def test_kept_and_read_back(tmp_path: Path) -> None:
    kept = config(data_dir=str(tmp_path), listen=["127.0.0.1"], api_port=7443)
    kept.save()
    assert load(str(tmp_path)) == kept


def test_none_where_nothing_was_set_up(tmp_path: Path) -> None:
    assert load(str(tmp_path)) is None


@pytest.mark.parametrize("text", ['{"layout": 99}', "{}", "{broken", '{"layout": 1}'])
def test_another_layout_or_a_broken_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ConfigError, match=str(tmp_path)):
        load(str(tmp_path))


@pytest.mark.parametrize("service_range", ["10.96.0.0/16", "172.20.5.0/24", "10.255.255.0/24"])
def test_the_supervisor_knows_the_same_dns_address(service_range: str) -> None:
    assert dns_address_of(service_range) == config(service_range=service_range).dns_address


@pytest.mark.parametrize(
    ("pods", "services", "route", "words"),
    [
        ("10.0.0.0/16", "10.96.0.0/16", "10.0.5.0/24", "--pod-range 10.0.0.0/16 overlaps 10.0.5.0/24"),
        ("10.1.0.0/16", "10.96.0.0/16", "10.96.1.0/24", "--service-range"),
        ("10.96.0.0/12", "10.96.0.0/16", "", "overlap"),
        ("10.1.0.0/23", "10.96.0.0/16", "", "too small"),
        ("10.1.0.0/16", "10.96.0.0/28", "", "too small"),
        ("ten", "10.96.0.0/16", "", "--pod-range must be an IPv4 range .* or a pair"),
        ("fd00::/56", "fd01::/112", "", "a cluster of IPv6 alone, or with IPv6 first, is not served"),
        ("fd00::/56,10.1.0.0/16", "fd01::/112,10.96.0.0/16", "", "with IPv6 first, is not served"),
        ("10.1.0.0/16,10.2.0.0/16", "10.96.0.0/16", "", "one of IPv4 and then one of IPv6"),
        ("10.1.0.0/16,fd00::/56", "10.96.0.0/16", "", "are not of the same families"),
        ("10.1.0.0/16,fd00::/64", DUAL, "", "--pod-range fd00::/64: every node takes a /64 of it"),
        ("10.1.0.0/16,fd00::/40", DUAL, "", "use /48 to /62"),
        ("10.1.0.0/16,fd00::/56", "10.96.0.0/16,fd01::/48", "", "--service-range fd01::/48: use /64 to /120"),
        ("10.1.0.0/16,fd00:10:96::/56", DUAL, "", "overlap: choose two that do not"),
        ("10.1.0.0/16,fe80::/56", DUAL, "", "is not for hosts"),
        ("10.1.0.0/16,fd00::1/56", DUAL, "", "has host bits set"),
        ("10.1.0.0/16,fd00::/56", DUAL, "fd00::/64", "fd00::/56 overlaps fd00::/64, .*for example fd00:10:5::/56"),
    ],
)
def test_ranges_that_cannot_be_used(pods: str, services: str, route: str, words: str) -> None:
    routes = [(ipaddress.ip_network(route), "eth0")] if route else []
    with pytest.raises(ConfigError, match=words):
        check_ranges(config(pod_range=pods, service_range=services), routes)


PAIR = {"pod_range": "10.1.0.0/16,fd00:10:1::/56", "service_range": "10.96.0.0/16,fd00:10:96::/112"}


def test_ranges_of_both_families() -> None:
    made = config(**PAIR)
    check_ranges(made, [(ipaddress.ip_network("fd00:99::/64"), "eth0"), (ipaddress.ip_network("192.0.2.0/24"), "eth0")])
    assert (made.kubernetes_service, made.dns_address) == ("10.96.0.1", "10.96.0.10")
    assert dns_address_of(made.service_range) == made.dns_address


@pytest.fixture
def ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host with IPv6 on two interfaces, and a pod's gateway."""
    found = [("fd00:10:1::1", "veth1"), ("2001:db8::5", "eth1"), ("2001:db8::7", "eth0")]
    monkeypatch.setattr(prepare, "has_ipv6", lambda: True)
    monkeypatch.setattr(prepare, "ipv6_addresses", lambda: found)


UPLINK = Uplink("eth0", "192.0.2.7", 1500)


def test_the_ipv6_address_is_the_uplink_s_unless_named(ipv6: None) -> None:
    assert decide(Options("/d", **PAIR), None, host(UPLINK), "/d").node_ipv6 == "2001:db8::7"
    named = Options("/d", node_address="192.0.2.7,2001:DB8::5", **PAIR)
    made = decide(named, None, host(UPLINK), "/d")
    assert (made.node_address, made.node_ipv6) == ("192.0.2.7", "2001:db8::5")
    assert decide(Options("/d"), made, host(UPLINK), "/d").node_ipv6 == "2001:db8::5"
    assert decide(Options("/d"), None, host(UPLINK), "/d").node_ipv6 == ""
    with pytest.raises(ConfigError, match="this cluster has no IPv6 range"):
        decide(Options("/d", node_address="192.0.2.7,2001:db8::5"), None, host(UPLINK), "/d")
    with pytest.raises(ConfigError, match="'nonsense' is not an IPv6 address"):
        decide(Options("/d", node_address="192.0.2.7,nonsense", **PAIR), None, host(UPLINK), "/d")


def test_a_host_without_ipv6_says_so_when_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "has_ipv6", lambda: False)
    assert decide(Options("/d"), None, host(UPLINK), "/d").node_ipv6 == ""
    with pytest.raises(ConfigError, match="asks for IPv6, which this host does not have"):
        decide(Options("/d", **PAIR), None, host(UPLINK), "/d")
    joining = Options("/d", server="https://192.0.2.1:6443", **PAIR)
    assert decide(joining, None, host(UPLINK), "/d").node_ipv6 == ""


def test_the_node_address_is_the_uplink_s_unless_named() -> None:
    uplink = Uplink("eth0", "192.0.2.7", 1500)
    assert decide(Options("/d"), None, host(uplink), "/d").node_address == "192.0.2.7"
    assert decide(Options("/d", node_address="192.0.2.8"), None, host(uplink), "/d").node_address == "192.0.2.8"
    with pytest.raises(ConfigError, match="--node-address"):
        decide(Options("/d"), None, host(None), "/d")


def test_a_copied_data_directory_is_refused() -> None:
    with pytest.raises(ConfigError, match="/copy was set up as /d"):
        decide(Options("/copy"), config(), host(), "/copy")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"machine": "aarch64"}, "this is aarch64"),
        ({"cgroup_mode": "none"}, "no cgroups are mounted"),
        ({"filesystems": frozenset()}, "modprobe overlay"),
        ({"capabilities": frozenset()}, "this root lacks CAP_"),
    ],
)
def test_a_host_on_which_no_pod_could_run_is_refused(fields: dict[str, object], words: str) -> None:
    good = dataclasses.replace(host(), capabilities=REQUIRED_CAPABILITIES)
    with pytest.raises(ConfigError, match=words):
        check_host(dataclasses.replace(good, **fields))  # type: ignore[arg-type]


def test_what_is_set_up_for_life_cannot_be_changed() -> None:
    with pytest.raises(ConfigError, match="--pod-range"):
        decide(Options("/d", pod_range="10.9.0.0/16"), config(), host(), "/d")


@pytest.mark.parametrize(
    ("listen", "addresses", "port"),
    [
        (None, ["127.0.0.1", "192.0.2.1"], 6443),
        ("127.0.0.1:7443", ["127.0.0.1", "192.0.2.1"], 7443),
        ("192.0.2.1:6443", ["127.0.0.1", "192.0.2.1"], 6443),
        ("0.0.0.0:6443", ["0.0.0.0"], 6443),
    ],
)
def test_the_api_listens_on_loopback_and_on_the_node(listen: str | None, addresses: list[str], port: int) -> None:
    made = config()
    listen_on(made, listen)
    assert (made.listen, made.api_port) == (addresses, port)


def test_a_node_that_moved_leaves_its_former_address() -> None:
    kept = config(listen=["127.0.0.1", "192.0.2.1"])
    moved = decide(Options("/d", node_address="192.0.2.9"), kept, host(), "/d")
    assert moved.listen == ["127.0.0.1", "192.0.2.9"]


@pytest.mark.parametrize("listen", ["6443", "host:6443", "127.0.0.1:", "127.0.0.1:70000", ":6443"])
def test_a_listen_address_that_cannot_be_meant(listen: str) -> None:
    with pytest.raises(ConfigError, match="--listen"):
        listen_on(config(), listen)


def test_what_is_left_out_is_kept_until_it_is_taken_back() -> None:
    made = decide(Options("/d", without=("scheduler", "job-controller")), config(), host(), "/d")
    assert made.without == ["job-controller", "scheduler"]
    assert decide(Options("/d"), made, host(), "/d").without == ["job-controller", "scheduler"]
    assert decide(Options("/d", without=("nothing",)), made, host(), "/d").without == []


def test_the_autoscalers_period_is_kept_until_another_is_chosen() -> None:
    options = Options("/d", autoscaling_period="1m30s", node_address="192.0.2.1")
    chosen = decide(options, None, host(), "/d")
    assert chosen.autoscaling_seconds == 90.0
    again = decide(Options("/d", node_address="192.0.2.1"), chosen, host(), "/d")
    assert again.autoscaling_seconds == 90.0


@pytest.mark.parametrize(
    ("text", "said"), [("15", "no length of time"), ("500ms", "from 1s to 1h"), ("2h", "from 1s to 1h")]
)
def test_a_period_that_cannot_be_meant_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=f"--horizontal-pod-autoscaler-sync-period.*{said}"):
        decide(Options("/d", autoscaling_period=text, node_address="192.0.2.1"), None, host(), "/d")
