"""`down`: everything stops, containers included; with `purge` the host is as before, apart from packages."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from pilothouse.launch import runfile
from pilothouse.launch.config import Config, load
from pilothouse.launch.network import network_config
from pilothouse.launch.service import remove_service
from pilothouse.launch.stop import stop_engine
from pilothouse.launch.supervisor import stop_processes
from pilothouse.linux.cgroups import Cgroups
from pilothouse.linux.mounts import unmount_below
from pilothouse.network.teardown import tear_down as tear_down_network
from pilothouse.node.cri import Runtime, RuntimeFailure
from pilothouse.node.csi.paths import CsiLayout
from pilothouse.node.csi.root import give_back

Say = Callable[[str], None]

_GRACE = 20.0
_AT_ONCE = 16
CNI_CACHE = Path("/var/lib/cni")


class TeardownError(Exception):
    """Something could not be taken away; the message says what and what to do."""


def tear_down(data_dir: Path, purge: bool, say: Say) -> None:
    """Stops engine, containers, containerd and dns; with `purge` removes data and changes to the host.

    Raises ConfigError for a data directory of another version, TeardownError for what resists.
    """
    config = load(str(data_dir))
    if config is None:
        if purge and (data_dir / "run").is_dir():
            shutil.rmtree(data_dir)
        say(f"There is no engine on {data_dir}.")
        return
    ran = stop_engine(data_dir)
    if ran:
        say(f"stopped {', '.join(ran)}")
    remove_service(data_dir)
    with _containerd(config):
        stopped = asyncio.run(_remove_pods(config))
    if stopped:
        say(f"stopped {stopped} pods")
    names = ("ingress", "dns", "containerd")
    others = [found for name in names if (found := runfile.read(data_dir / "run", name)) is not None]
    stop_processes([(found.name, found.pid) for found in others], data_dir / "run", _GRACE)
    _end_shims(config)
    unmount_below(data_dir / "pods")
    unmount_below(data_dir / "containerd")
    drivers = CsiLayout(Path(config.node.csi_root_dir)) if config.node.csi_root_dir else None
    if drivers is not None:
        # Drivers' pods are gone, so nobody else undoes their mounts; what is on the volumes must not be taken for ours.
        drivers.unmount()
    give_back(data_dir)
    Cgroups().remove(config.cgroup_root)
    if not purge:
        say("Everything is stopped. Data is kept; `pilothouse up` brings the applications back.")
        return
    if drivers is not None:
        drivers.forget_all()
    for line in tear_down_network(network_config(config)):
        say(f"removed {line}" if not line.startswith("kernel") else line)
    _purge(data_dir)
    say(f"Everything is gone: {data_dir}, its mounts, network namespaces, routes and nftables rules.")


class _containerd:
    """containerd for as long as pods are removed: the running one, or one started for it."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> None:
        if runfile.read(self._config.path("run"), "containerd") is not None:
            return
        toml = self._config.path("containerd", "config.toml")
        if not toml.exists():
            return
        log = self._config.path("logs", "containerd.log")
        log.parent.mkdir(exist_ok=True)
        with log.open("ab") as out:
            command = [self._config.containerd, "--config", str(toml), "--log-level", "warn"]
            self._process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


async def _remove_pods(config: Config) -> int:
    """Stops and removes every pod sandbox; returns how many there were."""
    runtime = Runtime(config.containerd_socket)
    try:
        deadline = time.monotonic() + 10
        while True:
            try:
                sandboxes = await runtime.list_sandboxes()
                break
            except RuntimeFailure:
                # A containerd that does not start is left to _end_shims.
                if time.monotonic() > deadline:
                    return 0
                await asyncio.sleep(0.1)
        gate = asyncio.Semaphore(_AT_ONCE)
        containers = await runtime.list_containers()

        async def stop_container(container_id: str) -> None:
            async with gate:
                with contextlib.suppress(RuntimeFailure):
                    await runtime.stop_container(container_id, _GRACE / 2)

        async def remove(sandbox_id: str) -> None:
            async with gate:
                with contextlib.suppress(RuntimeFailure):
                    await runtime.stop_sandbox(sandbox_id)
                    await runtime.remove_sandbox(sandbox_id)

        await asyncio.gather(*(stop_container(container.id) for container in containers))
        await asyncio.gather(*(remove(sandbox.id) for sandbox in sandboxes))
        return len(sandboxes)
    finally:
        await runtime.close()


def _end_shims(config: Config) -> None:
    """Kills shims of this containerd that are left, with what they hold: those whose containerd could not be asked."""
    address = config.containerd_socket.encode()
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if b"containerd-shim" in words[0] and address in words:
                for child in (process / "task" / process.name / "children").read_text().split():
                    os.kill(int(child), signal.SIGKILL)
                os.kill(int(process.name), signal.SIGKILL)


def _purge(data_dir: Path) -> None:
    _remove_cni_results()
    try:
        if not os.path.ismount(data_dir):
            shutil.rmtree(data_dir)
            return
        # A disk of its own: what is on it goes, the mount is not ours.
        for entry in data_dir.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
    except OSError as error:
        raise TeardownError(f"cannot remove {data_dir}: {error}; see what uses it: fuser -vm {data_dir}") from error


def _remove_cni_results() -> None:
    """CNI's cache of results is one for the host: folders that our pods left empty go, others stay."""
    for folder in (CNI_CACHE / "results", CNI_CACHE):
        with contextlib.suppress(OSError):
            folder.rmdir()
