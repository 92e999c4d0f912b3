"""A new supervisor shares the sockets of a child that an earlier one started."""

from __future__ import annotations

import os
import socket
import subprocess
import time

from pilothouse.launch import listeners


def test_the_sockets_of_a_running_child_are_shared() -> None:
    held = listeners.listen_tcp("127.0.0.1", 0)
    port = held.getsockname()[1]
    child = subprocess.Popen(
        ["/bin/sleep", "1000"],
        pass_fds=[held.fileno()],
        env={**os.environ, listeners.VARIABLE: f"tcp:{held.fileno()}"},
    )
    try:
        held.close()
        # Popen returns in the midst of execve, a moment before the kernel shows the new environment.
        deadline = time.monotonic() + 10
        while not (shared := listeners.taken_over(child.pid)):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        (kind, taken), *others = shared
        assert (kind, others) == ("tcp", [])
        child.kill()
        child.wait()
        # The child is gone: what answers now can only be our share of its socket.
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            taken.accept()[0].close()
        taken.close()
    finally:
        child.kill()
        child.wait()


def test_a_process_without_sockets_has_none_to_share() -> None:
    child = subprocess.Popen(["/bin/sleep", "1000"])
    try:
        assert listeners.taken_over(child.pid) == []
    finally:
        child.kill()
        child.wait()
