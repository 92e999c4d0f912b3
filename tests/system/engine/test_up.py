"""`up` on a good machine, and what it says on a bad one: each refusal is one message with what to do."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import Machine, until

pytestmark = pytest.mark.system


def refused(machine: Machine, *words: str) -> str:
    """The one line with which `up` refuses."""
    said = machine.up(*words, code=1).strip()
    assert said.startswith("error: "), said
    assert len(said.splitlines()) == 1, said
    return said


def test_status_before_anything_ran(machine: Machine) -> None:
    assert "`pilothouse up` starts it" in machine.pilothouse("status", code=1)


def test_only_root(machine: Machine) -> None:
    # In a user namespace without a mapping the process is nobody, and may still read this tree.
    script = "from pilothouse.cli.main import main; main()"
    said = machine.run("unshare", "--user", sys.executable, "-c", script, "up", code=1)
    assert "must be run as root" in said
    assert "sudo" in said


def test_an_occupied_port(machine: Machine) -> None:
    holder = machine.start("python3", "-c", "import socket;s=socket.create_server(('127.0.0.1',6443));input()")
    try:
        until(lambda: "6443" in machine.run("ss", "-Hltn"), "the port is taken")
        said = refused(machine)
        assert "127.0.0.1:6443" in said
        assert "python3" in said
        assert "--listen" in said
    finally:
        holder.kill()
        holder.wait()


def test_a_data_directory_of_another_version(machine: Machine) -> None:
    machine.data_dir.mkdir(exist_ok=True)
    config = machine.data_dir / "config.json"
    config.write_text('{"layout": 99}')
    said = refused(machine)
    assert "another version" in said
    assert "--data-dir" in said
    assert json.loads(config.read_text()) == {"layout": 99}
    config.unlink()


@pytest.fixture
def small_disk(machine: Machine) -> Iterator[Path]:
    path = machine.root / "small"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100m", "small", str(path)], check=True)
    yield path
    subprocess.run(["umount", str(path)], check=True)


def test_a_disk_that_is_too_small(machine: Machine, small_disk: Path) -> None:
    said = refused(machine, "--data-dir", str(small_disk))
    assert "MB are free" in said
    assert "--data-dir" in said
    assert list(small_disk.iterdir()) == []


def test_a_range_that_the_host_uses(machine: Machine) -> None:
    said = refused(machine, "--pod-range", "192.0.0.0/16")
    assert "192.0.2.0/24" in said
    assert "--pod-range" in said


def test_up(engine: Machine) -> None:
    tree = json.loads(engine.pilothouse("status", "-o", "json"))
    assert tree["engine"]["running"]
    assert tree["engine"]["pid"] == engine.pid("supervisor")
    assert [(n["name"], n["state"], n["address"]) for n in tree["nodes"]] == [(engine.name, "Ready", engine.address)]
    assert tree["problems"] == []


def test_the_kubeconfig_is_all_that_kubectl_needs(engine: Machine) -> None:
    elsewhere = engine.root / "kubeconfig"
    elsewhere.write_text(engine.pilothouse("kubeconfig"))
    assert engine.name in engine.kubectl("--kubeconfig", str(elsewhere), "get", "nodes", "-o", "name")
    assert engine.kubectl("auth", "can-i", "*", "*").strip() == "yes"


def test_listens_only_where_it_should(engine: Machine) -> None:
    """The loopback, the node's address, the cluster's DNS address; never the wildcard."""
    listening = {line.split()[3].rpartition(":")[0] for line in engine.run("ss", "-Hltn").splitlines()}
    assert listening <= {"127.0.0.1", engine.address, "10.96.0.10"}


def test_a_second_up(engine: Machine) -> None:
    pids = engine.pids()
    said = refused(engine)
    assert f"pid {pids['supervisor']}" in said
    assert "pilothouse stop" in said
    assert engine.pids() == pids


def test_unused_addresses_are_refused_at_once(engine: Machine) -> None:
    """Nothing leaves for a pod or service address without a rule."""
    for address in ("10.244.200.9", "10.96.77.77"):
        with pytest.raises(OSError, match=r"unreachable|refused|No route"):
            engine.fetch(f"http://{address}/", seconds=2)


def test_a_broken_containerd_is_told(engine: Machine) -> None:
    """Its program replaced by one that ends at once: status names it with what it said, and it heals when mended."""
    config = engine.data_dir / "config.json"
    engine.pilothouse("down")
    kept = config.read_text()
    broken = engine.root / "containerd"
    broken.write_text("#!/bin/sh\necho 'disk image is malformed' >&2\nexit 1\n")
    broken.chmod(0o755)
    programs = f"{engine.root}:{os.environ['PATH']}"
    words = ["up", "--node-name", engine.name, "--node-address", engine.address]
    process = engine.start("env", f"PATH={programs}", str(Path(sys.executable).parent / "pilothouse"), *words)

    def told() -> str:
        said = engine.pilothouse("status", code=None)
        return said if "containerd" in said and "disk image is malformed" in said else ""

    until(told, "status says what is wrong with containerd")
    process.terminate()
    process.wait()
    assert str(broken) in config.read_text() != kept
    engine.up()
    engine.wait_ready()


@pytest.fixture
def filling_disk(machine: Machine) -> Iterator[Path]:
    """A disk of 400 MB, on which the machine's data directory is."""
    machine.pilothouse("down", "--purge")
    disk = machine.root / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400m", "disk", str(disk)], check=True)
    usual, machine.data_dir = machine.data_dir, disk / "data"
    yield disk
    left = machine.pod_namespaces()
    machine.pilothouse("down", "--purge")
    assert machine.leftovers(left) == []
    machine.data_dir = usual
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_fills(machine: Machine, filling_disk: Path) -> None:
    """A store that cannot write refuses writes, keeps answering reads, and goes on when there is room again."""
    machine.up()
    pids = machine.pids()
    filler = filling_disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(1 << 16)):
            pass
    said = ""
    names = (f"c{number}" for number in itertools.count())

    def refused_write() -> bool:
        nonlocal said
        said = machine.kubectl("create", "configmap", next(names), "--from-literal=k=" + "v" * 100000, code=None)
        return "created" not in said

    until(refused_write, "a write is refused")
    assert "disk" in said, said
    assert machine.name in machine.kubectl("get", "nodes", "-o", "name")
    os.kill(pids["dns"], signal.SIGKILL)
    command = f"pilothouse.launch.dns --data-dir {machine.data_dir}"

    def running_dns() -> set[int]:
        found = subprocess.run(["pgrep", "-f", command], stdout=subprocess.PIPE, text=True, check=False)
        return {int(pid) for pid in found.stdout.split()} - {pids["dns"]}

    until(lambda: len(running_dns()) == 1, "dns runs again, though it cannot be recorded")
    assert machine.pid("supervisor") == pids["supervisor"]
    filler.unlink()
    until(lambda: not refused_write(), "writes are taken again")
    until(lambda: machine.pid("dns") not in (0, pids["dns"]), "the new dns is recorded")
    assert machine.pids() | {"dns": 0} == pids | {"dns": 0}
