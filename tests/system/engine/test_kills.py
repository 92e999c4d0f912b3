"""Any process of the engine killed with -9: users of the application notice nothing, nothing acknowledged is lost."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from machine import PROCESSES, Failed, Machine, until

pytestmark = pytest.mark.system

DNS = "10.96.0.10"
_LOAD = Path(__file__).with_name("load.py")


@contextmanager
def load(shop: Machine) -> Iterator[None]:
    """Requests through the Service and lookups of its name go on inside; none may fail."""
    url = f"http://{shop.cluster_address('front', 'shop')}/api/shop"
    process = shop.start(sys.executable, str(_LOAD), url, "front.shop.svc.cluster.local", DNS)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == b"started\n"
    yield
    output, _ = process.communicate(timeout=30)
    said = json.loads(output)
    print(said)
    assert min(said["asked"].values()) > 5, said
    assert said["failed"] == [], said


@pytest.mark.parametrize("process", PROCESSES)
def test_a_killed_process_heals_unnoticed(shop: Machine, process: str) -> None:
    before, others = shop.starts(), {name: pid for name, pid in shop.pids().items() if name != process}
    with load(shop):
        shop.kill(process)
        shop.wait_ready()
        # It is at work again when what only it can do is done.
        name = f"after-{process}"
        shop.kubectl("create", "configmap", name)
        shop.kubectl("rollout", "restart", "-n", "shop", "deployment/app")
        shop.kubectl("rollout", "status", "-n", "shop", "deployment/app", "--timeout=60s", seconds=70)
    kept = {key: value for key, value in shop.starts().items() if "/app-" not in key}
    assert kept == {key: value for key, value in before.items() if "/app-" not in key}
    assert {name: shop.pid(name) for name in others} == others


def test_all_of_the_engine_killed_at_once(shop: Machine) -> None:
    """Supervisor, control and node together: nobody is left to start them; `up` does, and takes over what runs."""
    before = shop.starts()
    with load(shop):
        pids = [shop.pid(name) for name in ("supervisor", "control", "node")]
        shop.run("kill", "-9", *map(str, pids))
        shop.up()
        shop.wait_ready()
    assert shop.starts() == before


def test_acknowledged_writes_outlive_control(engine: Machine) -> None:
    """Writers note what was acknowledged while control is killed three times; all of it must be there."""
    acknowledged: list[str] = []
    over = threading.Event()

    def write(writer: int) -> None:
        number = 0
        while not over.is_set():
            name = f"storm-{writer}-{number}"
            number += 1
            try:
                engine.kubectl("create", "configmap", name, "--from-literal=n=1", seconds=30)
                acknowledged.append(name)
            except Failed:
                continue

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            count = len(acknowledged)
            until(lambda count=count: len(acknowledged) > count + 5, "writes are acknowledged", 60)  # type: ignore[misc]
            engine.kill("control")
    finally:
        over.set()
        for thread in threads:
            thread.join()
    names = {item["metadata"]["name"] for item in engine.get("configmaps")["items"]}
    assert set(acknowledged) <= names
    assert len(acknowledged) > 15
