"""`pilothouse doctor`."""

from __future__ import annotations

import ctypes
import datetime as dt
import json
import os
import shutil
from pathlib import Path

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pilothouse.cli import output as out
from pilothouse.launch import listeners, runfile
from pilothouse.launch.config import API_PORT, NODE_PORT, Config, ConfigError, load
from pilothouse.launch.examine import Surroundings, findings
from pilothouse.linux.cgroups import Cgroups
from pilothouse.linux.host import detect, has_ipv6
from pilothouse.linux.huge_pages import pools

_COLOURS = {"ok": "green", "note": "yellow", "bad": "red"}


def run_doctor(data_dir: str, output: str | None) -> int:
    """Shows what it finds; returns 1 when something keeps the engine from running."""
    out.check(output)
    host = detect()
    found = findings(host, _look_around(data_dir))
    if output is not None:
        out.write([msgspec.to_builtins(finding) for finding in found], output)
    else:
        table = Table(box=None, pad_edge=False)
        for header in ("", "WHAT", "FOUND"):
            table.add_column(header)
        for finding in found:
            text = Text(finding.message)
            if finding.mend:
                text.append(f"\n→ {finding.mend}", style="bold")
            table.add_row(Text(finding.level, style=_COLOURS[finding.level]), finding.subject, text)
        Console().print(table)
    bad = sum(finding.level == "bad" for finding in found)
    if bad:
        typer.echo(f"{bad} finding{'s' if bad > 1 else ''} must be mended before the engine can run pods.", err=True)
    return 1 if bad else 0


def _look_around(data_dir: str) -> Surroundings:
    path = Path(data_dir)
    existing = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    config = _config(data_dir)
    runs = any(runfile.read(path / "run", name) for name in ("supervisor", "control", "node"))
    return Surroundings(
        is_root=os.geteuid() == 0,
        ipv6=has_ipv6(),
        data_dir=data_dir,
        free_bytes=shutil.disk_usage(existing).free,
        cni_plugins=frozenset(os.listdir("/usr/lib/cni")) if Path("/usr/lib/cni").is_dir() else frozenset(),
        nftables_error=_nftables_error() if os.geteuid() == 0 else "",
        ports_taken={} if runs else _ports_taken(config),
        year=dt.datetime.now(dt.UTC).year,
        clock_synchronised=_clock_synchronised(),
        engine_runs=runs,
        sandbox_runs=_sandbox_runs(path),
        unbounded_pages=0 if Cgroups().limits_huge_pages else sum(pools().values()),
    )


def _config(data_dir: str) -> Config | None:
    try:
        return load(data_dir)
    except (ConfigError, PermissionError):
        return None


def _nftables_error() -> str:
    """Empty when the kernel takes the expressions our rules need: a table made and deleted in one transaction."""
    import nftables

    code, _, error = nftables.Nftables().cmd(
        "table ip pilothouse_doctor {\n"
        "map m { type ipv4_addr . inet_service : ipv4_addr . inet_service; }\n"
        "chain n { type nat hook prerouting priority -100; fib daddr type local counter; }\n"
        "chain f { type filter hook forward priority 0; ct state established accept; }\n"
        "}\ndelete table ip pilothouse_doctor\n"
    )
    return "" if code == 0 else f"the kernel refuses nftables rules: {error.strip().splitlines()[0]}"


def _ports_taken(config: Config | None) -> dict[str, str]:
    tried = config or Config(data_dir="", node_name="", node_address="", api_port=API_PORT, node_port=NODE_PORT)
    wanted = [("tcp", tried.api_port, ""), ("tcp", tried.node_port, "")]
    wanted += [(kind, 53, tried.dns_address) for kind in ("udp", "tcp")]
    return {
        f"{port}/{kind}": holder
        for kind, port, address in wanted
        if (holder := listeners.port_holder(kind, port, address))
    }


def _clock_synchronised() -> bool | None:
    """What adjtimex(2) says; None where it cannot be asked."""
    buffer = ctypes.create_string_buffer(512)
    state = ctypes.CDLL(None).adjtimex(buffer)
    return None if state < 0 else state != 5


def _sandbox_runs(path: Path) -> dict[str, str]:
    try:
        tree = json.loads((path / "node" / "runtimes.json").read_text())
    except (OSError, ValueError):
        return {}
    return {name: str(entry.get("error", "")) for name, entry in tree.items()}
