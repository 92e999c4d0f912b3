"""The supervisor: starts the engine's processes, starts them again when they end, and takes over those that still run.

It holds no state that matters: killed at any moment, the processes go on, and the next supervisor adopts them by
D/run. Stopped by SIGTERM, it ends control and node and leaves containerd, dns and the containers running.
Standard library only, since it lives as long as the engine and should cost next to nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pilothouse.launch import listeners, notify, runfile, trust
from pilothouse.linux.sockets import socket_family

LOG_BYTES = 10 * 1024 * 1024
_LOOK_AT_LOGS = 60.0
AGAIN = "; starting it again"
"""What follows the reason why a process ended."""
_STOP_GRACE = 10.0
_RECORD_AGAIN = 1.0
_STEADY = 30.0
"""A process that ran this many seconds is started again at once; one that ends sooner waits longer each time."""


@dataclass(slots=True)
class Child:
    """One process to keep running."""

    name: str
    argv: list[str]
    """A word `{tcp}` or `{udp}` stands for the number of the socket of that kind."""
    sockets: Callable[[], list[tuple[str, socket.socket]]] = list
    outlives_stop: bool = False
    pid: int = 0
    pidfd: int = -1
    started: float = 0.0
    failures: int = 0
    held: list[tuple[str, socket.socket]] = field(default_factory=list)
    ready: bool = False


class Supervisor:
    """Keeps `children` running; `say` is called with lines for a person who waits."""

    def __init__(self, data_dir: Path, children: list[Child], say: Callable[[str], None]) -> None:
        self._run_dir = data_dir / "run"
        self._log_dir = data_dir / "logs"
        self._children = children
        self._say = say
        self._selector = selectors.DefaultSelector()
        self._stopping = False
        self._due: dict[str, float] = {}
        self._unrecorded: dict[str, int] = {}
        self._notes, self._notes_out = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._rest = b""
        self._began = time.monotonic()
        self._told = False

    def run(self) -> None:
        """Starts or adopts the children and watches them until SIGTERM or SIGINT."""
        wake, wake_out = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake_out, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._selector.register(wake, selectors.EVENT_READ, None)
        self._selector.register(self._notes, selectors.EVENT_READ, None)
        self._record("supervisor", os.getpid())
        for child in self._children:
            running = runfile.read(self._run_dir, child.name)
            if running is None:
                self._start(child)
            else:
                child.ready = True
                child.held = listeners.taken_over(running.pid)
                self._watch(child, running.pid)
        self._tell_when_up()
        look_at_logs = time.monotonic() + _LOOK_AT_LOGS
        while not self._stopping:
            now = time.monotonic()
            deadline = min([look_at_logs, *self._due.values(), *([now + _RECORD_AGAIN] if self._unrecorded else ())])
            for key, _ in self._selector.select(max(0.0, deadline - now)):
                if key.fd == wake:
                    os.read(wake, 4096)
                elif key.fd == self._notes:
                    self._read_notes()
                elif key.data is not None:
                    self._on_exit(key.data)
            for name, pid in list(self._unrecorded.items()):
                self._record(name, pid)
            now = time.monotonic()
            for child in self._children:
                if self._due.get(child.name, now + 1) <= now and not self._stopping:
                    del self._due[child.name]
                    self._start(child)
            if now >= look_at_logs:
                look_at_logs = now + _LOOK_AT_LOGS
                trim_logs(self._log_dir)
        self._stop()

    def _on_stop(self, number: int, _frame: object) -> None:
        self._stopping = True

    def _start(self, child: Child) -> None:
        if not child.held:
            try:
                child.held = child.sockets()
            except listeners.PortInUse as error:
                self._fail(child, str(error))
                return
        environment = dict(os.environ)
        environment[notify.VARIABLE] = str(self._notes_out)
        environment[listeners.VARIABLE] = ",".join(f"{kind}:{sock.fileno()}" for kind, sock in child.held)
        descriptors = [sock.fileno() for _, sock in child.held]
        if child.argv[0] == sys.executable:
            descriptors.append(self._notes_out)
            environment |= trust.by_directory(environment)
        numbers = {kind: str(sock.fileno()) for kind, sock in child.held}
        with contextlib.ExitStack() as opened:
            try:
                log = opened.enter_context(open(self._log_dir / f"{child.name}.log", "ab"))
                process = subprocess.Popen(
                    [word.format_map(numbers) if word.startswith("{") else word for word in child.argv],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=environment,
                    cwd="/",
                    pass_fds=descriptors,
                    start_new_session=True,
                )
            except OSError as error:
                self._fail(child, f"cannot start {child.argv[0]}: {error.strerror}")
                return
        self._record(child.name, process.pid)
        process.returncode = 0  # reaped here by pid, so that adopted and own children are alike
        self._watch(child, process.pid)

    def _record(self, name: str, pid: int) -> None:
        """Records a process; later, if the disk is full: what runs goes on running."""
        try:
            runfile.write(self._run_dir, name, pid)
        except OSError as error:
            if self._unrecorded.get(name) != pid:
                self._say(f"cannot record {name} (pid {pid}): {error.strerror}; trying again")
            self._unrecorded[name] = pid
        else:
            self._unrecorded.pop(name, None)

    def _watch(self, child: Child, pid: int) -> None:
        child.pid, child.started = pid, time.monotonic()
        try:
            child.pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            self._due[child.name] = time.monotonic()
            return
        self._selector.register(child.pidfd, selectors.EVENT_READ, child)

    def _on_exit(self, child: Child) -> None:
        self._selector.unregister(child.pidfd)
        os.close(child.pidfd)
        child.pidfd = -1
        if time.monotonic() - child.started > _STEADY:
            child.failures = 0
        self._fail(child, f"{child.name} (pid {child.pid}) {self._ending(child)}")
        child.pid = 0

    def _ending(self, child: Child) -> str:
        """How a process ended; the status of one that another supervisor started is not known."""
        status = 1
        with contextlib.suppress(ChildProcessError):
            status = os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])
        if status < 0:
            return f"was ended by {signal.Signals(-status).name}"
        return f"ended: {last_line(self._log_dir / f'{child.name}.log')}"

    def _fail(self, child: Child, message: str) -> None:
        child.failures += 1
        child.ready = False
        delay = 0.0 if child.failures == 1 else min(10.0, 0.1 * 2**child.failures)
        self._due[child.name] = time.monotonic() + delay
        self._say(f"{message}{AGAIN}" + (f" in {delay:.0f} s" if delay >= 1 else ""))

    def _read_notes(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._rest += os.read(self._notes, 65536)
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            name, _, text = line.decode("utf-8", "replace").partition(" ")
            self._say(text)
            for child in self._children:
                if child.name == name and text.startswith("ready"):
                    child.ready = True
            self._tell_when_up()

    def _tell_when_up(self) -> None:
        if not self._told and all(child.ready for child in self._children if not child.outlives_stop):
            self._told = True
            self._say(f"Pilothouse is up after {time.monotonic() - self._began:.1f} s.")

    def _stop(self) -> None:
        self._say("stopping the engine; containers go on")
        ending = [child for child in self._children if child.pid and not child.outlives_stop]
        stop_processes([(child.name, child.pid) for child in ending], self._run_dir, _STOP_GRACE)


def stop_processes(processes: list[tuple[str, int]], run_dir: Path, grace: float) -> None:
    """SIGTERM to each (name, pid), SIGKILL to what is left after `grace` seconds; forgets their run files."""
    for _, pid in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + grace
    for name, pid in processes:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            descriptor = os.pidfd_open(pid)
            with selectors.DefaultSelector() as selector:
                selector.register(descriptor, selectors.EVENT_READ)
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    os.kill(pid, signal.SIGKILL)
                    selector.select(2.0)
            os.close(descriptor)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        runfile.forget(run_dir, name)


def trim_logs(log_dir: Path) -> None:
    """Keeps each log under LOG_BYTES with one older part beside it (writers append, so truncation is safe)."""
    for path in log_dir.glob("*.log"):
        if path.stat().st_size > LOG_BYTES:
            with contextlib.suppress(OSError):  # of a full disk, which the next line makes less so
                path.with_suffix(".log.1").write_bytes(path.read_bytes())
            os.truncate(path, 0)


def last_line(path: Path) -> str:
    """The last line of a log that says something, for a message about why its process ended."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 4096))
            lines = [line.strip() for line in file.read().decode("utf-8", "replace").splitlines()]
    except OSError:
        return "no log"
    said = [line for line in lines if line]
    return said[-1][-500:] if said else "no log"


