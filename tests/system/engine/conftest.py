"""Machines for the tests: a bare one, one with an engine, one on which the example runs. One of each a module."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from image_cache import Images, built_images
from machine import Machine

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def images() -> Images:
    """A registry's storage with the images of all tests."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    return built_images()


@contextmanager
def made_machine(images: Images) -> Iterator[Machine]:
    """A bare machine; fails when anything of it is left after it was taken away."""
    machine = Machine(f"ph{os.getpid() % 10000}-{next(_numbers)}")
    left: list[str] = []
    try:
        with machine.registry(images.storage):
            yield machine
            left = machine.close()
    except BaseException:
        machine.close()
        raise
    assert not left, "\n".join(left)


@pytest.fixture(scope="module")
def machine(images: Images) -> Iterator[Machine]:
    """A bare machine."""
    with made_machine(images) as made:
        made.lan()
        yield made


@pytest.fixture(scope="module")
def engine(machine: Machine) -> Machine:
    """A machine whose engine is up."""
    machine.up()
    return machine


@pytest.fixture(scope="module")
def shop(engine: Machine, images: Images) -> Machine:
    """A machine on which the example is ready."""
    engine.pilothouse("deploy", str(images.shop), "--timeout", "120", seconds=150)
    return engine


@pytest.fixture(scope="module")
def two_machines(images: Images) -> Iterator[tuple[Machine, Machine]]:
    """Two bare machines on one cable."""
    with ExitStack() as stack:
        first, second = (stack.enter_context(made_machine(images)) for _ in range(2))
        second.address = "192.0.2.51"
        subprocess.run(
            ["ip", "link", "add", "pair0", "netns", first.name, "type", "veth", "peer", "pair0", "netns", second.name],
            check=True,
        )
        for made in (first, second):
            made.take_address("pair0")
        yield first, second
