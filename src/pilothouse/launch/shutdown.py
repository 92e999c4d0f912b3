"""Before the machine goes down, lets the node end its pods: the service's ExecStop, or called by another init.

systemd runs an ExecStop whenever the service stops; only a stop because of the machine's shutdown ends pods.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from pilothouse.launch import runfile
from pilothouse.launch.config import ConfigError, load

DONE = "shutdown.done"
_SPARE = 10.0


def going_down() -> bool:
    """Whether systemd is stopping the machine."""
    try:
        asked = subprocess.run(["systemctl", "is-system-running"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return asked.stdout.strip() == "stopping"


def end_pods(data_dir: Path) -> bool:
    """Asks the node to end its pods and waits for it; False when there is nothing to wait for, or it took too long.

    Raises ConfigError.
    """
    config = load(str(data_dir))
    node = runfile.read(data_dir / "run", "node")
    if config is None or node is None or config.node.shutdown_grace_period <= 0:
        return False
    done = data_dir / "run" / DONE
    done.unlink(missing_ok=True)
    os.kill(node.pid, signal.SIGUSR1)
    deadline = time.monotonic() + config.node.shutdown_grace_period + _SPARE
    while not done.exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def main() -> None:
    """`python -m pilothouse.launch.shutdown --data-dir D [--now]`."""
    parser = argparse.ArgumentParser(prog="pilothouse shutdown")
    parser.add_argument("--data-dir", required=True, type=Path)
    parser.add_argument("--now", action="store_true", help="the machine is going down, whatever systemd says")
    options = parser.parse_args()
    try:
        if options.now or going_down():
            end_pods(options.data_dir)
    except ConfigError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
