"""The configuration: what is derived from it, what is kept, and what is refused."""

from __future__ import annotations

import dataclasses
import ipaddress
from pathlib import Path

import pytest

from pilothouse.launch.config import Config, ConfigError, check_ranges, load
from pilothouse.launch.prepare import Options, check_host, decide, listen_on
from pilothouse.launch.supervisor import dns_address_of
from pilothouse.linux.host import REQUIRED_CAPABILITIES, Host, Uplink


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
        ("ten", "10.96.0.0/16", "", "must be IPv4 ranges"),
        ("fd00::/64", "10.96.0.0/16", "", "must be IPv4 ranges"),
    ],
)
def test_ranges_that_cannot_be_used(pods: str, services: str, route: str, words: str) -> None:
    routes = [(ipaddress.IPv4Network(route), "eth0")] if route else []
    with pytest.raises(ConfigError, match=words):
        check_ranges(config(pod_range=pods, service_range=services), routes)


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
