"""Usage from the files of each cgroup version, rates, and the forms they are shown in."""

from __future__ import annotations

from pathlib import Path

import pytest

from pilothouse.node.stats.exposition import cadvisor_metrics, resource_metrics
from pilothouse.node.stats.groups import GroupReader, Usage, host_usage
from pilothouse.node.stats.network import Interface, parse
from pilothouse.node.stats.sampler import HOST, Measured, Sample, Sampler, rate
from pilothouse.node.stats.summary import ContainerGroup, FileSystem, PodGroup, summary


def tree(root: Path, files: dict[str, str]) -> GroupReader:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return GroupReader(str(root))


def test_version_1(tmp_path: Path) -> None:
    reader = tree(
        tmp_path,
        {
            "cpuacct/pods/a/cpuacct.usage": "5000000000\n",
            "cpuacct/pods/a/cgroup.procs": "42\n43\n",
            "memory/pods/a/memory.usage_in_bytes": "1000\n",
            "memory/pods/a/memory.stat": "inactive_file 1\nhierarchical_memory_limit 2000\ntotal_inactive_file 300\n"
            "total_rss 400\ntotal_pgfault 5\ntotal_pgmajfault 6\n",
        },
    )
    usage = reader.read("/pods/a")
    assert usage is not None
    assert (usage.cpu_ns, usage.memory_bytes, usage.working_set_bytes, usage.rss_bytes) == (
        5_000_000_000,
        1000,
        700,
        400,
    )
    assert (usage.page_faults, usage.major_page_faults, usage.available_bytes) == (5, 6, 1300)
    assert reader.first_process("/pods/a") == 42
    assert reader.read("/pods/gone") is None
    assert reader.first_process("/pods/gone") is None


@pytest.mark.parametrize(("limit", "available"), [("max", None), ("1500", 800)])
def test_version_2(tmp_path: Path, limit: str, available: int | None) -> None:
    reader = tree(
        tmp_path,
        {
            "cgroup.controllers": "cpu memory",
            "pods/a/cpu.stat": "usage_usec 2500\nuser_usec 1\n",
            "pods/a/memory.current": "1000\n",
            "pods/a/memory.max": limit + "\n",
            "pods/a/memory.stat": "anon 400\ninactive_file 300\npgfault 5\npgmajfault 6\n",
        },
    )
    usage = reader.read("/pods/a")
    assert usage is not None
    assert (usage.cpu_ns, usage.working_set_bytes, usage.rss_bytes, usage.available_bytes) == (
        2_500_000,
        700,
        400,
        available,
    )


def test_this_host() -> None:
    usage = host_usage()
    assert 0 < usage.working_set_bytes <= usage.memory_bytes
    assert usage.cpu_ns > 0


def use(time: float, cpu_ns: int) -> Usage:
    return Usage(time, cpu_ns, 1000, 700, 400)


def test_rates() -> None:
    assert rate(use(10.0, 1_000), use(12.0, 1_000_001_000)) == 500_000_000
    assert rate(None, use(12.0, 1)) is None
    assert rate(use(12.0, 1), use(12.0, 2)) is None
    assert rate(use(10.0, 5), use(12.0, 4)) is None


async def test_a_reading_kept_from_before_is_used_while_it_is_fresh() -> None:
    times = iter([100.0, 100.2, 110.0, 500.0, 500.2])
    taken: list[float] = []

    def read() -> Sample:
        taken.append(next(times))
        return Sample(taken[-1], {HOST: use(taken[-1], int(taken[-1] * 1e9))}, {})

    sampler = Sampler(read)
    for count in (2, 3, 5):
        _, measured = await sampler.measure()
        assert len(taken) == count
        assert measured[HOST].nano_cores == pytest.approx(1_000_000_000, rel=1e-3)


def test_interfaces() -> None:
    text = (
        "Inter-|   Receive                                                |  Transmit\n"
        " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop\n"
        "    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0 0 0\n"
        "  eth0:    2000      20    1    0    0     0          0         0     3000      30    2    0    0     0 0 0\n"
    )
    assert parse(text) == [Interface("eth0", 2000, 1, 3000, 2)]


POD = PodGroup(
    "default",
    "p",
    "u1",
    "/pods/u1",
    "/pods/u1/s",
    False,
    1.0,
    [ContainerGroup("main", "/pods/u1/c", 2.0, "img:1", "c1")],
)
MEASURED = {
    HOST: Measured(use(10.0, 9_000_000_000), 250_000_000),
    "/pods/u1": Measured(use(10.0, 3_000_000_000), 100_000_000),
    "/pods/u1/c": Measured(use(10.0, 2_000_000_000), None),
}
INTERFACES = {"/pods/u1": [Interface("eth0", 1, 2, 3, 4)]}


def test_summary() -> None:
    made = summary("n1", 0.0, [POD], MEASURED, INTERFACES, FileSystem(100, 50, 10, 5))
    assert made["node"]["cpu"] == {
        "time": "1970-01-01T00:00:10Z",
        "usageCoreNanoSeconds": 9_000_000_000,
        "usageNanoCores": 250_000_000,
    }
    (pod,) = made["pods"]
    assert pod["podRef"] == {"name": "p", "namespace": "default", "uid": "u1"}
    assert pod["network"]["rxBytes"] == 1
    assert pod["memory"]["workingSetBytes"] == 700
    (container,) = pod["containers"]
    # A rate that is not known is left out, not shown as zero.
    assert "usageNanoCores" not in container["cpu"]
    gone = {key: value for key, value in MEASURED.items() if key != "/pods/u1"}
    assert summary("n1", 0.0, [POD], gone, {}, FileSystem(1, 1, 1, 1))["pods"] == []


def test_metrics() -> None:
    text = resource_metrics([POD], MEASURED)
    assert "# TYPE pod_cpu_usage_seconds_total counter\n" in text
    assert 'container_cpu_usage_seconds_total{container="main",namespace="default",pod="p"} 2.0 10000\n' in text
    assert "node_memory_working_set_bytes" in text
    assert text.endswith("scrape_error 0\n")
    text = cadvisor_metrics([POD], MEASURED, INTERFACES)
    assert 'container_network_receive_bytes_total{interface="eth0",namespace="default",pod="p"} 1\n' in text
    labels = 'container="main",id="/pods/u1/c",image="img:1",name="c1",namespace="default",pod="p"'
    assert f"container_memory_working_set_bytes{{{labels}}}" in text
    assert 'container="",id="/pods/u1",image="",name="",namespace="default",pod="p"' in text
    for line in text.splitlines():
        assert line.startswith("#") or line.count("{") == 1
