"""`pilothouse scan --coverage`: every running container, scanned or why not."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import typer

from pilothouse.cli import output as formats
from pilothouse.cli.connect import connect
from pilothouse.cli.errors import CommandError
from pilothouse.guard.images.live.uses import Running, running
from pilothouse.guard.images.places import FOLDER
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.view import OwnerReference
from pilothouse.machinery.errors import ApiError

_FILE = "coverage.json"


def run_coverage(output: str | None, data_dir: str, kubeconfig: str | None) -> int:
    """Prints a line a container; 3 when one of them is not scanned in full."""
    formats.check(output)
    known = _known(Path(data_dir) / FOLDER / _FILE)
    rows = [_row(entry, known) for entry in asyncio.run(_containers(data_dir, kubeconfig))]
    rows.sort(key=lambda row: (row["state"], row["namespace"], row["pod"], row["container"]))
    if output:
        formats.write(rows, output)
    else:
        for row in rows:
            about = f"{row['packages']} packages" if row["state"] == "scanned" else row["reason"]
            typer.echo(f"{row['state']:<16} {row['namespace']}/{row['pod']}/{row['container']}: {about}")
        counts = Counter(row["state"] for row in rows)
        typer.echo(f"{len(rows)} containers: " + (", ".join(f"{n} {s}" for s, n in sorted(counts.items())) or "none"))
    return 0 if all(row["state"] == "scanned" for row in rows) else 3


def _known(file: Path) -> dict[str, Any]:
    try:
        images = json.loads(file.read_text())["images"]
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CommandError(f"{file}: {error}") from error
    return images if isinstance(images, dict) else {}


async def _containers(data_dir: str, kubeconfig: str | None) -> list[Running]:
    client = connect(data_dir, kubeconfig)
    try:
        pods = (await client.list(Pod)).items
    except ApiError as error:
        raise CommandError(f"pods cannot be listed: {error.message}") from error
    finally:
        await client.close()
    return list(running(pods, (), _nobody))


def _nobody(namespace: str, reference: OwnerReference) -> OwnerReference | None:
    return None


def _row(entry: Running, known: dict[str, Any]) -> dict[str, Any]:
    about = known.get(entry.image)
    if not entry.image:
        state, reason = "not scanned", "its image is not there yet"
    elif about is None:
        state, reason = "not scanned", "its image was not looked at yet (is there vulnerability data?)"
    elif not about.get("scanned"):
        state, reason = "not scanned", "; ".join(about.get("reasons") or ["it is being read"])
    elif about.get("reasons"):
        state, reason = "scanned in part", "; ".join(about["reasons"])
    else:
        state, reason = "scanned", ""
    return {
        "state": state,
        "namespace": entry.namespace,
        "pod": entry.pod,
        "container": entry.container,
        "image": entry.image,
        "packages": (about or {}).get("packages", 0),
        "vulnerabilities": (about or {}).get("flaws", 0),
        "reason": reason,
    }
