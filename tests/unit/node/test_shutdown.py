"""The machine goes down: who ends first and with how much time, and how the node is asked to."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from pilothouse.kinds.core.pod import Pod
from pilothouse.launch import runfile
from pilothouse.launch.config import Config
from pilothouse.launch.shutdown import DONE, end_pods
from pilothouse.node.settings import Settings
from pilothouse.node.shutdown import Turn, turns
from pilothouse.node.state import PodState, Refusal


def pod(uid: str, priority: int = 0) -> PodState:
    state = PodState(uid, "ns", uid, Pod())
    assert state.pod is not None
    state.pod.spec.priority = priority
    return state


def test_critical_pods_end_last() -> None:
    over = pod("over")
    over.refusal = Refusal("Evicted", "")
    pods = [pod("vital", 2_000_001_000), pod("a"), pod("b", 1000), over]
    assert turns(pods, 30.0, 10.0) == [Turn(("a", "b"), 20.0), Turn(("vital",), 10.0)]
    assert turns(pods[1:2], 30.0, 60.0) == [Turn(("a",), 0.0)]
    assert turns([], 30.0, 10.0) == []


def engine(root: Path, grace: float) -> Path:
    settings = Settings(shutdown_grace_period=grace)
    (root / "run").mkdir()
    Config(data_dir=str(root), node_name="n", node_address="127.0.0.1", node=settings).save()
    return root / "run"


def test_the_node_is_asked_and_waited_for(tmp_path: Path) -> None:
    run = engine(tmp_path, 20.0)
    script = f"trap 'echo > {run / DONE}; exit' USR1; echo; while read line; do :; done"
    process = subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    runfile.write(run, "node", process.pid)
    try:
        assert end_pods(tmp_path)
    finally:
        process.kill()
        process.communicate()


def test_without_a_grace_nothing_is_ended(tmp_path: Path) -> None:
    engine(tmp_path, 0.0)
    began = time.monotonic()
    assert not end_pods(tmp_path)
    assert time.monotonic() - began < 5
