"""What a folder holds that can be checked: manifests, helm charts and kustomizations; the latter two rendered.

A chart's templates and a kustomization's parts are no manifests by themselves, so they are read as helm and kubectl
render them. Where those are not installed the chart or kustomization is a problem, never passed over.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pilothouse.cli.manifests import MAX_BYTES, SUFFIXES, Manifest, Problem, read, read_text, real_path

KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_TIMEOUT = 120.0
_OF_VERSIONS = frozenset((".git", ".hg", ".svn"))
_OF_PROGRAMS = frozenset(("node_modules", ".terraform"))
"""Folders that programs fill with what others wrote; so are Python's virtual environments."""
_PIECE = 1 << 20
_LONGEST_NAME = 64
_OBJECT = re.compile(rb"""\b(?:apiVersion|kind)["']?\s*:""")


@dataclass(slots=True)
class Sources:
    """All objects that were read, what could not be, and the files and folders of named folders that hold none."""

    manifests: list[Manifest] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)


def read_sources(paths: list[str], namespace: str) -> Sources:
    """All objects of these files, folders, or `-`; what could not be read is told, and the rest still read.

    In a folder there may be other YAML and JSON than manifests; it is passed over. A file that is named is meant to
    hold objects.
    """
    found = Sources()
    for path in paths:
        before = len(found.manifests), len(found.problems)
        if path == "-" or not Path(path).is_dir():
            more, wrong = read(path)
            found.manifests += more
            found.problems += wrong
            continue
        for kind, place in _walk(Path(path), found):
            if kind == "file":
                _read_found(place, found)
            else:
                _render(kind, place, namespace, found.manifests, found.problems)
        if before == (len(found.manifests), len(found.problems)):
            found.problems.append(Problem(path, f"no objects found (files ending in {', '.join(SUFFIXES)} are read)"))
    return found


def _read_found(file: Path, found: Sources) -> None:
    """Reads a file that is in a folder by chance or by intent."""
    if not _may_hold_objects(file):
        found.passed_over.append(str(file))
        return
    manifests, problems = read(str(file))
    problems = [problem for problem in problems if not problem.message.startswith("no objects found")]
    found.manifests += manifests
    if manifests or not all(problem.foreign for problem in problems):
        found.problems += problems
    elif problems:
        found.passed_over.append(str(file))


def _may_hold_objects(file: Path) -> bool:
    """Whether there is use in parsing it. JSON is often large and seldom a manifest: an object's fields must be named
    in it. YAML is parsed in any case, and so is what cannot be read, to tell what is wrong."""
    if file.suffix != ".json":
        return True
    try:
        with file.open("rb") as opened:
            before = b""
            while piece := opened.read(_PIECE):
                if _OBJECT.search(before + piece) or b"\0" in piece:
                    return True
                before = piece[-_LONGEST_NAME:]
    except OSError:
        return True
    return False


def _walk(root: Path, found: Sources) -> Iterator[tuple[str, Path]]:
    """`file`, `helm` or `kustomize`, and where. Nothing below a chart or kustomization is read by itself; a file with
    several names in the folder is read once, by its own name."""
    problems = found.problems
    real = real_path(root)
    files_read: set[Path] = set()
    links_in: list[Path] = []
    unreadable: list[OSError] = []
    for folder, names, files in os.walk(root, onerror=unreadable.append):
        names.sort()
        here = Path(folder)
        if "pyvenv.cfg" in files:
            names.clear()
            found.passed_over.append(str(here))
            continue
        found.passed_over += [str(here / name) for name in names if name in _OF_PROGRAMS]
        names[:] = [name for name in names if name not in _OF_PROGRAMS and name not in _OF_VERSIONS]
        folder_links = [name for name in names if (here / name).is_symlink()]
        problems += [
            Problem(str(here / name), "is a link to a folder and is not followed")
            for name in folder_links
            if not real_path(here / name).is_relative_to(real)
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
                if not real_path(file).is_relative_to(real):
                    problems.append(Problem(str(file), "is a link out of the folder and is not followed"))
                elif file.is_symlink():
                    links_in.append(file)
                elif file.is_file():
                    files_read.add(real_path(file))
                    yield "file", file
                else:
                    problems.append(Problem(str(file), "is no regular file and is not read"))
    for link in links_in:
        if real_path(link) not in files_read:
            yield "file", link
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
