"""The machine measured on: this process enters a network namespace of its own, so that nothing else is disturbed."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from pilothouse.client.client import Client
from pilothouse.client.https import HttpsTransport
from pilothouse.kinds.core.node import Node
from pilothouse.launch import runfile
from pilothouse.launch.config import Config, load
from pilothouse.launch.pki import ADMIN, ClusterPki

NODE = "bench"
ADDRESS = "192.0.2.60"
ENGINE = ("supervisor", "control", "node", "dns")
PROCESSES = (*ENGINE, "containerd")
_CLONE_NEWNET = 0x40000000
_TICKS = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """The measurement cannot be made; the message says why."""


@contextlib.contextmanager
def own_network() -> Iterator[None]:
    """Moves this process, before it has threads, to a network namespace with an address that leads nowhere.

    The namespace has a name while it is used, so that containerd's mounts of pods' namespaces behave as on a host.
    """
    name = f"ph-bench-{os.getpid()}"
    libc = ctypes.CDLL(None, use_errno=True)
    subprocess.run(["ip", "netns", "add", name], check=True)
    home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    away = os.open(f"/run/netns/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(away, _CLONE_NEWNET) != 0:
            raise BenchError(f"cannot enter the network namespace: {os.strerror(ctypes.get_errno())}")
        for words in ("link set lo up", "link add lan0 type bridge", f"address add {ADDRESS}/24 dev lan0"):
            subprocess.run(["ip", *words.split()], check=True)
        subprocess.run(["ip", "link", "set", "lan0", "up"], check=True)
        yield
    finally:
        libc.setns(home, _CLONE_NEWNET)
        os.close(home)
        os.close(away)
        subprocess.run(["ip", "netns", "delete", name], check=True)


class Host:
    """The engine on its data directory."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self._command = [sys.executable, "-c", "from pilothouse.cli.main import main; main()"]

    @property
    def config(self) -> Config:
        config = load(str(self.data_dir))
        if config is None:
            raise BenchError(f"there is no engine on {self.data_dir}")
        return config

    def pilothouse(self, *words: str) -> str:
        """Runs a command of the product on the data directory. Raises BenchError."""
        environment = {**os.environ, "PILOTHOUSE_DATA_DIR": str(self.data_dir)}
        done = subprocess.run([*self._command, *words], capture_output=True, text=True, env=environment)
        if done.returncode != 0:
            raise BenchError(f"pilothouse {' '.join(words)}: {done.stdout[-1000:]}{done.stderr[-2000:]}")
        return done.stdout

    def up(self) -> float:
        """Starts the engine; returns the seconds from the command's start until its supervisor says it is up."""
        state = self.data_dir / "run" / "state"
        self.data_dir.mkdir(parents=True, exist_ok=True)
        log = (self.data_dir / "up.log").open("ab")
        words = ["up", "--node-name", NODE, "--node-address", ADDRESS, "--data-dir", str(self.data_dir)]
        began = time.perf_counter()
        with log:
            process = subprocess.Popen([*self._command, *words], stdout=log, stderr=log, start_new_session=True)
        while not state.exists():
            if process.poll() is not None or time.perf_counter() - began > 120:
                raise BenchError(f"the engine does not start: {(self.data_dir / 'up.log').read_text()[-2000:]}")
            time.sleep(0.002)
        return time.perf_counter() - began

    def client(self) -> Client:
        """A client of the API as its administrator."""
        config = self.config
        pki = ClusterPki.open(
            config.path("pki"),
            addresses=[config.node_address, *config.listen],
            service_ip=config.kubernetes_service,
            domain=config.domain,
        )
        return Client(HttpsTransport(config.api_url, pki.client_context(ADMIN)), user_agent="pilothouse-bench")

    def pids(self) -> dict[str, int]:
        """The engine's processes by name. Raises BenchError when one does not run."""
        found = {}
        for name in PROCESSES:
            running = runfile.read(self.data_dir / "run", name)
            if running is None:
                raise BenchError(f"{name} does not run")
            found[name] = running.pid
        return found

    def proportional_memory(self) -> dict[str, int]:
        """Proportional set size of each process, in bytes."""
        sizes = {}
        for name, pid in self.pids().items():
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            sizes[name] = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
        return sizes

    def cpu_seconds(self) -> dict[str, float]:
        """CPU time each process has used so far, children it waited for included."""
        return {name: sum(ticks) for name, ticks in self._ticks().items()}

    def children_seconds(self) -> float:
        """CPU time of children that the processes have waited for so far."""
        return sum(sum(ticks[2:]) for ticks in self._ticks().values())

    def _ticks(self) -> dict[str, list[float]]:
        """Seconds of user and system time of each process, then of its children."""
        used = {}
        for name, pid in self.pids().items():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            used[name] = [int(ticks) / _TICKS for ticks in fields[11:15]]
        return used


async def node_is_ready(client: Client) -> bool:
    """Whether the API says that the node takes pods."""
    node = await client.get(Node, NODE)
    return any(c.type == "Ready" and c.status == "True" for c in node.status.conditions)


def write_registry_settings(path: Path, storage: Path, address: str) -> None:
    """The configuration of a docker-registry (YAML takes JSON)."""
    tree = {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(storage)}},
        "http": {"addr": address},
    }
    path.write_text(json.dumps(tree))
