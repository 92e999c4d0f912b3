"""Ending the engine (`stop`: containers, DNS and service addresses go on)."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path

from pilothouse.launch import runfile
from pilothouse.launch.service import is_ours
from pilothouse.launch.supervisor import stop_processes

ENGINE = ("supervisor", "control", "node")
_GRACE = 15.0


def stop_engine(data_dir: Path) -> list[str]:
    """Stops supervisor, control and node; returns the names of those that ran."""
    runfile.recover(data_dir)
    run_dir = data_dir / "run"
    ran = [name for name in ENGINE if runfile.read(run_dir, name) is not None]
    if is_ours(data_dir) and Path("/run/systemd/system").is_dir():
        subprocess.run(["systemctl", "stop", "pilothouse.service"], check=True)
    supervisor = runfile.read(run_dir, "supervisor")
    if supervisor is not None:
        stop_processes([("supervisor", supervisor.pid)], run_dir, _GRACE)
    left = [running for name in ENGINE if (running := runfile.read(run_dir, name)) is not None]
    stop_processes([(running.name, running.pid) for running in left], run_dir, _GRACE)
    (run_dir / "state").unlink(missing_ok=True)
    return ran


def end_control(run_dir: Path) -> None:
    """Ends the control process; the supervisor starts it again at once, and connections queue meanwhile."""
    running = runfile.read(run_dir, "control")
    if running is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(running.pid, signal.SIGTERM)
