"""The HAProxy process: started, reloaded without a dropped connection, ended. It outlives the engine, as pods do.

Its master process keeps the listening sockets; on a reload a new worker takes them over while the old one finishes what
it has. A new configuration is checked first: one that HAProxy refuses never replaces one that works.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from pilothouse.linux.host import find_program

_START_SECONDS = 0.5
_END_SECONDS = 5.0
PROGRAM = "haproxy"


class ProxyError(Exception):
    """HAProxy cannot run, or refuses its configuration; the message says why."""


class Proxy:
    """`recorded` tells the pid of a process that runs (0: none), `record` remembers one over restarts of ours."""

    def __init__(self, directory: Path, log: Path, recorded: Callable[[], int], record: Callable[[int], None]) -> None:
        self.directory = directory
        self._log = log
        self._recorded = recorded
        self._record = record

    @property
    def config(self) -> Path:
        return self.directory / "haproxy.cfg"

    def running(self) -> bool:
        return bool(self._recorded())

    async def apply(self, text: str, files: dict[str, bytes]) -> None:
        """Makes HAProxy run with this configuration; `files` are its certificates, by name in the directory.

        Raises ProxyError; what ran before goes on then.
        """
        if find_program(PROGRAM) is None:
            raise ProxyError("haproxy is not installed: apt-get install haproxy (scripts/setup does)")
        changed = await asyncio.to_thread(self._write, text, files)
        if self._recorded():
            if changed:
                os.kill(self._recorded(), signal.SIGUSR2)
        else:
            await self._start()

    async def stop(self) -> None:
        """Ends it at once, if it runs, and removes its files."""
        pid = self._recorded()
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            deadline = asyncio.get_running_loop().time() + _END_SECONDS
            while self._recorded() and asyncio.get_running_loop().time() < deadline:
                _reap(pid)
                await asyncio.sleep(0.02)
        if self.directory.exists():
            await asyncio.to_thread(shutil.rmtree, self.directory, True)

    def _write(self, text: str, files: dict[str, bytes]) -> bool:
        """Puts the configuration in place if HAProxy accepts it. True if anything differs from before."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        changed = False
        for name, content in files.items():
            path = self.directory / name
            if not path.exists() or path.read_bytes() != content:
                _replace(path, content)
                changed = True
        fresh = self.directory / "haproxy.cfg.new"
        _replace(fresh, text.encode())
        if self.config.exists() and self.config.read_bytes() == fresh.read_bytes() and not changed:
            return False
        done = subprocess.run([_program(), "-c", "-q", "-f", str(fresh)], capture_output=True, text=True)
        if done.returncode != 0:
            lines = [line for line in (done.stderr + done.stdout).splitlines() if "ALERT" in line]
            raise ProxyError(f"haproxy refuses the configuration: {'; '.join(lines)[:500]}")
        fresh.replace(self.config)
        for path in self.directory.glob("*.pem"):
            if path.name not in files:
                path.unlink()
        return True

    async def _start(self) -> None:
        said = await asyncio.to_thread(self._spawn)
        if said:
            raise ProxyError(f"haproxy does not start: {said[:500]}")

    def _spawn(self) -> str:
        """Starts it; returns what it said if it ended at once, "" if it runs."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        words = [_program(), "-W", "-f", str(self.config)]
        with open(self._log, "ab") as log:
            before = log.tell()
            process = subprocess.Popen(
                words, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._record(process.pid)
        try:
            process.wait(_START_SECONDS)
        except subprocess.TimeoutExpired:
            process.returncode = 0  # reaped by pid, or by init once this process is gone
            return ""
        lines = self._log.read_bytes()[before:].decode(errors="replace").splitlines()
        said = [line for line in lines if "ALERT" in line and "bind" in line] or lines[-3:]
        return "; ".join(said) or f"it ended with {process.returncode}"


def _program() -> str:
    return find_program(PROGRAM) or PROGRAM


def _replace(path: Path, content: bytes) -> None:
    fresh = path.with_name(path.name + ".part")
    with open(fresh, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(content)
    fresh.replace(path)


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
