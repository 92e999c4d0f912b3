"""A machine of a test's own: a network namespace with an address, a data directory, a registry; commands run inside.

Whatever else runs on the host, an engine included, is neither seen nor disturbed. Commands enter by `nsenter`: `ip
netns exec` would mount another /sys and hide the cgroups.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from tools import tools

from pilothouse.launch import runfile
from pilothouse.launch.config import Config
from pilothouse.linux.cgroups import Cgroups
from pilothouse.linux.mounts import unmount_below

T = TypeVar("T")

REGISTRY = "127.0.0.1:5000"
"""The same in every machine: each has a loopback of its own."""

PROCESSES = ("supervisor", "control", "node", "dns", "containerd")
_PROGRAM = Path(__file__).parents[3] / ".venv" / "bin" / "pilothouse"
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class Failed(AssertionError):
    """A command ended otherwise than the test wanted; shows everything it said."""


def until(check: Callable[[], T], what: str, seconds: float = 30.0) -> T:
    """Waits until `check` returns something true; what fails meanwhile counts as not yet."""
    deadline = time.monotonic() + seconds
    last: object = None
    while True:
        try:
            value = check()
            last = value
            if value:
                return value
        except (Failed, OSError, LookupError) as error:
            last = error
        if time.monotonic() > deadline:
            raise Failed(f"not within {seconds:.0f} s: {what}; last seen: {last!r}")
        time.sleep(0.05)


class Machine:
    """One machine; `close` takes everything away."""

    def __init__(self, name: str, address: str = "192.0.2.50") -> None:
        self.name, self.address = name, address
        self.root = Path(tempfile.mkdtemp(prefix=f"{name}-", dir="/tmp"))
        self.data_dir = self.root / "data"
        self.namespace = f"/run/netns/{name}"
        self._others: list[subprocess.Popen[bytes]] = []
        subprocess.run(["ip", "netns", "add", name], check=True)
        self.run("ip", "link", "set", "lo", "up")
        self._inside = ThreadPoolExecutor(8, initializer=self._enter)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's, as `up` writes it."""
        return self.data_dir / "kubeconfig"

    def _enter(self) -> None:
        descriptor = os.open(self.namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        finally:
            os.close(descriptor)

    def lan(self) -> None:
        """Gives it its address on a device that leads nowhere."""
        self.run("ip", "link", "add", "lan0", "type", "bridge")
        self.take_address("lan0")

    def take_address(self, device: str) -> None:
        """Gives the device the machine's address."""
        network = ("64", "nodad") if ":" in self.address else ("24",)
        self.run("ip", "address", "add", f"{self.address}/{network[0]}", "dev", device, *network[1:])
        self.run("ip", "link", "set", device, "up")

    # Commands

    def command(self, *words: str) -> list[str]:
        """The words of a command that runs inside."""
        return ["nsenter", f"--net={self.namespace}", "--", *words]

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PILOTHOUSE_DATA_DIR": str(self.data_dir),
            "KUBECONFIG": str(self.kubeconfig),
            "HOME": str(self.root),
            "COLUMNS": "300",
        }

    def run(self, *words: str, stdin: str = "", code: int | None = 0, seconds: float = 60.0) -> str:
        """Runs a command; returns its output, or that and its errors when it is meant to end with another code."""
        done = subprocess.run(
            self.command(*words), input=stdin, capture_output=True, text=True, timeout=seconds, env=self.environment
        )
        if code is not None and done.returncode != code:
            raise Failed(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done.stdout if code == 0 else done.stdout + done.stderr

    def start(self, *words: str, **options: Any) -> subprocess.Popen[bytes]:
        """A running command, ended with the machine at the latest."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(self.command(*words), env=self.environment, **{**pipes, **options})
        self._others.append(process)
        return process

    def pilothouse(self, *words: str, stdin: str = "", code: int | None = 0, seconds: float = 120.0) -> str:
        return self.run(str(_PROGRAM), *words, stdin=stdin, code=code, seconds=seconds)

    def kubectl(self, *words: str, stdin: str = "", code: int | None = 0, seconds: float = 60.0) -> str:
        return self.run(str(tools().kubectl), *words, stdin=stdin, code=code, seconds=seconds)

    def start_kubectl(self, *words: str, **options: Any) -> subprocess.Popen[bytes]:
        return self.start(str(tools().kubectl), *words, **options)

    def get(self, *words: str) -> Any:
        """What `kubectl get … -o json` says."""
        return json.loads(self.kubectl("get", *words, "-o", "json"))

    def apply(self, manifest: str) -> str:
        return self.kubectl("apply", "-f", "-", stdin=manifest)

    def inside(self, act: Callable[[], T]) -> T:
        """Runs `act` in a thread of this process whose new sockets belong to the machine."""
        return self._inside.submit(act).result()

    def fetch(self, url: str, seconds: float = 5.0) -> str:
        """The body at a URL. Raises OSError."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

        def read() -> str:
            with opener.open(url, timeout=seconds) as answer:
                return str(answer.read().decode())

        return self.inside(read)

    # The engine

    def up(self, *words: str, code: int = 0) -> str:
        """`up --background` with what a machine without a default route must be told."""
        named = ["--node-name", self.name, "--node-address", self.address]
        return self.pilothouse("up", "--background", *named, *words, code=code)

    def pid(self, process: str) -> int:
        """The process id of a part of the engine; 0 while it does not run."""
        running = runfile.read(self.data_dir / "run", process)
        return running.pid if running is not None else 0

    def pids(self) -> dict[str, int]:
        return {name: self.pid(name) for name in PROCESSES}

    def kill(self, process: str) -> None:
        """Kills a part of the engine with -9 and waits until another process has taken its place."""
        pid = self.pid(process)
        assert pid, f"{process} does not run"
        os.kill(pid, signal.SIGKILL)
        until(lambda: self.pid(process) not in (0, pid), f"{process} runs again")

    def wait_ready(self, seconds: float = 30.0) -> None:
        """Waits until the node is Ready."""
        words = ("wait", "--for=condition=Ready", f"node/{self.name}", "--timeout=1s")
        until(lambda: self.kubectl(*words, seconds=10), "the node is ready", seconds)

    def log(self, process: str) -> str:
        return (self.data_dir / "logs" / f"{process}.log").read_text()

    def pods(self, *words: str) -> list[dict[str, Any]]:
        return list(self.get("pods", *words)["items"])

    def starts(self, *words: str) -> dict[str, tuple[int, str, str]]:
        """Of every container: how often it was restarted, when it started, its id. Unchanged while none restarts.

        Pods that are going, such as those an earlier update replaced, do not count.
        """
        return {
            f"{pod['metadata']['namespace']}/{pod['metadata']['name']}/{status['name']}": (
                status["restartCount"],
                status["state"].get("running", {}).get("startedAt", ""),
                status["containerID"],
            )
            for pod in self.pods("-A", *words)
            if "deletionTimestamp" not in pod["metadata"]
            for status in pod["status"].get("containerStatuses", ())
        }

    def cluster_address(self, service: str, namespace: str) -> str:
        return str(self.get("service", service, "-n", namespace)["spec"]["clusterIP"])

    # What is on the host because of it

    def processes(self) -> dict[int, str]:
        """All processes that name the data directory or live in its cgroup: engine, containerd, shims, containers."""
        root = cgroup_root(self.data_dir)
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes()
                here = str(self.data_dir).encode() in words and int(entry.name) != os.getpid()
                if here or root in (entry / "cgroup").read_text():
                    found[int(entry.name)] = words.replace(b"\0", b" ").decode()
        return found

    def pod_namespaces(self) -> set[int]:
        """The network namespaces of its pods."""
        found = set()
        for pid in self.processes():
            with contextlib.suppress(OSError):
                if cgroup_root(self.data_dir) in Path(f"/proc/{pid}/cgroup").read_text():
                    found.add(os.stat(f"/proc/{pid}/ns/net").st_ino)
        return found - {os.stat(self.namespace).st_ino}

    def leftovers(self, pod_namespaces: set[int]) -> list[str]:
        """What a purge should have taken away and did not."""
        left = [f"process {pid}: {words}" for pid, words in self.processes().items()]
        left += [
            f"mount {line}"
            for line in Path("/proc/self/mounts").read_text().splitlines()
            if f"{self.data_dir}/" in line
        ]
        left += [f"cgroup {path}" for path in Path("/sys/fs/cgroup").glob(f"*{cgroup_root(self.data_dir)}")]
        for namespace in Path("/run/netns").glob("cni-*"):
            with contextlib.suppress(OSError):
                if namespace.stat().st_ino in pod_namespaces:
                    left.append(f"network namespace {namespace}")
        left += [f"nftables {line}" for line in self.run("nft", "list", "tables").splitlines()]
        routes = self.run("ip", "-o", "route", "show", "table", "main").splitlines()
        left += [f"route {line}" for line in routes if not line.startswith("192.0.2.0/24")]
        routes = self.run("ip", "-o", "-6", "route", "show", "table", "main").splitlines()
        left += [f"route {line}" for line in routes if not line.startswith(("fe80::", "fd00:192::"))]
        links = [line.split(": ")[1] for line in self.run("ip", "-o", "link").splitlines()]
        left += [f"device {name}" for name in links if name not in ("lo", "lan0", "pair0@if2", "pair0")]
        if self.data_dir.exists():
            left.append(f"data {self.data_dir}")
        return left

    @contextlib.contextmanager
    def registry(self, storage: Path) -> Iterator[str]:
        """Debian's docker-registry on the machine's loopback."""
        settings = self.root / "registry.json"
        tree = {
            "version": 0.1,
            "log": {"level": "warn", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(storage)}},
            "http": {"addr": REGISTRY},
        }
        settings.write_text(json.dumps(tree))
        with (self.root / "registry.log").open("wb") as log:
            process = self.start("docker-registry", "serve", str(settings), stdout=log, stderr=log)
        until(lambda: self.fetch(f"http://{REGISTRY}/v2/"), "the registry answers")
        try:
            yield REGISTRY
        finally:
            process.kill()
            process.wait()

    def close(self) -> list[str]:
        """Takes everything away, by force where `down --purge` did not; returns what that left behind."""
        namespaces = self.pod_namespaces()
        try:
            said = "" if not self.data_dir.exists() else self.pilothouse("down", "--purge", code=None)
            left = self.leftovers(namespaces)
            return [*left, said] if left else []
        finally:
            for process in self._others:
                process.kill()
                process.wait()
            for pid in self.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(Failed):
                until(lambda: not self.processes(), "all processes are gone", 5)
            unmount_below(self.root)
            with contextlib.suppress(OSError):
                Cgroups().remove(cgroup_root(self.data_dir))
            self._inside.shutdown()
            subprocess.run(["ip", "netns", "delete", self.name], check=False)
            shutil.rmtree(self.root, ignore_errors=True)


def cgroup_root(data_dir: Path) -> str:
    """The cgroup of all pods of that data directory."""
    return Config(data_dir=str(data_dir), node_name="", node_address="").cgroup_root
