"""What must not grow without bound: the database, pods' logs, the engine's own logs."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path

import pytest
from image_cache import Images
from machine import Machine, until

from pilothouse.launch.supervisor import LOG_BYTES, trim_logs

pytestmark = pytest.mark.system

FLOOD = """\
apiVersion: v1
kind: Pod
metadata: {{name: flood}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: main
      image: {image}
      args:
        - -c
        - trap 'exit 0' TERM; busybox yes flood | busybox head -c 12000000; while sleep 1; do echo on; done
"""

SHORT = """\
apiVersion: v1
kind: Pod
metadata: {{name: short}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - name: main
      image: {image}
      args: ["-c", "echo {text} life; while sleep 1; do :; done"]
"""


def test_the_database_is_bounded(engine: Machine) -> None:
    """One large object changed many times: the file holds some history of it, not all."""
    value = "x" * 200_000
    script = f"""
import asyncio, sys
from pathlib import Path
from pilothouse.cli.connect import connect
from pilothouse.kinds.core.config_map import ConfigMap

async def main():
    client = connect({str(engine.data_dir)!r})
    await client.create_tree(ConfigMap.resource, {{"metadata": {{"name": "big"}}}}, "default")
    for number in range(1000):
        await client.patch(ConfigMap, "big", "default", {{"data": {{"k": str(number) + "{value[:10]}" * 20000}}}})
    await client.close()

asyncio.run(main())
"""
    engine.run(str(Path(__file__).parents[3] / ".venv" / "bin" / "python"), "-c", script, seconds=120)
    written = 1000 * len(value)

    def size() -> int:
        return sum(path.stat().st_size for path in engine.data_dir.glob("state.db*"))

    until(lambda: size() < written / 2, f"the database holds less than half of what was written ({size()})", 30)


def test_a_pod_that_floods_its_log(engine: Machine, images: Images) -> None:
    """A file over 10 MiB is set aside and a new one begun; what is written from then on is still read."""
    engine.apply(FLOOD.format(image=images.tools))
    engine.kubectl("wait", "pod/flood", "--for=condition=Ready", "--timeout=30s")
    folder = engine.data_dir / "podlogs"

    def sizes() -> list[int]:
        return sorted(path.stat().st_size for path in folder.glob("default_flood_*/main/*"))

    until(lambda: len(sizes()) > 1 and sizes()[0] < 1_000_000 < 10_000_000 < sizes()[-1], "the log is turned over", 60)
    until(lambda: engine.kubectl("logs", "flood", "--tail=1") == "on\n", "the new file is read")


@pytest.mark.slow
def test_ten_million_lines(engine: Machine, images: Images) -> None:
    """They never take much more than the files that are kept; the last line is there."""
    flood = "busybox yes a line of a log that floods its disk | busybox head -n 10000000; echo the end"
    engine.apply(SHORT.format(image=images.tools, text="x").replace("echo x life", flood).replace("short", "ten"))
    folder, most = engine.data_dir / "podlogs", 0

    def over() -> bool:
        nonlocal most
        sizes = []
        for path in folder.glob("default_ten_*/main/*"):
            with contextlib.suppress(FileNotFoundError):
                sizes.append(path.stat().st_size)
        most = max(most, sum(sizes))
        assert most < 250 << 20
        newest = next(folder.glob("default_ten_*/main/0.log"), None)
        return newest is not None and newest.read_bytes()[-100:].endswith(b"F the end\n")

    began = time.monotonic()
    until(over, "all has been written", 600)
    print(f"at most {most / 2**20:.0f} MiB, {time.monotonic() - began:.0f} s")
    assert engine.kubectl("logs", "ten", "--tail=1") == "the end\n"


def live_once(engine: Machine, images: Images, text: str) -> None:
    engine.apply(SHORT.format(image=images.tools, text=text))
    until(lambda: f"{text} life" in engine.kubectl("logs", "short"), "it has spoken")
    engine.kubectl("delete", "pod", "short", "--now")


def test_logs_outlive_their_pod(engine: Machine, images: Images) -> None:
    """All of a pod that is gone is still found by its name, and its successor's log behind it."""
    live_once(engine, images, "first")
    live_once(engine, images, "second")
    shown = engine.pilothouse("logs", "--all", "short")
    assert [line.partition("| ")[2] for line in shown.splitlines()] == ["first life", "second life"]
    assert "second life" in engine.pilothouse("logs", "--all", "short", "--tail", "1")
    assert "no node keeps a log of nobody" in engine.pilothouse("logs", "--all", "nobody", code=1)


def test_the_engines_logs_are_trimmed(tmp_path: Path) -> None:
    """A log over its limit keeps its text in one older part; the process goes on appending to the same file."""
    log = tmp_path / "node.log"
    with log.open("ab") as writer:
        writer.write(b"x" * (LOG_BYTES + 1))
        writer.flush()
        trim_logs(tmp_path)
        writer.write(b"after\n")
    assert log.read_bytes() == b"after\n"
    assert (tmp_path / "node.log.1").stat().st_size == LOG_BYTES + 1
    small = tmp_path / "dns.log"
    small.write_bytes(b"kept")
    trim_logs(tmp_path)
    assert small.read_bytes() == b"kept"
    assert not (tmp_path / "dns.log.1").exists()


def test_events_do_not_pile_up(engine: Machine) -> None:
    """The same event again raises a count, not a number of objects."""
    engine.kubectl("run", "again", "--image=127.0.0.1:5000/test/none:1")

    def seen() -> int:
        words = ("events", "--field-selector", "involvedObject.name=again")
        return max((item.get("count", 1) for item in engine.get(*words)["items"]), default=0)

    until(lambda: seen() >= 2, "an event was counted twice", 90)
    items = engine.get("events", "--field-selector", "involvedObject.name=again")["items"]
    assert len(items) == len({(item["reason"], item["message"]) for item in items}), json.dumps(items)
