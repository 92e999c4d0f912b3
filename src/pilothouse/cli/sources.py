"""What a folder holds that can be checked: manifests, helm charts and kustomizations; the latter two rendered.

A chart's templates and a kustomization's parts are no manifests by themselves, so they are read as helm and kubectl
render them. Where those are not installed the chart or kustomization is a problem, never passed over.
"""

from __future__ import annotations

import itertools
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

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
from pilothouse.machinery.parts import in_parts

_OF_VERSIONS = frozenset((".git", ".hg", ".svn"))
_OF_PROGRAMS = frozenset(("node_modules", ".terraform"))
"""Folders that programs fill with what others wrote; so are Python's virtual environments."""
_PIECE = 1 << 20
_LONGEST_NAME = 64
_OBJECT = re.compile(rb"""\b(?:apiVersion|kind)["']?\s*:""")
_AT_LEAST = 64
"""Files for which a process is worth starting."""

_PLAIN = Rendering()


@dataclass(slots=True)
class Sources:
    """All objects that were read, what could not be, and the files and folders of named folders that hold none."""

    manifests: list[Manifest] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)

    def add(self, more: Sources) -> None:
        self.manifests += more.manifests
        self.problems += more.problems
        self.passed_over += more.passed_over


def read_sources(paths: list[str], rendering: Rendering = _PLAIN) -> Sources:
    """All objects of these files, folders, or `-`; what could not be read is told, and the rest still read.

    In a folder there may be other YAML and JSON than manifests; it is passed over. A file that is named is meant to
    hold objects.
    """
    found = Sources()
    steps: list[_Step] = []
    for path in paths:
        steps += _steps(path, rendering)
    files = [step.file for step in steps if step.file is not None]
    # Those of other folders are read in the same go: they are many together.
    read_files = iter(
        itertools.chain.from_iterable(in_parts(len(files), lambda a, b: _read_all(files[a:b]), _AT_LEAST))
    )
    before = 0, 0
    for step in steps:
        if step.do is not None:
            step.do(found)
        elif step.file is not None:
            found.add(next(read_files))
        else:
            if before == (len(found.manifests), len(found.problems)):
                said = f"no objects found (files ending in {', '.join(SUFFIXES)} are read)"
                found.problems.append(Problem(step.end, said))
            before = len(found.manifests), len(found.problems)
    return found


class _Step(NamedTuple):
    """What is to be done for a path: something, reading a file of a folder, or (`end`) seeing that it held anything."""

    do: Callable[[Sources], None] | None = None
    file: Path | None = None
    end: str = ""


def _steps(path: str, rendering: Rendering) -> Iterator[_Step]:
    if path == "-" or not Path(path).is_dir():
        yield _Step(lambda found: found.add(Sources(*read(path))))
        yield _Step(end=path)
        return
    kustomizations: list[Path] = []
    beside: list[Path] = []
    walked = Sources()
    for kind, place in _walk(Path(path), walked):
        if kind == "file":
            yield _Step(file=place)
        elif kind == "kustomize":
            kustomizations.append(place)
        elif kind == "beside":
            beside.append(place)
        elif is_library(place):
            walked.passed_over.append(str(place))
        else:
            yield _Step(partial(_render_chart, place, rendering))
    roots, unused = roots_of(kustomizations)
    walked.passed_over += map(str, unused)
    yield _Step(lambda found: found.add(walked))
    for place in roots:
        yield _Step(partial(_render_kustomization, place))
    named = named_files(kustomizations)
    for place in beside:
        if real_path(place) not in named:
            yield _Step(file=place)
    yield _Step(end=path)


def _render_chart(place: Path, rendering: Rendering, found: Sources) -> None:
    render_chart(place, rendering, found.manifests, found.problems)


def _render_kustomization(place: Path, found: Sources) -> None:
    render_kustomization(place, found.manifests, found.problems)


def _read_all(files: Sequence[Path]) -> list[Sources]:
    return [_read_found(file) for file in files]


def _read_found(file: Path) -> Sources:
    """Reads a file that is in a folder by chance or by intent."""
    if not _may_hold_objects(file):
        return Sources(passed_over=[str(file)])
    manifests, problems = read(str(file))
    problems = [problem for problem in problems if not problem.message.startswith("no objects found")]
    if manifests or not all(problem.foreign for problem in problems):
        return Sources([manifest.detached() for manifest in manifests], problems)
    return Sources(passed_over=[str(file)] if problems else [])


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
        here, real_here = Path(folder), real_path(Path(folder))
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
                mode = file.lstat().st_mode
                if stat.S_ISLNK(mode):
                    if real_path(file).is_relative_to(real):
                        links_in.append(file)
                    else:
                        problems.append(Problem(str(file), "is a link out of the folder and is not followed"))
                elif stat.S_ISREG(mode):
                    files_read.add(real_here / name)
                    yield kind, file
                else:
                    problems.append(Problem(str(file), "is no regular file and is not read"))
    for link in links_in:
        if real_path(link) not in files_read:
            yield "file", link
    problems += [Problem(str(error.filename), f"cannot be read: {error.strerror}") for error in unreadable]
