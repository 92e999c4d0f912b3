"""Running in the background: a systemd unit where systemd is the init, else a supervised process of its own session."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from pilothouse.launch.config import Config, ConfigError
from pilothouse.launch.supervisor import AGAIN

_HOPELESS = 5
"""So many endings for one reason are some three seconds."""
_PROCESS = re.compile(r" \(pid \d+\)")
UNIT = Path("/etc/systemd/system/pilothouse.service")

# KillMode=process: containerd, its shims, dns and the containers outlive the engine. Delegate: their cgroups are ours.
_UNIT_TEXT = """[Unit]
Description=Pilothouse container orchestrator
Documentation=https://kubernetes.io/docs/
After=network-online.target
Wants=network-online.target

[Service]
ExecStart={python} -m pilothouse.launch.supervisor --data-dir {data_dir}
ExecStop={python} -m pilothouse.launch.shutdown --data-dir {data_dir}
TimeoutStopSec={seconds:.0f}
StandardOutput=append:{data_dir}/logs/supervisor.log
StandardError=inherit
Restart=always
RestartSec=1
KillMode=process
Delegate=yes
LimitNOFILE=1048576
TasksMax=infinity
OOMScoreAdjust=-999

[Install]
WantedBy=multi-user.target
"""


def supervisor_command(config: Config) -> list[str]:
    """The command that runs the supervisor on a prepared data directory."""
    return [sys.executable, "-m", "pilothouse.launch.supervisor", "--data-dir", config.data_dir]


def unit_text(config: Config) -> str:
    """The systemd unit for this data directory."""
    return _UNIT_TEXT.format(
        python=sys.executable, data_dir=config.data_dir, seconds=config.node.shutdown_grace_period + 90
    )


class Failures:
    """What the supervisor says of processes that end while the engine starts."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def is_new(self, line: str) -> bool:
        """Takes a line of its log; whether it says what none has said before."""
        said, again, _ = _PROCESS.sub("", line).partition(AGAIN)
        if not again:
            return True
        self._seen[said] += 1
        return self._seen[said] == 1

    @property
    def hopeless(self) -> str:
        """What has ended a process so often that it will again; "" when nothing has."""
        said, times = next(iter(self._seen.most_common(1)), ("", 0))
        return said if times >= _HOPELESS else ""


def start_in_background(config: Config, systemd: bool, say: Callable[[str], None], seconds: float = 120.0) -> None:
    """Starts the engine so that it outlives the terminal, and waits until it is up. Raises ConfigError."""
    log = config.path("logs", "supervisor.log")
    log.parent.mkdir(mode=0o700, exist_ok=True)
    seen = log.stat().st_size if log.exists() else 0
    state = config.path("run", "state")
    state.unlink(missing_ok=True)  # of a supervisor that was killed
    process = None
    if systemd:
        UNIT.write_text(unit_text(config))
        subprocess.run(["systemctl", "daemon-reload"], check=True)
        subprocess.run(["systemctl", "enable", "--now", "pilothouse.service"], check=True)
    else:
        with log.open("ab") as out:
            process = subprocess.Popen(
                supervisor_command(config),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                cwd="/",
                env={**os.environ, "PILOTHOUSE_RESPAWN": "1"},
            )
    failures = Failures()
    deadline = time.monotonic() + seconds
    while not state.exists():
        if log.exists() and log.stat().st_size > seen:
            with log.open("rb") as lines:
                lines.seek(seen)
                fresh = lines.read()
            whole = fresh[: fresh.rfind(b"\n") + 1]
            seen += len(whole)
            for line in whole.decode("utf-8", "replace").splitlines():
                if failures.is_new(line):
                    say(line)
        if process is not None and process.poll() is not None:
            raise ConfigError(f"the engine ended at once: see {log}")
        if failures.hopeless:
            raise ConfigError(
                f"the engine does not come up: {failures.hopeless}\n"
                "It goes on trying. Mend that and it is up; `pilothouse stop` ends it"
            )
        if time.monotonic() > deadline:
            raise ConfigError(f"the engine is not up after {seconds:.0f} s: see {log} and `pilothouse status`")
        time.sleep(0.05)
    say(state.read_text())


def is_ours(data_dir: Path) -> bool:
    """True when the systemd unit is there and of this data directory."""
    try:
        return f"--data-dir {data_dir}\n" in UNIT.read_text()
    except FileNotFoundError:
        return False


def remove_service(data_dir: Path) -> None:
    """Takes the systemd unit of this data directory away, where there is one."""
    if is_ours(data_dir):
        subprocess.run(["systemctl", "disable", "pilothouse.service"], capture_output=True)
        UNIT.unlink()
        subprocess.run(["systemctl", "daemon-reload"], capture_output=True)
