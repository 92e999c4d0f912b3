"""`pilothouse status`: one look at everything, or a live screen."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import termios
import tty
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pilothouse.cli import output as out
from pilothouse.cli.connect import connect
from pilothouse.cli.errors import CommandError
from pilothouse.cli.overview import Overview, engine_of, gather, local_problems, processes
from pilothouse.client.client import Client
from pilothouse.launch.config import ConfigError, load
from pilothouse.machinery.errors import ApiError

_REFRESH_SECONDS = 1.0


def run_status(data_dir: str, output: str | None, watch: bool) -> int:
    """Shows the state; returns 0 when the engine answers, 1 when it is down."""
    out.check(output)
    try:
        config = load(data_dir)
    except ConfigError as error:
        raise CommandError(str(error)) from error
    except PermissionError as error:
        raise CommandError(f"{data_dir} is readable by root only: use sudo") from error
    if config is None:
        overview = Overview(engine_of(processes(Path(data_dir)), False))
        overview.problems.append(f"nothing has run on {data_dir} yet: `pilothouse up` starts it")
        _show(overview, output)
        return 1
    if watch:
        return asyncio.run(_watch(data_dir, config.is_server))
    overview = asyncio.run(_once(data_dir, config.is_server))
    _show(overview, output)
    return 0 if overview.engine["running"] else 1


async def look(data_dir: str, client: Client | None) -> Overview:
    """The state of things now; without a client (on a machine that only joined), that of its own processes."""
    path = Path(data_dir)
    found = processes(path)
    overview = Overview(engine_of(found, False))
    overview.problems += local_problems(path, found, client is not None)
    if client is None:
        overview.engine["running"] = all(p.pid is not None for p in found if p.name != "control")
        return overview
    try:
        await asyncio.wait_for(gather(client, overview), 10)
        overview.engine["running"] = True
    except ApiError as error:
        overview.problems.insert(0, f"the API does not answer: {error}; containers go on; `pilothouse up` starts it")
    except TimeoutError:
        overview.problems.insert(0, "the API does not answer within 10 s")
    return overview


@asynccontextmanager
async def _client(data_dir: str, is_server: bool) -> AsyncIterator[Client | None]:
    """The administrator's client; a joined machine holds no such credentials."""
    if not is_server:
        yield None
        return
    client = connect(data_dir)
    try:
        yield client
    finally:
        await client.close()


async def _once(data_dir: str, is_server: bool) -> Overview:
    async with _client(data_dir, is_server) as client:
        return await look(data_dir, client)


async def _watch(data_dir: str, is_server: bool) -> int:
    overview = None
    async with _client(data_dir, is_server) as client:
        with _keys() as quit_, Live(console=Console(), screen=True, auto_refresh=False) as live:
            while not quit_.is_set():
                overview = await look(data_dir, client)
                live.update(render(overview), refresh=True)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(quit_.wait(), _REFRESH_SECONDS)
    return 0 if overview is not None and overview.engine["running"] else 1


@contextlib.contextmanager
def _keys() -> Iterator[asyncio.Event]:
    """Set once `q` is pressed; single keys are read only while this lasts, and only from a terminal."""
    pressed = asyncio.Event()
    if not sys.stdin.isatty():
        yield pressed
        return
    loop, descriptor = asyncio.get_running_loop(), sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)

    def read() -> None:
        if b"q" in os.read(descriptor, 64):
            pressed.set()

    tty.setcbreak(descriptor)
    loop.add_reader(descriptor, read)
    try:
        yield pressed
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _show(overview: Overview, output: str | None) -> None:
    if output is not None:
        import msgspec

        out.write(msgspec.to_builtins(overview), output)
        return
    Console(soft_wrap=True).print(render(overview))
    if not overview.engine["running"]:
        typer.echo("The engine is down.", err=True)


def render(overview: Overview) -> Group:
    """The overview as tables for a person."""
    engine = overview.engine
    state = "running" if engine["running"] else "down"
    memory = f", {engine['memoryBytes'] >> 20} MB" if engine["memoryBytes"] else ""
    running = [f"{p['name']} {p['pid']}" for p in engine["processes"] if p["pid"]]
    head = Text(f"ENGINE {state}{memory}  {', '.join(running)}", style="green" if engine["running"] else "red")
    parts: list[Text | Table] = [head]
    if overview.nodes:
        rows = [[n["name"], n["state"], n["address"], str(n["pods"]), n["runtime"]] for n in overview.nodes]
        parts.append(_table("NODE STATE ADDRESS PODS RUNTIME", rows))
    if overview.workloads:
        rows = [
            [w["namespace"], f"{w['kind'].lower()}/{w['name']}", f"{w['ready']}/{w['wanted']}", w["message"]]
            for w in overview.workloads
        ]
        parts.append(_table("NAMESPACE WORKLOAD READY STATE", rows))
    if overview.services:
        rows = [[s["namespace"], s["name"], s["type"], ", ".join(s["ports"])] for s in overview.services]
        parts.append(_table("NAMESPACE SERVICE TYPE ADDRESSES", rows))
    if overview.problems:
        parts.append(Text("\nPROBLEMS", style="red"))
        parts += [Text(f"  {problem}") for problem in overview.problems]
    else:
        parts.append(Text("\nNo problems.", style="green"))
    return Group(*parts)


def _table(headers: str, rows: list[list[str]]) -> Table:
    table = Table(box=None, pad_edge=False, title="")
    for header in headers.split():
        table.add_column(header, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table
