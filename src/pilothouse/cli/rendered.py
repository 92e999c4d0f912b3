"""Helm charts and kustomizations, as helm and kubectl render them.

What is rendered is told to come from the template it was made from, where helm says so; its lines are those of what the
program prints.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import threading
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from pilothouse.cli.manifests import MAX_BYTES, Manifest, Problem, read_text, real_path
from pilothouse.guard.finding import RENDERED
from pilothouse.machinery.yaml_positions import LINE_BREAK

KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
CHART = "Chart.yaml"
_TIMEOUT = 120.0
_SOURCE = re.compile(r"# Source: [^/\s]+/(\S.*)")
_LARGEST_SETTINGS: Final = 1 << 20


class Rendering(NamedTuple):
    """How charts are rendered: for which namespace, which Kubernetes version, with which files of values."""

    namespace: str = "default"
    version: tuple[int, int] = (1, 35)
    values: tuple[str, ...] = ()


def render_chart(folder: Path, rendering: Rendering, manifests: list[Manifest], problems: list[Problem]) -> None:
    """Adds the objects of a chart, each with the template it comes from."""
    command = ["helm", "template", "release", str(real_path(folder)), "--include-crds"]
    command += ["--namespace", rendering.namespace, "--kube-version", ".".join(map(str, (*rendering.version, 0)))]
    for file in rendering.values:
        command += ["--values", file]
    text = _output(command, folder, "a helm chart", problems)
    before = len(manifests)
    read_text(f"{folder}{RENDERED}", text, manifests, problems)
    _name_templates(folder, text, manifests[before:])


def render_kustomization(folder: Path, manifests: list[Manifest], problems: list[Problem]) -> None:
    """Adds the objects of a kustomization."""
    text = _output(["kubectl", "kustomize", str(real_path(folder))], folder, "a kustomization", problems)
    name = next((name for name in KUSTOMIZATIONS if (folder / name).exists()), "")
    read_text(f"{folder / name}{RENDERED}", text, manifests, problems)


def is_library(folder: Path) -> bool:
    """Whether a chart only holds templates for others, and cannot be rendered."""
    return _settings(folder / CHART).get("type") == "library"


def roots_of(folders: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """The kustomizations that are no part of another one, with which the parts are judged; and the components that are
    part of none, which cannot be rendered."""
    parts: set[Path] = set()
    components = []
    for folder in folders:
        settings = _settings_of(folder)
        if settings.get("kind") == "Component":
            components.append(folder)
        for field in ("resources", "bases", "components"):
            entries = settings.get(field)
            named = [entry for entry in entries if isinstance(entry, str)] if isinstance(entries, list) else []
            parts |= {real_path(folder / entry) for entry in named} - {real_path(folder)}
    alone = [folder for folder in folders if real_path(folder) not in parts]
    return [folder for folder in alone if folder not in components], [f for f in alone if f in components]


def named_files(folders: Iterable[Path]) -> set[Path]:
    """The files that kustomizations name, and so make use of: manifests, patches, data of ConfigMaps."""
    found = {folder / name for folder in folders for name in KUSTOMIZATIONS}
    for folder in folders:
        for text in _texts(_settings_of(folder)):
            found |= {folder / text, folder / text.partition("=")[2]}
    return {real_path(file) for file in found}


def _texts(value: Any) -> Iterator[str]:
    """The texts of one line in a tree, which may be names of files."""
    if isinstance(value, str) and "\n" not in value and "\0" not in value:
        yield value
    elif isinstance(value, dict | list):
        for entry in value.values() if isinstance(value, dict) else value:
            yield from _texts(entry)


def _settings_of(folder: Path) -> dict[str, Any]:
    return next((_settings(folder / name) for name in KUSTOMIZATIONS if (folder / name).exists()), {})


def _settings(file: Path) -> dict[str, Any]:
    """A small YAML file's mapping; empty when it is none, which whoever renders it tells."""
    try:
        with file.open("rb") as opened:
            tree = yaml.load(opened.read(_LARGEST_SETTINGS), Loader=yaml.CSafeLoader)
    except (OSError, yaml.YAMLError, ValueError, RecursionError):
        return {}
    return tree if isinstance(tree, dict) else {}


def _name_templates(folder: Path, text: str, manifests: Iterable[Manifest]) -> None:
    """Puts the template that helm names before a document in the place of the chart."""
    marks = [
        (number, found[1]) for number, line in enumerate(LINE_BREAK.split(text), 1) if (found := _SOURCE.match(line))
    ]
    for manifest in manifests:
        before = bisect_right(marks, manifest.line, key=lambda mark: mark[0])
        if before:
            template = folder / marks[before - 1][1]
            manifest.file = f"{template if template.exists() else folder / CHART}{RENDERED}"


def _output(command: Sequence[str], folder: Path, what: str, problems: list[Problem]) -> str:
    """What a program prints; "" with a problem when it fails, takes too long or prints too much."""
    program = command[0]
    if shutil.which(program) is None:
        problems.append(Problem(str(folder), f"is {what}, and {program} is not installed: not checked"))
        return ""
    try:
        code, text, said = _run(command)
    except OSError as error:
        problems.append(Problem(str(folder), f"{program} cannot render it: {error}"))
        return ""
    if len(text) > MAX_BYTES:
        problems.append(Problem(str(folder), f"{program} renders more than {MAX_BYTES >> 20} MiB: not checked"))
    elif code:
        reason = " ".join(said.split())[-500:] or f"it ended with {code}"
        problems.append(Problem(str(folder), f"{program} cannot render it: {reason}"))
    else:
        return text.decode(errors="replace")
    return ""


def _run(command: Sequence[str]) -> tuple[int, bytes, str]:
    """Exit code, what was printed (a byte more than allowed at most), and what was said on standard error."""
    with tempfile.TemporaryFile() as errors:
        started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, stdin=subprocess.DEVNULL)
        late = threading.Timer(_TIMEOUT, started.kill)
        late.start()
        try:
            assert started.stdout is not None
            text = started.stdout.read(MAX_BYTES + 1)
            if len(text) > MAX_BYTES:
                started.kill()
            code = started.wait()
        finally:
            timed_out = not late.is_alive()
            late.cancel()
            started.kill()
            started.wait()
        errors.seek(max(errors.seek(0, os.SEEK_END) - 4096, 0))
        said = errors.read().decode(errors="replace")
    return code, text, f"{said} it took longer than {_TIMEOUT:.0f} s" if timed_out else said