def main() -> None:
    """Reads D/config.json and supervises until told to stop."""
    parser = argparse.ArgumentParser(prog="pilothouse supervisor")
    parser.add_argument("--data-dir", required=True)
    options = parser.parse_args()
    data_dir = Path(options.data_dir)
    run_dir = data_dir / "run"
    run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    (data_dir / "logs").mkdir(mode=0o700, exist_ok=True)
    lock = os.open(run_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(f"an engine already runs on {data_dir}")
    runfile.recover(data_dir)
    config = json.loads((data_dir / "config.json").read_text())
    state = run_dir / "state"
    state.unlink(missing_ok=True)

    def say(line: str) -> None:
        with contextlib.suppress(OSError):  # a full disk ends nothing that runs
            print(line, flush=True)
            if line.startswith("Pilothouse is up"):
                state.write_text(line)

    Supervisor(data_dir, children_of(config), say).run()
    state.unlink(missing_ok=True)
    runfile.forget(run_dir, "supervisor")


def children_of(config: dict[str, object]) -> list[Child]:
    """The processes of a machine: containerd, dns, control (where the API runs) and node."""
    data_dir = str(config["data_dir"])
    dns_address = dns_address_of(str(config["service_range"]))

    def module(name: str) -> list[str]:
        return [sys.executable, "-X", "frozen_modules=on", "-m", f"pilothouse.launch.{name}", "--data-dir", data_dir]

    def api_sockets() -> list[tuple[str, socket.socket]]:
        addresses = config["listen"]
        assert isinstance(addresses, list)
        port = int(str(config["api_port"]))
        return [("tcp", listeners.listen_tcp(str(address), port)) for address in addresses]

    def dns_sockets() -> list[tuple[str, socket.socket]]:
        # The address is put on its interface by the node process, perhaps later: IP_FREEBIND.
        return [
            ("udp", listeners.bind_udp(dns_address, 53, free=True)),
            ("tcp", listeners.listen_tcp(dns_address, 53, free=True)),
        ]

    toml = str(Path(data_dir, "containerd", "config.toml"))
    children = [
        Child("containerd", [str(config["containerd"]), "--config", toml, "--log-level", "warn"], outlives_stop=True)
    ]
    if not config.get("server"):
        children.append(Child("control", module("control"), api_sockets))
    children.append(Child("node", module("node")))
    dns = [*module("dns"), "--address", dns_address, "--domain", str(config["domain"])]
    children.append(Child("dns", [*dns, "--udp-fd", "{udp}", "--tcp-fd", "{tcp}"], dns_sockets, outlives_stop=True))
    return children


def dns_address_of(service_range: str) -> str:
    """The tenth address of the first range; as `Config.dns_address`, without importing what that needs."""
    network = service_range.partition("/")[0]
    family = socket_family(network)
    packed = socket.inet_pton(family, network)
    return socket.inet_ntop(family, (int.from_bytes(packed, "big") + 10).to_bytes(len(packed), "big"))


if __name__ == "__main__":
    main()
