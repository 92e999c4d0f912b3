"""The application without its engine, after a power cut, after `down`; and the host after `down --purge`."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from image_cache import Images
from machine import Machine, until

pytestmark = pytest.mark.system

PAGE = "http://{}/api/shop"
_PROBE = Path(__file__).with_name("load.py")


def order(shop: Machine) -> int:
    """Orders a chart; how often that was done so far."""
    url = f"http://{shop.address}:30080/api/orders/chart"
    said = shop.run("curl", "--noproxy", "*", "-sf", "-m", "10", "-X", "POST", url)
    return int(json.loads(said)["orders"])


def orders(shop: Machine) -> int:
    products = json.loads(shop.fetch(f"http://{shop.address}:30080/api/shop"))["products"]
    return int(next(p["orders"] for p in products if p["id"] == "chart"))


def test_the_application_answers_while_the_engine_is_stopped(shop: Machine) -> None:
    """By address and by name, to the host and to pods: the front asks the application by its name."""
    starts, address = shop.starts(), shop.cluster_address("front", "shop")
    shop.pilothouse("stop")
    assert {name for name, pid in shop.pids().items() if pid} == {"dns", "containerd"}
    for base in (address, f"{shop.address}:30080"):
        assert json.loads(shop.fetch(PAGE.format(base)))["title"] == "Harbour Shop"
    look_up = "import load; load.look_up('front.shop.svc.cluster.local', '10.96.0.10')"
    shop.run("env", f"PYTHONPATH={_PROBE.parent}", sys.executable, "-c", look_up)
    assert "Connection refused" in shop.kubectl("get", "nodes", code=1) or not shop.pid("control")
    shop.up()
    shop.wait_ready()
    assert shop.starts() == starts


def test_a_power_cut(shop: Machine) -> None:
    """Everything is killed: engine, containerd, shims, containers. `up` brings the application back with its data."""
    before = order(shop)
    # What is acknowledged to a client is fetched by Redis' own rule within a second.
    until(lambda: appended(shop) >= before, "Redis has it on disk")
    # Stopped first, so that none sees another one die: as when the power goes.
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in shop.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
    until(lambda: not shop.processes(), "everything is dead", 10)
    shop.up()
    until(lambda: orders(shop) >= before, "the page is back with its data", 90)
    until(lambda: order(shop) == before + 1, "orders are taken")


def appended(shop: Machine) -> int:
    """How many orders are in Redis' append-only file."""
    return sum(path.read_bytes().count(b"HINCRBY") for path in shop.data_dir.glob("volumes/**/*.aof"))


def test_down_and_up_again(shop: Machine) -> None:
    before = order(shop)
    shop.pilothouse("down")
    assert shop.processes() == {}
    shop.up()
    until(lambda: orders(shop) == before, "the page is back with its data", 90)


def test_purged_the_host_is_as_before(shop: Machine) -> None:
    namespaces = shop.pod_namespaces()
    assert len(namespaces) >= 4
    shop.pilothouse("down", "--purge")
    assert shop.leftovers(namespaces) == []
    assert "There is no engine" in shop.pilothouse("down", "--purge")


def test_a_purge_gives_back_every_kernel_parameter(machine: Machine, images: Images) -> None:
    """Compares all network parameters before the first `up` with those after a purge with everything in use."""
    before = parameters(machine)
    machine.up()
    assert parameters(machine) != before
    machine.pilothouse("deploy", str(images.shop), "--timeout", "120", seconds=150)
    machine.pilothouse("down", "--purge")
    assert parameters(machine) == before


def parameters(machine: Machine) -> dict[str, str]:
    """Network parameters that are not counters or of devices that come and go."""
    lines = subprocess.run(
        machine.command("sysctl", "-a", "--pattern", r"^net\.ipv4\.(ip_forward|conf\.(all|default|lan0|lo)\.)"),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    return dict(line.split(" = ", 1) for line in lines)
