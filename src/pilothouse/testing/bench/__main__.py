"""`scripts/bench api|up|node|check|findings|scan|network`: measures a part; prints figures with their aims."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from pilothouse.testing.bench import measure
from pilothouse.testing.bench.api import api_figures
from pilothouse.testing.bench.check import check_figures
from pilothouse.testing.bench.findings import findings_figures
from pilothouse.testing.bench.host import BenchError, Host, own_network, write_registry_settings
from pilothouse.testing.bench.network import network_figures
from pilothouse.testing.bench.node import node_figures
from pilothouse.testing.bench.report import Figure, show
from pilothouse.testing.bench.scan import scan_figures
from pilothouse.testing.bench.schedule import schedule_figures
from pilothouse.testing.images import ImageError, Recipe, build, push

_EXAMPLE = Path(__file__).parents[4] / "examples" / "shop"
_PARTS = ("starts", "idle", "one", "many", "reading")

_DESK: dict[str, Callable[[argparse.Namespace], list[Figure]]] = {
    "api": lambda options: api_figures(options.objects, options.updates, options.watchers, options.seconds, _say),
    "check": lambda options: check_figures(),
    "findings": lambda options: findings_figures(),
    "scan": lambda options: scan_figures(_say),
    "schedule": lambda options: schedule_figures(options.nodes, options.placed, _say),
}
"""What needs neither root nor an engine."""


def main() -> None:
    """Reads the options, measures, prints."""
    parser = argparse.ArgumentParser(prog="scripts/bench")
    parser.add_argument("what", choices=[*_DESK, "up", "node", "network"], help="what of it")
    parser.add_argument("-o", "--output", choices=["json"], help="for programs")
    parser.add_argument("--only", choices=_PARTS, action="append", help="a part of it; may be repeated")
    parser.add_argument("--starts", type=int, default=5, metavar="N", help="how often it is started (default 5)")
    parser.add_argument("--idle", type=float, default=60.0, metavar="SECONDS", help="how long it idles (default 60)")
    parser.add_argument("--pods", type=int, default=50, metavar="N", help="pods at once (default 50)")
    parser.add_argument("--turns", type=int, default=15, metavar="N", help="single pods of each kind (default 15)")
    parser.add_argument("--seconds", type=float, default=5.0, metavar="N", help="each run of wrk (default 5)")
    parser.add_argument("--idle-pods", type=int, default=100, metavar="N", help="idle pods with a probe (default 100)")
    parser.add_argument("--nodes", type=int, default=5000, metavar="N", help="virtual nodes (default 5000)")
    parser.add_argument("--placed", type=int, default=10000, metavar="N", help="pods placed on them (default 10000)")
    parser.add_argument("--objects", type=int, default=10000, metavar="N", help="pods that are listed (default 10000)")
    parser.add_argument("--updates", type=int, default=20000, metavar="N", help="of one object (default 20000)")
    parser.add_argument("--watchers", type=int, default=1000, metavar="N", help="of one object (default 1000)")
    options = parser.parse_args()
    if options.what in _DESK:
        try:
            _show(_DESK[options.what](options), options.output)
        except BenchError as error:
            sys.exit(f"error: {error}")
    if os.geteuid() != 0:
        sys.exit(f"error: run as root (it makes network namespaces and containers): sudo scripts/bench {options.what}")
    try:
        figures = _of_an_engine(options)
    except (BenchError, ImageError) as error:
        sys.exit(f"error: {error}")
    _show(figures, options.output)


def _of_an_engine(options: argparse.Namespace) -> list[Figure]:
    if options.what == "network":
        return network_figures(options.seconds, 3, _say)
    return _node(options) if options.what == "node" else _up(options)


def _show(figures: Sequence[Figure], output: str | None) -> NoReturn:
    """Prints, and ends with 1 when an aim is missed."""
    if output == "json":
        print(json.dumps([figure.tree() for figure in figures], indent=2))
    else:
        show(figures)
    sys.exit(any(figure.met is False for figure in figures))


def _up(options: argparse.Namespace) -> list[Figure]:
    root = Path(tempfile.mkdtemp(prefix="ph-bench-", dir="/tmp"))
    host = Host(root / "data")
    parts = options.only or _PARTS
    try:
        address = _free_address()
        with _registry(root, address):
            image = _images(root, address)
        with own_network(), _registry(root, address):
            try:
                measure.prepare(host, root / "shop", _say)
                return _measure(host, image, parts, options)
            finally:
                host.pilothouse("down", "--purge")
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _node(options: argparse.Namespace) -> list[Figure]:
    """A bare engine, and one image."""
    root = Path(tempfile.mkdtemp(prefix="ph-bench-", dir="/tmp"))
    host = Host(root / "data")
    try:
        address = _free_address()
        with own_network(), _registry(root, address):
            image = _shell_image(address)
            try:
                host.up()
                wanted = {"turns": options.turns, "pods": options.pods, "idle": options.idle_pods}
                return asyncio.run(node_figures(host, image, **wanted, seconds=options.idle, say=_say))
            finally:
                host.pilothouse("down", "--purge")
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _measure(host: Host, image: str, parts: Sequence[str], options: argparse.Namespace) -> list[Figure]:
    runs: dict[str, Callable[[], Awaitable[list[Figure]]]] = {
        "starts": lambda: measure.starts(host, options.starts, _say),
        "idle": lambda: measure.idle(host, options.idle, _say),
        "one": lambda: measure.one_pod(host, image, options.turns, _say),
        "many": lambda: measure.many_pods(host, image, options.pods, _say),
        "reading": lambda: measure.reading(host, 500, _say),
    }

    async def all_parts() -> list[Figure]:
        return [figure for part in _PARTS if part in parts for figure in await runs[part]()]

    return asyncio.run(all_parts())


def _say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def _free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return f"127.0.0.1:{probe.getsockname()[1]}"


@contextlib.contextmanager
def _registry(root: Path, address: str) -> Iterator[None]:
    settings = root / "registry.json"
    write_registry_settings(settings, root / "images", address)
    host, _, port = address.partition(":")
    with (root / "registry.log").open("ab") as log:
        process = subprocess.Popen(["docker-registry", "serve", str(settings)], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), socket.create_connection((host, int(port))):
                break
            if time.monotonic() > deadline:
                raise BenchError(f"the registry does not start: {(root / 'registry.log').read_text()[-500:]}")
            time.sleep(0.02)
        yield
    finally:
        process.kill()
        process.wait()


def _images(root: Path, registry: str) -> str:
    """Builds and pushes the images, outside, where apt has a way to its sources; returns the measured pods' one."""
    _say("building images")
    command = [sys.executable, str(_EXAMPLE / "build.py"), registry, str(root / "shop")]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise BenchError(f"the example's images cannot be built: {done.stderr[-1000:]}")
    return _shell_image(registry)


def _shell_image(registry: str) -> str:
    """The measured pods' image, pushed: busybox alone."""
    busybox = Path("/bin/busybox").read_bytes()
    programs = {f"usr/bin/{name}": busybox for name in ("busybox", "sh")}
    return push(build(Recipe(executables=programs, files={"srv/index.html": b"here\n"})), registry, "bench/sh", "1")


if __name__ == "__main__":
    main()
