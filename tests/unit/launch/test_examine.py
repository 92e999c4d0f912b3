"""What doctor says of hosts that are not like this one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pilothouse.launch.config import Config
from pilothouse.launch.containerd import configuration, runtime_binaries
from pilothouse.launch.examine import Surroundings, findings
from pilothouse.linux.host import REQUIRED_CAPABILITIES, Host, Uplink

GOOD = Host(
    kernel="6.1.0",
    machine="x86_64",
    os_name="Debian GNU/Linux 12 (bookworm)",
    cgroup_mode="v2",
    capabilities=REQUIRED_CAPABILITIES | {"CAP_SYS_RESOURCE"},
    init="systemd",
    seccomp=True,
    apparmor=True,
    selinux=False,
    filesystems=frozenset({"overlay"}),
    user_namespaces=True,
    programs={
        name: f"/usr/bin/{name}"
        for name in ("containerd", "ctr", "containerd-shim-runc-v2", "runc", "crun", "conntrack", "haproxy")
    },
    uplink=Uplink("eth0", "192.0.2.2", 1500),
    memory_bytes=4 << 30,
    cpus=2,
)
AROUND = Surroundings(
    is_root=True,
    data_dir="/var/lib/pilothouse",
    free_bytes=50 << 30,
    cni_plugins=frozenset({"ptp", "host-local", "loopback"}),
    nftables_error="",
    ports_taken={},
    year=2026,
    clock_synchronised=True,
    engine_runs=False,
    ipv6=True,
    sandbox_runs={"runc": "", "crun": ""},
)


def test_a_good_host_has_nothing_to_mend() -> None:
    found = findings(GOOD, AROUND)
    assert [f for f in found if f.level == "bad" or f.mend] == []


@pytest.mark.parametrize(
    ("host", "around", "subject", "words", "mend"),
    [
        ({"cgroup_mode": "none"}, {}, "cgroups", "none mounted", "mount -t cgroup2"),
        (
            {"capabilities": REQUIRED_CAPABILITIES - {"CAP_SYS_ADMIN"}},
            {},
            "capabilities",
            "CAP_SYS_ADMIN",
            "privileged",
        ),
        ({"filesystems": frozenset()}, {}, "overlayfs", "no image can be unpacked", "modprobe overlay"),
        ({"machine": "aarch64"}, {}, "processor", "aarch64", ""),
        ({"programs": {"runc": "/r"}}, {}, "containerd", "not installed", "apt-get install containerd"),
        ({}, {"cni_plugins": frozenset()}, "CNI plugins", "ptp", "containernetworking-plugins"),
        ({}, {"nftables_error": "the kernel refuses"}, "nftables", "refuses", "modprobe"),
        ({}, {"is_root": False}, "user", "not root", "sudo"),
        ({}, {"free_bytes": 1 << 20}, "disk", "1 MB free", "--data-dir"),
        ({}, {"ports_taken": {"6443": "nginx (pid 7)"}}, "ports", "6443 by nginx (pid 7)", "--listen"),
        ({}, {"year": 1970}, "clock", "1970", "date -s"),
        ({}, {"sandbox_runs": {"runc": "no such device"}}, "runtime runc", "no such device", ""),
    ],
)
def test_what_keeps_the_engine_from_running(
    host: dict[str, Any], around: dict[str, Any], subject: str, words: str, mend: str
) -> None:
    found = [f for f in findings(replace(GOOD, **host), replace(AROUND, **around)) if f.level == "bad"]
    assert [f.subject for f in found if f.subject == subject] == [subject]
    finding = next(f for f in found if f.subject == subject)
    assert words in finding.message
    assert mend in finding.mend


@pytest.mark.parametrize(
    ("host", "around", "subject", "words"),
    [
        ({}, {"unbounded_pages": 32 << 20}, "huge pages", "32 MB, and no hugetlb controller"),
        ({"cgroup_mode": "hybrid"}, {}, "cgroups", "v1 with a v2 tree"),
        ({"capabilities": REQUIRED_CAPABILITIES}, {}, "capabilities", "CAP_SYS_RESOURCE"),
        ({"init": "tini"}, {}, "after a reboot", "nothing starts the engine at boot"),
        ({"uplink": None}, {}, "network", "no default route"),
        ({"uplink": None, "ipv6_uplink": "eth0"}, {}, "network", "eth0, by IPv6 alone"),
        ({}, {"sandbox_runs": {"runc": "", "crun": "cgroups"}}, "runtime crun", "a test pod did not run: cgroups"),
        ({}, {"clock_synchronised": False}, "clock", "not synchronised"),
    ],
)
def test_what_limits_something_is_a_note(
    host: dict[str, Any], around: dict[str, Any], subject: str, words: str
) -> None:
    found = findings(replace(GOOD, **host), replace(AROUND, **around))
    finding = next(f for f in found if f.subject == subject)
    assert finding.level == "note"
    assert words in finding.message


def test_containerd_is_configured_for_the_host_it_finds() -> None:
    config = Config(data_dir="/d", node_name="n", node_address="192.0.2.1")
    assert "restrict_oom_score_adj = false" in configuration(config, GOOD)
    poor = replace(GOOD, capabilities=REQUIRED_CAPABILITIES, cgroup_mode="hybrid")
    text = configuration(config, poor)
    assert "restrict_oom_score_adj = true" in text
    assert 'BinaryName = "/d/containerd/crun-hybrid"' in text
    assert runtime_binaries(config, GOOD) == {"runc": "/usr/bin/runc", "crun": "/usr/bin/crun"}
    assert runtime_binaries(config, replace(GOOD, programs={"runc": "/r", "runsc": "/s"})) == {"runc": "/r"}
