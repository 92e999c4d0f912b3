"""The supervisor with real processes: starts again what ends, adopts what runs, leaves the data plane when it stops."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pilothouse.launch import runfile
from pilothouse.launch.supervisor import LOG_BYTES, last_line, trim_logs

# A supervisor of three sleeping processes, as small as a test needs it.
PROGRAM = """
import sys
from pathlib import Path
from pilothouse.launch.supervisor import Child, Supervisor
sleep = ["/bin/sh", "-c", "exec sleep 1000"]
Supervisor(Path(sys.argv[1]), [
    Child("control", sleep), Child("dns", sleep, outlives_stop=True),
    Child("broken", ["/bin/sh", "-c", "echo no such thing >&2; exit 3"], outlives_stop=True),
], lambda line: print(line, flush=True)).run()
"""


class Tree:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "run").mkdir()
        (folder / "logs").mkdir()
        self.said = folder / "said"
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        with self.said.open("ab") as out:
            return subprocess.Popen([sys.executable, "-c", PROGRAM, str(self.folder)], stdout=out, stderr=out)

    def pid(self, name: str) -> int | None:
        running = runfile.read(self.folder / "run", name)
        return running.pid if running is not None else None

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline, self.said.read_text()
            time.sleep(0.01)


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    made = Tree(tmp_path)
    try:
        made.until(lambda: made.pid("control") is not None and made.pid("dns") is not None)
        yield made
    finally:
        made.process.kill()
        made.process.wait()
        for name in ("control", "dns"):
            if (pid := made.pid(name)) is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def test_a_killed_process_is_started_again_and_told(tree: Tree) -> None:
    first = tree.pid("control")
    assert first is not None
    os.kill(first, signal.SIGKILL)
    tree.until(lambda: tree.pid("control") not in (None, first))
    tree.until(lambda: f"control (pid {first}) was ended by SIGKILL" in tree.said.read_text())


def test_what_cannot_be_recorded_runs_and_is_recorded_later(tree: Tree) -> None:
    first = tree.pid("control")
    (tree.folder / "run").rename(tree.folder / "away")
    os.kill(first or 0, signal.SIGKILL)
    told = re.compile(r"cannot record control \(pid (\d+)\): No such file or directory; trying again")
    tree.until(lambda: told.search(tree.said.read_text()) is not None)
    (tree.folder / "away").rename(tree.folder / "run")
    tree.until(lambda: tree.pid("control") not in (None, first))
    assert told.findall(tree.said.read_text()) == [str(tree.pid("control"))]


def test_a_process_that_ends_at_once_is_told_with_its_last_line(tree: Tree) -> None:
    tree.until(lambda: "ended: no such thing; starting it again" in tree.said.read_text())


def test_another_supervisor_adopts_what_runs(tree: Tree) -> None:
    before = (tree.pid("control"), tree.pid("dns"))
    tree.process.kill()
    tree.process.wait()
    tree.process = tree.start()
    os.kill(before[1] or 0, signal.SIGKILL)
    tree.until(lambda: tree.pid("dns") not in (None, before[1]))
    assert tree.pid("control") == before[0]


def test_stopped_it_ends_the_engine_and_leaves_the_data_plane(tree: Tree) -> None:
    dns = tree.pid("dns")
    tree.process.terminate()
    assert tree.process.wait(timeout=10) == 0
    assert tree.pid("control") is None
    assert tree.pid("dns") == dns


def test_a_record_of_another_process_with_the_same_pid_does_not_count(tmp_path: Path) -> None:
    runfile.write(tmp_path, "mine", os.getpid())
    assert runfile.read(tmp_path, "mine") is not None
    text = (tmp_path / "mine.json").read_text()
    started = runfile.start_ticks(os.getpid())
    (tmp_path / "mine.json").write_text(text.replace(str(started), "1"))
    assert runfile.read(tmp_path, "mine") is None


def test_a_process_that_ended_before_it_was_recorded_does_not_run(tmp_path: Path) -> None:
    process = subprocess.Popen(["/bin/true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    runfile.write(tmp_path, "brief", process.pid)
    assert runfile.read(tmp_path, "brief") is None
    process.wait()
    assert runfile.read(tmp_path, "brief") is None


def test_a_process_that_was_never_recorded_is_found_by_its_command(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    # A shell that reads does not fork: a child of it would show the same command line for a moment.
    command = ["/bin/sh", "-c", "read line; :", "-m", "pilothouse.launch.dns", "--data-dir", str(tmp_path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    try:
        # Popen returns in the midst of execve, a moment before the kernel shows the new command line.
        deadline = time.monotonic() + 10
        while runfile.recover(tmp_path) != ["dns"]:
            assert time.monotonic() < deadline
        running = runfile.read(tmp_path / "run", "dns")
        assert running is not None
        assert running.pid == process.pid
        assert runfile.recover(tmp_path) == []
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_logs_stay_bounded_with_one_older_part(tmp_path: Path) -> None:
    log = tmp_path / "control.log"
    log.write_bytes(b"x" * (LOG_BYTES + 1))
    trim_logs(tmp_path)
    assert log.stat().st_size == 0
    assert (tmp_path / "control.log.1").stat().st_size == LOG_BYTES + 1


@pytest.mark.parametrize(("text", "line"), [("", "no log"), ("a\nb\n\n", "b"), ("\n \n", "no log")])
def test_the_last_line_that_says_something(tmp_path: Path, text: str, line: str) -> None:
    path = tmp_path / "x.log"
    path.write_text(text)
    assert last_line(path) == line
    assert last_line(tmp_path / "missing.log") == "no log"
