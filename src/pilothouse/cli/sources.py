"""What a folder holds that can be checked: manifests, helm charts and kustomizations; the latter two rendered.

A chart's templates and a kustomization's parts are no manifests by themselves, so they are read as helm and kubectl
render them. Where those are not installed the chart or kustomization is a problem, never passed over.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pilothouse.cli.manifests import SUFFIXES, Manifest, Problem, read, real_path
from pilothouse.cli.rendered import (
    CHART,
    KUSTOMIZATIONS,
    Rendering,
    is_library,
    named_files,
    render_chart,
    render_kustomization,
    roots_of,
)

_OF_VERSIONS = frozenset((".git", ".hg", ".svn"))
_OF_PROGRAMS = frozenset(("node_modules", ".terraform"))
"""Folders that programs fill with what others wrote; so are Python's virtual environments."""
_PIECE = 1 << 20
_LONGEST_NAME = 64
_OBJECT = re.compile(rb"""\b(?:apiVersion|kind)["']?\s*:""")


_PLAIN = Rendering()


@dataclass(slots=True)
class Sources:
    """All objects that were read, what could not be, and the files and folders of named folders that hold none."""

    manifests: list[Manifest] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)


def read_sources(paths: list[str], rendering: Rendering = _PLAIN) -> Sources:
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
        kustomizations: list[Path] = []
        beside: list[Path] = []
        for kind, place in _walk(Path(path), found):
            if kind == "file":
                _read_found(place, found)
            elif kind == "kustomize":
                kustomizations.append(place)
            elif kind == "beside":
                beside.append(place)
            elif is_library(place):
                found.passed_over.append(str(place))
            else:
                render_chart(place, rendering, found.manifests, found.problems)
        roots, unused = roots_of(kustomizations)
        found.passed_over += map(str, unused)
        for place in roots:
            render_kustomization(place, found.manifests, found.problems)
        named = named_files(kustomizations)
        for place in beside:
            if real_path(place) not in named:
                _read_found(place, found)
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
    """`file`, `beside` (a file in a kustomization's folder, or below), `helm` or `kustomize`, and where. No file of a
    chart is read by itself, nor a chart in a chart; a file with several names is read once, by its own."""
    problems = found.problems
    real = real_path(root)
    files_read: set[Path] = set()
    links_in: list[Path] = []
    kustomized: set[Path] = set()
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
        if CHART in files:
            names.clear()
            yield "helm", here
        else:
            if any(name in files for name in KUSTOMIZATIONS):
                kustomized.add(here)
                yield "kustomize", here
            kind = "file" if kustomized.isdisjoint((here, *here.parents)) else "beside"
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
                    yield kind, file
                else:
                    problems.append(Problem(str(file), "is no regular file and is not read"))
    for link in links_in:
        if real_path(link) not in files_read:
            yield "file", link
    problems += [Problem(str(error.filename), f"cannot be read: {error.strerror}") for error in unreadable]
