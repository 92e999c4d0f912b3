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
    """Prints a line a container, then the images that nodes keep and nothing runs.

    3 when a container is not scanned in full; images that nothing runs do not count.
    """
    formats.check(output)
    known = _known(Path(data_dir) / FOLDER / _FILE)
    rows = [_row(entry, known.get(entry.image)) for entry in asyncio.run(_containers(data_dir, kubeconfig))]
    rows.sort(key=lambda row: (row["state"], row["namespace"], row["pod"], row["container"]))
    idle = [_kept(image, about) for image, about in sorted(known.items()) if not about.get("running", True)]
    if output:
        formats.write([*rows, *idle], output)
    else:
        for row in rows:
            typer.echo(_line(row, f"{row['namespace']}/{row['pod']}/{row['container']}"))
        typer.echo(_counted(rows, "containers"))
        for row in idle:
            typer.echo(_line(row, f"image {row['image']} on {', '.join(row['nodes'])}"))
        typer.echo(_counted(idle, "images that nodes keep and nothing runs"))
    return 0 if all(row["state"] == "scanned" for row in rows) else 3


def _line(row: dict[str, Any], subject: str) -> str:
    about = f"{row['packages']} packages, {row['vulnerabilities']} vulnerabilities"
    return f"{row['state']:<16} {subject}: {about if row['state'] == 'scanned' else row['reason']}"


def _counted(rows: list[dict[str, Any]], what: str) -> str:
    counts = Counter(row["state"] for row in rows)
    return f"{len(rows)} {what}: " + (", ".join(f"{n} {s}" for s, n in sorted(counts.items())) or "none")


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


def _row(entry: Running, about: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "namespace": entry.namespace,
        "pod": entry.pod,
        "container": entry.container,
        "image": entry.image,
        **(_told(about) if entry.image else _told({"reasons": ["its image is not there yet"]})),
    }


def _kept(image: str, about: dict[str, Any]) -> dict[str, Any]:
    names = about.get("names") or [image]
    return {"image": names[0], "digest": image, "nodes": about.get("nodes") or [], **_told(about)}


def _told(about: dict[str, Any] | None) -> dict[str, Any]:
    known = (
        about if about is not None else {"reasons": ["its image was not looked at yet (is there vulnerability data?)"]}
    )
    reason = "; ".join(known.get("reasons") or ())
    if not known.get("scanned"):
        state, reason = "not scanned", reason or "it is being read"
    else:
        state = "scanned in part" if reason else "scanned"
    return {
        "state": state,
        "packages": known.get("packages", 0),
        "vulnerabilities": known.get("flaws", 0),
        "reason": reason,
    }
