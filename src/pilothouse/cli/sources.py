"""What a folder holds that can be checked: manifests, helm charts and kustomizations; the latter two rendered.

A chart's templates and a kustomization's parts are no manifests by themselves, so they are read as helm and kubectl
render them. Where those are not installed the chart or kustomization is a problem, never passed over.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from pilothouse.cli.manifests import MAX_BYTES, SUFFIXES, Manifest, Problem, read, read_text

KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_TIMEOUT = 120.0


def read_sources(paths: list[str], namespace: str) -> tuple[list[Manifest], list[Problem]]:
    """All objects of these files, folders, or `-`; what could not be read is told, and the rest still read."""
    manifests: list[Manifest] = []
    problems: list[Problem] = []
    for path in paths:
        found = len(manifests), len(problems)
        if path == "-" or not Path(path).is_dir():
            more, wrong = read(path)
            manifests += more
            problems += wrong
            continue
        for kind, place in _walk(Path(path), problems):
            if kind == "file":
                more, wrong = read(str(place))
                manifests += more
                problems += [problem for problem in wrong if not problem.message.startswith("no objects found")]
            else:
                _render(kind, place, namespace, manifests, problems)
        if found == (len(manifests), len(problems)):
            problems.append(Problem(path, f"no objects found (files ending in {', '.join(SUFFIXES)} are read)"))
    return manifests, problems


def _walk(root: Path, problems: list[Problem]) -> Iterator[tuple[str, Path]]:
    """`file`, `helm` or `kustomize`, and where. Nothing below a chart or kustomization is read by itself."""
    real = root.resolve()
    unreadable: list[OSError] = []
    for folder, names, files in os.walk(root, onerror=unreadable.append):
        names.sort()
        here = Path(folder)
        links = [name for name in names if (here / name).is_symlink()]
        problems += [
            Problem(str(here / name), "is a link to a folder and is not followed")
            for name in links
            if not (here / name).resolve().is_relative_to(real)
        ]
        if "Chart.yaml" in files:
            names.clear()
            yield "helm", here
        elif any(name in files for name in KUSTOMIZATIONS):
            names.clear()
            yield "kustomize", here
        else:
            for name in sorted(files):
                file = here / name
                if file.suffix not in SUFFIXES:
                    continue
                if file.resolve().is_relative_to(real):
                    yield "file", file
                else:
                    problems.append(Problem(str(file), "is a link out of the folder and is not followed"))
    problems += [Problem(str(error.filename), f"cannot be read: {error.strerror}") for error in unreadable]


def _render(kind: str, folder: Path, namespace: str, manifests: list[Manifest], problems: list[Problem]) -> None:
    program, what = ("helm", "a helm chart") if kind == "helm" else ("kubectl", "a kustomization")
    if shutil.which(program) is None:
        problems.append(Problem(str(folder), f"is {what}, and {program} is not installed: not checked"))
        return
    absolute = str(folder.resolve())
    command = (
        [program, "template", "release", absolute, "--namespace", namespace, "--include-crds"]
        if kind == "helm"
        else [program, "kustomize", absolute]
    )
    try:
        done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        problems.append(Problem(str(folder), f"{program} cannot render it: {error}"))
        return
    if done.returncode:
        said = " ".join(done.stderr.decode(errors="replace").split())[-500:]
        problems.append(Problem(str(folder), f"{program} cannot render it: {said}"))
    elif len(done.stdout) > MAX_BYTES:
        problems.append(Problem(str(folder), f"{program} renders more than {MAX_BYTES >> 20} MiB: not checked"))
    else:
        read_text(f"{folder} (rendered)", done.stdout.decode(errors="replace"), manifests, problems)
