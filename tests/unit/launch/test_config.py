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
        ("ten", "10.96.0.0/16", "", "--pod-range must be a range .* or one of each"),
        ("fd00::/56", "10.96.0.0/16", "", "are not of the same families"),
        ("fd00::/56,10.1.0.0/16", "10.96.0.0/16,fd01::/112", "", "or both one of each in the same order"),
        ("fd00::/64", "fd01::/112", "", "--pod-range fd00::/64: every node takes a /64 of it"),
        ("10.1.0.0/16,10.2.0.0/16", "10.96.0.0/16", "", "one of IPv4 and one of IPv6"),
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
    assert made.versions == (4, 6)


SIX = {"pod_range": "fd00:10:1::/56", "service_range": "fd00:10:96::/112"}


@pytest.mark.parametrize("four", ["", "10.1.0.0/16"])
def test_ranges_of_ipv6_alone_or_first(four: str) -> None:
    services = "10.96.0.0/16" if four else ""
    ranges = {"pod_range": f"{SIX['pod_range']},{four}", "service_range": f"{SIX['service_range']},{services}"}
    made = config(**{name: text.rstrip(",") for name, text in ranges.items()})
    check_ranges(made, [(ipaddress.ip_network("192.0.2.0/24"), "eth0")])
    assert (made.kubernetes_service, made.dns_address) == ("fd00:10:96::1", "fd00:10:96::a")
    assert dns_address_of(made.service_range) == made.dns_address
    assert made.versions == ((6, 4) if four else (6,))


@pytest.fixture
def ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host with IPv6 on two interfaces, and a pod's gateway."""
    found = [("fd00:10:1::1", "veth1"), ("2001:db8::5", "eth1"), ("2001:db8::7", "eth0")]
    monkeypatch.setattr(prepare, "has_ipv6", lambda: True)
    monkeypatch.setattr(prepare, "ipv6_addresses", lambda: found)


UPLINK = Uplink("eth0", "192.0.2.7", 1500)


def test_the_ipv6_address_is_the_uplink_s_unless_named(ipv6: None) -> None:
    assert decide(Options("/d", **PAIR), None, host(UPLINK), "/d").other_address == "2001:db8::7"
    named = Options("/d", node_address="192.0.2.7,2001:DB8::5", **PAIR)
    made = decide(named, None, host(UPLINK), "/d")
    assert (made.node_address, made.other_address) == ("192.0.2.7", "2001:db8::5")
    assert decide(Options("/d"), made, host(UPLINK), "/d").other_address == "2001:db8::5"
    assert decide(Options("/d"), None, host(UPLINK), "/d").other_address == ""
    with pytest.raises(ConfigError, match="this cluster has no IPv6 range"):
        decide(Options("/d", node_address="192.0.2.7,2001:db8::5"), None, host(UPLINK), "/d")
    with pytest.raises(ConfigError, match="'nonsense' is no IP address"):
        decide(Options("/d", node_address="192.0.2.7,nonsense", **PAIR), None, host(UPLINK), "/d")


def test_a_host_without_ipv6_says_so_when_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "has_ipv6", lambda: False)
    assert decide(Options("/d"), None, host(UPLINK), "/d").other_address == ""
    with pytest.raises(ConfigError, match="asks for IPv6, which this host does not have"):
        decide(Options("/d", **PAIR), None, host(UPLINK), "/d")
    joining = Options("/d", server="https://192.0.2.1:6443", **PAIR)
    assert decide(joining, None, host(UPLINK), "/d").other_address == ""


def test_a_node_of_ipv6_has_an_address_of_it(ipv6: None, monkeypatch: pytest.MonkeyPatch) -> None:
    by_eth0 = dataclasses.replace(host(None), ipv6_uplink="eth0")
    made = decide(Options("/d", **SIX), None, host(None), "/d")
    assert (made.node_address, made.other_address) == ("2001:db8::5", "")
    assert made.listen == ["127.0.0.1", "2001:db8::5"]
    # Others know it by that: it stays, though the default route comes to be another's.
    assert decide(Options("/d"), made, by_eth0, "/d").node_address == "2001:db8::5"
    assert decide(Options("/d", **SIX), None, by_eth0, "/d").node_address == "2001:db8::7"
    with pytest.raises(ConfigError, match="this cluster has no IPv4 range"):
        decide(Options("/d", node_address="192.0.2.7", **SIX), None, host(UPLINK), "/d")
    with pytest.raises(ConfigError, match="name one address of each version"):
        decide(Options("/d", node_address="fd00::1,fd00::2", **SIX), None, host(UPLINK), "/d")
    monkeypatch.setattr(prepare, "ipv6_addresses", list)
    with pytest.raises(ConfigError, match="no lasting IPv6 address"):
        decide(Options("/d", **SIX), None, host(UPLINK), "/d")


def test_the_addresses_of_a_node_go_by_their_version(ipv6: None) -> None:
    first = {name: ",".join(reversed(text.split(","))) for name, text in PAIR.items()}
    for asked in ("192.0.2.8,2001:db8::9", "2001:db8::9,192.0.2.8"):
        made = decide(Options("/d", node_address=asked, **first), None, host(UPLINK), "/d")
        assert (made.node_address, made.other_address) == ("2001:db8::9", "192.0.2.8")
    made = decide(Options("/d", **first), None, host(UPLINK), "/d")
    assert (made.node_address, made.other_address) == ("2001:db8::7", "192.0.2.7")


@pytest.mark.parametrize(
    ("listen", "expected"),
    [
        ("[2001:db8::9]:6443", ["127.0.0.1", "2001:db8::9", "192.0.2.7"]),
        ("[::]:6443", ["::", "0.0.0.0"]),
        ("0.0.0.0:6443", ["0.0.0.0"]),
        ("192.0.2.9:6443", ["127.0.0.1", "192.0.2.9", "192.0.2.7"]),
    ],
)
def test_the_api_listens_where_it_is_told(listen: str, expected: list[str]) -> None:
    assert decide(Options("/d", listen=listen), None, host(UPLINK), "/d").listen == expected


def test_every_address_of_ipv4_leaves_the_node_s_own_of_ipv6(ipv6: None) -> None:
    made = decide(Options("/d", listen="0.0.0.0:6443", **SIX), None, host(None), "/d")
    assert made.listen == ["0.0.0.0", "2001:db8::5"]


@pytest.mark.parametrize("listen", ["2001:db8::9", "[2001:db8::9]", "::1:6443:", "[nonsense]:6443", "name:6443"])
def test_a_place_to_listen_that_is_none_is_refused(listen: str) -> None:
    with pytest.raises(ConfigError, match="--listen"):
        decide(Options("/d", listen=listen), None, host(UPLINK), "/d")


def test_the_second_address_has_been_called_otherwise(tmp_path: Path) -> None:
    kept = config(data_dir=str(tmp_path), other_address="2001:db8::5")
    kept.save()
    path = tmp_path / "config.json"
    path.write_text(path.read_text().replace('"other_address"', '"node_ipv6"'))
    found = load(str(tmp_path))
    assert found is not None
    assert found.other_address == "2001:db8::5"


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
